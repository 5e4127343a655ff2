//! Sees everything that leaves the runtime, and holds it against what is durable at that moment.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use colloquy_flow::Flow;
use colloquy_store::{ConversationStore as _, ReadError, simulated::SimulatedStore};
use colloquy_types::{Clock as _, ConversationKey, Hash, Head, RequestId, Timestamp, TurnId, TurnSeq};

use super::{
    Breach, Report,
    ledger::{Ended, Ledger},
    requests::Requests,
    steering::Steering,
    time::SimulatedClock,
};
use crate::{Ending, Error, EventPlace, TurnEvent, TurnReply, invariants::Invariant};

/// Lines that a violation shows.
const LINES_KEPT: usize = 60;
/// How long after it was due a timer may fire in a world that is calm.
const OVERDUE_MICROS: u64 = 20_000_000;
/// Records read at a time after a crash.
const PAGE_RECORDS: usize = 1000;

/// What was known to be durable of a conversation, and told, when something began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    /// Which of the conversations under the key; 0 for none.
    generation: usize,
    /// The newest head that anyone was told.
    head: Head,
}

impl Floor {
    /// The newest head that anyone was told.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Asks for the same conversation, wherever in it.
    pub(super) fn anywhere(self) -> Self {
        Self { head: Head::default(), ..self }
    }
}

/// Calls of one action for one turn and step.
#[derive(Debug, Default)]
struct Called {
    times: u32,
}

/// A conversation and which of those under its key, a request, the turn it is to be, and which attempt at it.
type Attempt = (ConversationKey, usize, RequestId, TurnSeq, u32);

pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) requests: Requests,
    pub(super) steering: Steering,
    pub(super) report: Report,
    store: Option<Arc<SimulatedStore>>,
    /// The newest head that was told of each conversation, with its generation.
    told: HashMap<ConversationKey, Floor>,
    actions: BTreeMap<(TurnId, u16), Called>,
    /// The events of each attempt at a turn that was followed.
    followed: HashMap<Attempt, Vec<TurnEvent>>,
    breach: Option<Breach>,
    trace: blake3::Hasher,
    /// Lines of this step that the trace does not have yet. In which order those are woken who wait for the same thing
    /// is tokio's affair, and random: a step's lines count in the order of their text.
    step: Vec<String>,
    lines: VecDeque<String>,
    tells: bool,
}

/// The witness of a run.
pub(super) struct Witness {
    state: Mutex<State>,
    pub(super) clock: Arc<SimulatedClock>,
}

