//! Every record of a conversation against what the revision that made it decides now.
//!
//! Turns are run again; resets and upgrades are computed again; a snapshot must be the state that the records before it
//! lead to; a promised turn must end as itself. The first difference ends it: what follows depends on it.

use std::{collections::BTreeMap, sync::Arc};

use colloquy_flow::Flow;
use colloquy_turn::{
    AcceptedRecord, Change, ControlRecord, ConversationState, CreatedRecord, MACHINE_VERSION, PinnedRevision,
    ReplayDifference, Rerun, SnapshotRecord, TurnClosedRecord, TurnRecord, at_boundary, difference, open_conversation,
    rerun, reset, upgrade,
};
use colloquy_types::Revision;
use serde::Serialize;

use super::{
    HistoryError,
    entry::{Entry, Place},
    rows::{self, FieldRow, StageRow},
};

/// The first record that does not come out as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it stands.
    pub place: Place,
    /// What it is: `turn`, `accepted`, `turn_closed`, `reset`, `upgrade` or `snapshot`.
    pub what: &'static str,
    /// What differs first, in words without what the user said.
    pub first: String,
    /// What the user said, for a turn.
    pub text: Option<String>,
    /// The version of the machine that decided it, for a turn of another one than this build's.
    pub machine_version: Option<u32>,
    /// A turn's stages, recorded and replayed.
    pub stages: Vec<StageRow>,
    /// What else there is to compare.
    pub fields: Vec<FieldRow>,
}

/// What came of a whole conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Turns that came out as recorded.
    pub turns: u64,
    /// Those among them that another version of the machine decided.
    pub turns_of_other_machines: u64,
    /// The first difference, if there is one.
    pub difference: Option<Box<Difference>>,
}

/// Replays one conversation on its own revisions.
#[derive(Debug, Default)]
pub struct Verifier {
    flows: BTreeMap<Revision, Arc<Flow>>,
    running: Option<Running>,
    turns: u64,
    turns_of_other_machines: u64,
    difference: Option<Box<Difference>>,
}

/// A conversation between two records.
#[derive(Debug)]
struct Running {
    created: CreatedRecord,
    /// What new turns run, as far as the records tell.
    revision: Revision,
    /// Whose revision that is.
    flow_tenant: String,
    state: ConversationState,
    accepted: Option<AcceptedRecord>,
}

impl Verifier {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a flow available to the records that follow.
    pub fn revision(&mut self, flow: Arc<Flow>) {
        self.flows.insert(flow.revision(), flow);
    }

    /// Takes the next record. After the first difference nothing is looked at any more.
    ///
    /// # Errors
    /// [`HistoryError`] when the records are no history.
    pub fn entry(&mut self, place: Place, entry: Entry) -> Result<(), HistoryError> {
        if self.difference.is_some() {
            return Ok(());
        }
        if let (None, Entry::Created(created)) = (&self.running, &entry) {
            return self.created(place, created.clone());
        }
        let Some(mut running) = self.running.take() else {
            return Err(HistoryError::NotCreated { record_no: place.record_no });
        };
        let found = self.next(&mut running, place, entry);
        self.running = Some(running);
        self.difference = found?.map(Box::new);
        Ok(())
    }

    /// What came of it.
    pub fn finish(self) -> Verified {
        let Self { turns, turns_of_other_machines, difference, .. } = self;
        Verified { turns, turns_of_other_machines, difference }
    }

    fn flow(&self, place: Place, revision: Revision) -> Result<Arc<Flow>, HistoryError> {
        let flow = self.flows.get(&revision).cloned();
        flow.ok_or(HistoryError::RevisionAbsent { record_no: place.record_no, revision })
    }

    fn created(&mut self, place: Place, created: CreatedRecord) -> Result<(), HistoryError> {
        let flow = self.flow(place, created.revision)?;
        let (revision, state) = (created.revision, open_conversation(&flow));
        let flow_tenant = created.flow_tenant.clone();
        self.running = Some(Running { created, revision, flow_tenant, state, accepted: None });
        Ok(())
    }

