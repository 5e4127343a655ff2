//! Domain to wire. The other way is validation.

use std::sync::Arc;

use colloquy_actors::{
    ActorKind, ActorStatus, BreakerPosition, CommittedTurn, Compacted, ConversationReport, Described, EffectReport,
    Ending, ErasureReceipt, FailureCause, Feedback, FlowPin, GateFigures, Inspection, Listed, Quarantined,
    RuntimeStats, TreeRow, TurnReply,
};
use colloquy_proto::v1;
use colloquy_turn::{
    Detail, EffectValue, InputKind, Rating, Reply, ReplyKind, StageEvent, TurnClosedRecord, TurnOutcome, TurnRecord,
    Usage,
};
use colloquy_types::{ConversationKey, ConversationUid, Head, Timestamp};

pub(crate) fn head(head: &Head) -> v1::Head {
    v1::Head { epoch: head.epoch.get(), turn_seq: head.turn_seq.get(), hash: head.hash.0.to_vec() }
}

pub(crate) fn key(key: &ConversationKey) -> v1::ConversationKey {
    v1::ConversationKey { tenant: key.tenant().to_owned(), conversation: key.conversation().to_owned() }
}

pub(crate) fn stage(event: &StageEvent) -> v1::StageEvent {
    v1::StageEvent {
        stage: event.stage.name().to_owned(),
        result: event.result.name().to_owned(),
        reason: event.reason.name().to_owned(),
        detail: detail(&event.detail),
    }
}

fn detail(detail: &Detail) -> String {
    match detail {
        Detail::None => String::new(),
        Detail::Name(name) => name.to_string(),
        Detail::Names(names) => names.join(", "),
        Detail::Proposal(proposal) => {
            format!("{} proposed {} from {}", proposal.by.name(), proposal.to, proposal.from)
        }
    }
}

fn reply_kind(kind: ReplyKind) -> &'static str {
    match kind {
        ReplyKind::Exact => "exact",
        ReplyKind::Template => "template",
        ReplyKind::Fallback => "fallback",
        ReplyKind::Clarification => "clarification",
        ReplyKind::Partial => "partial",
        ReplyKind::Policy => "policy",
        ReplyKind::Model => "model",
        ReplyKind::ModelJson => "model_json",
        ReplyKind::Collision => "collision",
    }
}

fn input(record: &TurnRecord) -> v1::TurnInput {
    let input = match record.input {
        InputKind::Text => v1::turn_input::Input::Text(record.text.clone()),
        InputKind::Json => v1::turn_input::Input::Json(record.text.clone()),
        InputKind::Timer => v1::turn_input::Input::Timer(record.text.clone()),
    };
    v1::TurnInput { input: Some(input) }
}

fn reply(reply: &Reply) -> v1::Reply {
    v1::Reply {
        text: reply.text.clone(),
        kind: reply_kind(reply.kind).to_owned(),
        follow_ups: reply.follow_ups.iter().map(ToString::to_string).collect(),
        json: reply.json.as_ref().map(ToString::to_string),
    }
}

/// What a turn used of models; none when it asked none.
fn usage(record: &TurnRecord) -> Option<v1::Usage> {
    let asked = record.effects.iter().filter(|result| matches!(result.value, EffectValue::Model(_))).count();
    let Usage { tokens_in, tokens_out, cost_micros, .. } = record.usage;
    (asked > 0).then(|| v1::Usage {
        model_calls: u32::try_from(asked).unwrap_or(u32::MAX),
        input_tokens: tokens_in,
        output_tokens: tokens_out,
        cost_micros,
    })
}

/// A committed turn, with what its stages did.
pub(crate) fn turn(turn: &CommittedTurn) -> v1::Turn {
    v1::Turn { stages: turn.record.stages.iter().map(stage).collect(), ..turn_without_stages(turn) }
}

