//! The passivator: puts conversations to rest that nobody uses, so that memory holds those that somebody does.
//!
//! It looks several times a second. What was not used for long goes; and when there are more conversations, or they take
//! more memory, than may be, the least recently used go until there is room again. It asks their actors, and an actor
//! that something runs in, or waits for, refuses. The order is the directory's (`directory/recency.rs`), so a look costs
//! what it finds and not what there is. It keeps no state that outlives it.
//!
//! The downside of this design: between two looks memory may grow beyond its mark by what is activated meanwhile.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use crate::{
    conversation::{Message, Passivate},
    directory::{ActorInfo, Oldest},
    heartbeat::Janitor,
    quarantine::FailureCause,
    shared::Shared,
};

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// Conversations that are asked at one look: 100,000 in a second.
const ASKED_MAX: usize = 10_000;
/// Conversations that are asked before others get their turn on the thread.
const ASKED_AT_ONCE: usize = 100;
/// How long one that was asked to leave counts as gone before it is.
const LEAVING_MAX: Duration = Duration::from_secs(1);
/// From one tidying of maps and counts to the next.
const TIDY: Duration = Duration::from_secs(5);
/// Above its mark, memory is brought down to this many tenths of it, so that not every activation costs a passivation.
const LOW_TENTHS: usize = 9;

/// Lets others run now and then.
async fn give_way(asked: usize) {
    if asked.is_multiple_of(ASKED_AT_ONCE) {
        tokio::task::yield_now().await;
    }
}

/// The passivator's actor.
pub(crate) struct Passivator {
    pub(crate) shared: Arc<Shared>,
}

/// What it asked, and when it last tidied up.
pub(crate) struct State {
    /// Asked to leave, and not known to have left.
    leaving: Vec<(ActorId, Instant)>,
    tidied: Instant,
}

/// How much is over the marks.
#[derive(Clone, Copy, Debug)]
struct Over {
    conversations: usize,
    bytes: usize,
}

impl Over {
    fn is_none(self) -> bool {
        self.conversations == 0 && self.bytes == 0
    }
}

impl Actor for Passivator {
    /// Time for the next look; from itself.
    type Msg = ();
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<State, ActorProcessingErr> {
        self.shared.heartbeats.beat(Janitor::Passivator);
        myself.send_after(PAUSE, || ());
        Ok(State { leaving: Vec::new(), tidied: Instant::now() })
    }

    async fn handle(&self, myself: ActorRef<()>, (): (), state: &mut State) -> Result<(), ActorProcessingErr> {
        self.shared.heartbeats.beat(Janitor::Passivator);
        self.look(state).await;
        myself.send_after(PAUSE, || ());
        Ok(())
    }
}

impl Passivator {
    async fn look(&self, state: &mut State) {
        let now = Instant::now();
        self.passivate_idle().await;
        self.passivate_over(state, now).await;
        if now.saturating_duration_since(state.tidied) >= TIDY {
            state.tidied = now;
            self.shared.directory.tidy();
            self.shared.quarantine.sweep(now);
        }
    }

    /// Asks those that were not used for long.
    async fn passivate_idle(&self) {
        let idle_after = self.shared.settings.passivation.idle_after;
        let idle_after = u64::try_from(idle_after.as_millis()).unwrap_or(u64::MAX);
        let Some(before) = self.shared.tick().checked_sub(idle_after) else { return };
        for asked in 1..=ASKED_MAX {
            give_way(asked).await;
            match self.shared.directory.take_oldest(before.saturating_add(1), self.shared.tick()) {
                Oldest::Found(id, unused_since) => drop(self.ask(id, Passivate::Idle { unused_since })),
                Oldest::More => tokio::task::yield_now().await,
                Oldest::Nobody => return,
            }
        }
    }

    /// Asks the least recently used while there is too much.
    async fn passivate_over(&self, state: &mut State, now: Instant) {
        let directory = &self.shared.directory;
        state
            .leaving
            .retain(|(id, since)| now.saturating_duration_since(*since) < LEAVING_MAX && directory.info(*id).is_some());
        let Some(mut over) = self.over(state) else { return };
        for asked in 1..=ASKED_MAX {
            if over.is_none() {
                return;
            }
            give_way(asked).await;
            // Not what is used this very moment.
            let tick = self.shared.tick();
            match directory.take_oldest(tick, tick) {
                Oldest::Found(id, unused_since) => {
                    let Some(info) = self.ask(id, Passivate::Watermark { unused_since }) else { continue };
                    state.leaving.push((id, now));
                    over.conversations = over.conversations.saturating_sub(1);
                    over.bytes = over.bytes.saturating_sub(info.bytes());
                }
                Oldest::More => tokio::task::yield_now().await,
                Oldest::Nobody => return,
            }
        }
    }

    /// How much there is over the low marks, if anything is over the high ones. What was asked to leave does not count.
    fn over(&self, state: &State) -> Option<Over> {
        let (directory, policy) = (&self.shared.directory, &self.shared.settings.passivation);
        let leaving: usize = state.leaving.iter().filter_map(|(id, _)| directory.info(*id)).map(|i| i.bytes()).sum();
        let conversations = directory.alive().saturating_sub(state.leaving.len());
        let bytes = directory.bytes().saturating_sub(leaving);
        // Nothing when it is not over the mark.
        let over = |found: usize, mark: usize| {
            let low = mark / 10 * LOW_TENTHS + mark % 10 * LOW_TENTHS / 10;
            if found > mark { found.saturating_sub(low) } else { 0 }
        };
        let over =
            Over { conversations: over(conversations, policy.active_max.get()), bytes: over(bytes, policy.memory_max) };
        (!over.is_none()).then_some(over)
    }

    /// Asks one to leave. It stays in the order, as used now, in case it refuses.
    fn ask(&self, id: ActorId, passivate: Passivate) -> Option<Arc<ActorInfo>> {
        let info = self.shared.directory.info(id)?;
        self.shared.directory.put_back(id, self.shared.tick());
        let handle = self.shared.directory.get(&info.key).filter(|handle| handle.actor.get_id() == id)?;
        if handle.actor.send_message(Message::Passivate(passivate)).is_err() {
            self.shared.report_failed(&info, id, FailureCause::Ended);
        }
        Some(info)
    }
}
