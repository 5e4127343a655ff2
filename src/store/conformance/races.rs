//! Several at once on one conversation: whoever wins, each record is won by one.

use std::{collections::BTreeMap, sync::Arc};

use colloquy_types::{Head, RecordNo};
use tokio::task::JoinSet;

use super::{Harness, append, append_turns, key, open, texts, turn, turns};
use crate::port::{AppendError, NotApplied};

const RACERS: usize = 6;
const ROUNDS: usize = 12;

pub(super) async fn of_racing_activations_one_wins_each_record(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = open(&*store, &key("c")).await;
    append_turns(&*store, &first.lease, first.head, 1).await;
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            let mut won = Vec::new();
            for round in 0..ROUNDS {
                let opened = open(&*store, &key("c")).await;
                // An engine that never waits would let nobody in between.
                tokio::task::yield_now().await;
                let text = format!("{racer} in round {round}");
                let ending = append(&*store, &opened.lease, turn(&opened.lease, &opened.head, text.as_bytes())).await;
                let fenced = Err(AppendError::NotApplied(NotApplied::Fenced));
                assert!(ending.is_ok() || ending == fenced, "another opened in between, which fences: {ending:?}");
                won.extend(ending.ok().map(|head| (head, text)));
            }
            won
        });
    }
    let mut winners: BTreeMap<RecordNo, (Head, String)> = BTreeMap::new();
    while let Some(won) = racers.join_next().await {
        for (head, text) in won.expect("no racer panics") {
            let other = winners.insert(head.record_no, (head, text));
            assert!(other.is_none(), "record {} was won twice", head.record_no);
        }
    }
    assert!(!winners.is_empty(), "whoever opens last wins");
    let stored = texts(&turns(&*store, &key("c"), 2, 1000).await.expect("readable"));
    assert_eq!(stored, winners.values().map(|(_, text)| text.clone()).collect::<Vec<_>>());
    let last = winners.last_key_value().map(|(_, (head, _))| *head);
    assert_eq!(store.verify(&key("c")).await.map(|verified| Some(verified.head)), Ok(last));
    store.close().await;
}

pub(super) async fn of_racing_appends_under_one_lease_one_wins(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 1).await;
    for round in 0..ROUNDS {
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, lease) = (Arc::clone(&store), opened.lease.clone());
            let batch = turn(&lease, &head, format!("{racer} in round {round}").as_bytes());
            racers.spawn(async move { append(&*store, &lease, batch).await });
        }
        let endings = racers.join_all().await;
        let won: Vec<_> = endings.iter().filter_map(|ending| ending.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "round {round}: {endings:?}");
        let next = won.first().map_or(head, |head| **head);
        let lost = Err(AppendError::NotApplied(NotApplied::Conflict { head: next }));
        assert_eq!(endings.iter().filter(|ending| **ending == lost).count(), RACERS - 1, "{endings:?}");
        head = next;
    }
    assert_eq!(turns(&*store, &key("c"), 2, 1000).await.map(|turns| turns.len()), Ok(ROUNDS));
    store.close().await;
}
