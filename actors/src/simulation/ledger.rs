//! What is durable, as the disk's own syncs told it: every conversation as a sequential model would have it.
//!
//! Each batch is taken in at the moment it is synced, and checked against all that was synced before it: its place in
//! the chain, its turn's number, its promises, one ending for each request id, and each turn decided once more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use colloquy_flow::Flow;
use colloquy_store::{
    RecordKind, StoredRecord,
    simulated::{Attempted, Synced},
};
use colloquy_turn::{
    AcceptedRecord, ClosedReason, ControlRecord, ConversationState, CreatedRecord, EffectsRecord, InputKind, Origin,
    SnapshotRecord, TurnClosedRecord, TurnRecord, open_conversation, replay, reset,
};
use colloquy_types::{ConversationKey, ConversationUid, Hash, Head, RequestId, Timestamp, TurnId};

use super::Breach;
use crate::invariants::{self, Invariant};

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Turn {
        turn_id: TurnId,
        text: String,
        head: Head,
    },
    Closed(ClosedReason),
    /// A reset, a pause, feedback: something other than a turn.
    Control,
}

/// One conversation, from its first record to its erasure.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) uid: ConversationUid,
    pub(super) head: Head,
    /// The heads that were ever synced, by their hashes.
    heads: BTreeMap<Hash, Head>,
    pub(super) erased: bool,
    paused: bool,
    /// The turn that was promised and has not ended.
    pub(super) promised: Option<TurnId>,
    pub(super) ended: HashMap<RequestId, Ended>,
    pub(super) state: ConversationState,
    /// What it was after each of its records.
    states: BTreeMap<Hash, ConversationState>,
    /// Where it branched off, and what it began with, when it is a fork.
    origin: Option<Origin>,
    begun: Option<Box<ConversationState>>,
}

/// What is durable.
#[derive(Debug)]
pub(super) struct Ledger {
    flow: Arc<Flow>,
    keys: HashMap<ConversationKey, Vec<Generation>>,
    /// Actions that were about to be called.
    intents: BTreeSet<(TurnId, u16)>,
    /// Turns of timers.
    pub(super) fired: u64,
    /// The latest time that the clock has told: what it tells may be earlier again.
    pub(super) latest: Timestamp,
    /// Every append that ever reached a store, by where it would have led.
    attempted: BTreeMap<Hash, Attempted>,
}

impl Ledger {
    pub(super) fn new(flow: Arc<Flow>) -> Self {
        Self {
            flow,
            keys: HashMap::new(),
            intents: BTreeSet::new(),
            fired: 0,
            latest: Timestamp::default(),
            attempted: BTreeMap::new(),
        }
    }

    pub(super) fn attempted(&mut self, attempted: Attempted) {
        self.attempted.insert(attempted.head.hash, attempted);
    }

    /// The conversation that has `key` now, and how many had it before.
    pub(super) fn current(&self, key: &ConversationKey) -> Option<(usize, &Generation)> {
        let generations = self.keys.get(key)?;
        let newest = generations.last().filter(|newest| !newest.erased)?;
        Some((generations.len(), newest))
    }

