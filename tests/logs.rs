//! What a running server writes to its log.

use std::{fs, time::Duration};

use colloquy_client::{Key, Steer, v1};

use crate::harness::{Place, turn};

/// Said by the user in every way in which text reaches a server; must never be in a log.
const SAID: &str = "my-secret-4711";

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_logged_as_json_with_their_request_ids_and_without_what_was_said() {
    let place = Place::new();
    let log = place.path().join("log");
    let server = place.start_logging(&["--log-format", "json", "--log-filter", "debug"], &log);
    let client = server.client().await;
    client.submit(&turn("c", "id-committed", SAID)).await.unwrap();
    let mut stream = client.stream(&turn("c", "id-streamed", SAID)).await.unwrap();
    while stream.message().await.unwrap().is_some() {}
    client.submit(&turn("c", "id-streamed", "another text")).await.unwrap_err();
    client.submit(&turn("c", "id-invalid", &format!("{SAID}\u{7}"))).await.unwrap_err();
    assert_eq!(server.terminate(), Some(0));

    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains(SAID), "the log tells what was said");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let messages = |id: &str| -> Vec<_> {
        let of_id = lines.iter().filter(|line| line["request_id"] == id && line["key"] == "acme/c");
        of_id.map(|line| line["message"].as_str().unwrap()).collect()
    };
    assert_eq!(messages("id-committed"), ["turn committed"]);
    assert_eq!(messages("id-streamed"), ["turn committed", "call refused"]);
    let ours: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(ours.contains(&"serving") && ours.contains(&"draining") && ours.contains(&"stopped"), "{ours:?}");
}

/// Whatever an operator does leaves a line, and so does what an operator may not do.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_an_operator_leaves_a_line_that_tells_who_did_what_to_whom_and_why() {
    let place = Place::new();
    let (log, config) = (place.path().join("log"), place.path().join("colloquy.toml"));
    fs::write(&config, "[chaos]\nconversations = 1\n").unwrap();
    let flags = ["--config", config.to_str().unwrap(), "--log-format", "json", "--log-filter", "info"];
    let server = place.start_logging(&flags, &log);
    let client = server.client().await;
    for conversation in ["c", "d"] {
        client.submit(&turn(conversation, "r-1", "hello")).await.unwrap();
    }
    let filter = v1::GetSupervisionTreeRequest { kind: v1::ActorKind::Conversation.into(), ..Default::default() };
    let path = client.tree_page(filter).await.unwrap().actors.into_iter().find(|row| row.key == "acme/c").unwrap().path;
    let (c, d) = (Key::new("acme", "c"), Key::new("acme", "d"));
    client.kill(&path, "").await.unwrap_err();
    client.kill(&path, "game day").await.unwrap();
    client.submit_with_retry(&turn("c", "r-2", "hello"), Duration::from_secs(10)).await.unwrap();
    client.kill(&path, "once more").await.unwrap_err();
    assert!(!client.release(&c).await.unwrap());
    assert!(client.passivate(&d).await.unwrap());
    client.pause(&d, "p-1", "ticket 4711").await.unwrap();
    client.resume(&d, "p-2", "ticket 4711 is closed").await.unwrap();
    client.pause(&Key::new("acme", "nobody"), "p-3", "").await.unwrap_err();
    client.compact(Duration::from_secs(20)).await.unwrap();
    let steer = |request_id: &str, actor: &str, reason: &str| Steer {
        tenant: "acme".to_owned(),
        revision: None,
        request_id: request_id.to_owned(),
        actor: actor.to_owned(),
        reason: reason.to_owned(),
    };
    client.pause_traffic(&steer("t-1", "ann", "wrong prices")).await.unwrap();
    client.resume_traffic(&steer("t-2", "", "")).await.unwrap_err();
    client.drain(true, "only asked").await.unwrap();
    client.drain(false, "new version").await.unwrap();
    assert_eq!(server.ended(), Some(0));

    let text = fs::read_to_string(&log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
    let told: Vec<_> = lines.filter(|line| line["message"] == "operator call").collect();
    let row = |line: &serde_json::Value| {
        ["method", "on", "request_id", "actor", "reason", "outcome"].map(|name| line[name].as_str().unwrap().to_owned())
    };
    let expected = [
        ["KillActor", &path, "", "", "", "INVALID_FIELD"],
        ["KillActor", &path, "", "", "game day", "done"],
        ["KillActor", &path, "", "", "once more", "KILL_REFUSED"],
        ["ReleaseConversation", "acme/c", "", "", "", "done"],
        ["PassivateConversation", "acme/d", "", "", "", "done"],
        ["PauseConversation", "acme/d", "p-1", "", "ticket 4711", "done"],
        ["ResumeConversation", "acme/d", "p-2", "", "ticket 4711 is closed", "done"],
        ["PauseConversation", "acme/nobody", "p-3", "", "", "CONVERSATION_NOT_FOUND"],
        ["CompactStore", "", "", "", "", "done"],
        ["PauseTraffic", "acme", "t-1", "ann", "wrong prices", "done"],
        ["ResumeTraffic", "acme", "t-2", "", "", "INVALID_FIELD"],
        ["Drain", "", "", "", "new version", "done"],
    ];
    assert_eq!(told.iter().map(row).collect::<Vec<_>>(), expected.map(|row| row.map(str::to_owned)));
    for line in &told {
        assert_eq!(line["level"].as_str(), Some("INFO"), "{line}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}
