//! Recorded and replayed, side by side, as rows for a report.

use colloquy_turn::{Detail, StageEvent, TurnRecord};
use serde::Serialize;

use super::entry::view;

/// One stage event as it was recorded and as it came out now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageRow {
    /// As recorded; absent when there are more events now.
    pub recorded: Option<String>,
    /// As it came out now; absent when there are fewer events now.
    pub replayed: Option<String>,
    /// Whether the two differ.
    pub differs: bool,
}

/// One field as it was recorded and as it came out now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldRow {
    /// The field's name.
    pub field: &'static str,
    /// As recorded.
    pub recorded: String,
    /// As it came out now.
    pub replayed: String,
    /// Whether the two differ.
    pub differs: bool,
}

impl FieldRow {
    pub(super) fn new(field: &'static str, recorded: String, replayed: String) -> Self {
        let differs = recorded != replayed;
        Self { field, recorded, replayed, differs }
    }

    /// A row of two values as JSON.
    pub(super) fn of<T: Serialize>(field: &'static str, recorded: &T, replayed: &T) -> Self {
        Self::new(field, view(recorded).to_string(), view(replayed).to_string())
    }
}

/// The events of a turn, pair by pair.
pub(super) fn stages(recorded: &[StageEvent], replayed: &[StageEvent]) -> Vec<StageRow> {
    let longest = recorded.len().max(replayed.len());
    let row = |place: usize| {
        let (recorded, replayed) = (recorded.get(place), replayed.get(place));
        StageRow {
            recorded: recorded.map(stage_line),
            replayed: replayed.map(stage_line),
            differs: recorded != replayed,
        }
    };
    (0..longest).map(row).collect()
}

/// What follows the stages: position, changes and reply always, the rest where it differs.
pub(super) fn fields(recorded: &TurnRecord, replayed: &TurnRecord) -> Vec<FieldRow> {
    let always = [
        FieldRow::new("position", moved(recorded), moved(replayed)),
        FieldRow::of("changes", &recorded.changes, &replayed.changes),
        FieldRow::new("reply", recorded.reply.text.clone(), replayed.reply.text.clone()),
    ];
    let others = [
        FieldRow::of("reply kind", &recorded.reply.kind, &replayed.reply.kind),
        FieldRow::of("outcome", &recorded.outcome, &replayed.outcome),
        FieldRow::of("degradations", &recorded.degradations, &replayed.degradations),
        FieldRow::of("effects", &recorded.effects, &replayed.effects),
        FieldRow::new("revision", recorded.revision.to_string(), replayed.revision.to_string()),
        FieldRow::of("machine version", &recorded.machine_version, &replayed.machine_version),
    ];
    always.into_iter().chain(others.into_iter().filter(|row| row.differs)).collect()
}

/// The move a turn made: `intent.state -> intent.state`.
pub(super) fn moved(record: &TurnRecord) -> String {
    format!("{}.{} -> {}.{}", record.intent_before, record.state_before, record.intent, record.state)
}

/// A stage's event in words.
pub(crate) fn stage_line(event: &StageEvent) -> String {
    let detail = match &event.detail {
        Detail::None => String::new(),
        Detail::Name(name) => name.to_string(),
        Detail::Names(names) => names.join(", "),
        Detail::Proposal(proposal) => {
            format!("{} {} proposed {} from {}", proposal.by.name(), proposal.name, proposal.to, proposal.from)
        }
    };
    let words = [event.stage.name(), event.result.name(), event.reason.name(), &detail];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
