//! How conversations stay and move.

use colloquy_store::{RecordKind, StoredRecord};
use colloquy_turn::{Change, ControlRecord};

use super::*;
use crate::{ForkConversation, PinnedReason, RecordFeedback, SnapshotPolicy};

async fn records(house: &House, conversation: &str) -> Vec<StoredRecord> {
    let page = house.store.history(&key(conversation), colloquy_types::Head::default(), 1000).await.unwrap();
    page.records.into_iter().map(|one| one.record).collect()
}

async fn upgrades(house: &House, conversation: &str) -> Vec<(String, String, Vec<Change>)> {
    let controls = records(house, conversation).await.into_iter().filter(|one| one.header.kind == RecordKind::Control);
    let upgraded = controls.filter_map(|one| match ControlRecord::decode(&one.payload).unwrap() {
        ControlRecord::Upgraded { from, to, changes, .. } => {
            Some((from.revision.to_string(), to.revision.to_string(), changes))
        }
        _ => None,
    });
    upgraded.collect()
}

async fn pinned(house: &House) -> Vec<(String, PinnedReason)> {
    let page = house.runtime.list_pinned(&tenant("acme"), "", None, 100, soon()).await.unwrap();
    page.rows.into_iter().map(|row| (row.key.conversation().to_owned(), row.reason)).collect()
}

#[tokio::test]
async fn a_conversation_stays_while_something_is_underway_and_moves_at_the_boundary() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    assert_eq!(house.say("c", "r-1", "to the counter").await.unwrap().record.state.as_ref(), "ask");
    let second = house.release("acme", desk("Two.")).await;
    assert_eq!(pinned(&house).await, [("c".to_owned(), PinnedReason::Underway)]);
    // In the middle: the old revision decides, and the turn that reaches the boundary is still its own.
    assert_eq!(house.say("c", "r-2", "hm").await.unwrap().record.revision.to_string(), first);
    let served = house.say("c", "r-3", "1234").await.unwrap();
    assert_eq!((served.record.state.as_ref(), served.record.revision.to_string()), ("served", first.clone()));
    assert_eq!(pinned(&house).await, [("c".to_owned(), PinnedReason::NextTurn)]);
    let moved = house.say("c", "r-4", "and now").await.unwrap();
    assert_eq!(moved.record.revision.to_string(), second);
    assert_eq!(house.describe("c").await.flow.revision.to_string(), second);
    assert_eq!(pinned(&house).await, []);
    assert_eq!(upgrades(&house, "c").await, [(first, second.clone(), Vec::new())]);
    // What was folded from the log is what was in memory.
    let before = house.describe("c").await;
    let house = house.restart().await;
    let after = house.describe("c").await;
    assert_eq!((after.state, after.flow), (before.state, before.flow));
    assert_eq!(house.say("c", "r-5", "again").await.unwrap().record.revision.to_string(), second);
}

#[tokio::test]
async fn a_move_goes_through_the_declared_mapping_and_is_one_batch_with_its_turn() {
    let house = House::new().await;
    house.release("acme", desk("One.")).await;
    house.say("c", "r-1", "counter 1234").await.unwrap();
    let renamed = DESK.replace("GREETING", "Two.").replace("served", "done").replace("number", "ticket");
    let mapping = "upgrades:\n  - {from: \"*\", states: {counter.served: counter.done}, slots: {number: ticket}}\n";
    let second = house.release("acme", sources(&format!("{renamed}{mapping}"), "")).await;
    let moved = house.say("c", "r-2", "thanks").await.unwrap();
    assert_eq!((moved.record.state_before.as_ref(), moved.record.revision.to_string()), ("done", second.clone()));
    let state = house.describe("c").await.state;
    assert_eq!(state.slots().iter().map(|(slot, _)| slot.as_ref()).collect::<Vec<_>>(), ["ticket"]);
    let kinds: Vec<_> = records(&house, "c").await.iter().map(|one| one.header.kind).collect();
    assert_eq!(kinds, [RecordKind::Created, RecordKind::Turn, RecordKind::Control, RecordKind::Turn]);
    let house = house.restart().await;
    assert_eq!(house.describe("c").await.state, state);
}

