//! `colloquy chat` shows a reply while it is written.

use std::process::{Command, Stdio};

use super::*;
use crate::{
    harness::{BINARY, stdout},
    peer::{Peer, dawdle},
};

fn chat(server: &Server, lines: &str) -> std::process::Output {
    let mut chat = Command::new(BINARY)
        .args(["chat", "c", "--flow", "errands", "--tenant", "acme", "--addr", &server.grpc, "--color", "never"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    chat.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    chat.wait_with_output().unwrap()
}

#[test]
fn a_reply_is_shown_while_it_is_written_and_once() {
    let model = Peer::start_raw(|_, stream| {
        let part = |text: &str| {
            format!("data: {{\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned();
        let mut parts = vec![head];
        parts.extend(["All ", "is \\u001b[31m", "well."].map(part));
        let end = r#"data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        parts.push(format!("{end}\n\ndata: [DONE]\n\n"));
        for part in parts {
            stream.write_all(part.as_bytes()).unwrap();
            dawdle(Duration::from_millis(20));
        }
        false
    });
    let place = place(&provider(model.address, ""));
    let server = started(&place, &[]);
    let said = chat(&server, "tell\ndesk\n/quit\n");
    let said = stdout(&said);
    assert!(said.contains("      Thinking …\ndesk> All is \u{fffd}[31mwell. [tell.told]\n"), "{said}");
    assert_eq!(said.matches("well.").count(), 1, "{said}");
    assert!(said.contains("desk> Hello. [desk.idle]"), "{said}");
}

#[test]
fn what_was_shown_of_a_reply_that_failed_is_followed_by_the_one_that_counts() {
    let model = Peer::start_raw(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let part = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"All \"}}]}\n\n";
        stream.write_all(format!("{head}{part}").as_bytes()).unwrap();
        dawdle(Duration::from_millis(100));
        false
    });
    let place = place(&provider(model.address, ""));
    let server = started(&place, &[]);
    let said = stdout(&chat(&server, "tell\n/quit\n"));
    assert!(said.contains("desk> All \ndesk> I cannot say. [tell.told]\n"), "{said}");
}
