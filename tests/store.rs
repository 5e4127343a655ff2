//! What an operator does with a store's folder: check it, measure it, back it up, bring it back.

use std::{fs, path::Path};

use colloquy_client::Key;
use serde_json::Value;
use tonic::Code;

use crate::harness::{Place, Server, run, stderr, stdout, turn};

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

/// What a command prints as JSON, and its exit code.
fn json(arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let ran = run(&[arguments, &["--json"]].concat());
    let lines = stdout(&ran).lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    (lines, ran.status.code())
}

async fn talk(server: &Server, conversation: &str, turns: std::ops::Range<u64>) {
    let client = server.client().await;
    for number in turns {
        let request_id = format!("{conversation}-{number}");
        client.submit(&turn(conversation, &request_id, "where is order AB-1234?")).await.expect("a turn");
    }
}

/// CR-11: a backup made while the server answers, a drill of its return, and clients that learn that history moved back.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_server_is_brought_back_and_watchers_are_told_what_is_gone() {
    let place = Place::new();
    let server = place.start();
    talk(&server, "early", 0..5).await;
    let (data, backup) = (place.data_dir(), place.path().join("backup"));
    let (lines, code) = json(&["store", "backup", "--data-dir", text(&data), text(&backup), "--verify"]);
    assert_eq!(code, Some(0));
    assert!(lines[0]["files"].as_u64().unwrap() >= 2 && lines[0]["bytes"].as_u64().unwrap() > 0);

    talk(&server, "early", 5..8).await;
    talk(&server, "late", 0..2).await;
    let client = server.client().await;
    let key = Key::new("acme", "early");
    let seen = client.conversation(&key).await.unwrap().head.unwrap();
    let (checked, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!((code, &checked[0]["sound"], checked[0]["turns"].as_u64()), (Some(0), &Value::Bool(true), Some(10)));
    assert_eq!(server.terminate(), Some(0));

    let restored = Place::new();
    let (target, from) = (restored.data_dir(), text(&backup).to_owned());
    let (_, code) = json(&["store", "restore", &from, "--data-dir", text(&target)]);
    assert_eq!(code, Some(0));
    let server = restored.start();
    let client = server.client().await;
    assert_eq!(client.turns(&key, 1, 100).await.unwrap().turns.len(), 5);
    let gone = client.conversation(&Key::new("acme", "late")).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let told = match client.watch(&key, 0, Some(seen)).await {
        Err(error) => error,
        Ok(mut events) => events.message().await.unwrap_err(),
    };
    assert_eq!((told.code(), told.reason()), (Code::Aborted, "HISTORY_CHANGED"));
    // What was sent before is answered as it was; the sequence goes on.
    let again = client.submit(&turn("early", "early-4", "where is order AB-1234?")).await.unwrap();
    assert_eq!(again.turn.unwrap().turn_seq, 5);
    talk(&server, "early", 5..6).await;
    assert_eq!(client.conversation(&key).await.unwrap().head.unwrap().turn_seq, 6);
}

#[tokio::test]
async fn figures_of_a_store_are_told_to_people_and_programs() {
    let place = Place::new();
    let server = place.start();
    talk(&server, "c", 0..4).await;
    server.terminate();
    let data = place.data_dir();
    let (figures, code) = json(&["store", "stats", "--data-dir", text(&data)]);
    let figures = &figures[0];
    assert_eq!((code, figures["turns"].as_u64(), figures["faults"].as_u64()), (Some(0), Some(4), Some(0)));
    assert!(figures["bytes_per_turn"].as_u64().unwrap() > 0);
    let told = run(&["store", "stats", "--data-dir", text(&data)]);
    let told = stdout(&told);
    for expected in ["conversations", "turns", "bytes each on disk", "on disk for each byte", "backups known"] {
        assert!(told.contains(expected), "{expected} is missing in {told}");
    }
}