/// A fork is on the revision that its origin ran after that turn, whatever it runs by now.
#[tokio::test]
async fn a_fork_from_before_a_move_is_pinned_to_the_revision_of_that_time() {
    let every_turn = SnapshotPolicy { turns: 1, bytes: 0, ratio: 0, ..SnapshotPolicy::default() };
    for snapshot in [SnapshotPolicy::default(), every_turn] {
        let settings = RuntimeSettings { snapshot, ..RuntimeSettings::default() };
        let house = House::with(MemoryStore::new(Arc::new(SystemEntropy)), settings).await;
        let first = house.release("acme", desk("One.")).await;
        house.say("c", "r-1", "counter 1234").await.unwrap();
        let served = house.describe("c").await;
        let renamed = DESK.replace("GREETING", "Two.").replace("served", "done").replace("number", "ticket");
        let mapping = "upgrades:\n  - {from: \"*\", states: {counter.served: counter.done}, slots: {number: ticket}}\n";
        let second = house.release("acme", sources(&format!("{renamed}{mapping}"), "")).await;
        house.say("c", "r-2", "thanks").await.unwrap();
        let moved = house.describe("c").await;
        assert_eq!(
            (served.flow.revision.to_string(), moved.flow.revision.to_string()),
            (first.clone(), second.clone())
        );
        for (at, before) in [(Some(1), &served), (Some(2), &moved), (None, &moved)] {
            let target = format!("f-{}", at.unwrap_or_default());
            let fork = ForkConversation {
                source: key("c"),
                at: at.map(colloquy_types::TurnSeq::new),
                target: key(&target),
                request_id: RequestId::parse("fork").unwrap(),
                deadline: soon(),
            };
            house.runtime.fork(fork).await.unwrap();
            let forked = house.describe(&target).await;
            assert_eq!((&forked.flow, &forked.state), (&before.flow, &before.state), "{at:?}");
        }
        // It is read so from the log, too, and goes its own way: to the new revision with its next turn.
        let house = house.restart().await;
        assert_eq!(house.describe("f-1").await.flow.revision.to_string(), first);
        assert_eq!(pinned(&house).await, [("f-1".to_owned(), PinnedReason::NextTurn)]);
        assert_eq!(house.say("f-1", "r-1", "thanks").await.unwrap().record.revision.to_string(), second);
        assert_eq!(upgrades(&house, "f-1").await.len(), 1);
        assert_eq!(upgrades(&house, "f-2").await.len(), 0);
    }
}

#[tokio::test]
async fn what_does_not_map_stays_is_listed_with_every_obstacle_and_goes_on() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    house.say("c", "r-1", "counter 1234").await.unwrap();
    let renamed = DESK.replace("GREETING", "Two.").replace("served", "done").replace("number", "ticket");
    let second = house.release("acme", sources(&renamed, "")).await;
    let listed = pinned(&house).await;
    let [(conversation, PinnedReason::DoesNotMap(obstacles))] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((conversation.as_str(), obstacles.len()), ("c", 2), "{obstacles:?}");
    assert!(obstacles[0].contains("counter.served") && obstacles[1].contains("number"), "{obstacles:?}");
    assert!(!format!("{obstacles:?}").contains("1234"), "no value is told");
    assert_eq!(house.say("c", "r-2", "hm").await.unwrap().record.revision.to_string(), first);
    // A revision that does map takes it up later.
    let mapping = "upgrades:\n  - {from: \"*\", states: {counter.served: counter.done}, slots: {number: null}}\n";
    let third = house.release("acme", sources(&format!("{renamed}{mapping}"), "")).await;
    assert_ne!(second, third);
    assert_eq!(house.say("c", "r-3", "hm").await.unwrap().record.revision.to_string(), third);
    assert!(house.describe("c").await.state.slots().is_empty());
}

#[tokio::test]
async fn listing_puts_what_it_woke_to_rest_and_pages() {
    let house = House::new().await;
    house.release("acme", desk("One.")).await;
    for n in 0..5 {
        house.say(&format!("c-{n}"), "r-1", "counter").await.unwrap();
    }
    house.release("acme", desk("Two.")).await;
    house.say("fresh", "r-1", "hi").await.unwrap();
    let house = house.restart().await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = house.runtime.list_pinned(&tenant("acme"), "desk", after.as_deref(), 2, soon()).await.unwrap();
        assert!(page.rows.len() <= 2);
        seen.extend(page.rows.iter().map(|row| row.key.conversation().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["c-0", "c-1", "c-2", "c-3", "c-4"]);
    let asleep = async {
        while house.runtime.stats().conversations_active > 0 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asleep).await.expect("they are put to rest");
    assert_eq!(house.say("c-0", "r-2", "1234").await.unwrap().record.state.as_ref(), "served");
    let other = house.runtime.list_pinned(&tenant("acme"), "another", None, 10, soon()).await.unwrap();
    assert!(other.rows.is_empty());
}

/// CE-011: no stale use after a promotion, and nearly every look-up finds a compiled revision.
#[tokio::test(flavor = "multi_thread")]
async fn once_a_promotion_is_answered_nothing_begins_with_what_was_before() {
    let house = Arc::new(House::new().await);
    house.release("acme", desk("Greeting 0.")).await;
    for round in 1..=10 {
        house.release("acme", desk(&format!("Greeting {round}."))).await;
        let calls = (0..32).map(|n| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                let fresh = house.say(&format!("c-{round}-{n}"), "r-1", "hi").await.unwrap();
                let old = house.say(&format!("old-{n}"), &format!("r-{round}"), "hi").await.unwrap();
                (fresh.record.reply.text.clone(), old.record.reply.text.clone())
            })
        });
        for said in futures::future::join_all(calls).await {
            let expected = format!("Greeting {round}.");
            assert_eq!(said.unwrap(), (expected.clone(), expected));
        }
    }
    let lookups = house.runtime.stats().flow_lookups;
    assert!(lookups.found > 300, "{lookups:?}");
    assert!(lookups.found as f64 / (lookups.found + lookups.absent) as f64 > 0.9, "{lookups:?}");
}