impl Witness {
    pub(super) fn new(seed: u64, flow: Arc<Flow>, clock: Arc<SimulatedClock>, tells: bool) -> Self {
        let mut trace = blake3::Hasher::new();
        trace.update(&seed.to_le_bytes());
        let state = State {
            ledger: Ledger::new(flow),
            requests: Requests::default(),
            steering: Steering::default(),
            report: Report { seeds: 1, ..Report::default() },
            store: None,
            told: HashMap::new(),
            actions: BTreeMap::new(),
            followed: HashMap::new(),
            breach: None,
            trace,
            step: Vec::new(),
            lines: VecDeque::new(),
            tells,
        };
        Self { state: Mutex::new(state), clock }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what happened.
    pub(super) fn note(&self, line: impl std::fmt::Display) {
        let line = format!("{:>9.3} s  {line}", self.clock.elapsed().as_secs_f64());
        self.lock().note(line);
    }

    /// Takes note of the next step.
    pub(super) fn step(&self, line: impl std::fmt::Display) {
        self.lock().settle();
        self.note(line);
    }

    pub(super) fn count(&self, what: &'static str) {
        self.lock().count(what);
    }

    /// Ends the run unless `checked` is well.
    pub(super) fn check(&self, checked: Result<(), Breach>) {
        if let Err(breach) = checked {
            self.note(format_args!("BREACH {breach}"));
            self.lock().breach.get_or_insert(breach);
        }
    }

    /// The first invariant that did not hold.
    pub(super) fn breach(&self) -> Option<Breach> {
        self.lock().breach.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    /// The figures, with the hash of all that was noted.
    pub(super) fn report(&self) -> Report {
        let mut state = self.lock();
        state.settle();
        Report { trace: Hash(*state.trace.finalize().as_bytes()), ..state.report.clone() }
    }

    /// Takes in what the store has synced since it was last asked.
    pub(super) fn refresh(&self) {
        let taken = {
            let mut state = self.lock();
            state.ledger.latest = self.clock.latest();
            state.refresh()
        };
        self.check(taken);
    }

    /// Goes on with the store of another process, whose disk must hold what was synced.
    pub(super) async fn recover(&self, store: &Arc<SimulatedStore>, keys: &[ConversationKey]) {
        // What the last process was told is known already; what it wrote besides is found below.
        self.refresh();
        self.lock().store = Some(Arc::clone(store));
        for key in keys {
            let recovered = self.recover_one(store, key).await;
            self.check(recovered);
        }
    }

    async fn recover_one(&self, store: &SimulatedStore, key: &ConversationKey) -> Result<(), Breach> {
        let lost = |what: String| Breach::new(Invariant::Durable, what);
        loop {
            let after = self.lock().ledger.current(key).map(|(_, known)| known.head).unwrap_or_default();
            let page = match store.history(key, after, PAGE_RECORDS).await {
                Ok(page) => page,
                Err(ReadError::Absent) => return self.lock().ledger.found_erased(key),
                // Another may have the key of one whose erasure nobody was told of.
                Err(ReadError::Corrupt { .. }) if self.has_begun_anew(store, key).await => continue,
                Err(error) => return Err(lost(format!("{} cannot be read behind {after:?}: {error}", key.as_str()))),
            };
            let known = self.lock().ledger.current(key).map(|(_, known)| known.uid);
            if known.is_some_and(|known| known != page.uid) {
                if self.has_begun_anew(store, key).await {
                    continue;
                }
                return Err(lost(format!("{} is another conversation", key.as_str())));
            }
            let mut state = self.lock();
            if !page.records.is_empty() {
                if page.reached == page.head && !state.ledger.was_attempted(&page.head) {
                    return Err(lost(format!("{} ends at {:?}, which was never appended", key.as_str(), page.head)));
                }
                let records: Vec<_> = page.records.into_iter().map(|row| row.record).collect();
                let count = records.len();
                state.report.counted("records found that nobody was told of", count as u64);
                state.ledger.take_records(key, &records)?;
                state.requests.check_refused(state.steering.spell(true), key, &records)?;
            } else if page.head.record_no < after.record_no {
                return Err(lost(format!("{} ends at {:?}, and {after:?} was synced", key.as_str(), page.head)));
            }
            if page.reached == page.head {
                return Ok(());
            }
        }
    }

    /// Whether a conversation was erased and another begun, both without anyone being told.
    async fn has_begun_anew(&self, store: &SimulatedStore, key: &ConversationKey) -> bool {
        let found = store.history(key, Head::default(), 1).await;
        let mut state = self.lock();
        let known = state.ledger.current(key).map(|(_, known)| known.uid);
        found.is_ok_and(|page| Some(page.uid) != known) && known.is_some() && state.ledger.found_erased(key).is_ok()
    }

    /// What is known and told of `key` now.
    pub(super) fn floor(&self, key: &ConversationKey) -> Floor {
        self.refresh();
        let state = self.lock();
        let generation = state.ledger.current(key).map_or(0, |(number, _)| number);
        let told = state.told.get(key).copied().unwrap_or_default();
        if told.generation == generation { told } else { Floor { generation, head: Head::default() } }
    }

    /// A head left the runtime; `floor` is from when whoever got it began to ask.
    pub(super) fn told(&self, key: &ConversationKey, head: Head, floor: Floor, what: &str) {
        self.refresh();
        let checked = self.lock().told(key, head, floor, what);
        self.check(checked);
    }

    /// Turns of a conversation were read up to `last`, at most `limit` of them.
    pub(super) fn read_up_to(&self, key: &ConversationKey, last: TurnSeq, limit: usize, floor: Floor) {
        self.refresh();
        let number = self.lock().ledger.current(key).map(|(number, _)| number);
        if number == Some(floor.generation) && last < floor.head.turn_seq && last.get() < limit as u64 {
            let what = format!("a read of {} ends at turn {last} after {floor:?} was told", key.as_str());
            self.check(Err(Breach::new(Invariant::RealTime, what)));
        }
    }

    /// It was said that a conversation is not there.
    pub(super) fn told_absent(&self, key: &ConversationKey, floor: Floor) {
        self.refresh();
        let checked = {
            let state = self.lock();
            match state.ledger.current(key) {
                Some((number, known)) if number == floor.generation && floor.head.record_no.get() > 0 => {
                    let what = format!("{} was told absent, and stands at {:?}", key.as_str(), known.head);
                    Err(Breach::new(Invariant::RealTime, what))
                }
                _ => Ok(()),
            }
        };
        self.check(checked);
    }

    /// A turn's ending left the runtime.
    pub(super) fn replied(
        &self,
        key: &ConversationKey,
        id: &RequestId,
        text: Option<&str>,
        reply: &TurnReply,
        floor: Floor,
    ) {
        let head = match &reply.ending {
            Ending::Committed(turn) => turn.head,
            Ending::Closed { head, .. } | Ending::LeftOut { head } => *head,
        };
        if reply.replayed {
            self.told(key, head, Floor { generation: floor.generation, head: Head::default() }, "a repeated reply");
        } else {
            self.told(key, head, floor, "a reply");
        }
        let checked = self.lock().replied(key, id, text, reply, floor);
        self.check(checked);
    }

    /// Whoever follows a turn was told an event, behind `after` if it had been there before. Everyone sees the same
    /// events under the same numbers, and none is left out.
    pub(super) fn followed(
        &self,
        key: &ConversationKey,
        id: &RequestId,
        (after, place): (Option<EventPlace>, EventPlace),
        event: &TurnEvent,
        began: Floor,
    ) {
        self.refresh();
        let checked = {
            let mut state = self.lock();
            let generation = state.ledger.current(key).map_or(0, |(number, _)| number);
            let attempt = (key.clone(), generation, id.clone(), place.turn_seq, place.attempt);
            let same = |after: &EventPlace| (after.turn_seq, after.attempt) == (place.turn_seq, place.attempt);
            let next = after.filter(same).map_or(0, |after| after.index + 1);
            let seen = state.followed.entry(attempt).or_default();
            let (name, index) = (format!("{} of {}", id.as_str(), key.as_str()), place.index as usize);
            // It may have been erased, and another begun, while it was followed.
            if generation != began.generation {
                Ok(())
            } else if place.index != next {
                Err(format!("{name} was told event {place:?} where {next} had to be"))
            } else if seen.get(index).is_some_and(|known| known != event) {
                Err(format!("{name} was told {event:?} at {place:?}, where {:?} was told before", seen.get(index)))
            } else {
                if seen.len() == index {
                    seen.push(event.clone());
                }
                Ok(())
            }
        };
        self.check(checked.map_err(|what| Breach::new(Invariant::StreamsAgree, what)));
    }

    /// The heads that errors carry.
    pub(super) fn refused(&self, key: &ConversationKey, error: &Error, floor: Floor) {
        match error {
            Error::SeqMismatch { head } | Error::Busy { head, .. } | Error::HistoryChanged { head } => {
                self.told(key, *head, floor, "a refusal");
            }
            Error::Internal { what } => {
                self.check(Err(Breach::new(Invariant::Durable, format!("an error that cannot be: {what}"))));
            }
            Error::Corrupt { reason } => {
                self.check(Err(Breach::new(Invariant::Durable, format!("{} is damaged: {reason}", key.as_str()))));
            }
            _ => {}
        }
    }

    /// An action is being called.
    pub(super) fn acts(&self, turn_id: TurnId, step: u16, idempotent: bool) {
        self.refresh();
        let checked = {
            let mut state = self.lock();
            let called = state.actions.entry((turn_id, step)).or_default();
            called.times += 1;
            let times = called.times;
            state.count(if times > 1 { "actions repeated" } else { "actions called" });
            let call = format!("turn {turn_id}, step {step}");
            if times > 1 && !idempotent {
                Err(Breach::new(Invariant::OneCall, format!("{call} is called again, and may not be")))
            } else if !state.ledger.is_intended(turn_id, step) {
                Err(Breach::new(Invariant::IntentFirst, format!("{call} is called before its intent is synced")))
            } else {
                Ok(())
            }
        };
        self.check(checked);
    }

    /// What must hold once nothing runs any more and every conversation was opened again.
    pub(super) fn at_rest(&self, keys: &[ConversationKey]) {
        self.refresh();
        let now = self.clock.now();
        let checked = self.lock().at_rest(keys, now);
        self.check(checked);
    }
}

impl Report {
    pub(super) fn counted(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }
}

impl State {
    pub(super) fn count(&mut self, what: &'static str) {
        self.report.counted(what, 1);
    }

    fn note(&mut self, line: String) {
        self.step.push(line.clone());
        if self.tells {
            println!("{line}");
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Ends a step: what came of it enters the trace.
    fn settle(&mut self) {
        self.step.sort_unstable();
        for line in self.step.drain(..) {
            self.trace.update(line.as_bytes()).update(b"\n");
        }
    }

    fn refresh(&mut self) -> Result<(), Breach> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        store.take_struck().into_iter().for_each(|fault| self.count(fault));
        for attempted in store.take_attempted() {
            self.ledger.attempted(attempted);
        }
        for synced in store.take_synced() {
            let head = synced.head;
            self.note(format!(
                "           synced {} turn {} record {} {}",
                synced.lease.key.conversation(),
                head.turn_seq,
                head.record_no,
                head.hash
            ));
            self.requests.check_refused(self.steering.spell(true), &synced.lease.key, &synced.records)?;
            self.ledger.take(synced)?;
        }
        Ok(())
    }

    fn told(&mut self, key: &ConversationKey, head: Head, floor: Floor, what: &str) -> Result<(), Breach> {
        let name = key.as_str();
        if head == Head::default() {
            // Nothing was said of any conversation: it was not there yet, or not any more.
            return Ok(());
        }
        let Some(generation) = self.ledger.synced(key, &head) else {
            let what = format!("{what} of {name} tells {head:?}, which is not synced");
            return Err(Breach::new(Invariant::SyncedBeforeTold, what));
        };
        let is_older =
            generation < floor.generation || (generation == floor.generation && head.record_no < floor.head.record_no);
        if is_older {
            let what = format!("{what} of {name} tells {head:?} after {floor:?} was told");
            return Err(Breach::new(Invariant::RealTime, what));
        }
        let told = self.told.entry(key.clone()).or_default();
        if (generation, head.record_no) > (told.generation, told.head.record_no) {
            *told = Floor { generation, head };
        }
        Ok(())
    }

    fn replied(
        &mut self,
        key: &ConversationKey,
        id: &RequestId,
        text: Option<&str>,
        reply: &TurnReply,
        floor: Floor,
    ) -> Result<(), Breach> {
        let name = format!("{} {}", key.as_str(), id.as_str());
        let head = match &reply.ending {
            Ending::Committed(turn) => turn.head,
            Ending::Closed { head, .. } | Ending::LeftOut { head } => *head,
        };
        let Some(generation) = self.ledger.synced(key, &head) else { return Ok(()) };
        let known = self.ledger.generations(key).get(generation - 1).and_then(|known| known.ended.get(id));
        let same = match (&reply.ending, known) {
            (Ending::Committed(turn), Some(Ended::Turn { turn_id, text: stored, head })) => {
                let same = turn.record.turn_id == *turn_id && turn.head == *head && turn.record.text == *stored;
                same && text.is_none_or(|text| stored == text)
            }
            (Ending::Closed { record, .. }, Some(Ended::Closed(reason))) => record.reason == *reason,
            // Of two that come at once, one may be left out and the other carried out.
            (Ending::LeftOut { .. }, known) => known.is_none() || self.requests.was_sent_otherwise(key, id),
            _ => false,
        };
        if !same {
            let what = format!("{name} is told another ending than is stored: {known:?}");
            return Err(Breach::new(Invariant::OneEnding, what));
        }
        let fresh = !reply.replayed && matches!(reply.ending, Ending::Committed(_));
        if fresh && generation == floor.generation && head.turn_seq <= floor.head.turn_seq {
            let what = format!(
                "{name} took turn {} although turn {} was told before it began",
                head.turn_seq, floor.head.turn_seq
            );
            return Err(Breach::new(Invariant::RealTime, what));
        }
        Ok(())
    }

    fn at_rest(&mut self, keys: &[ConversationKey], now: Timestamp) -> Result<(), Breach> {
        let fired = self.ledger.fired;
        self.report.counted("timers fired", fired);
        for key in keys {
            for (place, known) in self.ledger.generations(key).iter().enumerate() {
                if let Some(turn_id) = known.promised.filter(|_| !known.erased) {
                    let what = format!("turn {turn_id} of {} was promised and has not ended", key.as_str());
                    return Err(Breach::new(Invariant::PromiseKept, what));
                }
                if known.is_overdue(Timestamp::from_micros(now.as_micros().saturating_sub(OVERDUE_MICROS))) {
                    let timers = known.state.timers();
                    let what =
                        format!("a timer of {} is long due at {now:?} and has not fired: {timers:?}", key.as_str());
                    return Err(Breach::new(Invariant::TimersFire, what));
                }
                self.requests.check(key, place + 1, known)?;
            }
        }
        self.requests.check_ghosts(keys, &self.ledger)
    }
}
