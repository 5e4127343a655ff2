//! A turn that is being decided: its machine, what the machine waits for, and what must be written meanwhile.
//!
//! What the machine asks for falls into three kinds. Time and identifiers are answered at once. Questions to models
//! and sources start at once, while the promise to end the turn is on its way to the store. Tools that change the
//! world start only when their intents are synced. The machine goes on when nothing is on its way any more.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use colloquy_flow::Flow;
use colloquy_store::RecordKind;
use colloquy_telemetry::Polled;
use colloquy_turn::{
    CallOutcome, Effect, EffectKind, EffectResult, EffectValue, EffectsRecord, Effort, Failure, Intent, Machine,
    PinnedRevision, Stage, Step, TurnInput, Usage,
};
use colloquy_types::{Timestamp, TraceContext, TurnId};
use futures::FutureExt as _;
use ractor::ActorRef;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    Conversation,
    answers::{self, Kept},
    commit::{self, BatchBuilder},
    ending_early::NOT_CALLED,
    loaded::OpenEffects,
    message::Message,
    state::RunningTurn,
    upgrading::Upgrading,
};
use crate::{
    error::Error,
    outside::{CallContext, Deltas, ModelCall, SourceCall, elapsed_ms},
    reply::FlowPin,
};

/// Kept of a turn's budget for its commit and its reply: never lent to a call.
pub(super) const COMMIT_RESERVE: Duration = Duration::from_millis(50);
/// A call that should have ended by its deadline is given up this much later.
const OVERDUE: Duration = Duration::from_millis(10);

/// What a turn is decided on, and how far it is.
#[derive(Debug)]
pub(super) struct Deciding {
    /// The time the machine was given.
    pub(super) now: Timestamp,
    pub(super) upgrading: Option<Upgrading>,
    pub(super) pin: FlowPin,
    pub(super) flow: Arc<Flow>,
    /// Waits for the results below; nothing while it runs.
    pub(super) machine: Option<Box<Machine>>,
    /// This round's results so far.
    results: Vec<EffectResult>,
    /// The effects of this round that have none.
    awaited: Vec<Effect>,
    /// Actions of this round that start once their intents are synced.
    held: Vec<Effect>,
    /// Results that no record holds yet.
    unwritten: Vec<EffectResult>,
    kept: Kept,
    /// Results and intents that an earlier activation left.
    known: OpenEffects,
    /// Whether a batch of this turn is on its way.
    pub(super) writing: bool,
    /// Whether its calls wait until everything before it is synced.
    pub(super) held_back: bool,
    /// Whether a record says that an action was called.
    pub(super) acted: bool,
    /// An answer of another round is ignored.
    round: u64,
    stages_told: usize,
    progress_told: Option<(Stage, Arc<str>)>,
    /// Whether the machine was told that the turn ends.
    interrupted: bool,
    /// Until when each of the effects that have none may take, as far as it has begun.
    deadlines: Vec<(u16, Instant)>,
    /// Ends with the turn, however that ends.
    calls: Option<JoinSet<()>>,
}

impl Deciding {
    pub(super) fn new(
        now: Timestamp,
        pin: FlowPin,
        flow: Arc<Flow>,
        upgrading: Option<Upgrading>,
        known: OpenEffects,
    ) -> Self {
        Self {
            now,
            upgrading,
            pin,
            flow,
            machine: None,
            results: Vec::new(),
            awaited: Vec::new(),
            held: Vec::new(),
            unwritten: Vec::new(),
            acted: !known.intents.is_empty(),
            kept: Kept::of(&known.results),
            known,
            writing: false,
            held_back: false,
            round: 0,
            stages_told: 0,
            progress_told: None,
            interrupted: false,
            deadlines: Vec::new(),
            calls: None,
        }
    }

