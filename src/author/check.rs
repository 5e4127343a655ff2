//! What a written flow refers to, and what it leaves out.

mod coverage;
mod moves;
mod names;
mod outside;
mod upgrades;

use crate::{fault::Faults, source::SourceFlow};

/// Everything that can be told before texts are compiled.
pub(crate) fn flow(source: &SourceFlow, faults: &mut Faults) {
    names::check(source, faults);
    moves::check(source, faults);
    coverage::check(source, faults);
    upgrades::check(source, faults);
    outside::check(source, faults);
}
