//! What a person at a terminal sees.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use crate::harness::{BINARY, Place, run, stderr, stdout};

/// CE-parity: the example flows run against a real server.
#[test]
fn the_demo_keeps_every_promise() {
    let demo = run(&["demo", "--json"]);
    assert_eq!(demo.status.code(), Some(0), "{}{}", stdout(&demo), stderr(&demo));
    let lines = stdout(&demo);
    let summary: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(summary["wrong"], 0);
    assert!(summary["turns"].as_u64().unwrap() > 40);
}

#[test]
fn every_command_has_help() {
    let commands = [
        "demo",
        "serve",
        "chat",
        "send",
        "turns",
        "watch",
        "reset",
        "erase",
        "export",
        "replay",
        "status",
        "flow",
        "models",
        "store",
        "completions",
    ];
    for command in commands {
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(stdout(&help).contains("Usage: colloquy"), "{command}");
    }
    assert_eq!(run(&["no-such-command"]).status.code(), Some(2));
}

/// MI-05: settings validated with bounds, all faults at once.
#[test]
fn settings_faults_are_told_at_once_with_their_places() {
    let place = Place::new();
    let file = place.path().join("colloquy.toml");
    std::fs::write(&file, "[listen]\ngrpc = \"nowhere\"\n[limits]\nqueue = 0\nspeed = 3\n").unwrap();
    let served = run(&["serve", "--config", file.to_str().unwrap(), "--engine", "punch-cards"]);
    assert_eq!(served.status.code(), Some(2));
    let told = stderr(&served);
    for expected in [
        "colloquy.toml:2:8: listen.grpc",
        "colloquy.toml:4:9: limits.queue",
        "colloquy.toml:5:9: limits.speed",
        "flag --engine: store.engine",
    ] {
        assert!(told.contains(expected), "{expected} is missing in {told}");
    }
    assert_eq!(told.matches("fix: ").count(), 4);
}

/// CE-006: lint with exit code.
#[test]
fn a_faulty_flow_is_told_with_line_column_and_fix() {
    let place = Place::new();
    std::fs::write(
        place.path().join("flow.yaml"),
        "format: colloquy.flow/v1\nname: broken\nstart: nowhere.at_all\nintents: {}\n",
    )
    .unwrap();
    let folder = place.path().to_str().unwrap().to_owned();
    let lint = run(&["flow", "lint", &folder]);
    assert_eq!(lint.status.code(), Some(1), "{}", stdout(&lint));
    let told = stdout(&lint);
    assert!(told.contains("flow.yaml:3:8: error["), "{told}");
    assert!(told.contains("\n  3 | start: nowhere.at_all\n    |        ^\n  fix: "), "{told}");
    let json = stdout(&run(&["flow", "lint", &folder, "--json"]));
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, faults) = lines.split_last().unwrap();
    assert_eq!(summary["summary"]["errors"], faults.len());
    assert!(faults.iter().all(|fault| fault["id"].is_string() && fault["line"].is_u64()), "{json}");
}

