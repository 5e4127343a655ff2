//! What operators do from the command line: look at the tree and at actors, kill within a budget, end the server.

use std::{fs, time::Duration};

use colloquy_client::{Key, Turn, v1};
use tonic::Code;

use crate::harness::{Place, Server, run, stderr, stdout, turn};

fn call(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let global = ["--addr", &server.grpc, "--tenant", "acme", "--color", "never"];
    let output = run(&[arguments, &global].concat());
    (output.status.code(), stdout(&output), stderr(&output))
}

fn started(place: &Place, settings: &str) -> Server {
    let file = place.path().join("colloquy.toml");
    fs::write(&file, settings).unwrap();
    place.start_with(&["--config", file.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_come_too_fast_are_told_whose_rate_that_is_and_when_to_come_back() {
    for (of, others) in [("tenant", true), ("peer", false)] {
        let place = Place::new();
        let server = started(&place, &format!("[limits]\n{of}_rate = \"1/s, 2 at once\"\n"));
        let client = server.client().await;
        let of_tenant =
            |tenant: &str, request_id: &str| Turn { key: Key::new(tenant, "c"), ..turn("c", request_id, "hello") };
        for request_id in ["r-1", "r-2"] {
            client.submit(&of_tenant("acme", request_id)).await.unwrap();
        }
        let refused = client.submit(&of_tenant("acme", "r-3")).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::ResourceExhausted, "RATE_LIMITED"));
        assert_eq!(refused.metadata("of"), Some(of));
        let retry_after = refused.retry_after().expect("it is told when");
        assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(1), "{retry_after:?}");
        client.turns(&Key::new("acme", "c"), 1, 10).await.unwrap();
        assert_eq!(client.submit(&of_tenant("other", "r-1")).await.is_ok(), others, "{of}");
        let again = client.submit_with_retry(&of_tenant("acme", "r-3"), Duration::from_secs(10)).await.unwrap();
        assert_eq!(again.turn.unwrap().turn_seq, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_looks_at_kills_and_ends() {
    let place = Place::new();
    let server = started(&place, "[chaos]\nconversations = 1\nsupervisors = 1\n");
    let client = server.client().await;
    client.submit(&turn("c", "r-1", "hello")).await.unwrap();
    let (code, tree, _) = call(&server, &["tree", "--kind", "conversation", "--json"]);
    let row: serde_json::Value = serde_json::from_str(tree.trim()).unwrap();
    assert_eq!((code, row["key"].as_str(), row["state"].as_str()), (Some(0), Some("acme/c"), Some("idle")));
    let path = row["path"].as_str().unwrap();
    let (_, whole, _) = call(&server, &["tree", "--limit", "10"]);
    assert!(whole.starts_with("root running") && whole.contains("more; --limit shows them"), "{whole}");
    let (code, looked, _) = call(&server, &["inspect", path]);
    assert!(code == Some(0) && looked.contains("turns        1") && looked.contains("bytes"), "{looked}");
    assert_eq!(call(&server, &["inspect", "root/nobody"]).0, Some(4));

    let (code, _, refused) = call(&server, &["kill", path, "--reason", "game day"]);
    assert!(code == Some(2) && refused.contains("--yes"), "{refused}");
    assert_eq!(call(&server, &["kill", path, "--reason", "game day", "--yes"]).1, "killed\n");
    let again = client.submit_with_retry(&turn("c", "r-2", "hello"), Duration::from_secs(10)).await.unwrap();
    assert_eq!(again.turn.unwrap().turn_seq, 2);
    let spent = client.kill(path, "once more").await.unwrap_err();
    assert_eq!((spent.code(), spent.reason()), (Code::ResourceExhausted, "KILL_REFUSED"));
    assert!(spent.retry_after().is_some());
    let (_, killed, _) = call(&server, &["tree", "--kind", "conversation"]);
    assert!(killed.contains("restarts 1") && killed.contains("failed: killed"), "{killed}");
    // The tree tells how often a supervisor was started anew, and since when it lives.
    let shards = || call(&server, &["tree", "--kind", "shard", "--json"]).1;
    let figures = |all: &str, path: &str| {
        let rows = all.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
        let row = rows.into_iter().find(|row| row["path"] == path).expect(path);
        (row["restarts"].as_u64().unwrap(), row["age_ms"].as_u64().unwrap(), row["last_failure"].clone())
    };
    let first = "root/conversations/00";
    let (restarts, age, failed) = figures(&shards(), first);
    assert_eq!((restarts, failed), (0, "".into()));
    assert_eq!(call(&server, &["kill", first, "--reason", "game day", "--yes"]).1, "killed\n");
    crate::outside::until("the shard's restart", || figures(&shards(), first).0 == 1);
    let all = shards();
    let ((_, now, failed), (_, other, _)) = (figures(&all, first), figures(&all, "root/conversations/01"));
    assert_eq!(failed, "killed");
    assert!(now < other && other >= age, "it lives {now} ms, the others {other} ms, it had lived {age} ms");
    let (_, plain, _) = call(&server, &["tree", "--kind", "shard", "--limit", "1"]);
    assert!(plain.contains("root/conversations/00 running  restarts 1  age "), "{plain}");
    let spent = client.kill("root/flows", "for fun").await.unwrap_err();
    assert_eq!((spent.code(), spent.reason()), (Code::ResourceExhausted, "KILL_REFUSED"));
    let silent = client.kill(path, "").await.unwrap_err();
    assert_eq!(silent.fields().first().map(|(field, _)| field.as_str()), Some("reason"));

    let filter = v1::WatchSupervisionTreeRequest {
        kind: v1::ActorKind::Conversation.into(),
        tenant: "acme".to_owned(),
        interval_ms: 100,
    };
    let mut events = client.watch_tree(filter).await.unwrap();
    let first = events.message().await.unwrap().unwrap();
    assert!(first.complete && first.changed.len() == 1);
    client.submit(&turn("d", "r-1", "hello")).await.unwrap();
    let mut seen = Vec::new();
    while !seen.iter().any(|key| key == "acme/d") {
        seen.extend(events.message().await.unwrap().unwrap().changed.into_iter().map(|actor| actor.key));
    }
    assert_eq!(call(&server, &["passivate", "d"]).1, "at rest\n");
    let mut gone = Vec::new();
    while gone.is_empty() {
        gone = events.message().await.unwrap().unwrap().gone;
    }
    assert!(gone[0].ends_with("/acme/d"), "{gone:?}");
    assert_eq!(call(&server, &["passivate", "d"]).1, "it was at rest\n");
    assert_eq!(call(&server, &["release", "d"]).1, "it was not quarantined\n");
    assert_eq!(call(&server, &["quarantined"]).0, Some(0));

    let (code, estimate, _) = call(&server, &["drain", "--estimate", "--json"]);
    let estimate: serde_json::Value = serde_json::from_str(estimate.trim()).unwrap();
    assert_eq!((code, &estimate["in_flight"], &estimate["draining"]), (Some(0), &0.into(), &false.into()));
    let (code, told, refused) = call(&server, &["drain", "--reason", "new version"]);
    assert!(code == Some(2) && refused.contains("--yes") && told.contains("calls in flight"), "{told}{refused}");
    assert!(!client.runtime().await.unwrap().draining, "nothing was ended");
    let (code, ended, _) = call(&server, &["drain", "--reason", "new version", "--yes"]);
    assert!(code == Some(0) && ended.contains("it ends once they have"), "{ended}");
    let told = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a reason"),
            Err(error) => break error,
        }
    };
    assert_eq!((told.code(), told.reason()), (Code::Unavailable, "DRAINING"));
    assert_eq!(server.ended(), Some(0), "as asked");
}
