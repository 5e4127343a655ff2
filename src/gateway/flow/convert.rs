//! What is told of flows, as the contract tells it.

use colloquy_actors::{
    CompiledFlow, FlowFault, FlowRevision, Pinned, PinnedReason, Promotion, ReplayReport, ScenarioResult,
    TransitionGraph,
};
use colloquy_proto::v1;
use colloquy_types::Revision;

use crate::convert::key;

/// Most faults of one answer.
const FAULTS_MAX: usize = 1000;
/// Most characters of what is shown beside each other of a replay: an answer must fit a message.
const SHOWN_CHARS_MAX: usize = 1000;

pub(super) fn faults(faults: &[FlowFault]) -> Vec<v1::FlowFault> {
    let fault = |fault: &FlowFault| v1::FlowFault {
        id: fault.id.clone(),
        is_error: fault.is_error,
        file: fault.file.clone(),
        line: fault.line,
        column: fault.column,
        message: fault.message.clone(),
        fix: fault.fix.clone(),
        path: fault.path.clone(),
    };
    faults.iter().take(FAULTS_MAX).map(fault).collect()
}

pub(super) fn linted(compiled: CompiledFlow) -> v1::LintFlowResponse {
    v1::LintFlowResponse {
        flow: compiled.name.map(|name| name.to_string()).unwrap_or_default(),
        revision: compiled.source.map(|(revision, _)| revision.to_string()).unwrap_or_default(),
        faults: faults(&compiled.faults),
    }
}

pub(super) fn revision(revision: &FlowRevision, promoted: Option<Revision>) -> v1::FlowRevision {
    let errors = revision.faults.iter().filter(|fault| fault.is_error).count();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::FlowRevision {
        flow: revision.name.to_string(),
        revision: revision.revision.to_string(),
        number: revision.number,
        published_at_us: revision.published_at.as_micros(),
        published_by: revision.published_by.clone(),
        note: revision.note.clone(),
        errors: count(errors),
        warnings: count(revision.faults.len() - errors),
        has_scenarios: !revision.scenarios.is_empty(),
        promoted: promoted == Some(revision.revision),
    }
}

pub(super) fn promotion(promotion: &Promotion) -> v1::FlowPromotion {
    v1::FlowPromotion {
        flow: promotion.flow.to_string(),
        from: promotion.from.map(|from| from.to_string()).unwrap_or_default(),
        to: promotion.to.to_string(),
        number: promotion.number,
        promoted_at_us: promotion.at.as_micros(),
        actor: promotion.by.clone(),
        note: promotion.note.clone(),
    }
}

pub(super) fn graph(graph: TransitionGraph) -> v1::GetTransitionGraphResponse {
    let states = graph.states.into_iter().map(|state| v1::FlowState {
        position: state.position,
        start: state.start,
        initial: state.initial,
        terminal: state.terminal,
        boundary: state.boundary,
    });
    let transitions = graph.edges.into_iter().map(|edge| v1::FlowTransition {
        from: edge.from,
        to: edge.to,
        by: edge.by.into_iter().map(str::to_owned).collect(),
    });
    v1::GetTransitionGraphResponse {
        revision: graph.revision.to_string(),
        states: states.collect(),
        transitions: transitions.collect(),
        drawing: String::new(),
    }
}

pub(super) fn drawn((revision, drawing): (Revision, String)) -> v1::GetTransitionGraphResponse {
    let revision = revision.to_string();
    v1::GetTransitionGraphResponse { revision, drawing, ..v1::GetTransitionGraphResponse::default() }
}

pub(super) fn played(revision: Revision, results: Vec<ScenarioResult>) -> v1::RunScenariosResponse {
    let rows: Vec<_> = results
        .into_iter()
        .map(|result| match result.mismatch {
            None => v1::ScenarioResult { name: result.name, passed: true, ..v1::ScenarioResult::default() },
            Some(mismatch) => v1::ScenarioResult {
                name: result.name,
                passed: false,
                turn: mismatch.turn,
                what: mismatch.what,
                expected: mismatch.expected,
                got: mismatch.got,
            },
        })
        .collect();
    let passed = rows.iter().filter(|row| row.passed).count();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::RunScenariosResponse {
        revision: revision.to_string(),
        passed: count(passed),
        failed: count(rows.len() - passed),
        results: rows,
    }
}

pub(super) fn pinned(pinned: Pinned) -> v1::PinnedConversation {
    let (reason, obstacles) = match pinned.reason {
        PinnedReason::NotPromoted => (v1::PinnedReason::NotPromoted, Vec::new()),
        PinnedReason::Underway => (v1::PinnedReason::Underway, Vec::new()),
        PinnedReason::DoesNotMap(obstacles) => (v1::PinnedReason::DoesNotMap, obstacles),
        PinnedReason::Paused => (v1::PinnedReason::Paused, Vec::new()),
        PinnedReason::NextTurn => (v1::PinnedReason::NextTurn, Vec::new()),
        PinnedReason::Unreadable(why) => (v1::PinnedReason::Unreadable, vec![why]),
    };
    let (flow, revision) = pinned.pin.map(|pin| (pin.name.to_string(), pin.revision.to_string())).unwrap_or_default();
    v1::PinnedConversation {
        key: Some(key(&pinned.key)),
        flow,
        revision,
        current_revision: pinned.current.map(|current| current.to_string()).unwrap_or_default(),
        position: pinned.position,
        reason: reason.into(),
        obstacles,
    }
}

pub(super) fn replayed(report: ReplayReport) -> v1::ReplayConversationResponse {
    let shown = |text: String| text.chars().take(SHOWN_CHARS_MAX).collect();
    let differences = report.differences.into_iter().map(|difference| v1::ReplayDifference {
        turn_seq: difference.turn_seq,
        record_no: difference.record_no,
        what: shown(difference.what),
        recorded: shown(difference.recorded),
        replayed: shown(difference.replayed),
    });
    v1::ReplayConversationResponse {
        turns_identical: report.turns_identical,
        turns_different: report.turns_different,
        turns_undecided: report.turns_undecided,
        differences: differences.collect(),
    }
}