#[tokio::test]
async fn a_rollback_takes_conversations_back() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    house.release("acme", desk("Two.")).await;
    assert_eq!(house.say("c", "r-1", "hi").await.unwrap().record.reply.text, "Two.");
    house.promote("acme", &first).await.unwrap();
    assert_eq!(house.say("c", "r-2", "hi").await.unwrap().record.reply.text, "One.");
    let revisions: Vec<_> = upgrades(&house, "c").await.into_iter().map(|(_, to, _)| to).collect();
    assert_eq!(revisions, [first]);
}

#[tokio::test]
async fn a_snapshot_beside_the_move_itself_holds_the_new_revision() {
    let every_turn = SnapshotPolicy { turns: 1, bytes: 0, ratio: 0, ..SnapshotPolicy::default() };
    let settings = RuntimeSettings { snapshot: every_turn, ..RuntimeSettings::default() };
    let house = House::with(MemoryStore::new(Arc::new(SystemEntropy)), settings).await;
    house.release("acme", desk("One.")).await;
    house.say("c", "r-1", "hi").await.unwrap();
    let second = house.release("acme", desk("Two.")).await;
    house.say("c", "r-2", "hi").await.unwrap();
    let kinds: Vec<_> = records(&house, "c").await.iter().map(|one| one.header.kind).collect();
    assert_eq!(kinds[kinds.len() - 3..], [RecordKind::Control, RecordKind::Turn, RecordKind::Snapshot]);
    let house = house.restart().await;
    assert_eq!(house.describe("c").await.flow.revision.to_string(), second);
}

#[tokio::test]
async fn snapshots_hold_the_revision_a_conversation_moved_to() {
    let house = House::new().await;
    house.release("acme", desk("One.")).await;
    for n in 0..40 {
        house.say("c", &format!("a-{n}"), "hi").await.unwrap();
    }
    let second = house.release("acme", desk("Two.")).await;
    for n in 0..200 {
        house.say("c", &format!("b-{n}"), "hi").await.unwrap();
    }
    let kinds: Vec<_> = records(&house, "c").await.iter().map(|one| one.header.kind).collect();
    let (moved, last) = (
        kinds.iter().position(|kind| *kind == RecordKind::Control).unwrap(),
        kinds.iter().rposition(|kind| *kind == RecordKind::Snapshot).unwrap(),
    );
    assert!(last > moved, "a snapshot came after the move: {kinds:?}");
    let house = house.restart().await;
    assert_eq!(house.describe("c").await.flow.revision.to_string(), second);
    assert_eq!(house.say("c", "c-1", "hi").await.unwrap().record.reply.text, "Two.");
}

#[tokio::test]
async fn feedback_is_kept_once_and_changes_no_state() {
    use colloquy_turn::Rating;
    let house = House::new().await;
    house.release("acme", desk("One.")).await;
    house.say("c", "r-1", "counter 1234").await.unwrap();
    let state = house.describe("c").await.state;
    let feedback = |request_id: &str, turn_seq, comment: &str| RecordFeedback {
        key: key("c"),
        request_id: RequestId::parse(request_id).unwrap(),
        turn_seq: colloquy_types::TurnSeq::new(turn_seq),
        rating: Rating::Bad,
        comment: comment.to_owned(),
        deadline: soon(),
    };
    assert!(!house.runtime.record_feedback(feedback("f-1", 1, "slow")).await.unwrap().replayed);
    assert!(house.runtime.record_feedback(feedback("f-1", 1, "slow")).await.unwrap().replayed);
    let reused = house.runtime.record_feedback(feedback("f-1", 1, "fast")).await;
    assert_eq!(reused, Err(Error::RequestIdReused));
    for absent in [0, 2] {
        let refused = house.runtime.record_feedback(feedback("f-2", absent, "")).await;
        assert_eq!(refused, Err(Error::TurnAbsent { turn_seq: colloquy_types::TurnSeq::new(absent) }));
    }
    for n in 3..8 {
        house.runtime.record_feedback(feedback(&format!("f-{n}"), 1, "more")).await.unwrap();
    }
    let house = house.restart().await;
    assert!(house.runtime.record_feedback(feedback("f-1", 1, "slow")).await.unwrap().replayed);
    let (mut rows, mut skip) = (Vec::new(), 0);
    loop {
        let page = house.runtime.feedback(&key("c"), skip, 4, soon()).await.unwrap();
        rows.extend(page.rows.into_iter().map(|row| (row.request_id.to_string(), row.rating, row.comment)));
        match page.next {
            Some(next) => skip = next,
            None => break,
        }
    }
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0], ("f-1".to_owned(), Rating::Bad, "slow".to_owned()));
    assert_eq!(house.describe("c").await.state, state);
}
