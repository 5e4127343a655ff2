//! Erasing, by the command and over gRPC: what was said is in no file any more, and nobody else notices. CR-03, CR-05,
//! CR-11: a person's conversations can be found, are forgotten on request, and a receipt shows it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use colloquy_client::{Client, Key, Turn};
use colloquy_store::{
    ConversationStore as _,
    journal::{JournalOptions, JournalStore},
};
use colloquy_types::{ConversationKey, ConversationUid, SystemClock, SystemEntropy};
use serde_json::Value;

use crate::harness::{Place, Server, run, stderr, stdout, turn};

/// A settings file with small segments.
fn settings(place: &Place) -> String {
    let file = place.path().join("colloquy.toml");
    std::fs::write(&file, "[store]\nsegment = \"1 MiB\"\n").unwrap();
    file.to_str().unwrap().to_owned()
}

/// The files below `folder` in which `text` stands.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|part| part == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

/// Runs `colloquy erase` against the server; its exit code, and the lines that it printed.
fn erase(server: &Server, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let call = ["erase", "--addr", &server.grpc, "--tenant", "acme", "--json"];
    let erased = run(&[&call[..], arguments].concat());
    let lines = stdout(&erased).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if erased.status.code() != Some(0) {
        eprintln!("{}", stderr(&erased));
    }
    (erased.status.code(), lines)
}