/// A committed turn: most callers want the reply and not the dozen stages that led to it.
fn turn_without_stages(turn: &CommittedTurn) -> v1::Turn {
    let record = &turn.record;
    let outcome = match record.outcome {
        TurnOutcome::Complete => v1::TurnOutcome::Complete,
        TurnOutcome::Degraded => v1::TurnOutcome::Degraded,
        TurnOutcome::Blocked => v1::TurnOutcome::Blocked,
        TurnOutcome::Interrupted => v1::TurnOutcome::Interrupted,
    };
    let degradations = record.degradations.iter().map(|degradation| v1::Degradation {
        source: if degradation.name.is_empty() { degradation.stage.name() } else { &*degradation.name }.to_owned(),
        reason: degradation.reason.name().to_owned(),
        elapsed_ms: degradation.elapsed_ms,
    });
    v1::Turn {
        turn_id: record.turn_id.to_string(),
        turn_seq: turn.head.turn_seq.get(),
        request_id: record.request_id.as_str().to_owned(),
        input: Some(input(record)),
        reply: Some(reply(&record.reply)),
        intent: record.intent.to_string(),
        state: record.state.to_string(),
        intent_before: record.intent_before.to_string(),
        state_before: record.state_before.to_string(),
        outcome: outcome.into(),
        degradations: degradations.collect(),
        stages: Vec::new(),
        accepted_at_us: record.accepted_at.as_micros(),
        committed_at_us: turn.committed_at.as_micros(),
        revision: record.revision.to_string(),
        machine_version: record.machine_version,
        head: Some(head(&turn.head)),
        usage: usage(record),
    }
}

fn closed(record: &TurnClosedRecord, at: &Head, flow: &FlowPin) -> v1::Turn {
    v1::Turn {
        turn_id: record.turn_id.to_string(),
        request_id: record.request_id.as_str().to_owned(),
        reply: Some(reply(&Reply::plain(record.reply_text.clone(), ReplyKind::Fallback))),
        outcome: v1::TurnOutcome::Closed.into(),
        committed_at_us: record.closed_at.as_micros(),
        revision: flow.revision.to_string(),
        head: Some(head(at)),
        ..v1::Turn::default()
    }
}

/// However a turn ended.
pub(crate) fn ending(reply: &TurnReply, include_stages: bool) -> v1::Turn {
    match &reply.ending {
        Ending::Committed(committed) if include_stages => turn(committed),
        Ending::Committed(committed) => turn_without_stages(committed),
        Ending::Closed { record, head } => closed(record, head, &reply.flow),
        Ending::LeftOut { head: at } => v1::Turn {
            outcome: v1::TurnOutcome::LeftOut.into(),
            revision: reply.flow.revision.to_string(),
            head: Some(head(at)),
            ..v1::Turn::default()
        },
    }
}

/// A turn as a watcher sees it.
pub(crate) fn committed(committed: &Arc<CommittedTurn>) -> v1::TurnCommitted {
    v1::TurnCommitted { turn: Some(turn(committed)), replayed: false }
}

pub(crate) fn conversation(described: &Described) -> v1::Conversation {
    let state = &described.state;
    let slots = state.slots().iter().map(|(name, value)| v1::Slot { name: name.to_string(), value: value.to_string() });
    let timers = state.timers().iter();
    let timers = timers.map(|timer| v1::Timer { id: timer.id.to_string(), due_at_us: timer.due_at.as_micros() });
    v1::Conversation {
        key: Some(key(&described.key)),
        uid: described.uid.to_string(),
        flow: described.flow.name.to_string(),
        revision: described.flow.revision.to_string(),
        head: Some(head(&described.head)),
        intent: state.intent().to_owned(),
        state: state.state().to_owned(),
        slots: slots.collect(),
        flags: state.flags().iter().map(ToString::to_string).collect(),
        pending_actions: state.pending().iter().map(|pending| pending.action.to_string()).collect(),
        created_at_us: described.created_at.as_micros(),
        updated_at_us: described.updated_at.as_micros(),
        subject: described.subject.as_ref().map(ToString::to_string).unwrap_or_default(),
        origin: described.origin.map(|origin| v1::Origin {
            uid: origin.uid.to_string(),
            turn_seq: origin.turn_seq.get(),
            hash: origin.hash.0.to_vec(),
        }),
        paused_at_us: described.paused_at.map_or(0, |at| at.as_micros()),
        timers: timers.collect(),
    }
}

pub(crate) fn summary(listed: &Listed) -> v1::ConversationSummary {
    v1::ConversationSummary {
        key: Some(key(&listed.key)),
        uid: listed.uid.to_string(),
        head: Some(head(&listed.head)),
        updated_at_us: listed.updated_at.as_micros(),
    }
}

