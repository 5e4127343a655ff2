//! The working memory of one turn, and the only doors through which a stage changes anything.

use std::sync::Arc;

use colloquy_flow::{ActionIx, By, Facts, Flow, StateIx};
use colloquy_types::Timestamp;

use crate::{
    effect::{Effect, EffectKind, EffectResult, EffectValue},
    event::{Degradation, Detail, DialogueAct, Proposal, Reason, Stage, StageEvent, StageResult},
    machine::{MACHINE_VERSION, Outcome, TurnInput},
    record::{Reply, ReplyKind, TurnOutcome, TurnRecord},
    state::{Change, ConversationState, PendingAction},
};

/// A move somebody proposed; links of a chain that begins at the turn's position.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) by: By,
    pub(crate) name: Arc<str>,
    pub(crate) from: StateIx,
    pub(crate) to: StateIx,
}

/// What the turn already knows about its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Every stage has its say.
    Open,
    /// A pending action or a reset decided it: intents and slots are not looked for.
    Decided,
    /// The pending action is corrected: intents are not looked for, slots are.
    Corrected,
    /// The user is asked which pending action is meant.
    Clarify,
    /// Refused: nothing changes, the fallback is said.
    Blocked,
}

/// The working memory of one turn.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) flow: Arc<Flow>,
    pub(crate) input: TurnInput,
    pub(crate) now: Timestamp,
    /// The state before the turn, for when it is refused.
    before: ConversationState,
    state: ConversationState,
    /// Where the turn began; the start of the flow when this revision does not know the position.
    pub(crate) origin: StateIx,
    /// Where the turn is heading, as far as proposed.
    pub(crate) candidate: StateIx,
    pub(crate) known_position: bool,
    pub(crate) course: Course,
    pub(crate) act: DialogueAct,
    /// How a pending action ended in this turn, as conditions see it.
    pub(crate) ended: &'static str,
    /// Whether the turn moves at all, even if only to come back.
    pub(crate) moved: bool,
    /// Whether an intent was recognised.
    pub(crate) recognised: bool,
    pub(crate) proposals: Vec<Move>,
    pub(crate) confirmed: Option<PendingAction>,
    pub(crate) staged: Vec<ActionIx>,
    pub(crate) filled: Vec<Arc<str>>,
    pub(crate) options: Vec<ActionIx>,
    pub(crate) reply: Option<Reply>,
    /// Names of the actions waiting for a confirmation, staged ones included; what conditions see.
    pending_names: Vec<Arc<str>>,
    stages: Vec<StageEvent>,
    changes: Vec<Change>,
    degradations: Vec<Degradation>,
    results: Vec<EffectResult>,
    asked: Vec<Effect>,
    first_step: u16,
    next_step: u16,
}

impl Work {
    pub(crate) fn new(flow: Arc<Flow>, state: ConversationState, input: TurnInput, now: Timestamp) -> Self {
        let found = flow.find_state(state.intent(), state.state());
        let origin = found.unwrap_or_else(|| flow.start_state());
        let mut work = Self {
            pending_names: state.pending().iter().map(|pending| Arc::clone(&pending.action)).collect(),
            before: state.clone(),
            state,
            flow,
            input,
            now,
            origin,
            candidate: origin,
            known_position: found.is_some(),
            course: Course::Open,
            act: DialogueAct::None,
            ended: "",
            moved: false,
            recognised: false,
            proposals: Vec::new(),
            confirmed: None,
            staged: Vec::new(),
            filled: Vec::new(),
            options: Vec::new(),
            reply: None,
            stages: Vec::with_capacity(12),
            changes: Vec::with_capacity(8),
            degradations: Vec::new(),
            results: Vec::new(),
            asked: Vec::new(),
            first_step: 0,
            next_step: 0,
        };
        work.change(Change::TurnCounted);
        work
    }

    /// The state as changed so far.
    pub(crate) fn state(&self) -> &ConversationState {
        &self.state
    }

    /// Changes the state and records the change: the only way either happens.
    pub(crate) fn change(&mut self, change: Change) {
        self.state.apply(&change);
        if matches!(change, Change::PendingOpened(_) | Change::PendingClosed { .. }) {
            self.note_pending();
        }
        self.changes.push(change);
    }

    /// Undoes everything but the count of turns: the turn was refused.
    pub(crate) fn refuse(&mut self) {
        self.course = Course::Blocked;
        self.state = self.before.clone();
        self.changes.clear();
        self.change(Change::TurnCounted);
    }

    /// Stages an action, to be run or opened for confirmation by the act stage.
    pub(crate) fn stage_action(&mut self, action: ActionIx) {
        if !self.staged.contains(&action) {
            self.staged.push(action);
            self.note_pending();
        }
    }

