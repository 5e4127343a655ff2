//! Flows from outside: published, promoted, rolled back, and what running conversations make of it.

use std::path::{Path, PathBuf};

use colloquy_client::{Client, Key, Turn, v1};
use tonic::Code;

use crate::harness::{Place, Server, run, stderr, stdout};

/// Asks at the counter for a number, between two terminal states.
const DESK: &str = r#"format: colloquy.flow/v1
name: desk
start: hall.door
fallback: Pardon?
slots:
  number: {type: string, extract: '\b(?P<value>\d{4})\b'}
intents:
  hall:
    initial: door
    states: {door: {terminal: true}}
  counter:
    classify: {keywords: [[counter]]}
    initial: ask
    collect: [number]
    states: {ask: {}, served: {terminal: true}}
transitions:
  - {from: "*", to: hall.door, by: rule}
  - {from: "*", to: counter.ask, by: intent}
  - {from: counter.ask, to: counter.served, by: rule}
rules:
  - {id: served, in: counter.ask, when: has(slots.number), then: [{go: counter.served}]}
responses:
  - {in: hall.door, exact: GREETING}
  - {in: counter.ask, exact: Which number?}
  - {in: counter.served, exact: Served.}
"#;

fn desk(greeting: &str) -> String {
    DESK.replace("GREETING", greeting)
}

fn scenario(reply: &str) -> String {
    format!("scenarios:\n  - name: greet\n    turns: [{{say: hi, reply: {reply}}}]\n")
}

fn sources(flow: &str, scenarios: &str) -> v1::FlowSources {
    let file = v1::FlowFile { name: "flow.yaml".to_owned(), text: flow.to_owned() };
    v1::FlowSources { files: vec![file], scenarios: scenarios.to_owned() }
}

async fn publish(client: &Client, tenant: &str, flow: &str, scenarios: &str) -> v1::PublishFlowResponse {
    let sources = Some(sources(flow, scenarios));
    let message =
        v1::PublishFlowRequest { tenant: tenant.to_owned(), sources, actor: "ann".to_owned(), note: String::new() };
    client.publish_flow(message).await.unwrap()
}

fn promotion(tenant: &str, revision: &str) -> v1::PromoteFlowRequest {
    v1::PromoteFlowRequest {
        tenant: tenant.to_owned(),
        flow: "desk".to_owned(),
        revision: revision.to_owned(),
        expected_from: None,
        actor: "bob".to_owned(),
        note: "because".to_owned(),
    }
}

/// Publishes and promotes; gives the revision.
async fn release(client: &Client, flow: &str) -> String {
    let revision = publish(client, "acme", flow, "").await.revision.unwrap().revision;
    assert!(client.promote_flow(promotion("acme", &revision)).await.unwrap().changed);
    revision
}

async fn say(client: &Client, conversation: &str, request_id: &str, text: &str) -> v1::Turn {
    let turn = Turn::new(Key::new("acme", conversation), request_id, "desk", text);
    client.submit(&turn).await.unwrap().turn.unwrap()
}

fn reply(turn: &v1::Turn) -> &str {
    turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default()
}

async fn pinned(client: &Client) -> Vec<(String, v1::PinnedReason, Vec<String>)> {
    let message = v1::ListPinnedRequest { tenant: "acme".to_owned(), ..Default::default() };
    let rows = client.pinned(message).await.unwrap().conversations.into_iter();
    rows.map(|row| (row.key.clone().unwrap().conversation, row.reason(), row.obstacles)).collect()
}

