//! The keeper of timers: has conversations speak when their timers are due, also when nobody has used them for long and
//! when the process was down meanwhile.
//!
//! It owns the streams of hints ([`hint`]). A conversation that is about to set a timer has the hint written first, and
//! commits its turn once that is synced; when the hint is due, the keeper submits the timer's turn like any caller. The
//! conversation's state alone says whether there is such a timer, so a hint can come too often but not too late, and a
//! turn that is submitted twice is one turn. Hints that are done with are marked, now and then; a stream in which all
//! are is erased, and its bytes are the store's to free.
//!
//! What a crash of this actor loses: nothing; the next one reads the streams from the beginning. Its waits end by
//! themselves (`PATIENCE`), it beats at every message and every ten seconds, and it holds a bounded number of hints
//! ([`queue`]). So many turns at once and no more are its own, also after a long downtime.
//!
//! The downside of this design: one actor writes every hint of the process, and a turn that sets a timer waits for two
//! syncs.

mod firing;
mod hint;
mod promise;
mod queue;
mod slot;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use colloquy_store::AppendError;
use colloquy_types::{ConversationKey, Head, TenantId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, MessagingErr};
use tokio::{task::JoinHandle, time::Instant};

pub(crate) use self::{firing::Verdict, hint::Hint, promise::Promise};
#[cfg(test)]
pub(crate) use self::{
    firing::fire,
    hint::{slot_key, slot_of},
};
use self::{
    queue::{Entry, Queue},
    slot::{Ports, Reading, Slot},
};
use crate::{error::Error, heartbeat::Janitor, shared::Shared};

/// From one sign of life to the next, at the latest: the wall clock is looked at as often.
const BEAT: Duration = Duration::from_secs(10);
/// How long the store may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a stream that could not be read is read again.
const PAUSE: Duration = Duration::from_secs(1);
/// Turns of timers at once.
const FIRING_MAX: usize = 16;
/// From one look for what is done with to the next.
const TIDY: Duration = Duration::from_secs(1);

/// What the keeper is told, and by whom.
#[derive(Debug)]
pub(crate) enum Message {
    /// From itself: time to look.
    Look,
    /// From a conversation that is about to set timers. May repeat: one hint too many harms nothing.
    Set(Vec<Hint>, Promise),
    /// From a conversation: these timers are over. May be lost: their hints are then dropped when they are due.
    Over(Vec<Hint>),
    /// From whoever has turns taken again.
    Resumed(Resumed),
    /// From a turn that was submitted.
    Fired(Hint, Verdict),
    /// From the store's writer, once per batch.
    Written { slot: u16, result: Result<Head, AppendError> },
}

/// What takes turns again.
#[derive(Debug)]
pub(crate) enum Resumed {
    /// A conversation that was paused.
    Conversation(ConversationKey),
    /// A tenant, or conversations of it.
    Tenant(TenantId),
}

impl Resumed {
    fn is(&self, key: &ConversationKey) -> bool {
        match self {
            Self::Conversation(resumed) => resumed == key,
            Self::Tenant(resumed) => resumed.as_str() == key.tenant(),
        }
    }
}

/// The keeper's actor.
pub(crate) struct Timers {
    pub(crate) shared: Arc<Shared>,
}

/// What it knows.
pub(crate) struct State {
    slots: Vec<Slot>,
    /// The streams that are yet to be read, the first of them perhaps in part.
    reading: VecDeque<Reading>,
    /// Whether the last stream could not be read.
    stuck: bool,
    /// The streams that are yet to be tidied, and when all are again.
    tidying: VecDeque<u16>,
    tidy_at: Instant,
    queue: Queue,
    firing: HashMap<Hint, Entry>,
    wake: Option<Wake>,
}

/// The next look.
struct Wake {
    at: Instant,
    look: JoinHandle<Result<(), MessagingErr<Message>>>,
}

impl Actor for Timers {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        self.shared.heartbeats.beat(Janitor::Timers);
        drop(myself.send_message(Message::Look));
        let mut state = State::holding(Queue::default());
        state.read_all();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        self.shared.heartbeats.beat(Janitor::Timers);
        match message {
            Message::Look => {
                state.wake = None;
                self.look(&myself, state).await;
            }
            Message::Set(hints, promise) => self.set(&myself, state, hints, promise).await,
            Message::Over(hints) => hints.iter().for_each(|hint| state.over(hint)),
            Message::Resumed(resumed) => state.resumed(&resumed),
            Message::Fired(hint, verdict) => self.fired(state, hint, verdict),
            Message::Written { slot, result } => self.written(&myself, state, slot, result).await,
        }
        self.go_on(&myself, state);
        Ok(())
    }
}

