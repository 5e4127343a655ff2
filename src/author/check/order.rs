//! Responses that stand behind one that is always said.
//!
//! In a position the rows for it come first, in declared order, then the rows for every position. A row
//! without a condition whose text has no variables is always said; whatever follows it there never is.

use colloquy_flow::template;

use crate::{
    check::view::{View, index},
    fault::Faults,
    reader::Written,
    source::{SourceResponse, SourceText},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    let rows = || view.source.responses.iter().zip(&view.responses);
    let general = |row: &SourceResponse| matches!(row.scope, Written::Everywhere);
    let ordered = rows().filter(|(row, _)| !general(row)).chain(rows().filter(|(row, _)| general(row)));
    // Ordinary responses and what is said when something is taken up again are two lists.
    let mut settled = [vec![false; view.places.len()], vec![false; view.places.len()]];
    for (row, at) in ordered {
        let [said, resumed] = &mut settled;
        let settled = if matches!(row.text, SourceText::Resume(_)) { resumed } else { said };
        let chosen = |at: &u32| !settled.get(index(*at)).copied().unwrap_or_default();
        if !at.is_empty() && !at.iter().any(chosen) {
            let first = at.first().map(|at| view.name(*at)).unwrap_or_default();
            let others = if at.len() > 1 { " and the other states it is for" } else { "" };
            let message = format!("in {first}{others} an earlier response is always said, so this never is");
            faults.warn("response-never-chosen", &row.mark, message, "put it first, or remove it");
        }
        if row.when.is_none() && is_plain(&row.text) {
            for at in at {
                if let Some(settled) = settled.get_mut(index(*at)) {
                    *settled = true;
                }
            }
        }
    }
}

/// Whether the text cannot fail: a template that names an empty slot does, and the next row is tried.
fn is_plain(text: &SourceText) -> bool {
    match text {
        SourceText::Exact(_) => true,
        SourceText::Template(said) | SourceText::Resume(said) => !template::has_markup(&said.value),
        SourceText::Model(_) => false,
    }
}