/// CE-006, CE-011, SO-03: promotion, pinning, the move at a boundary, and the way back, through two restarts.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_conversation_stays_until_its_boundary_and_everything_survives_restarts() {
    let place = Place::new();
    let mut server = place.start();
    let client = server.client().await;
    let first = release(&client, &desk("One.")).await;
    assert_eq!(say(&client, "old", "r-1", "to the counter").await.state, "ask");
    let second = release(&client, &desk("Two.")).await;
    assert_eq!(reply(&say(&client, "new", "r-1", "hi").await), "Two.");
    assert_eq!(pinned(&client).await, [("old".to_owned(), v1::PinnedReason::Underway, vec![])]);

    server.kill();
    let server = place.start();
    let client = server.client().await;
    assert_eq!(reply(&say(&client, "fresh", "r-1", "hi").await), "Two.", "the promotion survived");
    let served = say(&client, "old", "r-2", "it is 1234").await;
    assert_eq!((served.state.as_str(), served.revision.as_str()), ("served", first.as_str()));
    assert_eq!(pinned(&client).await, [("old".to_owned(), v1::PinnedReason::NextTurn, vec![])]);
    assert_eq!(say(&client, "old", "r-3", "and now").await.revision, second);
    assert_eq!(pinned(&client).await, []);

    assert_eq!(server.terminate(), Some(0));
    let server = place.start();
    let client = server.client().await;
    assert_eq!(client.conversation(&Key::new("acme", "old")).await.unwrap().revision, second);
    let back = v1::PromoteFlowRequest { expected_from: Some(second.clone()), ..promotion("acme", &first[..8]) };
    client.promote_flow(back).await.unwrap();
    assert_eq!(reply(&say(&client, "again", "r-1", "hi").await), "One.");
    let message = v1::ListPromotionsRequest { tenant: "acme".to_owned(), ..Default::default() };
    let promotions = client.promotions(message).await.unwrap().promotions;
    let rows: Vec<_> = promotions.iter().map(|row| (row.from.as_str(), row.to.as_str())).collect();
    assert_eq!(rows, [(second.as_str(), first.as_str()), (first.as_str(), second.as_str()), ("", first.as_str())]);
    assert!(promotions.iter().all(|row| row.actor == "bob" && row.note == "because" && row.promoted_at_us > 0));
    // An upgrade is part of the history: the conversation replays, and on the other revision it says what differs.
    let replayed = client.replay(&Key::new("acme", "old"), None).await.unwrap();
    assert_eq!((replayed.turns_identical, replayed.turns_different), (3, 0), "{:?}", replayed.differences);
    let other = client.replay(&Key::new("acme", "new"), Some(first)).await.unwrap();
    assert_eq!((other.turns_identical, other.turns_different), (0, 1));
    let difference = &other.differences[0];
    assert_eq!((difference.what.as_str(), difference.replayed.as_str()), ("reply", "One."));
}

/// CE-006, CE-008: promotion refuses invalid sets and broken promises.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_faulty_or_fails_its_scenarios_is_not_promoted() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    let faulty = desk("One.").replace("start: hall.door", "start: hall.gone");
    let linted = client.lint_flow(sources(&faulty, "")).await.unwrap();
    let published = publish(&client, "acme", &faulty, "").await;
    assert_eq!(linted.faults, published.faults);
    let revision = published.revision.unwrap();
    assert_eq!((revision.errors, revision.revision == linted.revision), (1, true));
    let refused = client.promote_flow(promotion("acme", &revision.revision)).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::FailedPrecondition, "UNPROMOTABLE"));
    assert_eq!(refused.fields()[0].0, "flow.yaml:3:8");
    assert!(refused.fields()[0].1.contains("unknown-state"), "{:?}", refused.fields());

    let failing = publish(&client, "acme", &desk("One."), &scenario("Bye.")).await.revision.unwrap().revision;
    let refused = client.promote_flow(promotion("acme", &failing)).await.unwrap_err();
    assert_eq!((refused.reason(), refused.metadata("failures")), ("UNPROMOTABLE", Some("1")));
    assert_eq!(refused.fields()[0].0, "greet");
    let choice = |scenarios| v1::RunScenariosRequest {
        tenant: "acme".to_owned(),
        flow: "desk".to_owned(),
        revision: failing.clone(),
        scenarios,
    };
    assert_eq!(client.run_scenarios(choice(None)).await.unwrap().failed, 1);
    assert_eq!(client.run_scenarios(choice(Some(scenario("One.")))).await.unwrap().passed, 1);
    publish(&client, "acme", &desk("One."), &scenario("One.")).await;
    assert!(client.promote_flow(promotion("acme", &failing)).await.unwrap().changed);

    let unread = sources("a: [", "");
    let message = v1::PublishFlowRequest {
        tenant: "acme".to_owned(),
        sources: Some(unread),
        actor: "ann".to_owned(),
        ..Default::default()
    };
    let refused = client.publish_flow(message).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::InvalidArgument, "FLOW_UNREADABLE"));
    let nobody = v1::PromoteFlowRequest { actor: String::new(), ..promotion("acme", "short") };
    let refused = client.promote_flow(nobody).await.unwrap_err();
    let named: Vec<_> = refused.fields().iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!((refused.code(), named), (Code::InvalidArgument, vec!["revision", "actor"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_map_is_listed_with_its_reason_and_a_mapping_takes_it_up() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    release(&client, &desk("One.")).await;
    say(&client, "c", "r-1", "counter 1234").await;
    let renamed = desk("Two.").replace("number", "ticket").replace("served", "done");
    release(&client, &renamed).await;
    let rows = pinned(&client).await;
    assert_eq!((rows[0].0.as_str(), rows[0].1, rows[0].2.len()), ("c", v1::PinnedReason::DoesNotMap, 2), "{rows:?}");
    assert_eq!(reply(&say(&client, "c", "r-2", "hm").await), "Served.");
    let mapping = "upgrades:\n  - {from: \"*\", states: {counter.served: counter.done}, slots: {number: ticket}}\n";
    let third = release(&client, &format!("{renamed}{mapping}")).await;
    assert_eq!(say(&client, "c", "r-3", "hm").await.revision, third);
    let conversation = client.conversation(&Key::new("acme", "c")).await.unwrap();
    assert_eq!(conversation.slots.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>(), ["ticket"]);
}

/// CR-03: nothing of one tenant is visible to another.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_others_flows() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    let revision = release(&client, &desk("One.")).await;
    let refused = client.promote_flow(promotion("other", &revision)).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::NotFound, "REVISION_NOT_FOUND"));
    let message = v1::ListRevisionsRequest { tenant: "other".to_owned(), ..Default::default() };
    assert!(client.revisions(message).await.unwrap().revisions.is_empty());
    let turn = Turn::new(Key::new("other", "c"), "r-1", "desk", "hi");
    assert_eq!(client.submit(&turn).await.unwrap_err().reason(), "FLOW_NOT_FOUND");
    let graph = |tenant: &str| v1::GetTransitionGraphRequest {
        tenant: tenant.to_owned(),
        flow: "desk".to_owned(),
        revision: String::new(),
        format: v1::GraphFormat::Rows.into(),
    };
    assert_eq!(client.transition_graph(graph("other")).await.unwrap_err().reason(), "FLOW_NOT_FOUND");
    let shown = client.transition_graph(graph("acme")).await.unwrap();
    assert_eq!(shown.revision, revision);
    assert_eq!(
        shown.states.iter().filter(|state| state.start).map(|one| one.position.as_str()).collect::<Vec<_>>(),
        ["hall.door"]
    );
    let served = |row: &&v1::FlowTransition| row.to == "counter.served";
    assert_eq!(shown.transitions.iter().filter(served).map(|row| row.by.join(",")).collect::<Vec<_>>(), ["rule"]);
}