    /// All conversations that ever had `key`.
    pub(super) fn generations(&self, key: &ConversationKey) -> &[Generation] {
        self.keys.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Which conversation under `key` had this head synced, if any had: its number, from 1.
    pub(super) fn synced(&self, key: &ConversationKey, head: &Head) -> Option<usize> {
        let had = |generation: &Generation| generation.heads.get(&head.hash) == Some(head);
        self.generations(key).iter().rposition(had).map(|place| place + 1)
    }

    pub(super) fn is_intended(&self, turn_id: TurnId, step: u16) -> bool {
        self.intents.contains(&(turn_id, step))
    }

    /// Takes in what a step has synced.
    pub(super) fn take(&mut self, synced: Synced) -> Result<(), Breach> {
        let Synced { lease, head, records, fenced_by } = synced;
        if let Some(owner) = fenced_by {
            let what = format!(
                "{} was appended to by activation {} while {owner} owned it",
                lease.key.as_str(),
                lease.activation
            );
            return Err(Breach::new(Invariant::Fenced, what));
        }
        let key = &lease.key;
        // The runtime's own streams are no conversations.
        if key.is_tenant_stream() {
            return Ok(());
        }
        let before = self.current(key).map(|(_, known)| known.head).unwrap_or_default();
        self.take_records(key, &records)?;
        if !invariants::follows(&before, &head) {
            return Err(Breach::new(
                Invariant::Gapless,
                format!("{}: {before:?} was followed by {head:?}", key.as_str()),
            ));
        }
        Ok(())
    }

    /// Takes in records that follow what is known of `key`.
    pub(super) fn take_records(&mut self, key: &ConversationKey, records: &[StoredRecord]) -> Result<(), Breach> {
        let Some(first) = records.first() else { return Ok(()) };
        let generations = self.keys.entry(key.clone()).or_default();
        let is_new = first.header.kind == RecordKind::Created;
        if is_new {
            if generations.last().is_some_and(|newest| !newest.erased) {
                let what = format!("{} was created while it was there", key.as_str());
                return Err(Breach::new(Invariant::Fenced, what));
            }
            generations.push(Generation::new(first.header.uid, open_conversation(&self.flow)));
        }
        let Some(generation) = generations.last_mut() else {
            return Err(Breach::new(Invariant::Durable, format!("{} begins in its middle", key.as_str())));
        };
        for record in records {
            let taken = generation.take(record, &self.flow, self.latest, (&mut self.intents, &mut self.fired));
            taken.map_err(|breach| breach.of(&format!("{} record {}", key.as_str(), record.header.record_no)))?;
        }
        if is_new { self.check_fork(key) } else { Ok(()) }
    }

    /// A fork begins with what its origin was after the record that it names, but for the timers.
    fn check_fork(&self, key: &ConversationKey) -> Result<(), Breach> {
        let Some(fork) = self.generations(key).last() else { return Ok(()) };
        let Some(origin) = fork.origin else { return Ok(()) };
        let mut all = self.keys.values().flatten();
        let from = all.find(|other| other.uid == origin.uid);
        let was = from.and_then(|other| Some((other.heads.get(&origin.hash)?, other.states.get(&origin.hash)?)));
        let fits = was.is_some_and(|(head, state)| {
            head.turn_seq == origin.turn_seq && fork.begun.as_deref() == Some(&state.clone().without_timers())
        });
        if fits {
            return Ok(());
        }
        let what =
            format!("{} does not begin with what {} was after turn {}", key.as_str(), origin.uid, origin.turn_seq);
        Err(Breach::new(Invariant::Replays, what))
    }

    /// Whether what was found at `head` behind what was synced was ever appended.
    pub(super) fn was_attempted(&self, head: &Head) -> bool {
        self.attempted.contains_key(&head.hash)
    }

    /// Takes note that a conversation is not there any more, if an erasure of it was under way.
    pub(super) fn found_erased(&mut self, key: &ConversationKey) -> Result<(), Breach> {
        let Some(newest) = self.keys.get_mut(key).and_then(|generations| generations.last_mut()) else { return Ok(()) };
        if newest.erased {
            return Ok(());
        }
        let asked = self.attempted.values().any(|attempted| attempted.erases && attempted.uid == newest.uid);
        if !asked {
            return Err(Breach::new(Invariant::Durable, format!("{} is gone, and nobody erased it", key.as_str())));
        }
        newest.erased = true;
        Ok(())
    }
}

impl Generation {
    fn new(uid: ConversationUid, state: ConversationState) -> Self {
        Self {
            uid,
            head: Head::default(),
            heads: BTreeMap::new(),
            erased: false,
            paused: false,
            promised: None,
            ended: HashMap::new(),
            state,
            states: BTreeMap::new(),
            origin: None,
            begun: None,
        }
    }

    fn take(
        &mut self,
        record: &StoredRecord,
        flow: &Arc<Flow>,
        latest: Timestamp,
        (intents, fired): (&mut BTreeSet<(TurnId, u16)>, &mut u64),
    ) -> Result<(), Breach> {
        let header = &record.header;
        if header.kind.is_chained() {
            let fits = header.uid == self.uid && !self.erased && header.follows(&self.head).is_ok();
            if !fits {
                return Err(Breach::new(Invariant::Durable, "does not follow what was synced before it"));
            }
            self.head = header.head();
            self.heads.insert(header.hash, self.head);
        }
        let payload = &record.payload;
        match header.kind {
            RecordKind::Created => self.origin = CreatedRecord::decode(payload).map_err(unreadable)?.origin,
            RecordKind::Accepted => {
                let accepted = AcceptedRecord::decode(payload).map_err(unreadable)?;
                // Each attempt at a turn says anew that it is one.
                if let Some(open) = self.promised.replace(accepted.turn_id).filter(|open| *open != accepted.turn_id) {
                    return Err(Breach::new(
                        Invariant::PromiseKept,
                        format!("promises a turn before {open} has ended"),
                    ));
                }
            }
            RecordKind::EffectIntent | RecordKind::EffectResult => {
                let effects = EffectsRecord::decode(payload).map_err(unreadable)?;
                intents.extend(effects.intents.iter().map(|intent| (effects.turn_id, intent.step)));
            }
            RecordKind::Turn => self.turn(TurnRecord::decode(payload).map_err(unreadable)?, flow, latest, fired)?,
            RecordKind::TurnClosed => {
                let closed = TurnClosedRecord::decode(payload).map_err(unreadable)?;
                if self.promised != Some(closed.turn_id) {
                    return Err(Breach::new(Invariant::PromiseKept, "closes a turn that was not promised"));
                }
                self.state.apply_closed(&closed.request_id);
                self.end(closed.turn_id, closed.request_id, Ended::Closed(closed.reason))?;
            }
            RecordKind::Control => self.control(ControlRecord::decode(payload).map_err(unreadable)?, flow)?,
            RecordKind::Snapshot => {
                let snapshot = SnapshotRecord::decode(payload).map_err(unreadable)?;
                if snapshot.state != self.state || header.head() != self.head {
                    return Err(Breach::new(Invariant::Replays, "is a snapshot of something else"));
                }
            }
            RecordKind::Erased => self.erased = true,
            _ => {}
        }
        if header.kind.is_chained() {
            self.states.insert(header.hash, self.state.clone());
        }
        Ok(())
    }

