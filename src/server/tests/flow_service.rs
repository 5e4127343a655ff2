//! `FlowService`: each method by what it promises.

use colloquy_client::v1;
use tonic::Code;

use super::house::{House, key, kiosk, promotion, sources};

fn scenario(reply: &str) -> String {
    format!("scenarios:\n  - name: greet\n    turns: [{{say: hi, reply: {reply}}}]\n")
}

fn graph(format: v1::GraphFormat) -> v1::GetTransitionGraphRequest {
    let (tenant, flow) = ("acme".to_owned(), "kiosk".to_owned());
    v1::GetTransitionGraphRequest { tenant, flow, revision: String::new(), format: format.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_tells_faults_with_their_place_and_keeps_nothing() {
    let house = House::new().await;
    let clean = house.client.lint_flow(sources(&kiosk("Come in."), "")).await.unwrap();
    assert_eq!((clean.flow.as_str(), clean.revision.len()), ("kiosk", 64));
    assert!(clean.faults.iter().all(|fault| !fault.is_error), "{:?}", clean.faults);
    let faulty = kiosk("Come in.").replace("start: hall.door", "start: hall.gone");
    let linted = house.client.lint_flow(sources(&faulty, "")).await.unwrap();
    let errors: Vec<_> = linted.faults.iter().filter(|fault| fault.is_error).collect();
    assert_eq!((errors[0].id.as_str(), errors[0].file.as_str()), ("unknown-state", "flow.yaml"));
    assert_eq!((errors[0].line, errors[0].column, errors[0].fix.is_empty()), (3, 8, false));
    let listed = v1::ListRevisionsRequest { tenant: "acme".to_owned(), ..Default::default() };
    assert_eq!(house.client.revisions(listed).await.unwrap().revisions, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_twice_does_nothing_and_other_scenarios_replace() {
    let house = House::new().await;
    let first = house.publish(&kiosk("Come in."), "").await;
    let again = house.publish(&kiosk("Come in."), "").await;
    assert_eq!((first.created, again.created), (true, false));
    assert_eq!(first.revision, again.revision);
    let replaced = house.publish(&kiosk("Come in."), &scenario("Come in.")).await;
    let (was, is) = (first.revision.unwrap(), replaced.revision.unwrap());
    assert_eq!((replaced.created, is.has_scenarios, is.revision == was.revision), (true, true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_refused_with_the_scenario_that_fails_and_nothing_changes() {
    let house = House::with_kiosk().await;
    let failing = house.publish(&kiosk("Go away."), &scenario("Come in.")).await.revision.unwrap().revision;
    let refused = house.client.promote_flow(promotion(&failing)).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::FailedPrecondition, "UNPROMOTABLE"));
    assert_eq!((refused.metadata("failures"), refused.fields()[0].0.as_str()), (Some("1"), "greet"));
    assert_eq!(house.say("c", "r-1", "hi").await.reply.unwrap().text, "Come in.");
    let stale = v1::PromoteFlowRequest { expected_from: Some(failing.clone()), ..promotion(&failing) };
    house.publish(&kiosk("Go away."), "").await;
    let refused = house.client.promote_flow(stale).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::Aborted, "PROMOTION_CONFLICT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_listed_the_latest_first_page_by_page() {
    let house = House::new().await;
    let mut published = Vec::new();
    for greeting in ["One.", "Two.", "Three."] {
        published.push(house.release(&kiosk(greeting)).await);
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let message =
            v1::ListRevisionsRequest { tenant: "acme".to_owned(), flow: "kiosk".to_owned(), page_size: 2, page_token };
        let page = house.client.revisions(message).await.unwrap();
        assert!(page.revisions.len() <= 2);
        listed.extend(page.revisions.into_iter().map(|row| (row.revision, row.promoted)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = published.iter().enumerate().map(|(place, row)| (row.clone(), place == 2)).rev().collect();
    assert_eq!(listed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_told_as_rows_or_drawn_and_says_the_same() {
    let house = House::with_kiosk().await;
    let told = async |format| house.client.transition_graph(graph(format)).await.unwrap();
    let rows = told(v1::GraphFormat::Rows).await;
    assert_eq!(rows, told(v1::GraphFormat::Unspecified).await);
    let positions: Vec<_> = rows.states.iter().map(|state| state.position.as_str()).collect();
    assert_eq!((positions, rows.drawing.as_str()), (vec!["hall.door", "counter.ask", "counter.served"], ""));
    let beginnings = [
        (v1::GraphFormat::Dot, "digraph \"kiosk\" {"),
        (v1::GraphFormat::Mermaid, "flowchart LR"),
        (v1::GraphFormat::Svg, "<svg xmlns=\"http://www.w3.org/2000/svg\""),
    ];
    for (format, beginning) in beginnings {
        let drawn = told(format).await;
        assert!(drawn.drawing.starts_with(beginning), "{}", drawn.drawing);
        assert!(["door", "ask", "served"].iter().all(|state| drawn.drawing.contains(state)), "{}", drawn.drawing);
        assert_eq!((&drawn.revision, drawn.states.len(), drawn.transitions.len()), (&rows.revision, 0, 0));
        assert_eq!(drawn, told(format).await);
    }
    let unknown = v1::GetTransitionGraphRequest { format: 99, ..graph(v1::GraphFormat::Rows) };
    let refused = house.client.transition_graph(unknown).await.unwrap_err();
    assert_eq!((refused.code(), refused.fields()[0].0.as_str()), (Code::InvalidArgument, "format"));
    let absent = v1::GetTransitionGraphRequest { flow: "none".to_owned(), ..graph(v1::GraphFormat::Svg) };
    assert_eq!(house.client.transition_graph(absent).await.unwrap_err().reason(), "FLOW_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_comes_out_as_recorded_and_against_another_revision_says_what_differs() {
    let house = House::with_kiosk().await;
    house.say("c", "r-1", "hi").await;
    house.say("c", "r-2", "counter 1234").await;
    let own = house.client.replay(&key("c"), None).await.unwrap();
    assert_eq!((own.turns_identical, own.turns_different, own.turns_undecided), (2, 0, 0), "{:?}", own.differences);
    let other = house.publish(&kiosk("Welcome."), "").await.revision.unwrap().revision;
    let against = house.client.replay(&key("c"), Some(other)).await.unwrap();
    assert_eq!((against.turns_identical, against.turns_different), (1, 1));
    let difference = &against.differences[0];
    assert_eq!((difference.turn_seq, difference.what.as_str()), (1, "reply"));
    assert_eq!((difference.recorded.as_str(), difference.replayed.as_str()), ("Come in.", "Welcome."));
    let absent = house.client.replay(&key("nobody"), None).await.unwrap_err();
    assert_eq!((absent.code(), absent.reason()), (Code::NotFound, "CONVERSATION_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_are_played_as_published_or_as_given() {
    let house = House::new().await;
    let revision = house.publish(&kiosk("Come in."), &scenario("Go away.")).await.revision.unwrap().revision;
    let play = |scenarios| v1::RunScenariosRequest {
        tenant: "acme".to_owned(),
        flow: "kiosk".to_owned(),
        revision: revision[..8].to_owned(),
        scenarios,
    };
    let published = house.client.run_scenarios(play(None)).await.unwrap();
    assert_eq!((published.revision.as_str(), published.passed, published.failed), (revision.as_str(), 0, 1));
    let row = &published.results[0];
    assert_eq!((row.name.as_str(), row.passed, row.turn, row.what.as_str()), ("greet", false, 1, "reply"));
    assert_eq!((row.expected.as_str(), row.got.as_str()), ("Go away.", "Come in."));
    let given = house.client.run_scenarios(play(Some(scenario("Come in.")))).await.unwrap();
    assert_eq!((given.passed, given.failed), (1, 0));
    let unread = house.client.run_scenarios(play(Some("scenarios: [".to_owned()))).await.unwrap_err();
    assert_eq!((unread.code(), unread.reason()), (Code::InvalidArgument, "FLOW_UNREADABLE"));
}