    /// The calls that are on their way, and until when each may take.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = (&Effect, Instant)> {
        self.awaited.iter().filter_map(|effect| {
            let (_, deadline) = self.deadlines.iter().find(|(step, _)| *step == effect.step)?;
            Some((effect, *deadline))
        })
    }

    /// Whether the machine can go on.
    pub(super) fn is_ready(&self) -> bool {
        !self.writing && !self.held_back && self.awaited.is_empty()
    }

    /// Goes on with the results of the round.
    pub(super) fn resumed(&mut self) -> Option<Step> {
        self.calls = None;
        self.deadlines.clear();
        let machine = self.machine.take()?;
        Some(machine.resume(std::mem::take(&mut self.results)))
    }

    fn answer(&mut self, step: u16, value: EffectValue) {
        self.learn(EffectResult::at_once(step, value));
    }

    fn learn(&mut self, result: EffectResult) {
        self.unwritten.push(result.clone());
        self.results.push(result);
    }

    /// Takes the answer to a call of this round.
    pub(super) fn answered(&mut self, round: u64, result: EffectResult) {
        if round == self.round
            && let Some(place) = self.awaited.iter().position(|effect| effect.step == result.step)
        {
            let effect = self.awaited.swap_remove(place);
            let value = self.kept.admit(&effect, result.value);
            self.learn(EffectResult { value, ..result });
        }
    }

    /// Whether a tool that changes the world is being called.
    pub(super) fn is_acting(&self) -> bool {
        self.awaited.iter().any(acts)
    }

    /// Drops the questions that are being asked: the turn is to end, and this much of its answer was shown.
    pub(super) fn drop_calls(&mut self, shown: &Arc<str>) {
        self.calls = None;
        for effect in std::mem::take(&mut self.awaited) {
            self.interrupt(effect.step, shown);
        }
    }

    /// Answers that the turn ends. What was shown is told once: every answer is in the record.
    fn interrupt(&mut self, step: u16, shown: &Arc<str>) {
        let shown = if std::mem::replace(&mut self.interrupted, true) { Arc::default() } else { Arc::clone(shown) };
        self.answer(step, EffectValue::Interrupted(shown));
    }

    /// The same before any call of the round has begun.
    pub(super) fn drop_all(&mut self, shown: &Arc<str>) {
        self.awaited.append(&mut self.held);
        self.drop_calls(shown);
    }

    /// The stages that ended since this was last asked.
    pub(super) fn new_stages(&mut self) -> &[colloquy_turn::StageEvent] {
        let Some(machine) = &self.machine else { return &[] };
        let told = std::mem::replace(&mut self.stages_told, machine.stages().len());
        machine.stages().get(told..).unwrap_or_default()
    }

    /// What may be shown while the turn waits, unless it was said before.
    pub(super) fn new_progress(&mut self) -> Option<(Stage, Arc<str>)> {
        let (stage, text) = self.machine.as_ref()?.progress()?;
        let progress = (stage, Arc::clone(text));
        if self.progress_told.as_ref() == Some(&progress) {
            return None;
        }
        self.progress_told = Some(progress.clone());
        Some(progress)
    }

    pub(super) const fn stages_told(&self) -> usize {
        self.stages_told
    }
}

/// Whether the call may change the world, so that its intent comes first.
fn acts(effect: &Effect) -> bool {
    matches!(&effect.kind, EffectKind::Act(request) if !request.read_only)
}

fn intent(effect: &Effect) -> Option<Intent> {
    let EffectKind::Act(request) = &effect.kind else { return None };
    let name = Arc::clone(&request.name);
    Some(Intent { step: effect.step, name, digest: request.digest(), idempotent: request.idempotent })
}

/// Stands for an answer that never came. A tool that changes the world may have been called by then.
fn overdue(effect: &Effect, failure: Failure) -> EffectValue {
    match EffectValue::failed(&effect.kind, failure) {
        Some(EffectValue::Act(_)) if acts(effect) => EffectValue::Act(CallOutcome::Unknown),
        Some(value) => value,
        None => EffectValue::Time(Timestamp::default()),
    }
}

