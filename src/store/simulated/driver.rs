//! What the threads of the journal do, as one task: take what waits, let it take its time, step, answer.
//!
//! Commands that arrive while a group is on its way wait for the next one, as they do before a real writer. Reads run
//! in tasks of their own; the keeper of segments and the index do their work between two groups, a piece at a time.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::engine::{Ended, SimulatedStore};

/// Chores go on this long after the last group, when nothing else happens.
const CHORE_PAUSE: Duration = Duration::from_millis(2);

/// Drives a store until it is closed. On a dead disk it tells nobody anything, until a crash ends it, which tells whoever
/// is still there that nobody knows.
pub(super) async fn drive(store: Arc<SimulatedStore>) {
    loop {
        if !store.has_chores() {
            store.until_woken().await;
        } else if store.is_idle() {
            pause(CHORE_PAUSE).await;
        }
        let group = store.take_group();
        if !group.is_empty() {
            pause(store.pace_of_sync()).await;
        }
        if store.is_dead() {
            store.until_ended().await;
            return drop(group);
        }
        let ended = store.step(group);
        pause(store.pace_of_answer()).await;
        if store.is_dead() {
            store.until_ended().await;
            return drop(ended);
        }
        for Ended { done, ending } in ended {
            done.call(ending);
        }
        for (pace, job) in store.take_reads() {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                pause(pace).await;
                store.read(job);
            });
        }
        if store.do_chore() {
            return;
        }
    }
}

/// A pause of nothing is none: the clock of tokio counts whole milliseconds.
pub(super) async fn pause(time: Duration) {
    if time > Duration::ZERO {
        sleep(time).await;
    }
}