    /// Whether it has a timer that was due before `at`, and may fire.
    pub(super) fn is_overdue(&self, at: Timestamp) -> bool {
        !self.erased && !self.paused && self.state.timers().iter().any(|timer| timer.due_at < at)
    }

    /// A turn must come out again as it is stored, from the state that the records before it lead to.
    fn turn(&mut self, record: TurnRecord, flow: &Arc<Flow>, latest: Timestamp, fired: &mut u64) -> Result<(), Breach> {
        if self.paused {
            return Err(Breach::new(Invariant::Paused, "is a turn of a conversation that is paused"));
        }
        if record.input == InputKind::Timer {
            let due = self.state.timer_of(&record.request_id).is_some_and(|timer| timer.due_at <= latest);
            if !due {
                let (id, now, set) = (record.request_id.as_str(), record.now, self.state.timers());
                let what = format!("fires {id} at {now:?}, while there are {set:?}");
                return Err(Breach::new(Invariant::TimersFire, what));
            }
            *fired += 1;
        }
        let again = replay(Arc::clone(flow), self.state.clone(), &record);
        let outcome = again.map_err(|difference| Breach::new(Invariant::Replays, difference.to_string()))?;
        self.state = outcome.state;
        let TurnRecord { turn_id, request_id, text, .. } = record;
        let head = self.head;
        self.end(turn_id, request_id, Ended::Turn { turn_id, text, head })
    }

    fn control(&mut self, record: ControlRecord, flow: &Arc<Flow>) -> Result<(), Breach> {
        match record {
            ControlRecord::Reset { request_id, changes, .. } => {
                if changes != reset(flow, &self.state) {
                    return Err(Breach::new(Invariant::Replays, "resets another state"));
                }
                self.state.apply_all(&changes);
                self.remember(request_id, Ended::Control)
            }
            ControlRecord::Upgraded { changes, .. } => {
                self.state.apply_all(&changes);
                Ok(())
            }
            ControlRecord::Feedback { request_id, .. } => self.remember(request_id, Ended::Control),
            ControlRecord::Forked { request_id, state, .. } => {
                self.begun = Some(state.clone());
                self.state = *state;
                self.remember(request_id, Ended::Control)
            }
            ControlRecord::Paused { request_id, .. } => {
                self.paused = true;
                self.remember(request_id, Ended::Control)
            }
            ControlRecord::Resumed { request_id, .. } => {
                self.paused = false;
                self.remember(request_id, Ended::Control)
            }
        }
    }

    fn end(&mut self, turn_id: TurnId, request_id: RequestId, ended: Ended) -> Result<(), Breach> {
        if let Some(promised) = self.promised.take()
            && promised != turn_id
        {
            return Err(Breach::new(
                Invariant::PromiseKept,
                format!("ends another turn than {promised}, which was promised"),
            ));
        }
        self.remember(request_id, ended)
    }

    fn remember(&mut self, request_id: RequestId, ended: Ended) -> Result<(), Breach> {
        let what = format!("request {} ends again", request_id.as_str());
        match self.ended.insert(request_id, ended) {
            None => Ok(()),
            Some(before) => Err(Breach::new(Invariant::OneEnding, format!("{what}, after {before:?}"))),
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Breach {
    Breach::new(Invariant::Durable, format!("cannot be decoded: {error}"))
}
