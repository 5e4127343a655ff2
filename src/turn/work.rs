//! The working memory of one turn, and the only doors through which a stage changes anything.

use std::{borrow::Cow, sync::Arc};

use colloquy_flow::{Act, ActionIx, By, Facts, Flow, IntentIx, Json, Redaction, RuleIx, StateIx, Variables};
use colloquy_types::Timestamp;

use crate::{
    effect::{Effect, EffectKind, EffectResult, EffectValue, RequestTrace, Usage},
    event::{Degradation, Detail, Proposal, Reason, Stage, StageEvent, StageResult},
    input::Structured,
    machine::{MACHINE_VERSION, Outcome, TurnInput},
    plan::Plan,
    record::{InputKind, Reply, ReplyKind, TurnOutcome, TurnRecord},
    state::{Change, ConversationState, PendingAction, PendingId},
    timer::TimerEnding,
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
    /// The user is asked which of several is meant.
    Clarify,
    /// Refused: nothing changes, the fallback is said.
    Blocked,
    /// Ended from outside: nothing changes, what was shown is what was said.
    Interrupted,
}

/// The working memory of one turn.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) flow: Arc<Flow>,
    pub(crate) input: TurnInput,
    /// The input, when it is structured; none when it cannot be read.
    pub(crate) structured: Option<Structured>,
    pub(crate) now: Timestamp,
    /// The state to return to when the turn is refused, and how many changes led there: where the turn
    /// began, or what an action that changed the world left.
    kept: (ConversationState, usize),
    /// Where the turn began, by name.
    before: crate::state::PositionName,
    state: ConversationState,
    /// Where the turn began; the start of the flow when this revision does not know the position.
    pub(crate) origin: StateIx,
    /// Where the turn is heading, as far as proposed.
    pub(crate) candidate: StateIx,
    pub(crate) known_position: bool,
    pub(crate) course: Course,
    pub(crate) act: Option<Act>,
    /// Whether the conversation starts over, and why.
    pub(crate) reset: Option<Reason>,
    /// How the intent was recognised, and how sure in percent, as conditions see it.
    pub(crate) recognised_by: (&'static str, u8),
    /// Whether a phrase let go of the current intent.
    pub(crate) released: bool,
    /// The interrupted position the user answered, taken up again before anything else moves.
    pub(crate) resumed: bool,
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
    /// Intents the user is to choose among.
    pub(crate) choices: Vec<IntentIx>,
    /// What was fetched and what actions returned in this turn, ordered by name.
    pub(crate) enrich: Vec<(Arc<str>, Json)>,
    pub(crate) result: Vec<(Arc<str>, Json)>,
    /// What failed in this turn, and what had failed before, ordered by name.
    pub(crate) failed: Vec<Arc<str>>,
    /// Slots the position asks for that are empty, in the order it asks.
    pub(crate) missing: Vec<Arc<str>>,
    /// Rules that had their say.
    pub(crate) settled: Vec<RuleIx>,
    /// Actions run so far.
    pub(crate) calls: u8,
    /// What a planner did so far.
    pub(crate) plan: Plan,
    pub(crate) reply: Option<Reply>,
    /// Names of the actions waiting for a confirmation, staged ones included; what conditions see.
    pending_names: Vec<Arc<str>>,
    stages: Vec<StageEvent>,
    changes: Vec<Change>,
    degradations: Vec<Degradation>,
    requests: Vec<RequestTrace>,
    results: Vec<EffectResult>,
    asked: Vec<Effect>,
    first_step: u16,
    next_step: u16,
}

