//! What a person at a terminal sees.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use crate::harness::{BINARY, Place, run, stderr, stdout};

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
        "export",
        "replay",
        "status",
        "flow",
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
    assert!(stdout(&lint).contains("flow.yaml:3:8"), "{}", stdout(&lint));
    assert!(stdout(&lint).contains("fix: "));
    let json = stdout(&run(&["flow", "lint", &folder, "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(!json["faults"].as_array().unwrap().is_empty());
}

#[test]
fn the_example_flows_pass_lint_from_disk() {
    for flow in ["order-desk", "faq-desk"] {
        let lint = run(&["flow", "lint", &format!("{}/src/server/flows/{flow}", env!("CARGO_MANIFEST_DIR"))]);
        assert_eq!(lint.status.code(), Some(0), "{}", stdout(&lint));
        assert!(stdout(&lint).contains(" 0 warnings"), "{}", stdout(&lint));
    }
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
