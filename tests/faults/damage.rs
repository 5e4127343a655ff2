//! Bits that changed on the disk: the conversation they belong to is refused, the others are served.

use std::{fs, path::Path};

use colloquy_client::{Client, Key};
use tonic::Code;

use super::{read, said, segments, talk, told};
use crate::harness::{Place, turn};

/// Changes a bit of the first record that says `text`.
fn damage(place: &Place, text: &str) {
    for path in segments(place) {
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|here| here == text.as_bytes()) {
            bytes[at] ^= 1;
            return fs::write(&path, bytes).unwrap();
        }
    }
    panic!("no segment says {text:?}");
}

async fn is_refused(client: &Client, conversation: &str) {
    let key = Key::new("acme", conversation);
    let listing = client.turns(&key, 1, 1000).await.unwrap_err();
    assert_eq!((listing.code(), listing.reason()), (Code::DataLoss, "DATA_CORRUPT"));
    let exporting = client.export(&key, Vec::new()).await;
    let exported = match exporting {
        Ok(mut events) => loop {
            match events.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        },
        Err(error) => Some(error),
    };
    assert_eq!(exported.map(|error| error.code()), Some(Code::DataLoss), "an export is not made of it");
}

/// Damage is contained.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sealed_segment_costs_the_conversation_it_hits() {
    let place = Place::new();
    let server = place.start();
    talk(&server.client().await, &["ada", "bob", "cyd"]).await;
    assert_eq!(server.terminate(), Some(0));
    damage(&place, "bob says 2");

    let log = place.path().join("log");
    let server = place.start_logging(&["--log-filter", "info"], &log);
    let client = server.client().await;
    is_refused(&client, "bob").await;
    for _ in 0..2 {
        let writing = client.submit(&turn("bob", "r-new", "hello")).await.unwrap_err();
        assert_eq!((writing.code(), writing.reason()), (Code::DataLoss, "DATA_CORRUPT"));
    }
    assert!(server.get("/metrics").unwrap().contains("colloquy_store_damaged 1"), "it counts once");
    let logged = read(&log);
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("the conversation is refused")).collect();
    assert!(lines.len() == 1 && lines[0].contains("ERROR") && lines[0].contains("acme/bob"), "{lines:?}");
    assert!(!logged.contains("says"), "nothing that was said is in the log");
    for name in ["ada", "cyd"] {
        assert_eq!(said(&client, name).await, told(name));
        let next = client.submit(&turn(name, "r-next", "hello")).await.unwrap().turn.unwrap();
        assert_eq!(next.turn_seq, 4);
    }
    let ready = server.get("/ready").unwrap();
    assert!(ready.starts_with("HTTP/1.1 200"), "one conversation is no reason to serve none");
    assert!(ready.contains("damaged conversations found: 1;"), "{ready}");
    assert_eq!(server.terminate(), Some(0));
}

/// What is read at the start is told at the start, and stays told.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_the_start_finds_is_in_its_log_and_in_readiness() {
    let place = Place::new();
    let server = place.start();
    talk(&server.client().await, &["ada", "bob"]).await;
    assert_eq!(server.terminate(), Some(0));
    damage(&place, "bob says 1");
    // Without its index the start reads the whole journal.
    fs::remove_dir_all(place.data_dir().join("index")).unwrap();
    for life in 0..2 {
        let log = place.path().join("log");
        let server = place.start_logging(&["--log-filter", "info"], &log);
        let client = server.client().await;
        is_refused(&client, "bob").await;
        let writing = client.submit(&turn("bob", "r-new", "hello")).await.unwrap_err();
        assert_eq!((writing.code(), writing.reason()), (Code::DataLoss, "DATA_CORRUPT"));
        assert_eq!(said(&client, "ada").await, told("ada"));
        let ready = server.get("/ready").unwrap();
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        is_told(&log, &ready);
        assert!(server.get("/metrics").unwrap().contains("colloquy_store_damaged 1"), "start {life}");
        assert_eq!(server.terminate(), Some(0));
    }
}

fn is_told(log: &Path, ready: &str) {
    let log = read(log);
    let line = log.lines().find(|line| line.contains("the conversation is quarantined")).expect("a line of it");
    assert!(line.contains("ERROR") && line.contains("acme/bob"), "{line}");
    assert!(!log.contains("says"), "nothing that was said is in the log");
    assert!(ready.contains("damaged conversations found: 1;"), "{ready}");
}