impl Work {
    pub(crate) fn new(flow: Arc<Flow>, state: ConversationState, input: TurnInput, now: Timestamp) -> Self {
        let found = flow.find_state(state.intent(), state.state());
        let origin = found.unwrap_or_else(|| flow.start_state());
        let structured = match input.input {
            InputKind::Text | InputKind::Timer => None,
            InputKind::Json => Structured::parse(&input.text),
        };
        let mut work = Self {
            pending_names: state.pending().iter().map(|pending| Arc::clone(&pending.action)).collect(),
            failed: state.failed().to_vec(),
            before: state.position().clone(),
            kept: (state.clone(), 0),
            state,
            flow,
            structured,
            input,
            now,
            origin,
            candidate: origin,
            known_position: found.is_some(),
            course: Course::Open,
            act: None,
            reset: None,
            recognised_by: ("", 0),
            released: false,
            resumed: false,
            ended: "",
            moved: false,
            recognised: false,
            proposals: Vec::new(),
            confirmed: None,
            staged: Vec::new(),
            filled: Vec::new(),
            options: Vec::new(),
            choices: Vec::new(),
            enrich: Vec::new(),
            result: Vec::new(),
            missing: Vec::new(),
            settled: Vec::new(),
            calls: 0,
            plan: Plan::default(),
            reply: None,
            stages: Vec::with_capacity(12),
            changes: Vec::with_capacity(8),
            degradations: Vec::new(),
            requests: Vec::new(),
            results: Vec::new(),
            asked: Vec::new(),
            first_step: 0,
            next_step: 0,
        };
        work.count();
        work.look_from(origin);
        work
    }

    /// Counts the turn. A timer that fired it is over, whatever becomes of the turn: it fires once.
    fn count(&mut self) {
        self.change(Change::TurnCounted);
        if self.is_timer() {
            self.change(Change::TimerEnded { id: self.timer().into(), ending: TimerEnding::Fired });
        }
    }

    /// Whether a timer fired the turn, and nobody said anything.
    pub(crate) fn is_timer(&self) -> bool {
        self.input.input == InputKind::Timer
    }

    /// The id of the timer that fired the turn, or empty.
    pub(crate) fn timer(&self) -> &str {
        if self.is_timer() { &self.input.text } else { "" }
    }

    /// What the user said: the text, or the text of structured input.
    pub(crate) fn said(&self) -> &str {
        match (self.input.input, &self.structured) {
            (InputKind::Text, _) => &self.input.text,
            (InputKind::Json, Some(structured)) => &structured.text,
            (InputKind::Json, None) | (InputKind::Timer, _) => "",
        }
    }

