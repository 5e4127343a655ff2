//! File systems that only one process sees, in a user and mount namespace of its own. Where a machine gives none, the tests
//! that need one say that they were not run.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::harness::BINARY;

pub(crate) const NAMESPACE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

/// Whether this machine gives a namespace with a file system of its own; if not, says that `test` was not run.
pub(crate) fn has_namespaces(folder: &Path, test: &str) -> bool {
    let tried = in_namespace("mount -t tmpfs -o size=1m tmpfs \"$0\"", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !tried {
        let line = format!("not run: {test}: this machine gives no user namespace with a mount\n");
        std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    }
    tried
}

/// Runs the binary where `folder` can only be read.
pub(crate) fn run_read_only(folder: &Path, arguments: &[String]) -> Output {
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    in_namespace(script, folder).arg(BINARY).args(arguments).output().expect("unshare runs")
}

/// A shell's `script`, whose `$0` is `folder`.
fn in_namespace(script: &str, folder: &Path) -> Command {
    let [program, flags @ ..] = NAMESPACE;
    let mut command = Command::new(program);
    command.args(flags).args(["sh", "-c", script]).arg(folder).stdin(Stdio::null());
    command
}
