//! Folders that are not as a server left them, and servers that start on them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{read, said, talk, told};
use crate::harness::{BINARY, Place, stderr};

/// Starts a server that cannot start; its exit code and what it says.
fn refused(place: &Place) -> (Option<i32>, String) {
    let data_dir = place.data_dir().display().to_string();
    let flags = ["serve", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir", &data_dir];
    // One that starts all the same is ended.
    let ended = Command::new("timeout").args(["30", BINARY]).args(flags).stdin(Stdio::null()).output().unwrap();
    (ended.status.code(), stderr(&ended))
}

/// The checksum of the file that names the store (crc32c), whose own field counts as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let zeroed = bytes.iter().enumerate().map(|(at, byte)| if (12..16).contains(&at) { 0 } else { *byte });
    !zeroed.fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

/// Raises the version of the file that names a store.
pub(crate) fn make_newer(path: &Path) {
    let mut newer = fs::read(path).unwrap();
    newer[8] += 1;
    let sum = checksum(&newer);
    newer[12..16].copy_from_slice(&sum.to_le_bytes());
    fs::write(path, newer).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_newer_version_is_refused_with_its_version_and_code_5() {
    let place = Place::new();
    let server = place.start();
    talk(&server.client().await, &["ada"]).await;
    assert_eq!(server.terminate(), Some(0));
    let path = place.data_dir().join("STORE");
    let written = fs::read(&path).unwrap();
    assert_eq!(written[12..16], checksum(&written).to_le_bytes(), "the test knows the checksum");
    make_newer(&path);
    let (code, said_why) = refused(&place);
    assert_eq!(code, Some(5));
    assert!(said_why.contains("version 2, which is newer than this build"), "{said_why}");

    let mut damaged = written.clone();
    damaged[20] ^= 1;
    fs::write(&path, damaged).unwrap();
    let (code, said_why) = refused(&place);
    assert_eq!(code, Some(5));
    assert!(said_why.contains("the file that names the store is damaged"), "{said_why}");

    fs::write(&path, written).unwrap();
    let server = place.start();
    assert_eq!(said(&server.client().await, "ada").await, told("ada"), "a refusal harms nothing");
}

#[test]
fn a_folder_of_something_else_is_refused_with_code_5() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::write(place.data_dir().join("letters.txt"), "dear reader").unwrap();
    let (code, said_why) = refused(&place);
    assert_eq!(code, Some(5));
    assert!(said_why.contains("holds files but no store"), "{said_why}");
    assert_eq!(fs::read_dir(place.data_dir()).unwrap().count(), 1, "nothing was added");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The index is derived.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_missing_damaged_or_foreign_is_rebuilt_and_the_log_tells() {
    let (place, other) = (Place::new(), Place::new());
    for place in [&place, &other] {
        let server = place.start();
        talk(&server.client().await, &["ada", "bob"]).await;
        assert_eq!(server.terminate(), Some(0));
    }
    let index = place.data_dir().join("index");
    let foreign = other.data_dir().join("index");
    type Harm<'a> = (&'a str, Box<dyn Fn() + 'a>, &'a str);
    let harms: [Harm<'_>; 3] = [
        ("missing", Box::new(|| {}), "the index is missing or lost what it held; rebuilding it"),
        ("damaged", Box::new(|| fs::write(index.join("db"), [0x55; 4096]).unwrap()), "rebuilding it"),
        ("foreign", Box::new(|| copy(&foreign, &index)), "belongs to another journal; rebuilding it"),
    ];
    for (name, harm, told_why) in harms {
        if name != "damaged" {
            fs::remove_dir_all(&index).unwrap();
        }
        harm();
        let log = place.path().join("log");
        let server = place.start_logging(&["--log-filter", "info"], &log);
        let client = server.client().await;
        for conversation in ["ada", "bob"] {
            assert_eq!(said(&client, conversation).await, told(conversation), "after an index that was {name}");
        }
        let listed = client.conversations("acme", 10, "").await.unwrap().conversations;
        assert_eq!(listed.len(), 2, "after an index that was {name}");
        let log = read(&log);
        assert!(log.contains(told_why), "{name}: {log}");
        let progress = log.lines().filter(|line| line.contains("journal segment read")).count();
        assert!(progress > 0 && log.contains("total="), "{name}: the log tells how far it is: {log}");
        assert_eq!(server.terminate(), Some(0));
    }
}
