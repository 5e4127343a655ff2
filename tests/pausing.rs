//! Tenants and revisions that are paused from the command line, and what those who send turns are told.

use colloquy_client::{Client, ClientError, Key, Turn};
use tonic::Code;

use crate::harness::{Place, Server, run, stderr, stdout};

fn call(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[arguments, &["--addr", &server.grpc, "--tenant", "acme", "--color", "never"]].concat());
    (output.status.code(), stdout(&output), stderr(&output))
}

async fn say(client: &Client, tenant: &str, conversation: &str, request_id: &str) -> Result<u64, ClientError> {
    let turn = Turn::new(Key::new(tenant, conversation), request_id, "order-desk", "hello");
    client.submit(&turn).await.map(|reply| reply.turn.unwrap().turn_seq)
}

/// What a turn is refused for, in the error's metadata.
async fn refused(client: &Client, conversation: &str, request_id: &str, told: &[&str]) -> Vec<String> {
    let error = say(client, "acme", conversation, request_id).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "PAUSED"));
    assert!(error.metadata("since_us").is_some_and(|since| since.parse::<u64>().unwrap() > 0));
    told.iter().map(|name| error.metadata(name).unwrap_or("none").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_paused_survives_a_kill_and_is_resumed() {
    let place = Place::new();
    let mut server = place.start();
    let client = server.client().await;
    assert_eq!(say(&client, "acme", "c", "r-1").await.unwrap(), 1);
    let pause = ["pause", "--all-of-tenant", "--reason", "ticket 4711", "--actor", "ann", "--request-id", "p-1"];
    let (code, _, told) = call(&server, &pause);
    assert!(code == Some(2) && told.contains("--yes"), "{told}");
    let confirmed = [&pause[..], &["--yes"]].concat();
    assert_eq!(call(&server, &confirmed).1, "the tenant takes no turns until it is resumed\n");
    assert_eq!(call(&server, &confirmed).1, "the tenant takes no turns until it is resumed, as before\n");
    assert_eq!(refused(&client, "c", "r-2", &["of", "why", "flow"]).await, ["tenant", "ticket 4711", "none"]);
    assert_eq!(say(&client, "other", "c", "r-1").await.unwrap(), 1);
    server.kill();

    let server = place.start();
    let client = server.client().await;
    assert_eq!(refused(&client, "d", "r-1", &["of"]).await, ["tenant"]);
    assert_eq!(call(&server, &["paused"]).1, "acme all turns by ann: ticket 4711\n");
    assert_eq!(call(&server, &["paused", "--of", "other"]).1, "");
    let row: serde_json::Value = serde_json::from_str(call(&server, &["paused", "--json"]).1.trim()).unwrap();
    assert_eq!((&row["tenant"], &row["flow"], &row["actor"]), (&"acme".into(), &"".into(), &"ann".into()));
    let (code, resumed, _) = call(&server, &["resume", "--all-of-tenant", "--yes", "--json"]);
    let resumed: serde_json::Value = serde_json::from_str(resumed.trim()).unwrap();
    assert_eq!((code, &resumed["paused"], &resumed["replayed"]), (Some(0), &false.into(), &false.into()));
    assert_eq!(say(&client, "acme", "c", "r-2").await.unwrap(), 2);
    assert_eq!(call(&server, &["paused"]).1, "");
    // The first pause was asked for before; what holds is told, and not what it was for.
    assert_eq!(call(&server, &confirmed).1, "the tenant takes turns, as before\n");
    assert_eq!(say(&client, "acme", "c", "r-3").await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_in_revision_is_paused_for_one_tenant() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    let loaded = client.runtime().await.unwrap().flows;
    let revision = loaded.into_iter().find(|flow| flow.name == "order-desk").unwrap().revision;
    let named = ["--flow", "order-desk", "--revision", &revision[..8], "--yes"];
    let (code, _, told) = call(&server, &["pause", "--revision", &revision[..8], "--yes"]);
    assert!(code == Some(2) && told.contains("--flow"), "{told}");
    let (code, paused, _) = call(&server, &[&["pause", "--json"], &named[..]].concat());
    let paused: serde_json::Value = serde_json::from_str(paused.trim()).unwrap();
    assert_eq!((code, &paused["pause"]["revision"]), (Some(0), &revision.as_str().into()));
    let told = refused(&client, "c", "r-1", &["of", "flow", "revision"]).await;
    assert_eq!(told, ["revision", "order-desk", &revision]);
    assert_eq!(say(&client, "other", "c", "r-1").await.unwrap(), 1);
    assert_eq!(call(&server, &["paused"]).1, format!("acme order-desk {} by cli\n", &revision[..12]));
    let (code, _, told) = call(&server, &["pause", "--flow", "order-desk", "--revision", "00000000", "--yes"]);
    assert!(code == Some(4) && told.contains("REVISION_NOT_FOUND"), "{told}");
    assert_eq!(call(&server, &[&["resume"], &named[..]].concat()).1, "the revision takes turns\n");
    assert_eq!(say(&client, "acme", "c", "r-1").await.unwrap(), 1);
}