impl Timers {
    fn ports(&self) -> Ports<'_> {
        let Shared { store, clock, entropy, .. } = self.shared.as_ref();
        Ports { store: store.as_ref(), clock: clock.as_ref(), entropy: entropy.as_ref() }
    }

    /// Reads on, while there is something to read; otherwise writes what nobody waits for.
    async fn look(&self, myself: &ActorRef<Message>, state: &mut State) {
        if state.is_short() {
            state.read_all();
        }
        match state.reading.pop_front() {
            Some(reading) => self.read(state, reading).await,
            None => self.tidy(myself, state).await,
        }
    }

    /// Reads a page of a stream.
    async fn read(&self, state: &mut State, mut reading: Reading) {
        let number = reading.number;
        let Some(slot) = state.slots.get_mut(usize::from(number)) else { return };
        let page = slot.read(&mut reading, self.shared.store.as_ref()).await;
        state.stuck = matches!(&page, Err(error) if !matches!(error, Error::Corrupt { .. }));
        match page {
            Ok(None) => state.reading.push_front(reading),
            Ok(Some(hints)) => {
                for (record_no, hint) in hints {
                    if !state.firing.contains_key(&hint) {
                        state.queue.insert(hint.timer.due_at, hint, Entry { slot: number, record_no, tries: 0 });
                    }
                }
            }
            Err(error @ Error::Corrupt { .. }) => tracing::error!(slot = number, %error, "stored timers are lost"),
            Err(error) => {
                tracing::warn!(slot = number, %error, "stored timers cannot be read");
                // The timers of other streams do not wait for it.
                state.reading.push_back(Reading::of(number));
            }
        }
    }

    async fn set(&self, myself: &ActorRef<Message>, state: &mut State, hints: Vec<Hint>, promise: Promise) {
        let promise = Arc::new(promise);
        let mut touched: Vec<u16> = Vec::with_capacity(hints.len());
        for hint in hints {
            let number = hint::slot_of(hint.timer.due_at);
            if let Some(slot) = state.slots.get_mut(usize::from(number)) {
                slot.wait((hint, Arc::clone(&promise)));
                touched.push(number);
            }
        }
        // Whoever waits is told by what was not written, should it be.
        drop(promise);
        for number in touched {
            self.write(myself, state, number, false).await;
        }
    }

    /// Writes what waits in a stream, unless a batch of it is on its way.
    async fn write(&self, myself: &ActorRef<Message>, state: &mut State, number: u16, erases: bool) {
        let Some(slot) = state.slots.get_mut(usize::from(number)) else { return };
        if !erases && !slot.is_due() && !slot.has_done() {
            return;
        }
        self.shared.heartbeats.beat(Janitor::Timers);
        let keeper = myself.clone();
        let told = Box::new(move |result| drop(keeper.send_message(Message::Written { slot: number, result })));
        if let Err(error) = slot.write(number, erases, self.ports(), told).await {
            tracing::warn!(slot = number, %error, "timers cannot be stored");
        }
    }

    async fn written(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        number: u16,
        result: Result<Head, AppendError>,
    ) {
        let Some(slot) = state.slots.get_mut(usize::from(number)) else { return };
        let result = result.inspect_err(|error| tracing::warn!(slot = number, %error, "timers were not stored"));
        if let Some(writing) = slot.written(result, self.shared.store.as_ref()) {
            for (record_no, (hint, promise)) in writing.sets {
                self.shared.metrics.timers.set.inc();
                state.queue.insert(hint.timer.due_at, hint, Entry { slot: number, record_no, tries: 0 });
                promise.keep();
            }
        }
        if slot_is_due(state, number) {
            self.write(myself, state, number, false).await;
        }
    }

    /// Marks what is done with, or erases what is done with wholly, in one stream: of more, others wait behind it.
    async fn tidy(&self, myself: &ActorRef<Message>, state: &mut State) {
        let now = Instant::now();
        if state.tidying.is_empty() && now >= state.tidy_at {
            (state.tidying, state.tidy_at) = ((0..hint::SLOTS).collect(), now + TIDY);
        }
        let current = hint::slot_of(self.shared.clock.now());
        while let Some(number) = state.tidying.pop_front() {
            let Some(slot) = state.slots.get(usize::from(number)) else { return };
            let over = slot.is_over() && number != current;
            if over || slot.has_done() {
                return self.write(myself, state, number, over).await;
            }
        }
    }

    fn fired(&self, state: &mut State, hint: Hint, verdict: Verdict) {
        let Some(entry) = state.firing.remove(&hint) else { return };
        let now = self.shared.clock.now();
        match verdict {
            Verdict::Fired { again } => {
                if !again {
                    self.shared.metrics.timers.fired.inc();
                }
                state.finish(entry);
            }
            Verdict::Dropped => {
                self.shared.metrics.timers.dropped.inc();
                state.finish(entry);
            }
            Verdict::Later(at) => state.queue.insert(at, hint, entry),
            Verdict::Again => {
                let tries = entry.tries.saturating_add(1);
                let at = now.plus(firing::pause_after(entry.tries));
                state.queue.insert(at, hint, Entry { tries, ..entry });
            }
        }
    }

    /// Submits turns that are due, and sets the next look.
    fn go_on(&self, myself: &ActorRef<Message>, state: &mut State) {
        let now = self.shared.clock.now();
        // What is read in part is not known to be due in order, but it is known to be due.
        while state.firing.len() < FIRING_MAX && !self.shared.is_draining() {
            let Some((hint, entry)) = state.queue.pop(now) else { break };
            state.firing.insert(hint.clone(), entry);
            let (shared, keeper) = (Arc::clone(&self.shared), myself.clone());
            tokio::spawn(async move {
                let verdict = firing::fire(shared, &hint).await;
                drop(keeper.send_message(Message::Fired(hint, verdict)));
            });
        }
        self.shared.metrics.timers.held.set(i64::try_from(state.queue.len()).unwrap_or(i64::MAX));
        let wait = if self.shared.is_draining() { BEAT } else { state.wait(now) };
        let at = Instant::now() + wait;
        // However often it is told something, it comes to look.
        if state.wake.as_ref().is_none_or(|next| at < next.at) {
            let look = myself.send_after(wait, || Message::Look);
            if let Some(later) = state.wake.replace(Wake { at, look }) {
                later.look.abort();
            }
        }
    }
}

