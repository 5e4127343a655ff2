//! What a written flow refers to, what it leaves out, and what can never work as it was meant.
//!
//! One idea a file. What is certain to go wrong is an error; what works, but hardly as meant, is a warning.
//! Each kind of fault is registered in [`crate::lint`].

mod collisions;
mod conditions;
mod coverage;
mod ends;
mod filled;
mod guarded;
mod likeness;
mod loops;
mod moves;
mod names;
mod order;
mod outside;
mod planners;
mod proposed;
mod truth;
mod types;
mod unused;
mod upgrades;
mod view;

use std::collections::BTreeSet;

pub(crate) use self::view::View;
use crate::{fault::Faults, source::SourceFlow};

/// What can be told before texts are compiled. `None` for a flow beyond the bounds, which is not looked at.
pub(crate) fn flow<'s>(source: &'s SourceFlow, faults: &mut Faults) -> Option<View<'s>> {
    // A row that could not be read is not there, so what depends on all rows would be told wrongly.
    let readable = !faults.has_errors();
    let view = View::of(source, faults)?;
    names::check(source, faults);
    moves::check(&view, faults);
    ends::check(&view, faults);
    coverage::check(&view, faults);
    upgrades::check(source, faults);
    outside::check(source, faults);
    planners::check(&view, faults);
    if readable {
        conditions::check(&view, faults);
        loops::check(&view, faults);
        collisions::check(&view, faults);
    }
    Some(view)
}

/// What works, but hardly as meant. Asked only of a flow without errors: where one name is misspelt, half of
/// the rest would seem unused. `named` are the variables that texts name.
pub(crate) fn doubts(view: &View<'_>, named: &BTreeSet<String>, faults: &mut Faults) {
    likeness::check(view, faults);
    proposed::check(view, faults);
    order::check(view, faults);
    planners::doubts(view, faults);
    outside::secrets(view.source, faults);
    unused::check(view.source, named, faults);
}