/// A sound flow but for one warning, in a folder of its own.
fn a_flow_with_a_warning(place: &Place, name: &str) -> String {
    let folder = place.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    let flow = format!(
        "format: colloquy.flow/v1\nname: {name}\nstart: a.b\nfallback: Hm.\nflags: [seen]\nintents: {{a: {{initial: b, \
         states: {{b: {{terminal: true}}}}}}}}\nresponses: [{{in: any, when: flags.seen, exact: Yes.}}, {{in: any, exact: No.}}]\n"
    );
    std::fs::write(folder.join("flow.yaml"), flow).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// CE-006: what counts as a fault is for the caller to say.
#[test]
fn warnings_count_when_they_are_denied_and_not_when_they_are_allowed() {
    let place = Place::new();
    let (one, two) = (a_flow_with_a_warning(&place, "one"), a_flow_with_a_warning(&place, "two"));
    let lint = |more: &[&str]| run(&[&["flow", "lint", &one, &two], more].concat());
    let told = lint(&[]);
    assert_eq!(told.status.code(), Some(0), "{}", stdout(&told));
    assert_eq!(stdout(&told).matches("warning[flag-never-raised]").count(), 2, "{}", stdout(&told));
    assert_eq!(lint(&["--deny", "warnings"]).status.code(), Some(1));
    let allowed = lint(&["--deny", "warnings", "--allow", "flag-never-raised", "--allow", "dead-end"]);
    assert_eq!(allowed.status.code(), Some(0), "{}", stdout(&allowed));
    assert!(!stdout(&allowed).contains("flag-never-raised"));
    for wrong in [&["--allow", "yaml"][..], &["--allow", "no-such-lint"], &["--deny", "everything"]] {
        assert_eq!(lint(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(run(&["flow", "lint"]).status.code(), Some(2));
}

#[test]
fn faults_of_scenarios_and_broken_promises_are_told() {
    let place = Place::new();
    let folder = a_flow_with_a_warning(&place, "one");
    let with = |scenarios: &str| {
        std::fs::write(std::path::Path::new(&folder).join("scenarios.yaml"), scenarios).unwrap();
        run(&["flow", "lint", &folder, "--json"])
    };
    let misspelt = with("scenarios: [{name: x, turns: [{sya: hello, reply: No.}]}]\n");
    assert_eq!(misspelt.status.code(), Some(1));
    assert!(stdout(&misspelt).contains("scenarios.yaml") && stdout(&misspelt).contains("unknown-key"));
    let broken = with("scenarios: [{name: x, turns: [{say: hello, reply: Yes.}]}]\n");
    assert_eq!(broken.status.code(), Some(1));
    assert!(stdout(&broken).contains(r#""failures":1"#), "{}", stdout(&broken));
    let kept = with("scenarios: [{name: x, turns: [{say: hello, reply: No.}]}]\n");
    assert_eq!(kept.status.code(), Some(0), "{}", stdout(&kept));
}

#[test]
fn every_lint_is_listed_and_explained() {
    let list = run(&["flow", "lint", "--list"]);
    assert_eq!(list.status.code(), Some(0));
    let list = stdout(&list);
    assert!(list.lines().count() >= 60, "{list}");
    for id in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let page = run(&["flow", "lint", "--explain", id]);
        assert!(stdout(&page).starts_with(&format!("# {id}\n")), "{id}");
    }
    assert_eq!(run(&["flow", "lint", "--explain", "no-such-lint"]).status.code(), Some(2));
}

/// CE-006: the example flows pass as they stand on disk.
#[test]
fn the_example_flows_pass_lint_from_disk() {
    for flow in ["order-desk", "faq-desk"] {
        let lint = run(&["flow", "lint", &format!("{}/src/server/flows/{flow}", env!("CARGO_MANIFEST_DIR"))]);
        assert_eq!(lint.status.code(), Some(0), "{}", stdout(&lint));
        assert!(stdout(&lint).contains(" 0 warnings"), "{}", stdout(&lint));
    }
}

/// A flow and two scenarios, of which the second promises something else.
fn greeter(place: &Place) -> String {
    let flow = "format: colloquy.flow/v1\nname: greeter\nstart: desk.idle\nfallback: Sorry?
intents: {desk: {initial: idle, classify: {keywords: [[hello, there]]}, states: {idle: {terminal: true}}}}
transitions: [{from: \"*\", to: desk.idle, by: intent}]
responses: [{in: desk.idle, when: recognised, exact: Hello.}, {in: desk.idle, exact: Yes?}]\n";
    let scenarios = "scenarios:
  - {name: greets, turns: [{say: hello there, reply: Hello.}]}
  - {name: wonders, turns: [{say: hm, reply: Yes?}, {say: hm, reply: No., restart: true}]}\n";
    for (file, text) in [("flow.yaml", flow), ("scenarios.yaml", scenarios)] {
        std::fs::write(place.path().join(file), text).unwrap();
    }
    place.path().to_str().unwrap().to_owned()
}

/// CE-008: scenarios are played in parallel and a failure says what each stage did.
#[test]
fn scenarios_are_played_and_a_failure_is_told_with_its_stages() {
    let place = Place::new();
    let folder = greeter(&place);
    let junit = place.path().join("report.xml");
    let played = run(&["flow", "test", &folder, "--jobs", "2", "--junit", junit.to_str().unwrap()]);
    let told = stdout(&played);
    assert_eq!(played.status.code(), Some(1), "{told}");
    assert!(told.contains("greeter: wonders, turn 2: reply\n  expected: No.\n  got:      Yes?\n"), "{told}");
    assert!(told.contains("    guard passed\n") && told.ends_with("1 passed, 1 failed\n"), "{told}");
    let report = std::fs::read_to_string(&junit).unwrap();
    assert!(report.contains("tests=\"2\" failures=\"1\""), "{report}");

    let json = stdout(&run(&["flow", "test", &folder, "--json"]));
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["passed"], &lines[1]["failure"]["turn"]), (&true.into(), &2.into()));
    assert_eq!(lines[2], serde_json::json!({ "passed": 1, "failed": 1 }));

    let chosen = run(&["flow", "test", &folder, "--filter", "greets"]);
    assert_eq!((chosen.status.code(), stdout(&chosen).as_str()), (Some(0), "1 passed, 0 failed\n"));
    let none = run(&["flow", "test", &folder, "--filter", "nobody"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("fix: "), "{}", stderr(&none));
}

#[test]
fn rows_that_nobody_misses_are_told_with_their_place() {
    let place = Place::new();
    let folder = greeter(&place);
    let failing = run(&["flow", "deletions", &folder]);
    assert_eq!(failing.status.code(), Some(1));
    assert!(stderr(&failing).contains("nothing was deleted yet, and scenario \"wonders\""), "{}", stderr(&failing));
    let sound = "scenarios: [{name: greets, turns: [{say: hello there, reply: Hello.}]}]";
    std::fs::write(place.path().join("scenarios.yaml"), sound).unwrap();
    let told = run(&["flow", "deletions", &folder, "--min", "100"]);
    assert_eq!(told.status.code(), Some(1), "{}", stdout(&told));
    let place_of_hello = "flow.yaml:5:56: nobody misses intents.desk.classify.keywords[1][hello]: \"hello\"\n";
    assert!(stdout(&told).contains(place_of_hello), "{}", stdout(&told));
    let enough = run(&["flow", "deletions", &folder, "--min", "50"]);
    assert_eq!(enough.status.code(), Some(0), "{}", stdout(&enough));
}

/// BO-07: how well attempts to steer the model are told from what customers write is measured, with floors.
#[test]
fn a_guard_is_measured_on_labelled_texts() {
    let json = run(&["flow", "guard", "--json", "--min-precision", "90", "--min-recall", "75"]);
    assert_eq!(json.status.code(), Some(0), "{}{}", stdout(&json), stderr(&json));
    let sum: serde_json::Value = serde_json::from_str(stdout(&json).lines().last().unwrap()).unwrap();
    assert_eq!((&sum["guard"], &sum["reached"]), (&"built-in signs".into(), &true.into()));
    assert!(sum["held_out"]["noticed"]["recall_per_mille"].as_u64() >= Some(750), "{sum}");
    assert!(sum["open"]["kinds"]["benign/near-miss"]["rows"].as_u64() >= Some(50), "{sum}");

    let place = Place::new();
    let folder = greeter(&place);
    let nothing = run(&["flow", "guard", &folder]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(stderr(&nothing).contains("greeter guards against nothing\n  fix: "), "{}", stderr(&nothing));

    let flow = std::fs::read_to_string(place.path().join("flow.yaml")).unwrap();
    let guarded = format!("{flow}guard: {{policies: [{{id: tea, contains: [teapot], block: No tea.}}]}}\n");
    std::fs::write(place.path().join("flow.yaml"), guarded).unwrap();
    let corpus = place.path().join("rows.tsv");
    let rows: String = (0..40).map(|row| format!("attack\ttea\tteapot {row}\nbenign\tcup\tcup {row}\n")).collect();
    let measure = |rows: &str, floors: &[&str]| {
        std::fs::write(&corpus, rows).unwrap();
        run(&[&["flow", "guard", &folder, "--corpus", corpus.to_str().unwrap()], floors].concat())
    };
    let floors = ["--min-precision", "100", "--min-recall", "100"];
    let perfect = measure(&rows, &floors);
    assert_eq!(perfect.status.code(), Some(0), "{}", stdout(&perfect));
    assert!(stdout(&perfect).contains("precision 100.0 %, recall 100.0 %, F1 100.0 %"), "{}", stdout(&perfect));

    let missing = rows.replace("cup 7", "teapot and cup").replace("teapot 3\n", "tea pot\u{1b}[2J\n");
    let missing = measure(&missing, &floors);
    let told = stdout(&missing);
    assert_eq!(missing.status.code(), Some(1), "{told}");
    assert!(told.contains("not reached: precision 100 %, recall 100 %"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told}");

    let bad = measure("attack\ttea\tteapot\nawful\ttea\tpot\n", &[]);
    assert_eq!(bad.status.code(), Some(1));
    let bad = stdout(&bad);
    let place = "rows.tsv:2:1: error[bad-value]: `awful` is no label\n";
    assert!(bad.contains(place) && bad.contains("fix: write attack or benign"), "{bad}");
}

#[test]
fn without_a_server_a_call_says_so() {
    let sent = run(&["send", "c", "hello", "--addr", "127.0.0.1:1"]);
    assert_eq!(sent.status.code(), Some(3));
    assert!(stderr(&sent).contains("colloquy serve"));
}

#[test]
fn a_conversation_can_be_held_from_the_command_line() {
    let place = Place::new();
    let server = place.start();
    let call = |arguments: &[&str]| {
        let global = ["--addr", &server.grpc, "--tenant", "acme"];
        let output = run(&[arguments, &global].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let sent = call(&["send", "c", "cancel order A-1001", "--flow", "order-desk", "--stream"]);
    assert!(sent.contains("accepted") && sent.contains("Do you want me to cancel order A-1001?"), "{sent}");
    let turns: serde_json::Value = serde_json::from_str(&call(&["turns", "c", "--json"])).unwrap();
    assert_eq!((turns["turn_seq"].as_u64(), turns["state"].as_str()), (Some(1), Some("confirm")));
    assert!(call(&["reset", "c", "--reason", "test"]).contains("after turn 1"));
    assert!(call(&["status"]).contains("acme/c"));
    let refused = run(&["send", "../c", "hello", "--addr", &server.grpc]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(stderr(&refused).contains("key.conversation"), "{}", stderr(&refused));
    let mut chat = Command::new(BINARY)
        .args(["chat", "d", "--addr", &server.grpc, "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    chat.stdin.take().unwrap().write_all(b"hello\ncancel order A-1001\n/quit\n").unwrap();
    let said = chat.wait_with_output().unwrap();
    assert_eq!(stdout(&said).lines().count(), 2, "{}", stdout(&said));
}

#[test]
fn structured_input_and_what_a_reply_offers_are_shown() {
    let place = Place::new();
    let server = place.start();
    let send = |arguments: &[&str]| run(&[&["send"], arguments, &["--addr", &server.grpc]].concat());
    let said = r#"{"slots": {"order_number": "A-1001"}, "intent": "cancel"}"#;
    let sent = send(&["c", said, "--json-input", "--flow", "order-desk", "--json"]);
    let turn: serde_json::Value = serde_json::from_str(&stdout(&sent)).unwrap();
    assert_eq!(turn["text"], r#"{"intent":"cancel","slots":{"order_number":"A-1001"}}"#);
    assert_eq!((turn["input"].as_str(), turn["state"].as_str()), (Some("json"), Some("confirm")));
    assert_eq!((&turn["usage"], &turn["reply_json"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let offered = stdout(&send(&["d", "qwertz", "--flow", "faq-desk"]));
    assert!(
        offered.contains("offers    When do you open? | How long does delivery take? | Can I return it?"),
        "{offered}"
    );
    let refused = send(&["e", r#"{"slots": 1}"#, "--json-input", "--flow", "order-desk"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(stderr(&refused).contains("input.json.slots: must be an object"), "{}", stderr(&refused));
    // No stock can be reached; what the flow says meanwhile is told all the same.
    let asked = ["f", "do you have lamps?", "--flow", "inventory", "--stream"];
    let streamed = stdout(&send(&asked));
    assert!(streamed.contains("act waits: Looking into the stock …"), "{streamed}");
}

#[test]
fn every_engine_serves_and_the_durable_ones_remember() {
    for engine in ["journal", "memory", "sled"] {
        let place = Place::new();
        for life in 1..=2_u64 {
            let server = place.start_with(&["--engine", engine]);
            let request_id = format!("r-{life}");
            let global = ["--addr", &server.grpc, "--json", "--flow", "order-desk", "--request-id", &request_id];
            let sent = run(&[&["send", "c", "hello"][..], &global].concat());
            let turn: serde_json::Value = serde_json::from_str(&stdout(&sent)).unwrap();
            let expected = if engine == "memory" { 1 } else { life };
            assert_eq!(turn["turn_seq"], expected, "{engine}, life {life}");
            assert_eq!(server.terminate(), Some(0), "{engine}");
        }
    }
}

/// SO-06, BO-03: health and readiness.
#[test]
fn health_readiness_and_metrics_answer() {
    let place = Place::new();
    let server = place.start();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&server.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/health").starts_with("HTTP/1.1 200"));
    assert!(get("/ready").starts_with("HTTP/1.1 200"));
    assert!(get("/metrics").contains("colloquy_store_syncs"));
}

#[test]
fn completions_are_made_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell])).contains("colloquy"), "{shell}");
    }
}

/// CE-009: what leads nowhere is reported with the way there, and makes the exit code.
#[test]
fn a_flow_is_drawn_compared_and_described_without_a_server() {
    let place = Place::new();
    let write = |file: &str, terminal: bool| {
        let path = place.path().join(file);
        let states = format!("{{idle: {{terminal: {terminal}}}, busy: {{}}}}");
        let moves = "[{from: desk.idle, to: desk.busy, by: rule}, {from: desk.busy, to: desk.busy, by: rule}]";
        let flow = format!(
            "format: colloquy.flow/v1\nname: small\nstart: desk.idle\nfallback: Sorry.\n\
             intents: {{desk: {{initial: idle, states: {states}}}}}\ntransitions: {moves}\n\
             responses: [{{in: any, exact: Yes.}}]\n"
        );
        std::fs::write(&path, flow).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (was, is) = (write("was.yaml", true), write("is.yaml", false));

    let drawn = place.path().join("map.svg");
    let report = run(&["flow", "graph", &was, "--report", "--out", drawn.to_str().unwrap()]);
    assert_eq!(report.status.code(), Some(1), "{}{}", stdout(&report), stderr(&report));
    assert!(stdout(&report).contains("dead end: desk.busy, reached by desk.idle -> desk.busy"), "{}", stdout(&report));
    assert!(std::fs::read_to_string(drawn).unwrap().starts_with("<svg"));
    let graph: serde_json::Value = serde_json::from_str(&stdout(&run(&["flow", "graph", &was, "--json"]))).unwrap();
    assert_eq!(graph["dead_ends"][0]["state"], "desk.busy");

    let differing = run(&["flow", "diff", &was, &is]);
    assert_eq!(differing.status.code(), Some(1));
    assert!(stdout(&differing).contains("~ desk.idle\n      terminal: true -> false"), "{}", stdout(&differing));
    assert_eq!(run(&["flow", "diff", &was, &was]).status.code(), Some(0));
    assert_eq!(run(&["flow", "diff", &was, "no-such-folder"]).status.code(), Some(2));

    let schema: serde_json::Value = serde_json::from_str(&stdout(&run(&["flow", "schema"]))).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