    fn next(&mut self, running: &mut Running, place: Place, entry: Entry) -> Result<Option<Difference>, HistoryError> {
        match entry {
            Entry::Created(_) => Ok(Some(told(place, "created", "the conversation was created before"))),
            Entry::Accepted(accepted) => Ok(running.accept(place, accepted)),
            Entry::Turn(record) => self.turn(running, place, &record),
            Entry::TurnClosed(record) => {
                let flow = self.flow(place, running.revision)?;
                Ok(running.close(place, &flow, &record))
            }
            Entry::Control(ControlRecord::Reset { changes, .. }) => {
                let flow = self.flow(place, running.revision)?;
                let replayed = reset(&flow, &running.state);
                if changes != replayed {
                    let fields = vec![FieldRow::of("changes", &changes, &replayed)];
                    return Ok(Some(Difference {
                        fields,
                        ..told(place, "reset", "changes differ from what was recorded")
                    }));
                }
                running.state.apply_all(&changes);
                Ok(None)
            }
            Entry::Control(ControlRecord::Upgraded { from, to, changes, .. }) => {
                self.upgraded(running, place, &from, to, &changes)
            }
            Entry::Control(ControlRecord::Forked { state, .. }) => {
                // What it begins with is what was decided elsewhere.
                running.state = *state;
                Ok(None)
            }
            Entry::Control(
                ControlRecord::Feedback { .. } | ControlRecord::Paused { .. } | ControlRecord::Resumed { .. },
            ) => Ok(None),
            Entry::Snapshot(snapshot) => Ok(running.snapshot(place, &snapshot)),
            Entry::Other => Ok(None),
        }
    }

    /// An upgrade must leave the revision the conversation ran, at a boundary, by what the new one declares.
    fn upgraded(
        &self,
        running: &mut Running,
        place: Place,
        from: &PinnedRevision,
        to: PinnedRevision,
        changes: &[Change],
    ) -> Result<Option<Difference>, HistoryError> {
        let (old, new) = (self.flow(place, running.revision)?, self.flow(place, to.revision)?);
        if (&from.flow_tenant, from.revision) != (&running.flow_tenant, running.revision) {
            return Ok(Some(told(place, "upgrade", "the conversation ran another revision than the one it left")));
        }
        if !at_boundary(&running.state, &old) {
            return Ok(Some(told(place, "upgrade", "the conversation stood at no boundary")));
        }
        match upgrade(&running.state, running.revision, &new) {
            Ok(replayed) if replayed == changes => {
                running.state.apply_all(changes);
                (running.revision, running.flow_tenant) = (to.revision, to.flow_tenant);
                Ok(None)
            }
            Ok(replayed) => {
                let fields = vec![FieldRow::of("changes", &changes, &replayed.as_slice())];
                let first = "changes differ from what was recorded";
                Ok(Some(Difference { fields, ..told(place, "upgrade", first) }))
            }
            Err(obstacles) => {
                let obstacles: Vec<_> = obstacles.iter().map(ToString::to_string).collect();
                Ok(Some(told(place, "upgrade", &format!("it does not map now: {}", obstacles.join("; ")))))
            }
        }
    }

    fn turn(
        &mut self,
        running: &mut Running,
        place: Place,
        record: &TurnRecord,
    ) -> Result<Option<Difference>, HistoryError> {
        if let Some(difference) = running.end_accepted(place, &Ending::of(record)) {
            return Ok(Some(difference));
        }
        let flow = self.flow(place, record.revision)?;
        let rerun = match rerun(flow, running.state.clone(), record, |_| None) {
            Ok(rerun) => rerun,
            Err(effect) => {
                let first = ReplayDifference::EffectMissing { step: effect.step };
                return Ok(Some(turn_difference(place, record, &first, None)));
            }
        };
        match difference(record, &rerun) {
            Some(ReplayDifference::Field { field: "machine_version", .. }) => self.turns_of_other_machines += 1,
            Some(first) => return Ok(Some(turn_difference(place, record, &first, Some(&rerun)))),
            None => {}
        }
        let mut folded = std::mem::replace(&mut running.state, rerun.outcome.state);
        folded.apply_turn(record);
        if folded != running.state {
            let fields = state_rows(&folded, &running.state);
            let first = "the changes do not lead to the state the turn ended with";
            return Ok(Some(Difference { fields, ..told(place, "turn", first) }));
        }
        running.revision = record.revision;
        self.turns += 1;
        Ok(None)
    }
}

impl Running {
    fn accept(&mut self, place: Place, accepted: AcceptedRecord) -> Option<Difference> {
        let open = self.accepted.replace(accepted)?;
        let first = format!("turn {} was accepted before and has not ended", open.turn_id);
        Some(told(place, "accepted", &first))
    }

