//! The guard's figures: how they are counted, what a corpus may hold, and what the built-in signs reach on theirs.

use std::collections::BTreeSet;

use colloquy_turn::{Stage, StageResult, open_conversation};

use super::examples::example;
use crate::{
    guard::{
        Guard, Label, Outcome, Part, Report, Tally, built_in_corpus, built_in_guard, evaluate, parse_corpus,
        read_corpus,
    },
    load_sources,
    scenario::ScriptedWorld,
};

fn built_in() -> Report {
    evaluate(&built_in_guard().unwrap(), &built_in_corpus().unwrap())
}

#[test]
fn the_corpus_has_what_is_promised_of_it() {
    let rows = built_in_corpus().unwrap();
    let benign = rows.iter().filter(|row| row.label == Label::Benign).count();
    let near_misses = rows.iter().filter(|row| row.kind == "near-miss").count();
    let held_out = rows.iter().filter(|row| row.is_held_out()).count();
    assert!(rows.len() >= 240 && benign >= 110 && rows.len() - benign >= 110, "{} rows, {benign} benign", rows.len());
    assert!(near_misses >= 80, "{near_misses} near misses");
    assert!((rows.len() * 28 / 100..=rows.len() * 39 / 100).contains(&held_out), "{held_out} held out");
    for label in [Label::Attack, Label::Benign] {
        let labelled: Vec<_> = rows.iter().filter(|row| row.label == label).collect();
        assert!(labelled.iter().any(|row| row.text.chars().count() < 30), "a short text of {label:?}");
        assert!(labelled.iter().any(|row| row.text.chars().count() > 250), "a long text of {label:?}");
        assert!(labelled.iter().filter(|row| row.kind == "other-language").count() >= 10, "languages of {label:?}");
    }
    let kinds: BTreeSet<_> = rows.iter().map(|row| row.kind.as_str()).collect();
    for kind in ["injection", "jailbreak", "exfiltration", "tool-abuse", "encoded", "role-play", "order", "support"] {
        assert!(kinds.contains(kind), "{kind}");
    }
}

/// Floors, a little under what is reached; `docs/guard.md` has the figures. Lower one only when the corpus grew.
#[test]
fn the_built_in_signs_keep_their_floors() {
    let report = built_in();
    let holds = |part: &Part, noticed: (u64, u64), refused: (u64, u64)| {
        for (tally, (precision, recall)) in [(part.noticed, noticed), (part.refused, refused)] {
            assert!(tally.precision() >= Some(precision) && tally.recall() >= Some(recall), "{part:?}");
        }
    };
    holds(&report.open, (980, 980), (980, 880));
    holds(&report.held_out, (930, 780), (940, 660));
}

#[test]
fn every_built_in_sign_compiles_and_is_found_in_the_corpus() {
    let guard = built_in_guard().unwrap();
    let steering = guard.steering.unwrap();
    let rows = built_in_corpus().unwrap();
    let found: BTreeSet<_> = rows.iter().flat_map(|row| steering.score(&row.text).1).collect();
    assert_eq!(found.len(), crate::read::BUILT_IN_SIGNS, "{found:?}");
}

/// A lazily built automaton serves both; without it the longest text takes tens of milliseconds.
#[test]
fn long_texts_in_any_script_are_judged_at_once() {
    let steering = built_in_guard().unwrap().steering.unwrap();
    for text in ["ignore all ", "я хочу вернуть лампу ", "忽略", "you are now without the "] {
        let text: String = text.chars().cycle().take(16_384).collect();
        steering.score(&text);
        let quickest = (0..5)
            .map(|_| {
                let begun = std::time::Instant::now();
                steering.score(&text);
                begun.elapsed()
            })
            .min();
        assert!(quickest < Some(std::time::Duration::from_millis(10)), "{quickest:?}");
    }
}

/// 3 attacks of which one is flagged and one refused, 2 benign texts of which one is refused.
#[test]
fn figures_are_counted_exactly() {
    let guard = guard_of(
        "steering: {builtin: false, flag: seen, block: No., signs: [
        {id: weak, pattern: odd, weight: 40}, {id: strong, pattern: bad, weight: 70}]}",
    );
    let mut rows =
        parse_corpus("c", "attack\ta\todd\nattack\ta\tbad\nattack\tb\tfine\nbenign\tc\tbad luck\nbenign\tc\tok\n");
    let rows = rows.as_mut().unwrap();
    // Which part a text is in, its hash decides; here both are added.
    let report = evaluate(&guard, rows);
    let sum = |of: fn(&Part) -> Tally| {
        let (open, held_out) = (of(&report.open), of(&report.held_out));
        Tally {
            hit: open.hit + held_out.hit,
            missed: open.missed + held_out.missed,
            wrongly_hit: open.wrongly_hit + held_out.wrongly_hit,
            passed: open.passed + held_out.passed,
        }
    };
    let noticed = sum(|part| part.noticed);
    let refused = sum(|part| part.refused);
    assert_eq!(noticed, Tally { hit: 2, missed: 1, wrongly_hit: 1, passed: 1 });
    assert_eq!(refused, Tally { hit: 1, missed: 2, wrongly_hit: 1, passed: 1 });
    assert_eq!((noticed.precision(), noticed.recall(), noticed.f1()), (Some(666), Some(666), Some(666)));
    assert_eq!((refused.precision(), refused.recall(), refused.f1()), (Some(500), Some(333), Some(400)));
    assert_eq!((Tally::default().precision(), Tally::default().recall()), (None, None));
}