impl Conversation {
    /// What the machine is given to begin with.
    pub(super) fn turn_input(turn: &RunningTurn) -> TurnInput {
        let accepted = &turn.accepted;
        TurnInput {
            turn_id: accepted.turn_id,
            request_id: accepted.request_id.clone(),
            request_digest: accepted.request_digest,
            input: accepted.input,
            text: accepted.text.clone(),
            accepted_at: accepted.accepted_at,
        }
    }

    /// Answers what can be answered at once and keeps the rest; whether anything is left to wait for.
    pub(super) fn look_at(&self, turn: &RunningTurn, deciding: &mut Deciding, effects: Vec<Effect>) -> bool {
        let is_late = Instant::now() + COMMIT_RESERVE >= turn.deadline;
        let ends = turn.ending.is_some();
        for effect in effects {
            let step = effect.step;
            if let Some(result) = deciding.known.result(&effect) {
                deciding.results.push(result);
                continue;
            }
            match &effect.kind {
                EffectKind::Time => deciding.answer(step, EffectValue::Time(self.shared.clock.now())),
                EffectKind::Identifier => deciding.answer(step, EffectValue::Identifier(self.shared.entropy.bytes16())),
                EffectKind::Act(request) if deciding.known.intends(step) => {
                    // An earlier activation may have called it.
                    if request.idempotent && !is_late && !ends {
                        deciding.awaited.push(effect);
                    } else {
                        deciding.answer(step, EffectValue::Act(CallOutcome::Unknown));
                    }
                }
                _ if ends => deciding.interrupt(step, &turn.waiters.shown()),
                // Nothing is begun that cannot end in time.
                kind if is_late => {
                    if let Some(value) = EffectValue::failed(kind, Failure::TimedOut) {
                        deciding.answer(step, value);
                    }
                }
                _ if acts(&effect) => deciding.held.push(effect),
                _ => deciding.awaited.push(effect),
            }
        }
        !(deciding.awaited.is_empty() && deciding.held.is_empty())
    }

