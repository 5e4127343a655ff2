//! Replays of conversations behind the runtime's port: stored records in, a report out.

use std::{collections::HashSet, sync::Arc};

use colloquy_actors::{FindFlow, Flow, ReplayDifference, ReplayReport, Replayer};
use colloquy_author::replay::{ChangedTurn, Comparer, Verifier};
use colloquy_store::StoredRecord;
use colloquy_types::Revision;

use crate::history;

/// A replay on the conversation's own revisions, or on another.
pub(crate) enum Replaying {
    /// Every record against what its revision decides now.
    Own { verifier: Verifier, find: FindFlow, given: HashSet<Revision> },
    /// The inputs on another flow.
    Other(Comparer),
}

impl Replaying {
    pub(crate) fn new(find: FindFlow, against: Option<Arc<Flow>>) -> Self {
        match against {
            Some(flow) => Self::Other(Comparer::new(flow)),
            None => Self::Own { verifier: Verifier::new(), find, given: HashSet::new() },
        }
    }
}

impl Replayer for Replaying {
    fn record(&mut self, record: &StoredRecord) -> Result<(), String> {
        let header = &record.header;
        let undecodable = |_| format!("record {} ({:?}) cannot be decoded", header.record_no, header.kind);
        let (entry, place) = (history::entry(record).map_err(undecodable)?, history::place(header));
        let taken = match self {
            Self::Own { verifier, find, given } => {
                if let Some(revision) = entry.revision().filter(|revision| given.insert(*revision))
                    && let Some(flow) = find(revision)
                {
                    verifier.revision(flow);
                }
                verifier.entry(place, entry)
            }
            Self::Other(comparer) => comparer.entry(place, &entry),
        };
        taken.map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) -> ReplayReport {
        match *self {
            Self::Own { verifier, .. } => {
                let verified = verifier.finish();
                let differences: Vec<_> = verified.difference.into_iter().map(|found| own(*found)).collect();
                let turns_different = u64::from(!differences.is_empty());
                ReplayReport { turns_identical: verified.turns, turns_different, turns_undecided: 0, differences }
            }
            Self::Other(comparer) => {
                let compared = comparer.finish();
                ReplayReport {
                    turns_identical: compared.turns - compared.turns_changed,
                    turns_different: compared.turns_changed,
                    turns_undecided: compared.undecided.map_or(0, |undecided| undecided.turns),
                    differences: compared.changed.into_iter().flat_map(other).collect(),
                }
            }
        }
    }
}

fn own(found: colloquy_author::replay::Difference) -> ReplayDifference {
    let row = found.fields.iter().find(|row| row.differs);
    let (recorded, replayed) = row.map(|row| (row.recorded.clone(), row.replayed.clone())).unwrap_or_default();
    ReplayDifference {
        turn_seq: found.place.turn_seq,
        record_no: found.place.record_no,
        what: format!("{}: {}", found.what, found.first),
        recorded,
        replayed,
    }
}

fn other(turn: ChangedTurn) -> impl Iterator<Item = ReplayDifference> {
    let changes = [("transition", turn.transition), ("reply", turn.reply), ("outcome", turn.outcome)];
    let changes = changes.into_iter().filter_map(|(what, changed)| {
        let changed = changed?;
        Some((what.to_owned(), changed.recorded, changed.replayed))
    });
    let effects = turn.effects.into_iter().map(|effect| (effect, String::new(), String::new()));
    changes.chain(effects).map(move |(what, recorded, replayed)| ReplayDifference {
        turn_seq: turn.turn_seq,
        record_no: 0,
        what,
        recorded,
        replayed,
    })
}