pub(crate) fn receipt(tenant: &str, receipt: ErasureReceipt, reason: String) -> v1::ErasureReceipt {
    let record_no = receipt.head.record_no.get();
    let backups_unknown = receipt.backups_not_covered.is_none();
    let backups = receipt.backups_not_covered.into_iter().flatten();
    v1::ErasureReceipt {
        tenant: tenant.to_owned(),
        uid: receipt.uid.to_string(),
        head: Some(head(&receipt.head)),
        record_no,
        records_erased: record_no.saturating_sub(1),
        erased_at_us: receipt.erased_at.as_micros(),
        store: receipt.store.map(|uuid| ConversationUid(uuid).to_string()).unwrap_or_default(),
        backups_not_covered: backups
            .map(|backup| v1::UncoveredBackup { path: backup.to, taken_at_us: backup.taken_at.as_micros() })
            .collect(),
        backups_unknown,
        reason,
    }
}

pub(crate) fn compacted(compacted: &Compacted, erasures_pending: u64) -> v1::CompactStoreResponse {
    v1::CompactStoreResponse {
        segments_read: compacted.segments_read,
        segments_rewritten: compacted.segments_rewritten,
        bytes_before: compacted.bytes_before,
        bytes_after: compacted.bytes_after,
        bodies_erased: compacted.bodies_erased,
        snapshots_dropped: compacted.snapshots_dropped,
        erasures_pending,
    }
}

pub(crate) fn quarantined(row: &Quarantined) -> v1::QuarantinedConversation {
    v1::QuarantinedConversation {
        key: Some(key(&row.key)),
        since_us: row.since.as_micros(),
        reason: row.to_string(),
        failures: row.failures,
        window_ms: u64::try_from(row.window.as_millis()).unwrap_or(u64::MAX),
        cause: row.cause.name().to_owned(),
    }
}

