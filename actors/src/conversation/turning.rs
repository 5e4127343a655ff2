//! The way of one turn through the actor: begin, accept, decide, commit, answer.

use std::sync::Arc;

use colloquy_store::RecordKind;
use colloquy_turn::{
    AcceptedRecord, ClosedReason, EffectResult, Outcome, Reason, Remembered, Step, TurnClosedRecord, TurnOutcome,
    TurnRecord,
};
use colloquy_types::{Head, TurnId};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    deciding::Deciding,
    loaded::Loaded,
    message::{Message, Submission},
    replying::Waiters,
    state::{Committing, EndEarly, Pending, Phase, Running, RunningTurn, State, Work},
    timing::missing,
    window::{EndingKind, hash16},
};
use crate::{
    directory::ActorStatus,
    error::{DeadlineOutcome, Error},
    planted::Planted,
    reply::{CommittedTurn, Ending},
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
        let abandoned = submission.caller.is_gone() && !waiters.any_repeated();
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
        let journalled = submission.events.is_some() || waiters.is_followed();
        let turn_seq = state.head_loaded().turn_seq.next();
        let Submission {
            request_id, request_hash, request_digest, input, text, deadline, trace, events, caller, ..
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
            waiters: waiters.led_by(caller, events).begin(turn_seq, 1, &self.shared.event_bytes),
            phase: Phase::Accepting,
            journalled: false,
            creating,
            deadline,
            begun_at: now,
            ending: None,
            trace,
        });
        if journalled { self.accept(myself, state, turn) } else { self.run(myself, state, turn) }
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

    /// Begins to decide the turn.
    pub(super) fn run(&self, myself: &ActorRef<Message>, state: &mut State, turn: Box<RunningTurn>) {
        let known = state.loaded_mut().map(|loaded| std::mem::take(&mut loaded.open_effects)).unwrap_or_default();
        let upgrading = match state.loaded_mut().map(|loaded| self.upgrading_as(loaded, &known)).transpose() {
            Ok(upgrading) => upgrading.flatten(),
            Err(_) => return self.close(myself, state, turn, ClosedReason::Failed),
        };
        let now = known.begun.as_ref().map_or_else(|| self.shared.clock.now(), |(now, _)| *now);
        let begun = state.with_loaded(turn.creating.as_deref(), |_, loaded| {
            let (pin, flow, before) = match &upgrading {
                Some(upgrading) => (&upgrading.pin, &upgrading.flow, &upgrading.state),
                None => (&loaded.pin, &loaded.flow, &loaded.state),
            };
            let step = colloquy_turn::start(Arc::clone(flow), before.clone(), Self::turn_input(&turn), now);
            Ok((pin.clone(), Arc::clone(flow), step))
        });
        match begun {
            Ok((pin, flow, step)) => {
                let deciding = Box::new(Deciding::new(now, pin, flow, upgrading, known));
                self.go_on(myself, state, turn, deciding, step);
            }
            Err(error) => turn.waiters.fail(&error),
        }
    }

    /// Goes on until the turn is decided or must wait.
    fn go_on(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        turn: Box<RunningTurn>,
        mut deciding: Box<Deciding>,
        mut step: Step,
    ) {
        loop {
            match step {
                Step::Done(outcome) => return self.settle(myself, state, turn, *deciding, *outcome),
                Step::Perform(machine, effects) => {
                    let waits = self.look_at(&turn, &mut deciding, effects);
                    deciding.machine = Some(machine);
                    if waits {
                        return self.wait(myself, state, turn, deciding);
                    }
                    match deciding.resumed() {
                        Some(next) => step = next,
                        None => return,
                    }
                }
            }
        }
    }

    /// Starts the calls of a round, and writes what must be synced before it can end.
    pub(super) fn wait(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut turn: Box<RunningTurn>,
        mut deciding: Box<Deciding>,
    ) {
        turn.waiters.give_slot();
        if !state.ahead.is_empty() {
            deciding.held_back = true;
            let deadline = turn.deadline;
            turn.phase = Phase::Deciding(deciding);
            state.running = Some(Running { work: Work::Turn(turn), started_at: Instant::now(), deadline });
            return;
        }
        turn.waiters.stages(deciding.new_stages());
        if let Some((stage, text)) = deciding.new_progress() {
            turn.waiters.progress(stage, &text);
        }
        let batch = state.with_loaded(turn.creating.as_deref(), |lease, loaded| {
            let batch = BatchBuilder::new(lease, loaded, self.shared.entropy.as_ref(), self.shared.clock.now())?;
            self.round_batch(&turn, &mut deciding, batch)
        });
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return self.give_up(myself, state, turn, &error),
        };
        state.round += 1;
        self.start_calls(myself, state.round, &turn, &mut deciding);
        if self.shared.is_planted(Planted::ActsBeforeIntent) {
            self.start_held(myself, &turn, &mut deciding);
        }
        deciding.writing = batch.is_some();
        let deadline = turn.deadline;
        turn.phase = Phase::Deciding(deciding);
        match batch {
            Some(batch) => self.append(myself, state, Work::Turn(turn), deadline, Ok(batch)),
            None => {
                state.running = Some(Running { work: Work::Turn(turn), started_at: Instant::now(), deadline });
                self.info.set_status(ActorStatus::Running);
            }
        }
    }

    /// Takes the answer to a call.
    pub(super) fn performed(&self, myself: &ActorRef<Message>, state: &mut State, round: u64, result: EffectResult) {
        if let Some(Running { work: Work::Turn(turn), .. }) = &mut state.running
            && let Phase::Deciding(deciding) = &mut turn.phase
        {
            deciding.answered(round, result);
            if deciding.is_ready()
                && let Some(Running { work: Work::Turn(turn), .. }) = state.running.take()
            {
                self.carry_on(myself, state, turn);
            }
        }
        self.next(myself, state);
    }

    /// Goes on with a turn whose wait may be over: to its end, or to the early one that was asked for.
    pub(super) fn carry_on(&self, myself: &ActorRef<Message>, state: &mut State, turn: Box<RunningTurn>) {
        let is_ready = matches!(&turn.phase, Phase::Deciding(deciding) if deciding.is_ready());
        if turn.ending.is_some() && is_ready {
            self.end_now(myself, state, turn);
        } else {
            self.proceed(myself, state, turn);
        }
    }

    /// Resumes the machine of a turn that has everything it waited for; otherwise the turn goes on waiting.
    pub(super) fn proceed(&self, myself: &ActorRef<Message>, state: &mut State, mut turn: Box<RunningTurn>) {
        match std::mem::replace(&mut turn.phase, Phase::Accepting) {
            Phase::Deciding(mut deciding) if deciding.is_ready() => {
                if let Some(step) = deciding.resumed() {
                    self.go_on(myself, state, turn, deciding, step);
                }
            }
            phase => {
                turn.phase = phase;
                let deadline = turn.deadline;
                state.running = Some(Running { work: Work::Turn(turn), started_at: Instant::now(), deadline });
            }
        }
    }

    /// Hands a decided turn to the writer.
    pub(super) fn commit(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut turn: Box<RunningTurn>,
        deciding: Deciding,
        outcome: Outcome,
    ) {
        let stages_told = deciding.stages_told();
        let Deciding { upgrading, pin, .. } = deciding;
        let decided = state.with_loaded(turn.creating.as_deref(), |lease, loaded| {
            let (clock, entropy) = (self.shared.clock.as_ref(), self.shared.entropy.as_ref());
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
                    request_hash: turn.request_hash,
                    request_digest: turn.accepted.request_digest,
                    turn_seq: batch.turn_seq(),
                    kind: EndingKind::Turn.to_byte(),
                };
                snapshot_bytes = batch.push_snapshot(&commit::snapshot(loaded, &pin, &outcome.state, Some(last)))?;
            }
            let over = missing(loaded.state.timers(), outcome.state.timers());
            Ok((at, bytes, snapshot_bytes, over, batch))
        });
        let (at, bytes, snapshot_bytes, over, batch) = match decided {
            Ok(decided) => decided,
            Err(error) => return self.give_up(myself, state, turn, &error),
        };
        if state.ahead.is_empty() {
            turn.waiters.stages(outcome.record.stages.get(stages_told..).unwrap_or_default());
        }
        let head_after = batch.head_after();
        let pending = Pending::Turn { record: Box::new(outcome.record), state: Box::new(outcome.state) };
        turn.phase =
            Phase::Committing(Box::new(Committing { pending, at, bytes, snapshot_bytes, head_after, upgrading, over }));
        let deadline = turn.deadline;
        self.append(myself, state, Work::Turn(turn), deadline, Ok(batch));
    }

    /// Ends a turn that cannot be written as it was decided. One that was promised is closed, or it would be decided
    /// the same way for ever.
    fn give_up(&self, myself: &ActorRef<Message>, state: &mut State, mut turn: Box<RunningTurn>, error: &Error) {
        let waiters = std::mem::take(&mut turn.waiters);
        waiters.fail(error);
        if turn.journalled {
            self.close(myself, state, turn, ClosedReason::Failed);
        }
    }

    /// Ends an accepted turn without a committed one.
    pub(super) fn close(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut turn: Box<RunningTurn>,
        reason: ClosedReason,
    ) {
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
        let (bytes, head_after) = (batch.bytes(), batch.head_after());
        let (snapshot_bytes, upgrading, over) = (None, None, Vec::new());
        let pending = Pending::Closed(record);
        turn.phase =
            Phase::Committing(Box::new(Committing { pending, at, bytes, snapshot_bytes, head_after, upgrading, over }));
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
        let promised = !matches!(turn.phase, Phase::Committing(_)) && !std::mem::replace(&mut turn.journalled, true);
        if promised {
            loaded.updated_at = turn.accepted.accepted_at;
            loaded.since_snapshot.bytes += turn.accepted.text.len();
            turn.waiters.accepted(turn.accepted.turn_id, turn.accepted.attempt, head);
        }
        match std::mem::replace(&mut turn.phase, Phase::Accepting) {
            Phase::Accepting => {
                // What an earlier attempt may have changed is told by a committed turn, whatever else is wanted.
                let acted = !loaded.open_effects.intents.is_empty();
                if turn.ending == Some(EndEarly::Drop) && !acted {
                    self.end_now(myself, state, turn);
                } else if turn.deadline <= Instant::now() && !acted {
                    self.close(myself, state, turn, ClosedReason::DeadlineExceeded);
                } else {
                    self.run(myself, state, turn);
                }
            }
            Phase::Deciding(mut deciding) => {
                deciding.writing = false;
                self.start_held(myself, &turn, &mut deciding);
                if turn.ending.is_some() && !deciding.is_acting() {
                    deciding.drop_calls(&turn.waiters.shown());
                }
                turn.phase = Phase::Deciding(deciding);
                self.carry_on(myself, state, turn);
            }
            // It is not with the writer.
            phase @ Phase::Hinting(_) => turn.phase = phase,
            Phase::Committing(committing) => {
                state.pace.ended(turn.begun_at);
                self.info.set_pace(state.pace.expected(1));
                let Some(loaded) = state.loaded_mut() else { return };
                let (request_hash, events) = (turn.request_hash, turn.waiters.events().cloned());
                self.turn_committed(loaded, *turn, *committing, head);
                if let Some(events) = events {
                    state.followed = self.shared.retained.keep(&events).map(|kept| (request_hash, kept));
                }
            }
        }
    }

    fn turn_committed(&self, loaded: &mut Loaded, turn: RunningTurn, committing: Committing, head: Head) {
        let Committing { pending, at, bytes, snapshot_bytes, upgrading, over, .. } = committing;
        if let Some(upgrading) = upgrading {
            self.upgraded(loaded, upgrading);
        }
        loaded.updated_at = at;
        loaded.since_snapshot.add(bytes, snapshot_bytes);
        let (kind, ending) = match pending {
            Pending::Turn { record, state } => {
                loaded.state = *state;
                self.timers_over(over);
                self.count(&record);
                let turn = CommittedTurn { record: *record, head, committed_at: at };
                (EndingKind::Turn, Ending::Committed(Arc::new(turn)))
            }
            Pending::Closed(record) => {
                self.shared.metrics.turns_closed.inc();
                loaded.state.apply_closed(&record.request_id);
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
        self.resized(loaded);
        self.shared.watches.committed(&self.info.key, head.turn_seq);
        turn.waiters.ended(&ending, loaded);
    }

    pub(super) fn count(&self, record: &TurnRecord) {
        let metrics = &self.shared.metrics;
        match record.outcome {
            TurnOutcome::Complete => metrics.turns_complete.inc(),
            TurnOutcome::Degraded => metrics.turns_degraded.inc(),
            TurnOutcome::Blocked => metrics.turns_blocked.inc(),
            TurnOutcome::Interrupted => metrics.turns_interrupted.inc(),
        };
        if record.stages.iter().any(|stage| stage.reason == Reason::TransitionBlocked) {
            metrics.transitions_blocked.inc();
        }
    }

    /// Ends a turn that was promised before a crash: runs it, or closes it when its time is gone.
    pub(super) fn resume_accepted(&self, myself: &ActorRef<Message>, state: &mut State) {
        let Some(loaded) = state.loaded_mut() else { return };
        let Some(mut accepted) = loaded.open_accepted.clone() else { return };
        if self.shared.is_planted(Planted::ForgetsResume) {
            return;
        }
        // What may have changed the world is told by a committed turn, however late.
        let acted = !loaded.open_effects.intents.is_empty();
        let now = self.shared.clock.now();
        let budget = accepted.budget();
        // A clock that went back must not keep a turn alive for ever: then the budget decides.
        let left = if now < accepted.accepted_at { budget } else { accepted.deadline_at.since(now).min(budget) };
        accepted.attempt = accepted.attempt.saturating_add(1);
        let request_hash = hash16(accepted.request_id.as_str().as_bytes());
        let turn_seq = loaded.head.turn_seq.next();
        let turn = Box::new(RunningTurn {
            waiters: Waiters::default().begin(turn_seq, accepted.attempt, &self.shared.event_bytes).keep_events(),
            accepted,
            request_hash,
            phase: Phase::Accepting,
            journalled: true,
            creating: None,
            deadline: Instant::now() + left,
            begun_at: Instant::now(),
            ending: None,
            trace: None,
        });
        self.info.busy_until(self.shared.tick_at(turn.deadline));
        self.shared.metrics.turns_resumed.inc();
        if left.is_zero() && !acted {
            self.close(myself, state, turn, ClosedReason::DeadlineExceeded);
        } else {
            // Who follows the turn tells this attempt from the others by its number, so no two may have the same.
            self.accept(myself, state, turn);
        }
    }
}
