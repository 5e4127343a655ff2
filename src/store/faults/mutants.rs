//! Planted bugs: ways in which a journal could lose what it acknowledged. The points must notice each of them.

use super::{Breach, Violation, disk::FaultDisk, life::UUID, play, schedule::Run, tests::scratch};
use crate::journal::{
    OpenError,
    recovery::{self, Finish, Found, Replay, mutants::finish_behind_the_cut},
    scan,
    segment::{TRAILER_BYTES, Trailer, file_id},
    writer::{Start, WriterCore},
};

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The writer leaves out the sync.
    NoSync,
    /// Every sync of the disk does nothing.
    LyingDisk,
    /// The writer acknowledges before it writes and syncs.
    EarlyAcknowledgement,
    /// Recovery takes a bad record for the end of the journal, wherever it stands.
    CutAtDamage,
    /// Recovery goes on in the segment that a write was torn in.
    AppendAfterCut,
}

/// Seeds within which each of them must be noticed.
const SEEDS: u64 = 400;

pub(super) fn writer(mutant: Option<Mutant>, mut core: WriterCore) -> WriterCore {
    core.skip_sync = mutant == Some(Mutant::NoSync);
    core.acknowledges_early = mutant == Some(Mutant::EarlyAcknowledgement);
    core
}

pub(super) fn finish(
    mutant: Option<Mutant>,
    replay: Replay<'_>,
    found: Found,
    with: &Finish<'_>,
) -> Result<Start, OpenError> {
    match mutant {
        Some(Mutant::AppendAfterCut) => finish_behind_the_cut(replay, found, with),
        _ => recovery::finish(replay, found, with),
    }
}

/// Leaves of the disk what a recovery would read that ends at the first bad record.
pub(super) fn before_recovery(mutant: Option<Mutant>, disk: &FaultDisk) {
    if mutant != Some(Mutant::CutAtDamage) {
        return;
    }
    for (name, bytes) in disk.files() {
        let Some(id) = file_id(&name) else { continue };
        let is_sealed = bytes.len() > TRAILER_BYTES && Trailer::decode(&bytes[bytes.len() - TRAILER_BYTES..]).is_ok();
        let stretches = scan::scan(&bytes, id, UUID).stretches;
        let bad = stretches.iter().find(|stretch| stretch.items.iter().any(|item| item.found.is_err()));
        if let Some(cut) = bad.filter(|_| !is_sealed) {
            disk.blank_from(&name, cut.start);
        }
    }
}

/// What the points say of a planted bug.
fn noticed(mutant: Mutant) -> Violation {
    let scratch = scratch();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed, scratch.path()).unwrap();
        run.world.mutant = Some(mutant);
        if mutant == Mutant::LyingDisk {
            run.world.disk.lie();
        }
        if let Err(violation) = play(Ok(run)) {
            return violation;
        }
    }
    panic!("{mutant:?} was not noticed in {SEEDS} seeds");
}

#[test]
fn a_writer_without_the_sync_is_noticed() {
    let violation = noticed(Mutant::NoSync);
    assert!(matches!(violation.breach, Breach::Lost { .. }), "{violation:?}");
}

#[test]
fn a_disk_whose_syncs_do_nothing_is_noticed() {
    let violation = noticed(Mutant::LyingDisk);
    assert!(matches!(violation.breach, Breach::Lost { .. } | Breach::IndexNewer), "{violation:?}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_noticed() {
    let violation = noticed(Mutant::EarlyAcknowledgement);
    assert!(matches!(violation.breach, Breach::Lost { .. } | Breach::Listed { .. }), "{violation:?}");
}

#[test]
fn a_cut_at_a_bad_record_that_was_synced_is_noticed() {
    let violation = noticed(Mutant::CutAtDamage);
    let lost = matches!(violation.breach, Breach::Lost { .. } | Breach::DamageUnseen { .. });
    assert!(lost, "{violation:?}");
}

#[test]
fn an_append_after_a_cut_is_noticed() {
    let violation = noticed(Mutant::AppendAfterCut);
    assert!(matches!(violation.breach, Breach::Unreadable { .. } | Breach::Listed { .. }), "{violation:?}");
}