pub(crate) fn feedback(feedback: Feedback) -> v1::Feedback {
    let rating = match feedback.rating {
        Rating::Bad => -1,
        Rating::Neutral => 0,
        Rating::Good => 1,
    };
    v1::Feedback {
        request_id: feedback.request_id.as_str().to_owned(),
        turn_seq: feedback.turn_seq.get(),
        rating,
        comment: feedback.comment,
        recorded_at_us: feedback.at.as_micros(),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An actor, looked at closely.
pub(crate) fn inspection(inspection: Inspection) -> v1::InspectActorResponse {
    let Inspection { row, memory_bytes, failures, quarantined, conversation } = inspection;
    let (failures, last_failure) = failures.map_or((0, ""), |(failures, cause)| (failures, cause.name()));
    v1::InspectActorResponse {
        actor: row.map(actor),
        memory_bytes: memory_bytes as u64,
        failures,
        last_failure: last_failure.to_owned(),
        quarantined: quarantined.map(|quarantined| quarantined.to_string()).unwrap_or_default(),
        conversation: conversation.map(conversation_report),
    }
}

fn conversation_report(report: ConversationReport) -> v1::ConversationReport {
    let running = report.running.map(|running| v1::RunningReport {
        phase: running.phase.to_owned(),
        turn_id: running.turn_id.map(|turn_id| turn_id.to_string()).unwrap_or_default(),
        since_ms: millis(running.since),
        left_ms: millis(running.left),
        effects: running.effects.into_iter().map(effect).collect(),
    });
    v1::ConversationReport {
        head: Some(head(&report.head)),
        paused_at_us: report.paused_at.map_or(0, |at| at.as_micros()),
        queued: report.queued as u64,
        ahead: report.ahead as u64,
        running,
        unusable: report.unusable.unwrap_or_default(),
    }
}

pub(crate) fn actor_kind(kind: v1::ActorKind) -> Option<ActorKind> {
    match kind {
        v1::ActorKind::Unspecified => None,
        v1::ActorKind::Root => Some(ActorKind::Root),
        v1::ActorKind::StoreWriter => Some(ActorKind::StoreWriter),
        v1::ActorKind::Shard => Some(ActorKind::Shard),
        v1::ActorKind::Conversation => Some(ActorKind::Conversation),
        v1::ActorKind::Flows => Some(ActorKind::Flows),
        v1::ActorKind::Gates => Some(ActorKind::Gates),
        v1::ActorKind::Model => Some(ActorKind::Model),
        v1::ActorKind::Source => Some(ActorKind::Source),
        v1::ActorKind::Session => Some(ActorKind::Session),
        v1::ActorKind::Janitor => Some(ActorKind::Janitor),
    }
}

pub(crate) fn kind_of_actor(kind: ActorKind) -> v1::ActorKind {
    match kind {
        ActorKind::Root => v1::ActorKind::Root,
        ActorKind::StoreWriter => v1::ActorKind::StoreWriter,
        ActorKind::Shard => v1::ActorKind::Shard,
        ActorKind::Conversation => v1::ActorKind::Conversation,
        ActorKind::Flows => v1::ActorKind::Flows,
        ActorKind::Gates => v1::ActorKind::Gates,
        ActorKind::Model => v1::ActorKind::Model,
        ActorKind::Source => v1::ActorKind::Source,
        ActorKind::Session => v1::ActorKind::Session,
        ActorKind::Janitor => v1::ActorKind::Janitor,
    }
}

pub(crate) fn actor(row: TreeRow) -> v1::Actor {
    let state = match row.status {
        ActorStatus::Activating => v1::ActorState::Activating,
        ActorStatus::Idle => v1::ActorState::Idle,
        ActorStatus::Running => v1::ActorState::Running,
    };
    v1::Actor {
        path: row.path,
        parent: row.parent,
        kind: kind_of_actor(row.kind).into(),
        key: row.key,
        state: state.into(),
        queue_depth: row.queue_depth as u64,
        restarts: row.restarts,
        activation: row.activation.get(),
        age_ms: u64::try_from(row.age.as_millis()).unwrap_or(u64::MAX),
        children: row.children as u64,
        gate: row.gate.map(gate),
        last_failure: row.last_failure.map(FailureCause::name).unwrap_or_default().to_owned(),
        memory_bytes: row.memory_bytes as u64,
        effect: row.effect.map(effect),
    }
}

fn effect(effect: EffectReport) -> v1::EffectReport {
    let EffectReport { step, kind, name, left } = effect;
    v1::EffectReport { step: step.into(), kind: kind.to_owned(), name, left_ms: millis(left) }
}

fn gate(figures: GateFigures) -> v1::Gate {
    let breaker = match figures.breaker {
        BreakerPosition::Closed => v1::BreakerState::Closed,
        BreakerPosition::Open => v1::BreakerState::Open,
        BreakerPosition::HalfOpen => v1::BreakerState::HalfOpen,
    };
    let (opened, refused) = (figures.opened, figures.refused);
    v1::Gate { breaker: breaker.into(), inside: figures.inside as u64, opened, refused }
}

pub(crate) fn runtime(stats: RuntimeStats, version: &str) -> v1::GetRuntimeResponse {
    let flows = stats.flows.into_iter().map(|flow| v1::LoadedFlow {
        tenant: flow.tenant,
        name: flow.name,
        revision: flow.revision.to_string(),
    });
    v1::GetRuntimeResponse {
        version: version.to_owned(),
        started_at_us: stats.started_at.as_micros(),
        engine: stats.engine.to_owned(),
        epoch: stats.store.epoch.get(),
        writable: stats.store.writable,
        draining: stats.draining,
        conversations_active: stats.conversations_active as u64,
        in_flight: stats.in_flight as u64,
        in_flight_max: stats.limits.in_flight_max.get() as u64,
        watchers: stats.watchers as u64,
        records: stats.store.records,
        record_bytes: stats.store.bytes,
        syncs: stats.store.syncs,
        flows: flows.collect(),
        journal_bytes: stats.store.journal_bytes,
        dead_bytes: stats.store.dead_bytes,
        erasures_pending: stats.store.erasures_pending,
        compacted_at_us: stats.store.compacted_at.map(Timestamp::as_micros).unwrap_or_default(),
        conversations_bytes: stats.conversations_bytes as u64,
        activations_running: stats.activations_running as u64,
        activations_waiting: stats.activations_waiting as u64,
        quarantined: stats.quarantined as u64,
    }
}