/// A promotion wins over a built-in flow of the same name, for its tenant alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_wins_over_a_shared_flow_of_its_name_for_its_tenant() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    let own = desk("Our own desk.").replace("name: desk", "name: order-desk");
    let revision = publish(&client, "acme", &own, "").await.revision.unwrap().revision;
    let message = v1::PromoteFlowRequest { flow: "order-desk".to_owned(), ..promotion("acme", &revision) };
    client.promote_flow(message).await.unwrap();
    let hello = async |tenant: &str| {
        let turn = Turn::new(Key::new(tenant, "c"), "r-1", "order-desk", "hello");
        client.submit(&turn).await.unwrap().turn.unwrap()
    };
    assert_eq!(reply(&hello("acme").await), "Our own desk.");
    assert_ne!(reply(&hello("other").await), "Our own desk.");
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_is_kept_through_a_kill_and_listed() {
    let place = Place::new();
    let mut server = place.start();
    let client = server.client().await;
    release(&client, &desk("One.")).await;
    say(&client, "c", "r-1", "hi").await;
    let key = Key::new("acme", "c");
    let given = |rating, turn_seq| v1::RecordFeedbackRequest {
        request_id: format!("f-{rating}-{turn_seq}"),
        turn_seq,
        rating,
        comment: "so so".to_owned(),
        ..Default::default()
    };
    assert!(!client.record_feedback(&key, given(-1, 1)).await.unwrap().replayed);
    assert_eq!(client.record_feedback(&key, given(1, 2)).await.unwrap_err().reason(), "TURN_NOT_FOUND");
    assert_eq!(client.record_feedback(&key, given(2, 1)).await.unwrap_err().reason(), "INVALID_FIELD");
    server.kill();
    let server = place.start();
    let client = server.client().await;
    assert!(client.record_feedback(&key, given(-1, 1)).await.unwrap().replayed);
    let listed = client.feedback(&key, 10, "").await.unwrap().feedback;
    let rows: Vec<_> = listed.iter().map(|row| (row.turn_seq, row.rating, row.comment.as_str())).collect();
    assert_eq!(rows, [(1, -1, "so so")]);
    assert_eq!(client.replay(&key, None).await.unwrap().turns_identical, 1);
}

