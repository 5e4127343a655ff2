//! What pauses of tenants and of revisions promise.

use super::*;
use crate::{PauseTraffic, PinnedReason, ResetConversation, RevisionChoice, TrafficReply};

/// A pause, or the end of one: of a whole tenant, or of a revision that its conversations run.
async fn steer(
    house: &House,
    owner: &str,
    of: Option<&str>,
    request_id: &str,
    paused: bool,
) -> Result<TrafficReply, Error> {
    let choice = |digits: &str| RevisionChoice { flow: "desk".to_owned(), digits: digits.to_owned() };
    let pause = PauseTraffic {
        tenant: tenant(owner),
        revision: of.map(choice),
        request_id: RequestId::parse(request_id).unwrap(),
        paused,
        attribution: Attribution { by: "ann".to_owned(), note: "ticket 4711".to_owned() },
        deadline: soon(),
    };
    house.runtime.pause_traffic(pause).await
}

/// What a turn was refused for: the place that is paused, and why.
async fn refused(house: &House, conversation: &str, request_id: &str) -> (String, String) {
    match house.say(conversation, request_id, "hm").await {
        Err(Error::TrafficPaused(pause)) => (pause.place(), pause.reason.clone()),
        other => panic!("not refused: {other:?}"),
    }
}

fn listed(house: &House) -> Vec<String> {
    let page = house.runtime.paused_traffic(None, None, 100);
    assert_eq!(page.rows.len(), page.total);
    page.rows.iter().map(|row| row.place()).collect()
}

async fn records(house: &House, owner: &str) -> u64 {
    let opened = house.store.verify(&crate::flows::flows_key(&tenant(owner))).await.unwrap();
    opened.records
}

