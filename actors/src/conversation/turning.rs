//! The way of one turn through the actor: begin, accept, decide, commit, answer.

use std::sync::Arc;

use colloquy_store::RecordKind;
use colloquy_turn::{
    AcceptedRecord, ClosedReason, Reason, Remembered, TurnClosedRecord, TurnInput, TurnOutcome, TurnRecord,
};
use colloquy_types::{Head, TurnId};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    loaded::Loaded,
    message::{Message, Submission},
    replying::Waiters,
    state::{Body, Committing, Pending, Phase, RunningTurn, State, Work},
    window::{EndingKind, hash16},
};
use crate::{
    error::{DeadlineOutcome, Error},
    reply::{CommittedTurn, Ending, FlowPin},
};

impl Conversation {
    /// Starts a turn, or answers why not. `waiters` repeated its request id while it waited.
    pub(super) fn begin(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        submission: Box<Submission>,
        waiters: Waiters,
    ) {
        let now = Instant::now();
        let abandoned = submission.reply.is_closed() && !waiters.any_repeated();
        let checked = if submission.deadline <= now || abandoned {
            self.shared.metrics.expired.inc();
            Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })
        } else {
            self.check(state, &submission)
        };
        let creating = match checked {
            Ok(creating) => creating,
            Err(error) => {
                waiters.fail(&error);
                return submission.answer(Err(error));
            }
        };
        let accepted_at = self.shared.clock.now();
        let budget = submission.deadline.saturating_duration_since(now);
        let journalled = submission.events.is_some();
        let Submission {
            request_id, request_hash, request_digest, input, text, deadline, events, reply, permit, ..
        } = *submission;
        let turn = Box::new(RunningTurn {
            accepted: AcceptedRecord {
                turn_id: TurnId(self.shared.entropy.bytes16()),
                request_id,
                request_digest,
                input,
                text,
                accepted_at,
                deadline_at: accepted_at.plus(budget),
                budget_micros: u64::try_from(budget.as_micros()).unwrap_or(u64::MAX),
                attempt: 1,
            },
            request_hash,
            waiters: waiters.led_by(reply, events, permit),
            phase: Phase::Accepting,
            creating,
            deadline,
        });
        if journalled { self.accept(myself, state, turn) } else { self.run(myself, state, turn) }
    }

    /// What must hold for a turn to start: the flow agrees, and so does the expected sequence. Gives
    /// what is to be created when the conversation does not exist yet.
    fn check(&self, state: &State, submission: &Submission) -> Result<Option<Box<Loaded>>, Error> {
        let asked = submission.flow.as_ref();
        let creating = match &state.body {
            Body::Broken(error) => return Err(error.clone()),
            Body::Open(_, loaded) => {
                if let Some(asked) = asked.filter(|asked| **asked != loaded.pin.name) {
                    return Err(Error::WrongFlow { running: loaded.pin.name.to_string(), asked: asked.to_string() });
                }
                None
            }
            Body::Absent(_) => {
                let Some(asked) = asked else { return Err(Error::ConversationAbsent) };
                let found = self.shared.flows.current(self.info.key.tenant(), asked.as_str());
                let Some(found) = found else { return Err(Error::FlowAbsent { name: asked.to_string() }) };
                let pin = FlowPin { tenant: found.tenant.into(), name: asked.clone(), revision: found.flow.revision() };
                Some(Box::new(Loaded::new(pin, found.flow, self.shared.clock.now())))
            }
        };
        let head = state.head();
        match submission.expected_seq {
            Some(expected) if expected != head.turn_seq => Err(Error::SeqMismatch { head }),
            _ => Ok(creating),
        }
    }

    /// Journals the promise; the turn runs once it is synced.
    fn accept(&self, myself: &ActorRef<Message>, state: &mut State, turn: Box<RunningTurn>) {
        let batch = state.with_loaded(turn.creating.as_deref(), |lease, loaded| {
            let mut batch = BatchBuilder::new(lease, loaded, self.shared.entropy.as_ref(), self.shared.clock.now())?;
            batch.push(RecordKind::Accepted, &turn.accepted.encode().map_err(commit::too_large)?)?;
            Ok(batch)
        });
        let deadline = turn.deadline;
        self.append(myself, state, Work::Turn(turn), deadline, batch);
    }

    /// Decides the turn and hands it to the writer.
    pub(super) fn run(&self, myself: &ActorRef<Message>, state: &mut State, mut turn: Box<RunningTurn>) {
        let upgrading = state.loaded_mut().and_then(|loaded| self.upgrading(loaded));
        let RunningTurn { accepted, request_hash, waiters, creating, .. } = &mut *turn;
        let decided = state.with_loaded(creating.as_deref(), |lease, loaded| {
            let (clock, entropy) = (self.shared.clock.as_ref(), self.shared.entropy.as_ref());
            let input = TurnInput {
                turn_id: accepted.turn_id,
                request_id: accepted.request_id.clone(),
                request_digest: accepted.request_digest,
                input: accepted.input,
                text: accepted.text.clone(),
                accepted_at: accepted.accepted_at,
            };
            let (pin, flow, before) = match &upgrading {
                Some(upgrading) => (&upgrading.pin, &upgrading.flow, &upgrading.state),
                None => (&loaded.pin, &loaded.flow, &loaded.state),
            };
            let outcome =
                commit::decide(flow, before, input, clock, entropy, |stage, text| waiters.progress(stage, &text));
            let at = clock.now();
            let mut batch = BatchBuilder::new(lease, loaded, entropy, at)?;
            if let Some(upgrading) = &upgrading {
                batch.push(RecordKind::Control, &upgrading.record(at).encode().map_err(commit::too_large)?)?;
            }
            batch.push(RecordKind::Turn, &outcome.record.encode().map_err(commit::too_large)?)?;
            let bytes = batch.bytes();
            let mut snapshot_bytes = None;
            if commit::snapshot_due(loaded, bytes, &self.shared.settings.snapshot) {
                let last = Remembered {
                    request_hash: *request_hash,
                    request_digest: accepted.request_digest,
                    turn_seq: batch.turn_seq(),
                    kind: EndingKind::Turn.to_byte(),
                };
                snapshot_bytes = batch.push_snapshot(&commit::snapshot(loaded, pin, &outcome.state, last))?;
            }
            let pending = Pending::Turn { record: Box::new(outcome.record), state: Box::new(outcome.state) };
            Ok((Committing { pending, at, bytes, snapshot_bytes, upgrading: None }, batch))
        });
        let (mut committing, batch) = match decided {
            Ok(decided) => decided,
            Err(error) => return turn.waiters.fail(&error),
        };
        if let Pending::Turn { record, .. } = &committing.pending {
            turn.waiters.stages(&record.stages);
        }
        committing.upgrading = upgrading;
        turn.phase = Phase::Committing(Box::new(committing));
        let deadline = turn.deadline;
        self.append(myself, state, Work::Turn(turn), deadline, Ok(batch));
    }

    /// Ends an accepted turn without a committed one.
    fn close(&self, myself: &ActorRef<Message>, state: &mut State, mut turn: Box<RunningTurn>, reason: ClosedReason) {
        let at = self.shared.clock.now();
        let closed = state.with_loaded(turn.creating.as_deref(), |lease, loaded| {
            let record = TurnClosedRecord {
                turn_id: turn.accepted.turn_id,
                request_id: turn.accepted.request_id.clone(),
                request_digest: turn.accepted.request_digest,
                closed_at: at,
                reason,
                reply_text: loaded.flow.fallback().to_string(),
            };
            let mut batch = BatchBuilder::new(lease, loaded, self.shared.entropy.as_ref(), at)?;
            batch.push(RecordKind::TurnClosed, &record.encode().map_err(commit::too_large)?)?;
            Ok((record, batch))
        });
        let (record, batch) = match closed {
            Ok(closed) => closed,
            Err(error) => return turn.waiters.fail(&error),
        };
        let bytes = batch.bytes();
        let pending = Pending::Closed(record);
        turn.phase =
            Phase::Committing(Box::new(Committing { pending, at, bytes, snapshot_bytes: None, upgrading: None }));
        let deadline = turn.deadline;
        self.append(myself, state, Work::Turn(turn), deadline, Ok(batch));
    }

    /// Goes on with a turn whose batch is synced.
    pub(super) fn turn_appended(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut turn: Box<RunningTurn>,
        head: Head,
    ) {
        state.install(turn.creating.take());
        let Some(loaded) = state.loaded_mut() else { return };
        loaded.head = head;
        match std::mem::replace(&mut turn.phase, Phase::Accepting) {
            Phase::Accepting => {
                loaded.updated_at = turn.accepted.accepted_at;
                loaded.since_snapshot.bytes += turn.accepted.text.len();
                turn.waiters.accepted(turn.accepted.turn_id, turn.accepted.attempt, head);
                if turn.deadline <= Instant::now() {
                    self.close(myself, state, turn, ClosedReason::DeadlineExceeded);
                } else {
                    self.run(myself, state, turn);
                }
            }
            Phase::Committing(committing) => self.turn_committed(loaded, *turn, *committing, head),
        }
    }

    fn turn_committed(&self, loaded: &mut Loaded, turn: RunningTurn, committing: Committing, head: Head) {
        let Committing { pending, at, bytes, snapshot_bytes, upgrading } = committing;
        if let Some(upgrading) = upgrading {
            self.upgraded(loaded, upgrading);
        }
        loaded.updated_at = at;
        loaded.since_snapshot.add(bytes, snapshot_bytes);
        let (kind, ending) = match pending {
            Pending::Turn { record, state } => {
                loaded.state = *state;
                self.count(&record);
                let turn = CommittedTurn { record: *record, head, committed_at: at };
                (EndingKind::Turn, Ending::Committed(Arc::new(turn)))
            }
            Pending::Closed(record) => {
                self.shared.metrics.turns_closed.inc();
                (EndingKind::Closed(record.reason), Ending::Closed { record: Arc::new(record), head })
            }
        };
        loaded.window.remember(Remembered {
            request_hash: turn.request_hash,
            request_digest: turn.accepted.request_digest,
            turn_seq: head.turn_seq.get(),
            kind: kind.to_byte(),
        });
        loaded.open_accepted = None;
        self.shared.watches.committed(&self.info.key, head.turn_seq);
        turn.waiters.ended(&ending, loaded);
    }

    fn count(&self, record: &TurnRecord) {
        let metrics = &self.shared.metrics;
        match record.outcome {
            TurnOutcome::Complete => metrics.turns_complete.inc(),
            TurnOutcome::Degraded => metrics.turns_degraded.inc(),
            TurnOutcome::Blocked => metrics.turns_blocked.inc(),
        };
        if record.stages.iter().any(|stage| stage.reason == Reason::TransitionBlocked) {
            metrics.transitions_blocked.inc();
        }
    }

    /// Ends a turn that was promised before a crash: runs it, or closes it when its time is gone.
    pub(super) fn resume_accepted(&self, myself: &ActorRef<Message>, state: &mut State) {
        let Some(mut accepted) = state.loaded_mut().and_then(|loaded| loaded.open_accepted.clone()) else { return };
        let now = self.shared.clock.now();
        let budget = accepted.budget();
        // A clock that went back must not keep a turn alive for ever: then the budget decides.
        let left = if now < accepted.accepted_at { budget } else { accepted.deadline_at.since(now).min(budget) };
        accepted.attempt = accepted.attempt.saturating_add(1);
        let request_hash = hash16(accepted.request_id.as_str().as_bytes());
        let turn = Box::new(RunningTurn {
            accepted,
            request_hash,
            waiters: Waiters::default(),
            phase: Phase::Accepting,
            creating: None,
            deadline: Instant::now() + left,
        });
        self.shared.metrics.turns_resumed.inc();
        if left.is_zero() {
            self.close(myself, state, turn, ClosedReason::DeadlineExceeded);
        } else {
            self.run(myself, state, turn);
        }
    }
}
