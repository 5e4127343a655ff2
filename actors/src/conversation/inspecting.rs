//! What an actor says of itself to an operator: what runs, what it waits for, and until when. Nothing of what was said.

use colloquy_turn::{Effect, EffectKind};
use tokio::time::Instant;

use super::{
    Conversation,
    state::{Body, Phase, Running, State, Work},
};
use crate::inspecting::{ConversationReport, EffectReport, RunningReport};

impl Conversation {
    pub(super) fn report(&self, state: &State) -> ConversationReport {
        let (paused_at, unusable) = match &state.body {
            Body::Open(_, loaded) => (loaded.paused_at, None),
            Body::Absent(_) => (None, None),
            Body::Broken(error) | Body::Unusable(_, _, error) => (None, Some(error.to_string())),
        };
        ConversationReport {
            head: state.head(),
            paused_at,
            queued: state.queue.len(),
            ahead: state.ahead.len(),
            running: state.running.as_ref().map(running),
            unusable,
        }
    }
}

impl Conversation {
    /// Shows the call that a turn waits for to whoever looks at the tree: of several the one that may take longest.
    pub(super) fn show_effect(&self, state: &mut State) {
        let last = state.running.as_ref().and_then(|running| match &running.work {
            Work::Turn(turn) => match &turn.phase {
                Phase::Deciding(deciding) => deciding.waits_for().max_by_key(|(_, deadline)| *deadline),
                Phase::Accepting | Phase::Hinting(_) | Phase::Committing(_) => None,
            },
            Work::Control(_) | Work::Snapshot { .. } => None,
        });
        let shows = last.is_some();
        // Most messages find nothing to show, and nothing shown.
        if shows || state.shows_effect {
            self.info.show_effect(last.map(|(effect, deadline)| (report(effect, deadline), deadline)));
            state.shows_effect = shows;
        }
    }
}

fn report(effect: &Effect, deadline: Instant) -> EffectReport {
    EffectReport {
        step: effect.step,
        kind: effect.kind.name(),
        name: match &effect.kind {
            EffectKind::Model(request) => request.purpose.name().to_owned(),
            EffectKind::Fetch(request) | EffectKind::Act(request) => request.target.to_string(),
            EffectKind::Time | EffectKind::Identifier => String::new(),
        },
        left: deadline.saturating_duration_since(Instant::now()),
    }
}

fn running(running: &Running) -> RunningReport {
    let now = Instant::now();
    let (phase, effects) = match &running.work {
        Work::Control(_) => ("control", Vec::new()),
        Work::Snapshot { .. } => ("snapshot", Vec::new()),
        Work::Turn(turn) => match &turn.phase {
            Phase::Accepting => ("accepting", Vec::new()),
            Phase::Hinting(_) => ("hinting", Vec::new()),
            Phase::Committing(_) => ("committing", Vec::new()),
            Phase::Deciding(deciding) => {
                let phase = if deciding.held_back { "held_back" } else { "deciding" };
                (phase, deciding.waits_for().map(|(effect, deadline)| report(effect, deadline)).collect())
            }
        },
    };
    RunningReport {
        phase,
        turn_id: running.work.turn_id(),
        since: now.saturating_duration_since(running.since()),
        left: running.deadline.saturating_duration_since(now),
        effects,
    }
}