    /// A turn that was promised must be the next to end, with what was promised.
    fn end_accepted(&mut self, place: Place, ending: &Ending) -> Option<Difference> {
        let accepted = self.accepted.take()?;
        let promised = Ending {
            text: ending.text.map(|_| accepted.text.as_str()),
            accepted_at: ending.accepted_at.map(|_| accepted.accepted_at.as_micros()),
            turn_id: accepted.turn_id.to_string(),
            request_id: accepted.request_id.as_str(),
        };
        if promised == *ending {
            return None;
        }
        let fields = vec![FieldRow::of("accepted", &promised, ending)];
        Some(Difference { fields, ..told(place, "accepted", "the turn that ended is not the one that was accepted") })
    }

    fn close(&mut self, place: Place, flow: &Flow, record: &TurnClosedRecord) -> Option<Difference> {
        let ending = Ending {
            turn_id: record.turn_id.to_string(),
            request_id: record.request_id.as_str(),
            text: None,
            accepted_at: None,
        };
        if self.accepted.is_none() {
            return Some(told(place, "turn_closed", "no accepted turn was there to be closed"));
        }
        self.state.apply_closed(&record.request_id);
        let difference = self.end_accepted(place, &ending);
        if difference.is_some() || *record.reply_text == **flow.fallback() {
            return difference;
        }
        let fields = vec![FieldRow::new("reply", record.reply_text.clone(), flow.fallback().to_string())];
        Some(Difference { fields, ..told(place, "turn_closed", "reply differs from what was recorded") })
    }

    fn snapshot(&self, place: Place, snapshot: &SnapshotRecord) -> Option<Difference> {
        let created = &self.created;
        let mut fields = state_rows(&snapshot.state, &self.state);
        fields.extend([
            FieldRow::of("flow", &snapshot.flow, &created.flow),
            FieldRow::of("flow tenant", &snapshot.flow_tenant, &self.flow_tenant),
            FieldRow::new("revision", snapshot.revision.to_string(), self.revision.to_string()),
            FieldRow::of("created at", &snapshot.created_at, &created.created_at),
            FieldRow::of("open accepted turn", &snapshot.open_accepted, &self.accepted),
        ]);
        fields.retain(|row| row.differs);
        let first = fields.first()?;
        let first = format!("{} of the snapshot is not what the records before it lead to", first.field);
        Some(Difference { fields, ..told(place, "snapshot", &first) })
    }
}

/// How a promised turn is recognised when it ends; a closed one tells neither text nor time.
#[derive(PartialEq, Eq, Serialize)]
struct Ending<'a> {
    turn_id: String,
    request_id: &'a str,
    text: Option<&'a str>,
    accepted_at: Option<u64>,
}

impl<'a> Ending<'a> {
    fn of(record: &'a TurnRecord) -> Self {
        Self {
            turn_id: record.turn_id.to_string(),
            request_id: record.request_id.as_str(),
            text: Some(&record.text),
            accepted_at: Some(record.accepted_at.as_micros()),
        }
    }
}

fn told(place: Place, what: &'static str, first: &str) -> Difference {
    let first = first.to_owned();
    Difference { place, what, first, text: None, machine_version: None, stages: Vec::new(), fields: Vec::new() }
}

fn turn_difference(place: Place, record: &TurnRecord, first: &ReplayDifference, rerun: Option<&Rerun>) -> Difference {
    let replayed = rerun.map(|rerun| &rerun.outcome.record);
    Difference {
        text: Some(record.text.clone()),
        machine_version: Some(record.machine_version).filter(|version| *version != MACHINE_VERSION),
        stages: replayed.map(|replayed| rows::stages(&record.stages, &replayed.stages)).unwrap_or_default(),
        fields: replayed.map(|replayed| rows::fields(record, replayed)).unwrap_or_default(),
        ..told(place, "turn", &first.to_string())
    }
}

/// Every part of two states.
fn state_rows(recorded: &ConversationState, replayed: &ConversationState) -> Vec<FieldRow> {
    vec![
        FieldRow::new("position", recorded.position().to_string(), replayed.position().to_string()),
        FieldRow::of("turns", &recorded.turns(), &replayed.turns()),
        FieldRow::of("slots", &recorded.slots(), &replayed.slots()),
        FieldRow::of("flags", &recorded.flags(), &replayed.flags()),
        FieldRow::of("interrupted", &recorded.interrupted(), &replayed.interrupted()),
        FieldRow::of("pending", &recorded.pending(), &replayed.pending()),
        FieldRow::of("timers", &recorded.timers(), &replayed.timers()),
    ]
}