/// Whether the store answers too late or the keeper dies first: nobody asks again, and it holds.
#[tokio::test]
async fn a_pause_whose_ending_nobody_knew_holds_once_it_was_written() {
    for dies in [false, true] {
        let house = House::new().await;
        house.release("acme", desk("Hello.")).await;
        house.say("c", "r-1", "hi").await.unwrap();
        // From here on nothing is compiled.
        tokio::time::pause();
        house.store.hold();
        let written = async {
            while house.store.held() == 0 {
                tokio::task::yield_now().await;
            }
            if dies {
                house.runtime.shared().keeper().unwrap().kill();
            }
        };
        let (steered, ()) = tokio::join!(steer(&house, "acme", None, "p-1", true), written);
        let unknown = Error::DeadlineExceeded { outcome: crate::DeadlineOutcome::Unknown };
        assert_eq!(steered, Err(if dies { Error::Restarted } else { unknown }));
        // The keeper gives up at the same time as its caller.
        tokio::time::sleep(Duration::from_millis(1)).await;
        house.store.let_go();
        assert_eq!(listed(&house), [""; 0]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(listed(&house), ["acme"]);
        assert_eq!(refused(&house, "c", "r-2").await, ("acme".to_owned(), "ticket 4711".to_owned()));
        assert!(steer(&house, "acme", None, "p-1", true).await.unwrap().replayed);
        assert_eq!(records(&house, "acme").await, 4, "created, published, promoted, paused");
        tokio::time::resume();
    }
}

/// A store that fails for longer is asked until it answers.
#[tokio::test]
async fn a_stream_that_cannot_be_read_again_is_tried_until_it_can() {
    let house = House::new().await;
    house.release("acme", desk("Hello.")).await;
    tokio::time::pause();
    house.store.hold();
    let steered = steer(&house, "acme", None, "p-1", true).await;
    assert!(matches!(steered, Err(Error::DeadlineExceeded { .. })), "{steered:?}");
    // Whoever reads the stream waits behind the write.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(listed(&house), [""; 0]);
    house.store.let_go();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(listed(&house), ["acme"]);
}

#[tokio::test]
async fn a_paused_tenant_takes_no_turns_and_others_do_also_after_a_restart() {
    let house = House::new().await;
    house.release("acme", desk("Hello.")).await;
    house.release("other", desk("Hello.")).await;
    let first = house.say("c", "r-1", "hi").await.unwrap();
    house.say("other/c", "r-1", "hi").await.unwrap();
    let reply = steer(&house, "acme", None, "p-1", true).await.unwrap();
    let pause = reply.pause.unwrap();
    assert_eq!((pause.by.as_str(), pause.reason.as_str(), reply.replayed), ("ann", "ticket 4711", false));
    let expected = ("acme".to_owned(), "ticket 4711".to_owned());
    let house = house.restart().await;
    assert_eq!(refused(&house, "c", "r-2").await, expected);
    assert_eq!(refused(&house, "fresh", "r-1").await, expected, "no conversation begins");
    house.say("other/c", "r-2", "hi").await.unwrap();
    // Known requests keep their endings, and what is no turn goes on.
    assert_eq!(house.say("c", "r-1", "hi").await.unwrap(), first);
    let reset = ResetConversation {
        key: key("c"),
        request_id: RequestId::parse("reset").unwrap(),
        reason: String::new(),
        expected_seq: None,
        deadline: soon(),
    };
    house.runtime.reset(reset).await.unwrap();
    assert_eq!((listed(&house), &*house.runtime.paused_traffic(None, None, 1).rows[0]), (vec!["acme".into()], &*pause));
    assert!(house.runtime.paused_traffic(Some("other"), None, 9).rows.is_empty());
    let resumed = steer(&house, "acme", None, "p-2", false).await.unwrap();
    assert_eq!(resumed, TrafficReply { pause: None, replayed: false });
    house.say("c", "r-2", "hm").await.unwrap();
    assert_eq!(listed(&house), [""; 0]);
    let house = house.restart().await;
    house.say("c", "r-3", "hm").await.unwrap();
}

#[tokio::test]
async fn a_tenant_without_flows_of_its_own_stays_paused_after_a_restart() {
    let house = House::new().await;
    steer(&house, "acme", None, "p-1", true).await.unwrap();
    assert_eq!(listed(&house.restart().await), ["acme"]);
}

#[tokio::test]
async fn a_paused_revision_refuses_what_runs_it_and_nothing_else() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    house.release("other", desk("One.")).await;
    house.say("old", "r-1", "to the counter").await.unwrap();
    house.say("other/c", "r-1", "to the counter").await.unwrap();
    let second = house.release("acme", desk("Two.")).await;
    house.say("new", "r-1", "to the counter").await.unwrap();
    steer(&house, "acme", Some(&first[..8]), "p-1", true).await.unwrap();
    let place = |revision: &str| (format!("acme/desk/{revision}"), "ticket 4711".to_owned());
    assert_eq!(refused(&house, "old", "r-2").await, place(&first));
    house.say("new", "r-2", "hm").await.unwrap();
    house.say("fresh", "r-1", "hm").await.unwrap();
    house.say("other/c", "r-2", "hm").await.unwrap();
    // It has a pause of its own: resuming the tenant does not end it.
    steer(&house, "acme", None, "p-2", true).await.unwrap();
    assert_eq!(refused(&house, "new", "r-3").await.0, "acme");
    steer(&house, "acme", None, "p-3", false).await.unwrap();
    house.say("new", "r-3", "hm").await.unwrap();
    let house = house.restart().await;
    assert_eq!(refused(&house, "old", "r-2").await, place(&first));
    // Of what new conversations would run none begins.
    steer(&house, "acme", Some(&second), "p-4", true).await.unwrap();
    assert_eq!(refused(&house, "newer", "r-1").await, place(&second));
    let mut both = vec![place(&first).0, place(&second).0];
    both.sort();
    assert_eq!(listed(&house), both);
    steer(&house, "acme", Some(&first), "p-5", false).await.unwrap();
    house.say("old", "r-2", "hm").await.unwrap();
    assert_eq!(refused(&house, "new", "r-4").await, place(&second));
}

#[tokio::test]
async fn a_conversation_may_leave_a_paused_revision_and_none_moves_to_it() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    for conversation in ["a", "b"] {
        house.say(conversation, "r-1", "counter 1234").await.unwrap();
    }
    let second = house.release("acme", desk("Two.")).await;
    steer(&house, "acme", Some(&second), "p-1", true).await.unwrap();
    // Both stand at a boundary, and would move.
    let ran = |turn: Arc<CommittedTurn>| turn.record.revision.to_string();
    assert_eq!(ran(house.say("a", "r-2", "hm").await.unwrap()), first);
    let pinned = house.runtime.list_pinned(&tenant("acme"), "", None, 10, soon()).await.unwrap();
    assert!(pinned.rows.iter().all(|row| row.reason == PinnedReason::Paused), "{pinned:?}");
    assert_eq!(pinned.rows.len(), 2);
    steer(&house, "acme", Some(&first), "p-2", true).await.unwrap();
    assert_eq!(refused(&house, "a", "r-3").await.0, format!("acme/desk/{first}"), "there is nowhere to go");
    steer(&house, "acme", Some(&second), "p-3", false).await.unwrap();
    assert_eq!(ran(house.say("a", "r-3", "hm").await.unwrap()), second);
    assert_eq!(ran(house.say("b", "r-2", "hm").await.unwrap()), second);
}