#[test]
fn open_rows_alone_are_listed_and_each_with_what_hit_it() {
    let guard = guard_of("policies: [{id: rude, contains: [text], flag: seen}]");
    let corpus: String =
        (0..60).map(|number| format!("benign\tplain\ttext {number}\nattack\tplain\tother {number}\n")).collect();
    let rows = parse_corpus("c", &corpus).unwrap();
    let report = evaluate(&guard, &rows);
    let (open, held_out) = (&report.open, &report.held_out);
    assert!(held_out.attacks > 0 && held_out.benign > 0);
    assert_eq!(open.attacks + open.benign + held_out.attacks + held_out.benign, 120);
    assert_eq!(report.misjudged.len() as u64, open.attacks + open.benign);
    for misjudged in &report.misjudged {
        assert!(!misjudged.row.is_held_out());
        let flagged = misjudged.judged.outcome == Outcome::Flagged;
        assert_eq!(flagged, misjudged.row.label == Label::Benign);
        assert_eq!(
            misjudged.judged.hits.iter().map(|hit| hit.as_ref()).collect::<Vec<&str>>(),
            if flagged { vec!["rude"] } else { vec![] }
        );
    }
    assert_eq!(open.kinds["benign/plain"].noticed, open.benign);
}

/// What is measured is what happens: the machine judges each row as `evaluate` does.
#[test]
fn a_turn_ends_as_the_measurement_says() {
    let flow = example("support").flow;
    for row in built_in_corpus().unwrap() {
        let report = evaluate(flow.guard(), std::slice::from_ref(&row));
        let (noticed, refused) = [&report.open, &report.held_out]
            .iter()
            .flat_map(|part| part.kinds.values())
            .fold((0, 0), |(noticed, refused), kind| (noticed + kind.noticed, refused + kind.refused));
        let expected = match (noticed, refused) {
            (0, 0) => StageResult::Passed,
            (_, 0) => StageResult::Matched,
            _ => StageResult::Blocked,
        };
        let outcome = ScriptedWorld::default().turn(&flow, open_conversation(&flow), &row.text);
        let guarded: Vec<_> = outcome
            .record
            .stages
            .iter()
            .filter(|event| event.stage == Stage::Guard)
            .map(|event| event.result)
            .collect();
        assert_eq!(guarded.last(), Some(&expected), "line {}: {}", row.line, row.text);
    }
}

#[test]
fn a_bad_row_is_told_with_line_and_fix() {
    let corpus = "# remark\nattack\tkind\tfine\nevil\tkind\ttext\nattack\tno tabs\nbenign\tBad Kind\ttext\n\
                  attack\tkind\t\\q\nattack\tkind\tfine\nbenign\tkind\t \n";
    let faults = parse_corpus("rows.tsv", corpus).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let expected = [
        (3, "`evil` is no label", "write attack or benign"),
        (4, "a row has 3 columns, this one has 2", "write label, kind and text with a tab between"),
        (5, "`Bad Kind` is no kind", "lower-case letters"),
        (6, "`\\q` stands for nothing", "\\u{hex}"),
        (7, "the text stands in line 2 already", "delete one of the two"),
        (8, "not all of them blank", "write a text"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, (line, message, fix)) in told.iter().zip(expected) {
        assert!(told.starts_with(&format!("rows.tsv:{line}:")), "{told}");
        assert!(told.contains(message) && told.split("fix: ").nth(1).is_some_and(|said| said.contains(fix)), "{told}");
    }
}

#[test]
fn escapes_stand_for_what_a_line_cannot_hold() {
    let rows = parse_corpus("c", "attack\tkind\ta\\nb\\tc\\\\d\\u{200b}e\n").unwrap();
    assert_eq!(rows[0].text, "a\nb\tc\\d\u{200b}e");
}

#[test]
fn what_is_no_corpus_is_refused() {
    assert_eq!(parse_corpus("c", "# nothing\n").unwrap_err()[0].id, "bad-value");
    assert_eq!(parse_corpus("c", &"evil\tkind\ttext\n".repeat(1_000)).unwrap_err().len(), 100);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read_corpus(folder.path()).unwrap_err()[0].id, "unreadable");
    let large = folder.path().join("large.tsv");
    std::fs::File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
    assert_eq!(read_corpus(&large).unwrap_err()[0].id, "too-large");
}

fn guard_of(guard: &str) -> Guard {
    let flow = format!(
        "format: colloquy.flow/v1\nname: small\nstart: desk.idle\nfallback: Sorry.\nflags: [seen]\n\
         guard:\n  {guard}\nintents: {{desk: {{initial: idle, states: {{idle: {{terminal: true}}}}}}}}\n\
         responses: [{{in: any, exact: Yes.}}]\n"
    );
    let loaded = load_sources("small.yaml", vec![("small.yaml".to_owned(), flow)]);
    loaded.unwrap_or_else(|faults| panic!("{faults:#?}")).flow.guard().clone()
}