    /// The act's name, or empty.
    pub(crate) fn act_name(&self) -> &'static str {
        self.act.map_or("", Act::name)
    }

    /// The state as changed so far.
    pub(crate) fn state(&self) -> &ConversationState {
        &self.state
    }

    /// Changes the state and records the change: the only way either happens.
    pub(crate) fn change(&mut self, change: Change) {
        self.state.apply(&change);
        match change {
            Change::PendingOpened(_) | Change::PendingClosed { .. } => self.note_pending(),
            Change::SlotSet { .. } | Change::SlotCleared { .. } => self.look_from(self.candidate),
            _ => {}
        }
        self.changes.push(change);
    }

    /// Whether this turn opened a pending action.
    pub(crate) fn has_opened(&self, id: PendingId) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::PendingOpened(pending) if pending.id == id))
    }

    /// Notes what a position asks for that is not there yet.
    pub(crate) fn look_from(&mut self, position: StateIx) {
        self.missing.clear();
        let state = self.flow.state(position);
        let slots = state.asks.iter().map(|slot| &self.flow.slot(*slot).name);
        self.missing.extend(slots.filter(|slot| self.state.slot(slot).is_none()).cloned());
    }

    /// Keeps what has changed so far even if the turn is refused: an action changed the world.
    pub(crate) fn keep(&mut self) {
        self.kept = (self.state.clone(), self.changes.len());
    }

    /// Whether something is kept even if the turn is refused.
    pub(crate) fn has_kept(&self) -> bool {
        self.kept.1 > 0
    }

    /// Notes that something from outside failed in this turn.
    pub(crate) fn note_failed(&mut self, name: &Arc<str>) {
        if let Err(place) = self.failed.binary_search(name) {
            self.failed.insert(place, Arc::clone(name));
        }
    }

    /// Undoes everything but the count of turns and what already changed the world: the turn was refused.
    pub(crate) fn refuse(&mut self) {
        self.course = Course::Blocked;
        self.undo();
    }

    fn undo(&mut self) {
        self.state = self.kept.0.clone();
        self.changes.truncate(self.kept.1);
        if self.kept.1 == 0 {
            self.count();
        }
    }

    /// What had been shown when the turn was interrupted, if it was: one of the answers says so.
    pub(crate) fn interrupted(&self) -> Option<Arc<str>> {
        let shown = self.results.iter().filter_map(|result| match &result.value {
            EffectValue::Interrupted(shown) => Some(shown),
            _ => None,
        });
        shown.max_by_key(|shown| shown.len()).cloned()
    }

    /// Ends the turn in `stage`: undone like one that is refused, but what was shown was said.
    pub(crate) fn interrupt(mut self, stage: Stage, shown: &str) -> Outcome {
        self.undo();
        self.course = Course::Interrupted;
        self.event(stage, StageResult::Failed, Reason::Cancelled, Detail::None);
        self.reply = Some(Reply::plain(shown, ReplyKind::Partial));
        self.finish()
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
            self.head_for(to);
        }
    }

    /// Heads for a position, however it came to that.
    pub(crate) fn head_for(&mut self, to: StateIx) {
        self.candidate = to;
        self.moved = true;
        self.look_from(to);
    }

    /// What conditions see when the turn heads for `position`.
    pub(crate) fn facts(&self, position: StateIx) -> Facts<'_> {
        let heading = self.flow.state(position);
        Facts {
            slots: self.state.slots(),
            flags: self.state.flags(),
            act: self.act_name(),
            intent: &heading.intent_name,
            state: &heading.name,
            text: self.said(),
            recognised: self.recognised,
            filled: &self.filled,
            moved: self.moved,
            pending: &self.pending_names,
            ended: self.ended,
            by: self.recognised_by.0,
            confidence: self.recognised_by.1,
            released: self.released,
            asked: self.kept.0.question().is_some(),
            interrupted: self.state.interrupted().len(),
            input: self.input.input.name(),
            timer: self.timer(),
            missing: &self.missing,
            failed: &self.failed,
            enrich: &self.enrich,
            result: &self.result,
            data: self.state.data(),
        }
    }

    /// What never reaches a prompt: what the flow redacts, and what the conversation holds under secret names.
    pub(crate) fn redaction(&self) -> Redaction {
        let flow = self.flow.redaction();
        let mut known = Vec::new();
        for (name, value) in self.state.slots() {
            if self.flow.find_slot(name).is_some_and(|slot| self.flow.slot(slot).secret) {
                known.push(value.to_string());
            }
        }
        let held = self.enrich.iter().chain(&self.result).chain(self.state.data());
        for (name, value) in held.map(|(name, value)| (name, value)).chain(self.plan.results()) {
            flow.secrets(name, value, &mut known);
        }
        flow.with_known(known.iter().map(String::as_str))
    }

    /// What templates see at `position`, with more values by name.
    pub(crate) fn variables(&self, position: StateIx, more: impl IntoIterator<Item = (Arc<str>, Json)>) -> Variables {
        let state = self.flow.state(position);
        let intent = self.flow.intent(state.intent);
        let kept = |slot: &Arc<str>| {
            let everywhere = self
                .flow
                .find_slot(slot)
                .is_some_and(|slot| self.flow.slot(slot).scope == colloquy_flow::SlotScope::Conversation);
            everywhere || intent.keeps(slot)
        };
        let mut outside: std::collections::BTreeMap<Arc<str>, Json> = more.into_iter().collect();
        for (kind, held) in [("enrich", self.enrich.as_slice()), ("result", &self.result), ("data", self.state.data())]
        {
            outside.extend(held.iter().map(|(name, value)| (format!("{kind}.{name}").into(), value.clone())));
        }
        outside.extend(self.state.summary().map(|summary| ("summary".into(), Json::Text(summary.into()))));
        Variables {
            slots: self.state.slots().iter().filter(|(slot, _)| kept(slot)).cloned().collect(),
            intent: Arc::clone(&state.intent_name),
            state: Arc::clone(&state.name),
            options: None,
            outside,
        }
    }

    /// What the stages did so far.
    pub(crate) fn stages(&self) -> &[StageEvent] {
        &self.stages
    }

    /// Records what a stage did.
    pub(crate) fn event(&mut self, stage: Stage, result: StageResult, reason: Reason, detail: Detail) {
        self.stages.push(StageEvent { stage, result, reason, detail });
    }

    /// Records that a stage failed at something and the turn goes on without it.
    pub(crate) fn degrade(&mut self, stage: Stage, reason: Reason, name: &Arc<str>) {
        self.event(stage, StageResult::Failed, reason, Detail::Name(Arc::clone(name)));
        let elapsed_ms = if reason.is_of_the_outside() { self.waited_ms(name) } else { 0 };
        self.degradations.push(Degradation { stage, reason, name: Arc::clone(name), elapsed_ms });
    }

    /// How long this stage waited for what is called `name`, or for all that it asked when nothing is: responses are
    /// told by their position, not by their prompt.
    fn waited_ms(&self, name: &str) -> u32 {
        let asked = || self.requests.iter().filter(|request| request.step >= self.first_step);
        let named = asked().any(|request| *request.name == *name);
        let waited = asked().filter(|request| !named || *request.name == *name).filter_map(|request| {
            let result = self.results.iter().find(|result| result.step == request.step)?;
            Some(result.effort.elapsed_ms)
        });
        waited.fold(0, u32::saturating_add)
    }

    /// The same for what is looked at several times in a turn, and told the first time.
    pub(crate) fn degrade_once(&mut self, stage: Stage, reason: Reason, name: &Arc<str>) {
        if !self.degradations.iter().any(|known| known.is_like(stage, reason, name)) {
            self.degrade(stage, reason, name);
        }
    }

    /// Refuses the turn because of a move that is not declared, and says who proposed it.
    pub(crate) fn blocked(&mut self, refused: &Move) {
        let detail = self.shown(refused);
        self.event(Stage::TransitionBlocked, StageResult::Blocked, Reason::TransitionBlocked, detail);
        self.refuse();
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
        let known = self.results.iter().find(|result| result.step == step).map(|result| result.value.clone());
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
            let answer = results.iter().find(|result| result.step == effect.step && result.value.answers(&effect.kind));
            if let Some(answer) = answer {
                self.requests.extend(effect.kind.trace(effect.step));
                self.results.push(answer.clone());
            }
        }
        self.requests.sort_by_key(|request| request.step);
        self.results.sort_by_key(|result| result.step);
    }

    pub(crate) fn finish(mut self) -> Outcome {
        let outcome = match (self.course, self.degradations.is_empty()) {
            (Course::Blocked, _) => TurnOutcome::Blocked,
            (Course::Interrupted, _) => TurnOutcome::Interrupted,
            (_, false) => TurnOutcome::Degraded,
            (_, true) => TurnOutcome::Complete,
        };
        let fallback = || Reply::plain(self.flow.fallback().as_ref(), ReplyKind::Fallback);
        let reply = self.reply.take().unwrap_or_else(fallback);
        let (turns, tokens) = self.flow.history();
        // What prompts tell of the past are pairs: a turn that showed nothing is none.
        let is_pair = self.course != Course::Interrupted || !reply.text.is_empty();
        if turns > 0 && self.course != Course::Blocked && is_pair {
            let redaction = self.redaction();
            let hidden = |text: &str| match redaction.text(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(redacted) => Some(Arc::<str>::from(redacted)),
            };
            // Nobody said what names a timer.
            let user = if self.is_timer() { Some("".into()) } else { hidden(&self.input.text) };
            let assistant = hidden(&reply.text);
            let said = user.as_deref().unwrap_or(&self.input.text);
            self.state.remember(said, assistant.as_deref().unwrap_or(&reply.text), turns, tokens);
            self.change(Change::Remembered { turns, tokens, user, assistant });
        }
        let used = self.results.iter().map(EffectResult::usage);
        let record = TurnRecord {
            turn_id: self.input.turn_id,
            request_id: self.input.request_id,
            request_digest: self.input.request_digest,
            input: self.input.input,
            text: self.input.text,
            accepted_at: self.input.accepted_at,
            now: self.now,
            revision: self.flow.revision(),
            machine_version: MACHINE_VERSION,
            stages: self.stages,
            requests: self.requests,
            usage: used.fold(Usage::default(), Usage::plus),
            effects: self.results,
            changes: self.changes,
            reply,
            outcome,
            degradations: self.degradations,
            intent_before: self.before.intent,
            state_before: self.before.state,
            intent: Arc::clone(&self.state.position().intent),
            state: Arc::clone(&self.state.position().state),
        };
        Outcome { record, state: self.state }
    }
}
