//! The signs that come with the program, on the corpus that comes with it.

use crate::guard::{Report, built_in_corpus, built_in_guard, evaluate};

fn report() -> Report {
    evaluate(&built_in_guard().unwrap(), &built_in_corpus().unwrap())
}

#[test]
fn scratch() {
    let report = report();
    for (name, part) in [("open", &report.open), ("held", &report.held_out)] {
        for (what, t) in [("noticed", &part.noticed), ("refused", &part.refused)] {
            println!("{name} {what} a{} b{} {t:?} p{:?} r{:?} f{:?}", part.attacks, part.benign, t.precision(), t.recall(), t.f1());
        }
    }
    for m in &report.misjudged {
        println!("{} {:?} {} {:?} {:?}", m.row.line, m.judged.outcome, m.judged.score, m.judged.hits, m.row.text);
    }
}