fn slot_is_due(state: &State, number: u16) -> bool {
    state.slots.get(usize::from(number)).is_some_and(Slot::is_due)
}

impl State {
    /// A timer is over: its hint need not come due.
    fn over(&mut self, hint: &Hint) {
        if let Some(entry) = self.queue.remove(hint) {
            self.finish(entry);
        }
    }

    fn holding(queue: Queue) -> Self {
        Self {
            slots: (0..hint::SLOTS).map(|_| Slot::default()).collect(),
            reading: VecDeque::new(),
            stuck: false,
            tidying: VecDeque::new(),
            tidy_at: Instant::now() + TIDY,
            queue,
            firing: HashMap::new(),
            wake: None,
        }
    }

    /// Turns are taken again: what was refused until now is tried, and what is being tried has not long to wait.
    fn resumed(&mut self, resumed: &Resumed) {
        self.queue.wake(|key| resumed.is(key));
        // What did not fit may be among them.
        if self.reading.is_empty() && self.queue.lacks_some() {
            self.read_all();
        }
        let trying = self.firing.iter_mut().filter(|(hint, _)| resumed.is(&hint.key));
        trying.for_each(|(_, entry)| entry.tries = 0);
    }

    /// Begins to read all that is stored.
    fn read_all(&mut self) {
        self.queue.reading();
        self.reading = (0..hint::SLOTS).map(Reading::of).collect();
    }

    /// Whether hints that are due next may be in the store alone, and are not being read.
    fn is_short(&self) -> bool {
        self.reading.is_empty() && self.queue.is_short()
    }

    fn finish(&mut self, entry: Entry) {
        if let Some(slot) = self.slots.get_mut(usize::from(entry.slot)) {
            slot.finish(entry.record_no);
        }
    }

    /// How long until there is something to do.
    fn wait(&self, now: Timestamp) -> Duration {
        match self.reading.is_empty() {
            false if self.stuck => PAUSE,
            false => Duration::ZERO,
            _ if !self.tidying.is_empty() || self.is_short() => Duration::ZERO,
            _ if self.firing.len() >= FIRING_MAX => BEAT,
            _ => self.queue.next_at().map_or(BEAT, |at| at.since(now).min(BEAT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use colloquy_turn::Timer;

    use super::*;

    #[tokio::test]
    async fn what_is_not_held_is_read_when_something_is_resumed() {
        let tenant = TenantId::parse("acme").unwrap();
        for held_max in [1, 2] {
            let mut state = State::holding(Queue::holding(held_max));
            for due in [10, 20] {
                let timer = Timer { id: "t".into(), due_at: Timestamp::from_micros(due), set_turn: due };
                let hint = Hint { key: ConversationKey::from_parts("acme", "c").unwrap(), timer };
                state.queue.insert(Timestamp::from_micros(90), hint, Entry { slot: 0, record_no: due, tries: 3 });
            }
            state.resumed(&Resumed::Tenant(tenant.clone()));
            assert_eq!(state.queue.next_at(), Some(Timestamp::from_micros(10)));
            assert_eq!(state.reading.is_empty(), held_max == 2, "{held_max} held");
        }
    }
}