    /// What must be written before the round can end: the promise to end the turn, what was learned in rounds before,
    /// and the intents of what is held. `None` when there is nothing.
    pub(super) fn round_batch<'a>(
        &'a self,
        turn: &RunningTurn,
        deciding: &mut Deciding,
        mut batch: BatchBuilder<'a>,
    ) -> Result<Option<BatchBuilder<'a>>, Error> {
        let promise = !turn.journalled;
        let learned = deciding.unwritten.iter().any(|result| {
            !matches!(result.value, EffectValue::Time(_) | EffectValue::Identifier(_)) || !deciding.held.is_empty()
        });
        if !promise && !learned && deciding.held.is_empty() {
            return Ok(None);
        }
        if promise {
            batch.push(RecordKind::Accepted, &turn.accepted.encode().map_err(commit::too_large)?)?;
        }
        let pin = PinnedRevision { flow_tenant: deciding.pin.tenant.to_string(), revision: deciding.pin.revision };
        let (turn_id, now) = (turn.accepted.turn_id, deciding.now);
        let record = |results, intents| EffectsRecord { turn_id, now, flow: pin.clone(), results, intents };
        let mut parts = answers::parts(std::mem::take(&mut deciding.unwritten));
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            batch.push(RecordKind::EffectResult, &record(part, Vec::new()).encode().map_err(commit::too_large)?)?;
        }
        let intents: Vec<_> = deciding.held.iter().filter_map(intent).collect();
        let kind = if intents.is_empty() { RecordKind::EffectResult } else { RecordKind::EffectIntent };
        deciding.acted |= !intents.is_empty();
        batch.push(kind, &record(last, intents).encode().map_err(commit::too_large)?)?;
        Ok(Some(batch))
    }

    /// Starts the calls of a round that need not wait for anything.
    pub(super) fn start_calls(
        &self,
        myself: &ActorRef<Message>,
        round: u64,
        turn: &RunningTurn,
        deciding: &mut Deciding,
    ) {
        deciding.round = round;
        for effect in deciding.awaited.clone() {
            self.start_call(myself, turn, deciding, effect);
        }
    }

    /// Starts the actions whose intents are synced. Those that can no longer end in time are not begun.
    pub(super) fn start_held(&self, myself: &ActorRef<Message>, turn: &RunningTurn, deciding: &mut Deciding) {
        let is_late = Instant::now() + COMMIT_RESERVE >= turn.deadline;
        for effect in std::mem::take(&mut deciding.held) {
            if turn.ending.is_some() {
                // What is acting already must be heard before the turn ends; then the machine goes on until it asks.
                match deciding.is_acting() {
                    true => deciding.answer(effect.step, NOT_CALLED),
                    false => deciding.interrupt(effect.step, &turn.waiters.shown()),
                }
                continue;
            }
            if is_late {
                deciding.answer(effect.step, EffectValue::Act(CallOutcome::Failed(Failure::TimedOut)));
                continue;
            }
            deciding.awaited.push(effect.clone());
            self.start_call(myself, turn, deciding, effect);
        }
    }

    fn start_call(&self, myself: &ActorRef<Message>, turn: &RunningTurn, deciding: &mut Deciding, effect: Effect) {
        let ends_by = turn.deadline.checked_sub(COMMIT_RESERVE).unwrap_or(turn.deadline);
        let deadline = effect.timeout().map_or(ends_by, |timeout| ends_by.min(Instant::now() + timeout));
        let context = self.context(turn, effect.step, deadline);
        deciding.deadlines.push((effect.step, deadline));
        let answer = match &effect.kind {
            EffectKind::Model(request) => {
                let events = turn.waiters.events().filter(|_| request.stream).cloned();
                let deltas = events.map(|events| Deltas { step: effect.step, events });
                let (request, flow) = (Arc::clone(request), Arc::clone(&deciding.flow));
                let asked = self.shared.outside.model(ModelCall { context, request, flow, deltas });
                asked.map(|answer| (EffectValue::Model(answer.result), answer.lost)).boxed()
            }
            EffectKind::Fetch(request) => {
                let call = SourceCall { context, request: Arc::clone(request) };
                self.shared.outside.call(call).map(|outcome| (EffectValue::Fetch(outcome), Usage::default())).boxed()
            }
            EffectKind::Act(request) => {
                let call = SourceCall { context, request: Arc::clone(request) };
                self.shared.outside.call(call).map(|outcome| (EffectValue::Act(outcome), Usage::default())).boxed()
            }
            EffectKind::Time | EffectKind::Identifier => return,
        };
        let (actor, round, begun) = (myself.clone(), deciding.round, Instant::now());
        let call = async move {
            let ended = timeout_at(deadline + OVERDUE, AssertUnwindSafe(answer).catch_unwind()).await;
            let (value, lost) = match ended {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => (overdue(&effect, Failure::Unavailable), Usage::default()),
                Err(_) => (overdue(&effect, Failure::TimedOut), Usage::default()),
            };
            let effort = Effort { elapsed_ms: elapsed_ms(begun), lost };
            let result = EffectResult { step: effect.step, value, effort };
            // The actor may be gone; then nobody waits.
            drop(actor.send_message(Message::Performed { round, result }));
        };
        deciding.calls.get_or_insert_default().spawn(self.shared.metrics.stalls.watch(Polled::Call, call));
    }

    fn context(&self, turn: &RunningTurn, step: u16, deadline: Instant) -> CallContext {
        let turn_id = turn.accepted.turn_id;
        // A caller that traces nothing still gets calls that belong together.
        let own = || TraceContext::new(turn_id.0, first8(&turn_id.0));
        let trace = turn.trace.clone().or_else(own).map(|trace| trace.with_parent(span_id(turn_id, step)));
        CallContext { key: self.info.key.clone(), turn_id, step, deadline, trace }
    }
}

/// The place of a call in its trace: the same whenever this effect is called again.
fn span_id(turn_id: TurnId, step: u16) -> [u8; 8] {
    first8(blake3::Hasher::new().update(&turn_id.0).update(&step.to_be_bytes()).finalize().as_bytes())
}

fn first8(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}
