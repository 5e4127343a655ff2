//! Many conversations at once: nothing of one is seen in what is sent, answered or logged for another.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokio::task::JoinSet;

use super::*;
use crate::peer::{Peer, response};

const CONVERSATIONS: usize = 24;
const TURNS: usize = 12;

/// The words of conversation `number`; no other says them.
fn word(number: usize) -> String {
    format!("token{number:04}x")
}

/// The conversations whose words stand in a text.
fn words(text: &str) -> HashSet<String> {
    let parts = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    parts.filter(|part| part.starts_with("token") && part.ends_with('x')).map(str::to_owned).collect()
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.lines().take_while(|line| !line.is_empty());
    lines
        .find_map(|line| line.split_once(": ").filter(|(given, _)| given.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// CR-10, MI-10: no prompt, header, log line or trace carries what belongs to another conversation.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_of_one_conversation_is_seen_in_another() {
    // Answers with what it was asked, so that a mix-up on the way back shows as well.
    let model = Peer::start(|request| {
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n")?.1).ok()?;
        let said = body["messages"].as_array()?.last()?["content"].as_str()?.to_owned();
        let message = serde_json::json!({"role": "assistant", "content": said});
        let choice = serde_json::json!({"index": 0, "message": message, "finish_reason": "stop"});
        let answer = serde_json::json!({"model": "m", "choices": [choice]});
        response("200 OK", "application/json", &answer.to_string())
    });
    let bank = Peer::start(|_| response("200 OK", "application/json", r#"{"receipt":"R-1"}"#));
    let settings = provider(model.address, "") + &source("bank", bank.address, "method = \"POST\"\nbody = \"all\"");
    let place = place(&settings);
    let log = place.path().join("log");
    let config = place.path().join("colloquy.toml");
    let flags = ["--config", config.to_str().unwrap(), "--log-format", "json", "--log-filter", "debug"];
    let server = place.start_logging(&flags, &log);
    let mut talks = JoinSet::new();
    for number in 0..CONVERSATIONS {
        let client = server.client().await;
        talks.spawn(async move {
            let mut turn_ids = Vec::new();
            for turn in 0..TURNS {
                let (name, word) = (format!("c-{number}"), word(number));
                let (request_id, text) = match turn % 2 {
                    0 => (format!("{word}-{turn}"), format!("tell {word} {turn}")),
                    _ => (
                        format!("{word}-{turn}"),
                        format!("pay for {}", "abcdefghijklmnopqrstuvwxyz".get(number..=number).unwrap()),
                    ),
                };
                let said = errand(&name, &request_id, &text);
                let answered = client.submit(&said).await.unwrap().turn.unwrap();
                if turn % 2 == 0 {
                    assert_eq!(reply(&answered), text, "the reply of another conversation");
                }
                turn_ids.push(answered.turn_id);
            }
            (word(number), turn_ids)
        });
    }
    let mut owner = HashMap::new();
    for (word, turn_ids) in talks.join_all().await {
        owner.extend(turn_ids.into_iter().map(|turn_id| (turn_id, word.clone())));
    }
    assert_eq!(owner.len(), CONVERSATIONS * TURNS);
    assert_eq!(server.terminate(), Some(0));

    let asked = model.seen();
    assert_eq!(asked.len(), CONVERSATIONS * TURNS / 2);
    for request in &asked {
        let words = words(request);
        assert_eq!(words.len(), 1, "a prompt of several conversations:\n{request}");
        // The caller sent no trace, so the turn's id is the trace's.
        let trace = header(request, "traceparent").and_then(|parent| parent.split('-').nth(1)).expect("a trace");
        assert!(words.contains(&owner[trace]), "the trace of another conversation:\n{request}");
    }
    let paid = bank.seen();
    assert!(!paid.is_empty());
    for request in &paid {
        let trace = header(request, "traceparent").and_then(|parent| parent.split('-').nth(1)).expect("a trace");
        let key = header(request, "idempotency-key").expect("a key");
        assert!(key.starts_with(trace) && owner.contains_key(trace), "{request}");
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let letter = body["who"].as_str().unwrap().as_bytes()[0];
        assert_eq!(owner[trace], word(usize::from(letter - b'a')), "the arguments of another conversation");
    }
    for line in fs::read_to_string(&log).unwrap().lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        let words = words(&line.to_string());
        assert!(words.len() <= 1, "a line of several conversations: {line}");
        if let (Some(turn_id), Some(word)) = (line["turn_id"].as_str(), words.iter().next()) {
            assert_eq!(owner.get(turn_id), Some(word), "{line}");
        }
        if let (Some(key), Some(of)) = (line["key"].as_str(), words.iter().next()) {
            let number: usize = key.strip_prefix("acme/c-").unwrap().parse().unwrap();
            assert_eq!(of, &word(number), "{line}");
        }
    }
}