    fn note_pending(&mut self) {
        let waiting = self.state.pending().iter().map(|pending| Arc::clone(&pending.action));
        let staged = self.staged.iter().map(|action| Arc::clone(&self.flow.action(*action).name));
        self.pending_names = waiting.chain(staged).collect();
    }

    /// Proposes a move from where the turn is heading; a move to there is none.
    pub(crate) fn propose(&mut self, by: By, name: &Arc<str>, to: StateIx) {
        if to != self.candidate {
            self.proposals.push(Move { by, name: Arc::clone(name), from: self.candidate, to });
            self.candidate = to;
            self.moved = true;
        }
    }

    /// What conditions see when the turn heads for `position`.
    pub(crate) fn facts(&self, position: StateIx) -> Facts<'_> {
        let heading = self.flow.state(position);
        Facts {
            slots: self.state.slots(),
            flags: self.state.flags(),
            act: self.act.name(),
            intent: &heading.intent_name,
            state: &heading.name,
            text: &self.input.text,
            recognised: self.recognised,
            filled: &self.filled,
            moved: self.moved,
            pending: &self.pending_names,
            ended: self.ended,
        }
    }

    /// Records what a stage did.
    pub(crate) fn event(&mut self, stage: Stage, result: StageResult, reason: Reason, detail: Detail) {
        self.stages.push(StageEvent { stage, result, reason, detail });
    }

    /// Records that a stage failed at something and the turn goes on without it.
    pub(crate) fn degrade(&mut self, stage: Stage, reason: Reason, name: &Arc<str>) {
        self.event(stage, StageResult::Failed, reason, Detail::Name(Arc::clone(name)));
        self.degradations.push(Degradation { stage, reason, name: Arc::clone(name) });
    }

    /// A proposal as events show it.
    pub(crate) fn shown(&self, proposed: &Move) -> Detail {
        Detail::Proposal(Box::new(Proposal {
            by: proposed.by.into(),
            name: Arc::clone(&proposed.name),
            from: Arc::clone(&self.flow.state(proposed.from).full_name),
            to: Arc::clone(&self.flow.state(proposed.to).full_name),
        }))
    }

    /// Asks the world for something. `None` means that the stage must go on asking for what else it
    /// needs, change nothing, and answer [`crate::stages::Progress::Need`]; it is then run again.
    pub(crate) fn ask(&mut self, kind: EffectKind) -> Option<EffectValue> {
        let step = self.next_step;
        self.next_step = self.next_step.saturating_add(1);
        let known = self.results.iter().find(|result| result.step == step).map(|result| result.value);
        if known.is_none() {
            self.asked.push(Effect { step, kind });
        }
        known
    }

    /// Whether something that was asked for is still missing.
    pub(crate) fn waits(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(crate) fn enter_stage(&mut self) {
        self.next_step = self.first_step;
        self.asked.clear();
    }

    pub(crate) fn leave_stage(&mut self) {
        debug_assert!(self.asked.is_empty(), "a stage that asked for something must wait for it");
        self.first_step = self.next_step;
    }

    pub(crate) fn needed(&self) -> Vec<Effect> {
        self.asked.clone()
    }

    pub(crate) fn accept(&mut self, results: &[EffectResult]) {
        for effect in &self.asked {
            let answer = results.iter().find(|result| result.step == effect.step && result.value.kind() == effect.kind);
            self.results.extend(answer);
        }
        self.results.sort_by_key(|result| result.step);
    }

    pub(crate) fn finish(self) -> Outcome {
        let outcome = match (self.course, self.degradations.is_empty()) {
            (Course::Blocked, _) => TurnOutcome::Blocked,
            (_, false) => TurnOutcome::Degraded,
            (_, true) => TurnOutcome::Complete,
        };
        let fallback = || Reply { text: self.flow.fallback().to_string(), kind: ReplyKind::Fallback };
        let record = TurnRecord {
            turn_id: self.input.turn_id,
            request_id: self.input.request_id,
            request_digest: self.input.request_digest,
            text: self.input.text,
            accepted_at: self.input.accepted_at,
            now: self.now,
            revision: self.flow.revision(),
            machine_version: MACHINE_VERSION,
            stages: self.stages,
            effects: self.results,
            changes: self.changes,
            reply: self.reply.unwrap_or_else(fallback),
            outcome,
            degradations: self.degradations,
            intent_before: Arc::clone(&self.before.position().intent),
            state_before: Arc::clone(&self.before.position().state),
            intent: Arc::clone(&self.state.position().intent),
            state: Arc::clone(&self.state.position().state),
        };
        Outcome { record, state: self.state }
    }
}