fn folder(place: &Place, name: &str, flow: &str, scenarios: &str) -> PathBuf {
    let folder = place.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("flow.yaml"), flow).unwrap();
    std::fs::write(folder.join("scenarios.yaml"), scenarios).unwrap();
    folder
}

/// CE-006: the same gate from the command line.
#[test]
fn flows_are_published_and_promoted_from_the_command_line() {
    let place = Place::new();
    let server = place.start();
    let call =
        |arguments: &[&str]| run(&[&["flow"], arguments, &["--addr", &server.grpc, "--tenant", "acme"]].concat());
    let publish = |folder: &Path| call(&["publish", folder.to_str().unwrap(), "--json", "--actor", "ann"]);
    let good = publish(&folder(&place, "good", &desk("One."), &scenario("One.")));
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    let published: serde_json::Value = serde_json::from_str(&stdout(&good)).unwrap();
    let revision = published["revision"].as_str().unwrap();
    let promoted = call(&["promote", "desk", &revision[..8], "--expected-from", "none", "--note", "first"]);
    assert_eq!(promoted.status.code(), Some(0), "{}", stderr(&promoted));
    assert!(stdout(&promoted).contains(revision));
    let again = call(&["promote", "desk", revision, "--expected-from", "none"]);
    assert_eq!(again.status.code(), Some(4));
    assert!(stderr(&again).contains("PROMOTION_CONFLICT"), "{}", stderr(&again));

    let bad = publish(&folder(&place, "bad", &desk("Two.").replace("start: hall", "start: hell"), ""));
    assert_eq!(bad.status.code(), Some(1), "kept, but not as it should be");
    let failing = publish(&folder(&place, "failing", &desk("Three."), &scenario("Bye.")));
    let failing: serde_json::Value = serde_json::from_str(&stdout(&failing)).unwrap();
    let refused = call(&["promote", "desk", failing["revision"].as_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(stderr(&refused).contains("greet: turn 1: reply is \"Three.\""), "{}", stderr(&refused));
    assert_eq!(publish(&place.path().join("absent")).status.code(), Some(2));

    let rows = |arguments: &[&str]| {
        let listed = call(&[arguments, &["--json"]].concat());
        assert_eq!(listed.status.code(), Some(0), "{}", stderr(&listed));
        let lines: Vec<serde_json::Value> =
            stdout(&listed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
    };
    let revisions = rows(&["revisions", "desk"]);
    assert_eq!(
        revisions.iter().map(|row| row["promoted"].as_bool().unwrap()).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(rows(&["promotions"]).len(), 1);
    assert_eq!(rows(&["promotions", "another"]).len(), 0);
    let global = ["--addr", &server.grpc, "--tenant", "acme"];
    assert_eq!(run(&[&["send", "c", "counter", "--flow", "desk"][..], &global].concat()).status.code(), Some(0));
    let second = publish(&folder(&place, "second", &desk("Four."), ""));
    let second: serde_json::Value = serde_json::from_str(&stdout(&second)).unwrap();
    assert_eq!(call(&["promote", "desk", second["revision"].as_str().unwrap()]).status.code(), Some(0));
    let stays = rows(&["pinned"]);
    assert_eq!((&stays[0]["conversation"], &stays[0]["reason"]), (&"c".into(), &"underway".into()));
    assert!(stdout(&call(&["pinned", "desk"])).contains("counter.ask underway"));
}

#[test]
fn what_happened_to_flows_is_counted() {
    let place = Place::new();
    let server = place.start();
    let figure = |server: &Server, name: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(&server.http).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("_total "));
        line.unwrap_or_else(|| panic!("{name} is not in {answer}")).parse::<u64>().unwrap()
    };
    let global = ["--addr", &server.grpc, "--tenant", "acme"];
    let good = folder(&place, "good", &desk("One."), "");
    let published = run(&[&["flow", "publish", good.to_str().unwrap(), "--json"][..], &global].concat());
    let published: serde_json::Value = serde_json::from_str(&stdout(&published)).unwrap();
    run(&[&["flow", "promote", "desk", published["revision"].as_str().unwrap()][..], &global].concat());
    for n in 0..20 {
        run(&[&["send", &format!("c-{n}"), "hi", "--flow", "desk"][..], &global].concat());
    }
    assert_eq!(figure(&server, "colloquy_flow_promotions"), 1);
    let (found, absent) =
        (figure(&server, "colloquy_flow_lookups_found"), figure(&server, "colloquy_flow_lookups_absent"));
    assert!(found >= 20 && absent * 9 < found, "{found} found, {absent} absent");
}
