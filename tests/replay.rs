//! Conversations leave a server as files, and are decided again elsewhere.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::Output,
};

use colloquy_client::{Client, Key, v1::export_conversation_response::Event};
use colloquy_store::{
    Batch, Lease, RecordKind,
    export::{ExportLimits, ExportReader, ExportWriter, Item},
};
use colloquy_turn::TurnRecord;
use colloquy_types::{Activation, Epoch, Head};
use serde_json::Value;

use crate::harness::{Place, Server, run, stderr, stdout, turn};

const ORDER_DESK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/flows/order-desk");

/// Enough to cancel an order, over a digression, with a reset and a streamed turn on the way.
async fn converse(client: &Client, conversation: &str) {
    for (number, text) in ["cancel order A-1001", "opening hours?", "yes", "start over"].iter().enumerate() {
        client.submit(&turn(conversation, &format!("r-{number}"), text)).await.unwrap();
    }
    client.reset(&Key::new("acme", conversation), "reset-1", "a test").await.unwrap();
    let mut stream = client.stream(&turn(conversation, "streamed", "cancel order B-2002")).await.unwrap();
    while stream.message().await.unwrap().is_some() {}
}

/// More turns than fit between two snapshots.
async fn converse_at_length(client: &Client, conversation: &str) {
    for number in 0..150 {
        let text = ["cancel order A-1001", "no", "where is my order?", "C-3003"][number % 4];
        client.submit(&turn(conversation, &format!("r-{number}"), text)).await.unwrap();
    }
}

fn export(server: &Server, arguments: &[&str]) -> Output {
    run(&[&["export", "--addr", &server.grpc, "--tenant", "acme"], arguments].concat())
}