async fn names(client: &Client, tenant: &str) -> Vec<String> {
    let page = client.conversations(tenant, 100, "").await.unwrap();
    page.conversations.into_iter().filter_map(|row| row.key).map(|key| key.conversation).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_is_in_no_file_after_an_erasure_and_others_are_intact() {
    const SAID: &str = "cancel order A-1001, says Quetzalcoatl";
    let place = Place::new();
    let config = settings(&place);
    let server = place.start_with(&["--config", &config]);
    let client = server.client().await;
    for n in 0..40 {
        for conversation in ["chichimeca-17", "kept"] {
            let said = if conversation == "kept" { "cancel order B-2002, says Popocatepetl" } else { SAID };
            client.submit(&turn(conversation, &format!("r-{n}"), said)).await.unwrap();
        }
    }
    let key = Key::new("acme", "chichimeca-17");
    let mut watch = client.watch(&key, 41, None).await.unwrap();
    let (journal, folder) = (place.data_dir().join("journal"), place.data_dir());
    assert!(!holding(&journal, "Quetzalcoatl").is_empty() && !holding(&journal, "chichimeca-17").is_empty());
    let kept = client.turns(&Key::new("acme", "kept"), 1, 100).await.unwrap();

    let receipts = place.path().join("receipts.jsonl");
    let arguments = ["chichimeca-17", "--yes", "--compact", "--receipts", receipts.to_str().unwrap()];
    let (code, lines) = erase(&server, &arguments);
    assert_eq!(code, Some(0));
    assert!(lines[0]["compacted"]["segments_rewritten"].as_u64().unwrap() > 0, "{lines:?}");
    assert_eq!((&lines[1]["erased"], &lines[1]["failed"]), (&1.into(), &0.into()));

    assert_eq!(holding(&folder, "Quetzalcoatl"), Vec::<PathBuf>::new());
    assert_eq!(holding(&journal, "chichimeca-17"), Vec::<PathBuf>::new());
    assert!(!holding(&journal, "Popocatepetl").is_empty());
    assert_eq!(client.turns(&Key::new("acme", "kept"), 1, 100).await.unwrap(), kept);
    assert_eq!(watch.message().await.unwrap_err().reason(), "CONVERSATION_ERASED");
    assert_eq!(client.conversation(&key).await.unwrap_err().reason(), "CONVERSATION_NOT_FOUND");
    assert_eq!(erase(&server, &["chichimeca-17", "--yes"]).0, Some(4), "it is not there");

    // The receipt leads to what is left of it: a chain of headers without a body.
    let receipt: Value = serde_json::from_str(std::fs::read_to_string(&receipts).unwrap().trim()).unwrap();
    assert_eq!(receipt["records_erased"].as_u64().unwrap() + 1, receipt["head"]["record_no"].as_u64().unwrap());
    assert_eq!(
        (receipt["head"]["turn_seq"].as_u64(), receipt["backups_not_covered"].as_array()),
        (Some(40), Some(&vec![]))
    );
    assert_eq!(receipt["store"].as_str().map(str::len), Some(32));
    assert!(!receipt.to_string().contains("chichimeca"), "{receipt}");
    assert_eq!(server.terminate(), Some(0));
    let data_dir = place.data_dir();
    let (data_dir, receipt_file) = (data_dir.to_str().unwrap(), receipts.to_str().unwrap());
    let checked = run(&["store", "verify", "--data-dir", data_dir, "--receipt", receipt_file, "--json"]);
    let found: Value = serde_json::from_str(stdout(&checked).lines().next().unwrap()).unwrap();
    assert_eq!((checked.status.code(), &found["gone"]), (Some(0), &Value::Bool(true)), "{found}");
    let options = JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::new(place.data_dir()) };
    let store = JournalStore::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
    let uid = ConversationUid::parse(receipt["uid"].as_str().unwrap()).unwrap();
    let left = store.erasure(uid).await.unwrap();
    assert!(left.is_complete() && left.chain_holds, "{left:?}");
    assert_eq!(left.head.hash.to_string(), receipt["head"]["hash"].as_str().unwrap());
    assert_eq!(store.verify(&ConversationKey::from_parts("acme", "kept").unwrap()).await.unwrap().turns, 40);
    store.close().await;

    // The key begins anew, and a request id of before is a new one.
    let server = place.start_with(&["--config", &config]);
    let client = server.client().await;
    let anew = client.submit(&turn("chichimeca-17", "r-0", "hello")).await.unwrap();
    assert_eq!((anew.turn.unwrap().turn_seq, anew.replayed), (1, false));
    assert_eq!(client.turns(&Key::new("acme", "kept"), 1, 100).await.unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_conversations_are_erased_and_no_others_then_a_tenants() {
    let place = Place::new();
    let config = settings(&place);
    let server = place.start_with(&["--config", &config]);
    let client = server.client().await;
    for (conversation, subject) in [("a", "ada"), ("b", "bob"), ("c", "ada"), ("d", "")] {
        let about = Turn { subject: subject.to_owned(), ..turn(conversation, "r-0", "hello") };
        client.submit(&about).await.unwrap();
    }
    let others = Turn { key: Key::new("globex", "a"), subject: "ada".to_owned(), ..turn("a", "r-0", "hello") };
    client.submit(&others).await.unwrap();
    let wrong = client.submit(&Turn { subject: "bob".to_owned(), ..turn("a", "r-1", "hello") }).await.unwrap_err();
    assert_eq!(wrong.reason(), "WRONG_SUBJECT");
    assert!(!wrong.message().contains("ada") && !wrong.message().contains("bob"), "{}", wrong.message());

    assert_eq!(erase(&server, &["--subject", "ada"]).0, Some(2), "nobody was there to confirm it");
    assert_eq!(erase(&server, &["--yes"]).0, Some(2), "it does not say what");
    assert_eq!(names(&client, "acme").await, ["a", "b", "c", "d"]);
    let (code, lines) = erase(&server, &["--subject", "ada", "--yes", "--reason", "ticket 4711"]);
    assert_eq!((code, lines.len()), (Some(0), 3));
    assert_eq!((lines[0]["reason"].as_str(), &lines[2]["erased"]), (Some("ticket 4711"), &2.into()));
    assert_eq!(names(&client, "acme").await, ["b", "d"]);

    // Asked again with its uid, an erasure leaves alone what came after it.
    let uid = client.conversation(&Key::new("acme", "b")).await.unwrap().uid;
    client.erase(&Key::new("acme", "b"), "e-1", Some(&uid), "").await.unwrap();
    client.submit(&turn("b", "r-0", "hello")).await.unwrap();
    let again = client.erase(&Key::new("acme", "b"), "e-1", Some(&uid), "").await.unwrap_err();
    assert_eq!(again.reason(), "CONVERSATION_NOT_FOUND");

    let (code, lines) = erase(&server, &["--all-of-tenant", "--yes"]);
    assert_eq!((code, &lines[2]["erased"]), (Some(0), &2.into()));
    assert!(names(&client, "acme").await.is_empty());
    assert_eq!(names(&client, "globex").await, ["a"]);
    assert_eq!(client.runtime().await.unwrap().erasures_pending, 5);
    client.compact(crate::harness::DEADLINE).await.unwrap();
    assert_eq!(client.runtime().await.unwrap().erasures_pending, 0);
}

/// What a command of `colloquy store` printed as JSON; it ends with 0.
fn store(arguments: &[&str]) -> Value {
    let ran = run(&[&["store"], arguments, &["--json"]].concat());
    assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {}", stderr(&ran));
    serde_json::from_str(stdout(&ran).lines().next().unwrap()).unwrap()
}

/// The backups that the receipt of an erasure names; a turn is made first.
async fn backups_named(server: &Server, conversation: &str) -> Vec<String> {
    let client = server.client().await;
    client.submit(&turn(conversation, "r-0", "hello")).await.unwrap();
    let (code, lines) = erase(server, &[conversation, "--yes"]);
    assert_eq!((code, &lines[0]["backups_unknown"]), (Some(0), &Value::Bool(false)), "{lines:?}");
    let named = lines[0]["backups_not_covered"].as_array().unwrap().iter();
    named.map(|backup| backup["path"].as_str().unwrap().to_owned()).collect()
}

/// A receipt that names too few backups is worse than none.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_names_every_backup_also_of_a_store_that_was_brought_back_from_one() {
    let (place, restored) = (Place::new(), Place::new());
    let paths = ["first", "second"].map(|name| place.path().canonicalize().unwrap().join(name).display().to_string());
    let data_dir = place.data_dir().display().to_string();
    let server = place.start();
    server.client().await.submit(&turn("kept", "r-0", "hello")).await.unwrap();
    assert!(backups_named(&server, "none").await.is_empty());
    for (number, path) in paths.iter().enumerate() {
        let made = store(&["backup", "--data-dir", &data_dir, path]);
        assert_eq!(made["listed"], true);
        assert_eq!(backups_named(&server, "one").await, paths[..=number], "as soon as it is there");
    }
    assert_eq!(server.terminate(), Some(0));

    // Moved since: both where it was and where it is now may be what somebody must remove.
    let moved = place.path().canonicalize().unwrap().join("moved");
    std::fs::rename(&paths[0], &moved).unwrap();
    let moved = moved.display().to_string();
    let target = restored.data_dir().display().to_string();
    store(&["restore", &moved, "--data-dir", &target]);
    let server = restored.start();
    assert_eq!(backups_named(&server, "kept").await, [paths[0].as_str(), moved.as_str()]);
    assert_eq!(server.terminate(), Some(0));
    let again = Place::new();
    let target = again.data_dir().display().to_string();
    store(&["restore", &paths[1], "--data-dir", &target]);
    let server = again.start();
    assert_eq!(backups_named(&server, "kept").await, paths, "the source is named once");

    // A list that cannot be read may hide any number of them.
    std::fs::write(again.data_dir().join("BACKUPS.jsonl"), "{\"taken_at_us\":1,\n").unwrap();
    server.client().await.submit(&turn("last", "r-0", "hello")).await.unwrap();
    let (code, lines) = erase(&server, &["last", "--yes"]);
    assert_eq!((code, &lines[0]["backups_unknown"]), (Some(0), &Value::Bool(true)), "{lines:?}");
}
