//! The real binary as a process, and clients of it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use colloquy_client::{Client, Key, Turn};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_colloquy");
/// How long a call may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// As [`run`], with variables in the command's environment.
pub(crate) fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a store that servers may come and go on.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// As [`Place::start`], with more flags.
    pub(crate) fn start_with(&self, flags: &[&str]) -> Server {
        self.launch(flags, Stdio::inherit())
    }

    /// As [`Place::start_with`], with the log in a file.
    pub(crate) fn start_logging(&self, flags: &[&str], log: &Path) -> Server {
        self.launch(flags, File::create(log).expect("the log file").into())
    }

    fn launch(&self, flags: &[&str], log: Stdio) -> Server {
        let mut child = Command::new(BINARY)
            .args(["serve", "--json", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(if flags.contains(&"--log-filter") { &[][..] } else { &["--log-filter", "warn"] })
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("the server speaks");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let address = |name: &str| listening[name].as_str().expect("an address").to_owned();
        Server { grpc: address("grpc"), http: address("http"), child }
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    pub(crate) grpc: String,
    pub(crate) http: String,
    child: Child,
}

impl Server {
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.grpc, DEADLINE).await.expect("the server answers")
    }

    /// SIGKILL, and wait until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A turn of the order desk.
pub(crate) fn turn(conversation: &str, request_id: &str, text: &str) -> Turn {
    Turn::new(Key::new("acme", conversation), request_id, "order-desk", text)
}