fn replay(arguments: &[&str]) -> (Option<i32>, String) {
    let replayed = run(&[&["replay"], arguments].concat());
    assert_eq!(stderr(&replayed), "");
    (replayed.status.code(), stdout(&replayed))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A server that is gone, and what was exported from it before: `short`, `long` and `other`.
async fn exported(place: &Place) -> PathBuf {
    let mut server = place.start();
    let client = server.client().await;
    converse(&client, "short").await;
    converse_at_length(&client, "long").await;
    let mut other = turn("other", "r-1", "when do you open?");
    other.flow = "faq-desk".to_owned();
    client.submit(&other).await.unwrap();
    let folder = place.path().join("exports");
    let all = export(&server, &["--all", "--out", text(&folder)]);
    assert_eq!(all.status.code(), Some(0), "{}", stderr(&all));
    assert!(stdout(&all).starts_with("3 conversations exported, "), "{}", stdout(&all));
    server.kill();
    folder.join("acme")
}

/// CE-007: a conversation is exported from a running server and replayed without it.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_live_server_replays_to_what_was_recorded_after_it_is_gone() {
    let place = Place::new();
    let folder = exported(&place).await;
    let long = fs::read_to_string(folder.join("long.jsonl")).unwrap();
    assert!(long.contains("\"kind\":\"snapshot\""), "snapshots are part of a long history");
    let short = fs::read_to_string(folder.join("short.jsonl")).unwrap();
    for kind in ["created", "turn", "control", "accepted"] {
        assert!(short.contains(&format!("\"kind\":\"{kind}\"")), "{kind} is part of the history");
    }
    let (code, told) = replay(&[text(place.path().join("exports").as_path())]);
    assert_eq!((code, told.as_str()), (Some(0), "156 turns replayed: 3 identical, 0 different, 0 unreadable\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_in_two_processes_and_on_any_number_of_threads_print_the_same() {
    let place = Place::new();
    let folder = exported(&place).await;
    let changed = changed_flow(&place, "Do you want me to cancel", "Shall I cancel");
    let long = fs::read(folder.join("long.jsonl")).unwrap();
    for copy in 0..20 {
        fs::write(folder.join(format!("copy-{copy}.jsonl")), &long).unwrap();
    }
    for more in [&["--json"][..], &["--against", text(&changed)], &["--against", text(&changed), "--json"]] {
        let told: Vec<_> = ["1", "1", "7"]
            .map(|jobs| replay(&[&[text(&folder), "--jobs", jobs], more].concat()))
            .into_iter()
            .collect();
        assert!(told[0].1.lines().count() > 20, "{}", told[0].1);
        assert_eq!(told[0], told[1], "two processes");
        assert_eq!(told[0], told[2], "several threads");
    }
}

/// A copy of the order desk with one text replaced.
fn changed_flow(place: &Place, from: &str, to: &str) -> PathBuf {
    let folder = place.path().join("changed");
    fs::create_dir(&folder).unwrap();
    let mut replaced = 0;
    for file in ["flow.yaml", "responses.yaml"] {
        let source = fs::read_to_string(Path::new(ORDER_DESK).join(file)).unwrap();
        replaced += source.matches(from).count();
        fs::write(folder.join(file), source.replace(from, to)).unwrap();
    }
    assert!(replaced > 0, "{from} is in the flow");
    folder
}

/// CE-007: a changed revision gives a report.
#[tokio::test(flavor = "multi_thread")]
async fn another_flow_is_reported_by_turn_and_in_sum_and_the_same_flow_changes_nothing() {
    let place = Place::new();
    let folder = exported(&place).await;
    let (code, told) = replay(&[text(&folder), "--against", ORDER_DESK]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1 conversations of other flows were passed over"), "{told}");
    assert!(told.ends_with("2 identical, 0 different, 0 unreadable\n"), "{told}");

    // The other desk does not take a yes for one.
    let changed = changed_flow(&place, "\nlimits:", "\nacts: {affirm: ['^ja$']}\n\nlimits:");
    let (code, told) = replay(&[text(&folder), "--against", text(&changed)]);
    assert_eq!(code, Some(1), "{told}");
    for expected in [
        "different acme/short",
        "    effect 0 (time) is no longer asked for\n",
        "  turn 3 user yes\n    moves cancel.confirm -> cancel.done\n    now   cancel.confirm -> cancel.confirm\n",
        "2 of 155 turns change on order-desk",
        "turns by kind of change: effect 1, reply 1, transition 2",
        "transitions most often changed:\n       1  cancel.confirm -> cancel.done\n",
        "now  cancel.confirm -> cancel.confirm acme/short turn 3\n",
    ] {
        assert!(told.contains(expected), "{expected} is missing in {told}");
    }
    assert!(told.ends_with("155 turns replayed: 1 identical, 1 different, 0 unreadable\n"), "{told}");
    let (_, json) = replay(&[text(&folder), "--against", text(&changed), "--json"]);
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<_> = lines.iter().filter_map(|line| line["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["identical", "passed_over", "different"]);
    assert_eq!(lines[3]["summary"]["transitions"][0]["examples"][0][0], "acme/short");
}

/// The same conversation with one turn that says something else, whole and sealed: as if another program had
/// decided it.
fn decided_otherwise(export: &Path, turn_seq: u64) -> Vec<u8> {
    let open = || ExportReader::open(BufReader::new(File::open(export).unwrap()), ExportLimits::default()).unwrap();
    let header = open().header().clone();
    let mut writer = ExportWriter::begin(Vec::new(), &header, ExportLimits::default()).unwrap();
    let (epoch, activation) = (Epoch::new(1), Activation::new(1));
    let lease = Lease { key: header.key.clone(), uid: header.uid, epoch, activation };
    let (mut head, mut reader) = (Head::default(), open());
    while let Some(item) = reader.next_item().unwrap() {
        let row = match item {
            Item::Revision(revision) => {
                writer.revision(&revision).unwrap();
                continue;
            }
            Item::Record(row) => row.record,
        };
        let mut payload = row.payload;
        if row.header.kind == RecordKind::Turn && row.header.turn_seq.get() == turn_seq {
            let mut turn = TurnRecord::decode(&payload).unwrap();
            turn.reply.text = "Certainly not.".to_owned();
            turn.stages.remove(4);
            payload = turn.encode().unwrap();
        }
        let mut batch = Batch::new(&lease, &head);
        let pushed = match row.header.kind {
            RecordKind::Created => batch.push_created(row.header.time, [1; 16], &lease.key, &payload),
            kind => batch.push(kind, row.header.time, [1; 16], &payload),
        };
        pushed.unwrap();
        writer.record(batch.bytes(), &()).unwrap();
        head = batch.head_after();
    }
    writer.end().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_was_decided_otherwise_is_shown_stage_by_stage() {
    let place = Place::new();
    let folder = exported(&place).await;
    let other = place.path().join("otherwise.jsonl");
    fs::write(&other, decided_otherwise(&folder.join("short.jsonl"), 2)).unwrap();
    let (code, told) = replay(&[text(&other), text(&folder)]);
    assert_eq!(code, Some(1), "{told}");
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("different acme/short "), "{told}");
    assert_eq!(lines[1], "  turn 2, record 3: stage event 5 differs from what was recorded");
    assert_eq!(lines[2], "  user opening hours?");
    assert!(lines[3].contains("recorded") && lines[3].ends_with("replayed"), "{told}");
    let (marked, same): (Vec<&str>, Vec<&str>) = lines[4..].iter().partition(|line| line.starts_with("  ! "));
    assert!(same[0].contains("guard passed") && same.iter().any(|line| line.contains("changes")), "{told}");
    assert!(marked.iter().any(|line| line.contains("transition moved")), "{told}");
    assert!(marked.contains(&"  ! reply recorded  Certainly not."), "{told}");
    assert!(told.ends_with("3 identical, 1 different, 0 unreadable\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_or_cut_export_is_refused_with_line_and_fix() {
    let place = Place::new();
    let folder = exported(&place).await;
    let whole = fs::read_to_string(folder.join("short.jsonl")).unwrap();
    let bad = place.path().join("bad.jsonl");
    let refused = |content: &str| {
        fs::write(&bad, content).unwrap();
        let (code, told) = replay(&[text(&bad)]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("bad.jsonl: line ") && told.contains("fix: "), "{told}");
        assert!(told.ends_with("0 identical, 0 different, 1 unreadable\n"), "{told}");
        told
    };
    // What a person reads, and what the program does.
    assert!(refused(&whole.replace("opening hours?", "opening times?")).contains("digest"));
    assert!(refused(&whole.replace("\"turn_seq\":2", "\"turn_seq\":3")).contains("turn_seq"));
    let at = whole.find("\"stored\":\"").unwrap() + 500;
    let letter = if &whole[at..=at] == "A" { "B" } else { "A" };
    refused(&format!("{}{letter}{}", &whole[..at], &whole[at + 1..]));
    assert!(refused(&whole[..whole.len() / 2]).contains("cut off"));
    let without_end = whole.lines().count() - 1;
    let lines: Vec<_> = whole.lines().take(without_end).collect();
    assert!(refused(&(lines.join("\n") + "\n")).contains("cut off"));
    // One unreadable file does not keep the others from being replayed.
    let (code, told) = replay(&[text(&bad), text(&folder)]);
    assert_eq!(code, Some(2));
    assert!(told.ends_with("3 identical, 0 different, 1 unreadable\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_export_of_all_goes_on_and_leaves_no_half_file() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    for number in 0..12 {
        client.submit(&turn(&format!("c-{number:02}"), "r-1", "hello")).await.unwrap();
    }
    let folder = place.path().join("exports");
    let figures = |arguments: &[&str]| -> Value {
        let all = export(&server, &[&["--all", "--json", "--out", text(&folder)], arguments].concat());
        assert_eq!(all.status.code(), Some(0), "{}", stderr(&all));
        serde_json::from_str(&stdout(&all)).unwrap()
    };
    // As an interrupted export would have left it: some are done, one is half written under its other name.
    assert_eq!(figures(&[])["exported"], 12);
    let acme = folder.join("acme");
    for missing in ["c-03", "c-07"] {
        fs::remove_file(acme.join(format!("{missing}.jsonl"))).unwrap();
    }
    fs::write(acme.join("c-07.jsonl.part"), "half").unwrap();
    let again = figures(&[]);
    assert_eq!((&again["exported"], &again["passed_over"]), (&2.into(), &10.into()));
    assert_eq!(figures(&["--force"])["exported"], 12);
    let names: Vec<_> = fs::read_dir(&acme).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(names.len() == 12 && !names.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{names:?}");
    assert_eq!(replay(&[text(&folder)]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_conversation_is_exported_to_a_file_or_to_standard_output() {
    let place = Place::new();
    let server = place.start();
    converse(&server.client().await, "c").await;
    let file = place.path().join("c.jsonl");
    let to_file = export(&server, &["c", "--out", text(&file)]);
    assert_eq!(to_file.status.code(), Some(0), "{}", stderr(&to_file));
    assert_eq!(export(&server, &["c", "--out", text(&file)]).status.code(), Some(2), "it is there already");
    let to_stdout = export(&server, &["c"]);
    let lines = |bytes: &[u8]| -> Vec<Value> {
        String::from_utf8_lossy(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (written, printed) = (lines(&fs::read(&file).unwrap()), lines(&to_stdout.stdout));
    let inner = 1..written.len() - 1;
    assert_eq!(written[inner.clone()], printed[inner], "but for the time and the digest they are the same");
    // The end names the head that replies carried.
    let head = server.client().await.conversation(&Key::new("acme", "c")).await.unwrap().head.unwrap();
    let hash: String = head.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written.last().unwrap()["end"]["hash"], hash);
    let absent = export(&server, &["nobody", "--out", text(&place.path().join("nobody.jsonl"))]);
    assert_eq!(absent.status.code(), Some(4));
    assert!(stderr(&absent).contains("CONVERSATION_NOT_FOUND"), "{}", stderr(&absent));
    assert!(!place.path().join("nobody.jsonl").exists());
}

/// CR-03: nothing of one tenant is exported to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_not_exported_under_another_tenant_and_logs_tell_nothing_of_it() {
    let place = Place::new();
    let log = place.path().join("log");
    let server = place.start_logging(&["--log-format", "json", "--log-filter", "debug"], &log);
    let client = server.client().await;
    client.submit(&turn("c", "r-1", "my-secret-4711")).await.unwrap();
    let foreign = client.export(&Key::new("umbrella", "c"), Vec::new()).await.unwrap_err();
    assert_eq!(foreign.reason(), "CONVERSATION_NOT_FOUND");
    let unknown = client.export(&Key::new("acme", "c"), vec!["xyz".to_owned()]).await.unwrap_err();
    assert_eq!(unknown.fields()[0].0, "known_revisions");
    let mut events = client.export(&Key::new("acme", "c"), Vec::new()).await.unwrap();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        kinds.push(match event.event.unwrap() {
            Event::Begun(begun) => format!("begun {}", begun.records),
            Event::Revision(revision) => format!("revision of {}", revision.source.len() > 1000),
            Event::Record(record) => record.kind,
            Event::Ended(ended) => format!("ended {}", ended.records),
        });
    }
    assert_eq!(kinds, ["begun 2", "revision of true", "created", "turn", "ended 2"]);
    assert_eq!(server.terminate(), Some(0));
    assert!(!fs::read_to_string(&log).unwrap().contains("my-secret-4711"), "the log tells what was said");
}

#[test]
fn what_cannot_be_replayed_at_all_is_a_usage_fault() {
    let place = Place::new();
    for arguments in [&["replay", "no-such-file"][..], &["replay", text(place.path())], &["replay"], &["export"]] {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", stderr(&refused));
    }
    let notes = place.path().join("notes.txt");
    fs::write(&notes, "hello").unwrap();
    let (code, told) = replay(&[text(&notes)]);
    assert!(code == Some(2) && told.contains("not an export") && told.contains("fix: "), "{told}");
}