#[tokio::test]
async fn a_shared_revision_is_paused_for_one_tenant() {
    let inspected = Tools.compile(&desk("Shared."));
    let flow = inspected.flow.unwrap();
    let house = House::new().await;
    house.runtime.shared().flows.insert("_", Arc::clone(&flow));
    // As a start publishes what the process was given.
    let given =
        crate::GivenFlow { tenant: colloquy_types::TenantId::shared(), flow, source: inspected.source.unwrap().1 };
    let author: Arc<dyn FlowAuthor> = Arc::new(Tools);
    let store = house.store.reopen();
    FlowCatalogue::open(&store, &SystemClock, &SystemEntropy, &author, &[given]).await.unwrap();
    let house = House::on(store.reopen()).await;
    house.runtime.shared().flows.insert("_", Tools.compile(&desk("Shared.")).flow.unwrap());
    let revision = house.say("c", "r-1", "hi").await.unwrap().record.revision.to_string();
    steer(&house, "acme", Some(&revision), "p-1", true).await.unwrap();
    assert_eq!(refused(&house, "c", "r-2").await.0, format!("acme/desk/{revision}"));
    house.say("other/c", "r-1", "hi").await.unwrap();
    let absent = steer(&house, "acme", Some("00000000"), "p-2", true).await;
    assert!(matches!(absent, Err(Error::RevisionAbsent { .. })), "{absent:?}");
}

#[tokio::test]
async fn a_request_pauses_once_and_what_is_so_already_is_not_written() {
    let house = House::new().await;
    let revision = house.release("acme", desk("Hello.")).await;
    let written = steer(&house, "acme", None, "p-1", true).await.unwrap();
    let before = records(&house, "acme").await;
    let again = steer(&house, "acme", None, "p-1", true).await.unwrap();
    assert_eq!((again.pause, again.replayed), (written.pause.clone(), true), "the same request");
    let other = steer(&house, "acme", None, "p-2", true).await.unwrap();
    assert_eq!((other.pause, other.replayed), (written.pause, true), "it is so already");
    assert_eq!(records(&house, "acme").await, before);
    // The same id for something else: another way, another scope.
    for (of, paused) in [(None, false), (Some(revision.as_str()), true)] {
        assert_eq!(steer(&house, "acme", of, "p-1", paused).await.unwrap_err(), Error::RequestIdReused);
    }
    steer(&house, "acme", None, "p-3", false).await.unwrap();
    assert_eq!(records(&house, "acme").await, before + 1);
    let house = house.restart().await;
    // A request that comes late does not pause anew.
    let late = steer(&house, "acme", None, "p-1", true).await.unwrap();
    assert_eq!(late, TrafficReply { pause: None, replayed: true });
    assert!(steer(&house, "acme", None, "p-3", false).await.unwrap().replayed);
    assert!(steer(&house, "acme", None, "p-4", false).await.unwrap().replayed, "nothing is paused");
    assert_eq!(records(&house, "acme").await, before + 1);
    house.say("c", "r-1", "hi").await.unwrap();
    // Nor does one that found it so end what somebody paused since.
    steer(&house, "acme", None, "p-5", true).await.unwrap();
    let late = steer(&house, "acme", None, "p-4", false).await.unwrap();
    assert!(late.replayed && late.pause.is_some());
    assert!(matches!(house.say("c", "r-2", "hi").await, Err(Error::TrafficPaused(_))));
}

#[tokio::test]
async fn what_is_paused_is_listed_page_by_page() {
    let house = House::new().await;
    let revision = house.release("acme", desk("Hello.")).await;
    for owner in ["acme", "acme-b", "zeta"] {
        steer(&house, owner, None, "p-1", true).await.unwrap();
    }
    steer(&house, "acme", Some(&revision), "p-2", true).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = house.runtime.paused_traffic(None, after.as_deref(), 1);
        assert_eq!((page.rows.len(), page.total), (1, 4));
        seen.push(page.rows[0].place());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["acme".to_owned(), "acme-b".into(), format!("acme/desk/{revision}"), "zeta".into()]);
}
