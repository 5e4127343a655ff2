//! A disk that is full, and one that fails while a server runs.
//!
//! The full one is a file system of 24 MiB in memory, in a user and mount namespace of the server's own; the failing
//! one a limit on the size of files, set on the running server: each of its writes then fails. Where a machine gives no
//! such namespace the first of these tests says that it was not run.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use colloquy_client::{Client, ClientError, Key};
use tonic::Code;

use super::{read, talk, told};
use crate::{
    harness::{DEADLINE, Place, Server, turn},
    outside::until,
};

const NAMESPACE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

/// Whether this machine gives a namespace with a file system of its own.
fn has_namespaces(place: &Place) -> bool {
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$0\"";
    let [program, flags @ ..] = NAMESPACE;
    let tried = tried_quietly(Command::new(program).args(flags).args(["sh", "-c", mount]).arg(place.path()));
    if !tried {
        let line = "not run: a_full_disk_refuses_turns: this machine gives no user namespace with a mount\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    tried
}

fn tried_quietly(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A file that takes all the room there is, in the file system that only the server sees.
struct Filler(PathBuf);

impl Filler {
    fn new(server: &Server, place: &Place) -> Self {
        let root = format!("/proc/{}/root", server.id());
        let path = PathBuf::from(format!("{root}{}", place.path().join("filler").display()));
        let mut file = File::create(&path).unwrap();
        let full = (0..).map(|_| file.write_all(&[7; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        Self(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// Sends long turns until one is refused; how many were not.
async fn until_refused(client: &Client) -> (u64, ClientError) {
    let long = "a long story ".repeat(1200);
    for n in 1.. {
        if let Err(error) = client.submit(&turn("long", &format!("r-{n}"), &long)).await {
            return (n - 1, error);
        }
        assert!(n < 1000, "the disk is full by now");
    }
    unreachable!()
}

/// A full disk is found before anything is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_turns_keeps_reads_and_recovers_by_itself() {
    let place = Place::new();
    if !has_namespaces(&place) {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let wrapper = [&NAMESPACE[..], &["sh"]].concat();
    let server = place.start_under(&wrapper, "mount -t tmpfs -o size=24m tmpfs \"$0\" && exec \"$@\"", &log);
    let client = server.client().await;
    talk(&client, &["ada"]).await;
    let filler = Filler::new(&server, &place);
    let (stored, refusal) = until_refused(&client).await;
    assert!(stored > 10, "what was reserved before is used: {stored}");
    assert_eq!((refusal.code(), refusal.reason()), (Code::Unavailable, "DISK_FULL"));
    assert!(refusal.retry_after().is_some() && refusal.is_retryable());

    assert_eq!(super::said(&client, "ada").await, told("ada"), "reads go on");
    let head = client.conversation(&Key::new("acme", "long")).await.unwrap().head.unwrap();
    assert_eq!(head.turn_seq, stored, "the refused turn is not there");
    assert!(server.get("/health").unwrap().starts_with("HTTP/1.1 200"), "the process lives");

    filler.remove();
    let again = turn("long", &format!("r-{}", stored + 1), &"a long story ".repeat(1200));
    let answered = client.submit_with_retry(&again, DEADLINE).await.unwrap();
    assert_eq!((answered.turn.unwrap().turn_seq, answered.replayed), (stored + 1, false));
    assert!(read(&log).contains("no room for the next segment"), "the log tells");
    assert_eq!(server.terminate(), Some(0));
}

/// A write that failed is never tried again: what the disk then holds is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_ends_the_process_with_code_5_and_loses_nothing_acknowledged() {
    let place = Place::new();
    let log = place.path().join("log");
    // The signal of the limit is ignored, so that the write is refused as by a disk.
    let server = place.start_under(&["sh"], "trap '' XFSZ; exec \"$@\"", &log);
    let client = server.client().await;
    talk(&client, &["ada"]).await;
    let limited = Command::new("prlimit").args(["--pid", &server.id().to_string(), "--fsize=4096"]).status();
    assert!(limited.expect("prlimit runs").success());

    let said = turn("ada", "ada-4", "who knows");
    let refusal = client.submit(&said).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    assert!(refusal.is_retryable(), "the same request id tells how it ended");
    until("the server is not ready", || server.get("/ready").is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")));
    let after = tokio::time::timeout(Duration::from_secs(10), client.submit(&turn("bob", "bob-1", "hello"))).await;
    assert!(after.expect("refused at once").is_err());
    assert_eq!(tokio::task::spawn_blocking(move || server.ended()).await.unwrap(), Some(5));
    assert!(read(&log).contains("write or sync failed; the store takes no more"));

    // A supervisor starts it anew.
    let server = place.start();
    let client = server.client().await;
    let answered = client.submit(&said).await.unwrap().turn.unwrap();
    assert_eq!((answered.turn_seq, answered.request_id.as_str()), (4, "ada-4"));
    let stored = super::said(&client, "ada").await;
    assert_eq!(stored[..3], told("ada"));
    assert_eq!((stored.len(), stored[3].as_str()), (4, "who knows"));
}