#[tokio::test]
async fn damage_is_told_by_conversation_and_exit_code() {
    let place = Place::new();
    let server = place.start();
    talk(&server, "hurt", 0..3).await;
    talk(&server, "well", 0..3).await;
    server.terminate();
    let data = place.data_dir();
    let segment = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    // In the text of the last turn of the first conversation.
    let texts: Vec<_> = bytes.windows(9).enumerate().filter(|(_, found)| *found == b"where is ").collect();
    let at = texts[texts.len() / 2 - 1].0;
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();

    let (found, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!((code, found[0]["faults"].as_u64()), (Some(1), Some(1)), "{found:?}");
    assert_eq!(found[0]["listed"][0]["conversation"], "acme/hurt");
    assert_eq!(found[0]["listed"][0]["problem"], "body checksum does not fit");
    let told = run(&["store", "verify", "--data-dir", text(&data)]);
    assert!(stdout(&told).contains("damaged: acme/hurt: body checksum does not fit, in segment"), "{}", stdout(&told));
    let told = run(&["store", "stats", "--data-dir", text(&data)]);
    assert_eq!(told.status.code(), Some(1));
    assert!(stderr(&told).contains("fix: `colloquy store verify` tells what"), "{}", stderr(&told));
    let (figures, code) = json(&["store", "stats", "--data-dir", text(&data)]);
    assert_eq!((code, figures[0]["faults"].as_u64()), (Some(1), Some(1)), "a program is told what a person is");
    // A backup of it says so.
    let backup = place.path().join("backup");
    let made = run(&["store", "backup", "--data-dir", text(&data), text(&backup), "--verify"]);
    assert_eq!(made.status.code(), Some(1));
    assert!(stderr(&made).contains("acme/hurt") && stderr(&made).contains("fix: "), "{}", stderr(&made));
}

/// Only the index knows where conversations end.
#[tokio::test]
async fn a_segment_that_is_lost_from_the_end_is_told_by_the_conversations_that_stood_in_it() {
    let place = Place::new();
    for (conversation, turns) in [("early", 0..2), ("late", 0..3)] {
        let server = place.start();
        talk(&server, "both", turns.clone()).await;
        talk(&server, conversation, turns).await;
        if conversation == "late" {
            talk(&server, "both", 2..4).await;
            let data = place.data_dir();
            let (found, code) = json(&["store", "verify", "--data-dir", text(&data)]);
            assert_eq!((code, &found[0]["index"]["checked"]), (Some(0), &Value::Bool(false)), "{found:?}");
            let told = run(&["store", "verify", "--data-dir", text(&data)]);
            assert!(stdout(&told).contains("index not checked: the store is in use"), "{}", stdout(&told));
        }
        assert_eq!(server.terminate(), Some(0));
    }
    let data = place.data_dir();
    let (found, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!((code, &found[0]["index"]["checked"]), (Some(0), &Value::Bool(true)), "{found:?}");

    let last = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let kept = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    let (found, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!(code, Some(1), "{found:?}");
    let of = |conversation: &str| {
        let named = Value::from(format!("acme/{conversation}"));
        let fault = found[0]["listed"].as_array().unwrap().iter().find(|fault| fault["conversation"] == named)?;
        fault["problem"].as_str().map(str::to_owned)
    };
    assert_eq!(of("both").as_deref(), Some("the index knows it up to record 5, the journal ends at record 3"));
    assert_eq!(of("late").as_deref(), Some("the index knows it up to record 4, the journal has nothing of it"));
    assert_eq!(of("early"), None, "all of it is there");
    let told = run(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!(told.status.code(), Some(1));
    assert!(stdout(&told).contains("damaged: acme/late: the index knows it"), "{}", stdout(&told));

    fs::write(&last, kept).unwrap();
    let index = data.join("index");
    fs::write(index.join("db"), [0x55; 4096]).unwrap();
    let (found, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!(code, Some(1), "{found:?}");
    let problem = found[0]["listed"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("the index cannot be read"), "{problem}");
    fs::remove_dir_all(&index).unwrap();
    let (found, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!((code, &found[0]["index"]["checked"]), (Some(0), &Value::Bool(false)), "it is made anew: {found:?}");
}

#[tokio::test]
async fn bad_folders_are_told_with_what_to_do() {
    let place = Place::new();
    let (absent, strange) = (place.path().join("absent"), place.path().join("strange"));
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("letters.txt"), "dear reader").unwrap();
    let (absent, strange) = (text(&absent), text(&strange));
    let server = place.start();
    talk(&server, "c", 0..2).await;
    server.terminate();
    let data = place.data_dir();
    let data = text(&data);
    let target = place.path().join("target");
    let target = text(&target);
    let fresh = place.path().join("fresh");
    let fresh = text(&fresh);
    let cases: [(&[&str], i32, &str); 10] = [
        (&["store", "verify", "--data-dir", absent], 2, "no store"),
        (&["store", "verify", "--data-dir", strange], 2, "no store"),
        (&["store", "stats", "--data-dir", absent], 2, "no store"),
        (&["store", "backup", "--data-dir", absent, target], 2, "no store"),
        (&["store", "backup", "--data-dir", data, strange], 2, "is not empty"),
        (&["store", "backup", "--data-dir", data, "/proc/nowhere"], 5, "cannot be read or written"),
        (&["store", "restore", strange, "--data-dir", fresh], 2, "is no backup"),
        (&["store", "restore", absent, "--data-dir", fresh], 2, "is no backup"),
        (&["store", "verify", "--data-dir", data, "--receipt", absent], 2, "give the file that"),
        (&["store", "backup", "--data-dir", data], 2, "required arguments were not provided"),
    ];
    for (arguments, code, problem) in cases {
        let ran = run(arguments);
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {}{}", stdout(&ran), stderr(&ran));
        assert!(stderr(&ran).contains(problem), "{arguments:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains("fix: ") || stderr(&ran).contains("Usage: "), "{arguments:?}: {}", stderr(&ran));
    }

    // What an interrupted backup leaves is no backup, and a file that was changed since is noticed.
    let ran = run(&["store", "backup", "--data-dir", data, target, "--copy"]);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let manifest = Path::new(target).join("BACKUP.json");
    let kept = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    let ran = run(&["store", "restore", target, "--data-dir", fresh]);
    assert_eq!(ran.status.code(), Some(2), "{}", stderr(&ran));
    fs::write(&manifest, kept).unwrap();
    let segment = fs::read_dir(Path::new(target).join("journal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[500] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = run(&["store", "restore", target, "--data-dir", fresh]);
    assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("is not as it was written"), "{}", stderr(&ran));
    let ran = run(&["store", "verify", "--data-dir", fresh]);
    assert_eq!(ran.status.code(), Some(2), "half a store is none: {}", stderr(&ran));

    // The file that names the store.
    let name = Path::new(data).join("STORE");
    let mut bytes = fs::read(&name).unwrap();
    bytes[20] ^= 1;
    fs::write(&name, bytes).unwrap();
    let ran = run(&["store", "verify", "--data-dir", data]);
    assert_eq!(ran.status.code(), Some(5), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("the file that names the store is damaged"), "{}", stderr(&ran));
}

/// Exports of a tenant brought into another store: the same histories, which go on.
#[tokio::test(flavor = "multi_thread")]
async fn exports_are_brought_in_once_and_go_on() {
    let place = Place::new();
    // A few starts, so that the records have epochs that a new store has not.
    for start in 0..3 {
        let server = place.start();
        talk(&server, "one", start * 20..start * 20 + 20).await;
        talk(&server, "two", start..start + 1).await;
        if start == 2 {
            let exports = place.path().join("exports");
            let all = ["--addr", &server.grpc, "--tenant", "acme", "export", "--all", "--out", text(&exports)];
            let exported = run(&all);
            assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
        }
        server.terminate();
    }
    let exports = place.path().join("exports");
    let target = Place::new();
    let data = target.data_dir();
    let import = ["store", "import", text(&exports), "--data-dir", text(&data)];
    let (told, code) = json(&import);
    assert_eq!((code, told[0]["imported"].as_u64(), told[0]["failed"].as_u64()), (Some(0), Some(2), Some(0)));
    let (told, code) = json(&import);
    assert_eq!((code, told[0]["imported"].as_u64(), told[0]["was_there"].as_u64()), (Some(0), Some(0), Some(2)));
    let (checked, code) = json(&["store", "verify", "--data-dir", text(&data)]);
    assert_eq!((code, checked[0]["turns"].as_u64()), (Some(0), Some(63)));

    let server = target.start();
    let client = server.client().await;
    let again = client.submit(&turn("one", "one-59", "where is order AB-1234?")).await.unwrap();
    assert_eq!(again.turn.unwrap().turn_seq, 60, "a request id that was used before");
    talk(&server, "one", 60..61).await;
    assert_eq!(client.conversation(&Key::new("acme", "one")).await.unwrap().head.unwrap().turn_seq, 61);
    server.terminate();

    // The older export holds nothing more; another history under the same key is told apart.
    let (told, code) = json(&import);
    assert_eq!((code, told[0]["was_there"].as_u64()), (Some(0), Some(2)));
    let other = Place::new();
    let server = other.start();
    talk(&server, "one", 0..1).await;
    server.terminate();
    let other_data = other.data_dir();
    let ran = run(&["store", "import", text(&exports), "--data-dir", text(&other_data)]);
    assert_eq!(ran.status.code(), Some(1), "{}", stdout(&ran));
    assert!(stderr(&ran).contains("acme/one is there with another history\n  fix: "), "{}", stderr(&ran));
    assert!(stdout(&ran).contains("1 conversations imported"), "{}", stdout(&ran));

    // A file that was changed is not brought in at all.
    let file = exports.join("acme").join("two.jsonl");
    let changed = fs::read_to_string(&file).unwrap().replacen("\"turn_seq\":1", "\"turn_seq\":9", 1);
    fs::write(&file, changed).unwrap();
    let fresh = Place::new();
    let fresh_data = fresh.data_dir();
    let ran = run(&["store", "import", text(&file), "--data-dir", text(&fresh_data)]);
    assert_eq!(ran.status.code(), Some(1), "{}", stdout(&ran));
    assert!(stderr(&ran).contains("fix: export the conversation again"), "{}", stderr(&ran));
    assert!(!fresh_data.exists(), "nothing was begun");
    let ran = run(&["store", "import", text(&fresh_data), "--data-dir", text(&data)]);
    assert_eq!(ran.status.code(), Some(2), "{}", stderr(&ran));
}
