//! A disk that is full, and one that fails while a server runs.
//!
//! The full one is a file system of 24 MiB in memory, in a user and mount namespace of the server's own; the failing
//! one a limit on the size of files, set on the running server: each of its writes then fails.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use colloquy_client::{Client, ClientError, Key};
use tonic::Code;

use super::{read, talk, told};
use crate::{
    harness::{DEADLINE, Place, Server, turn},
    namespace::{NAMESPACE, has_namespaces},
    outside::until,
};

/// A file that takes all the room there is, in the file system that only the server sees.
struct Filler(PathBuf);

impl Filler {
    fn new(server: &Server, place: &Place) -> Self {
        let root = format!("/proc/{}/root", server.id());
        let path = PathBuf::from(format!("{root}{}", place.path().join("filler").display()));
        let filler = Self(path);
        filler.fill();
        filler
    }

    /// Takes what has become free since.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(&self.0).unwrap();
        let full = (0..).map(|_| file.write_all(&[7; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
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
    if !has_namespaces(place.path(), "a_full_disk_refuses_turns") {
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

/// sled keeps its first error for good, and without checkpoints memory and the next start's reading would grow.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_a_full_disk_has_struck_is_brought_up_to_date_once_there_is_room() {
    let place = Place::new();
    if !has_namespaces(place.path(), "an_index_that_a_full_disk_has_struck") {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let wrapper = [&NAMESPACE[..], &["sh"]].concat();
    let server = place.start_under(&wrapper, "mount -t tmpfs -o size=48m tmpfs \"$0\" && exec \"$@\"", &log);
    let client = server.client().await;
    talk(&client, &["ada"]).await;
    // Compaction has the index brought up to date first.
    client.compact(DEADLINE).await.unwrap();
    let filler = Filler::new(&server, &place);
    // Sealing a segment frees the room that it has left, once.
    let mut outcomes = Vec::new();
    for round in 0..2 {
        for n in 0..150 {
            client.submit(&turn(&format!("many-{round}-{n}"), "r-1", "hello")).await.unwrap();
        }
        filler.fill();
        outcomes.push(client.compact(DEADLINE).await.is_err());
    }
    assert_eq!(outcomes.last(), Some(&true));
    assert!(read(&log).contains("checkpoint failed"), "the index was struck: {}", read(&log));
    assert_eq!(super::said(&client, "ada").await, told("ada"), "reads go on");

    filler.remove();
    // The first may still have no next segment to go on in.
    let mut compacted = client.compact(DEADLINE).await;
    for _ in 0..20 {
        if compacted.is_ok() {
            break;
        }
        compacted = client.compact(DEADLINE).await;
    }
    assert!(compacted.is_ok(), "{compacted:?}: {}", read(&log));
    assert!(read(&log).contains("the index was opened anew"), "{}", read(&log));
    client.submit(&turn("many-0-7", "r-2", "hello")).await.unwrap();
    client.compact(DEADLINE).await.unwrap();
    let listed = client.conversations("acme", 1000, "").await.unwrap().conversations;
    assert_eq!(listed.len(), 301);
    assert_eq!(server.terminate(), Some(0));
    assert!(!read(&log).contains("found the index damaged"), "a full disk is no damage: {}", read(&log));
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
