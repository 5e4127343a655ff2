//! `colloquy flow guard`.

use std::path::{Path, PathBuf};

use clap::Args;
use colloquy_author::{
    Fault,
    guard::{
        Guard, Label, Misjudged, Part, Report, Row, Tally, built_in_corpus, built_in_guard, evaluate, read_corpus,
    },
    load_folder,
};
use serde_json::json;

use crate::{
    Exit, lint,
    output::{self, Output},
};

/// As much of a text as is shown, in characters.
const SHOWN_CHARS: usize = 160;

/// What is judged by what, and how good it must be.
#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    /// The flow's folder; the built-in signs at their default thresholds when not given.
    folder: Option<PathBuf>,
    /// The labelled texts: label, kind and text a line, with a tab between; the built-in corpus when not given.
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Of a hundred texts that are flagged or refused, how many must be attacks, in the open part and in the one
    /// held out; fewer make the exit code 1.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    min_precision: u8,
    /// Of a hundred attacks, how many must be flagged or refused, in the open part and in the one held out; fewer
    /// make the exit code 1.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    min_recall: u8,
}

/// Judges every text; prints those that were misjudged, and how many were.
pub(crate) fn run(args: &GuardArgs, output: Output) -> Exit {
    let (name, guard) = match guard(args.folder.as_deref()) {
        Ok(guard) => guard,
        Err(none) => return none.told(output),
    };
    let rows = match corpus(args.corpus.as_deref()) {
        Ok(rows) => rows,
        Err(faults) => return lint::faulty(&faults, output),
    };
    let report = evaluate(&guard, &rows);
    let good = [&report.open, &report.held_out].into_iter().all(|part| args.holds(&part.noticed));
    if output.json {
        report.misjudged.iter().for_each(|misjudged| output::line(&json!(misjudged).to_string()));
        let sum = json!({
            "guard": name,
            "open": report.open,
            "held_out": report.held_out,
            "min_precision": args.min_precision,
            "min_recall": args.min_recall,
            "reached": good,
        });
        output::line(&sum.to_string());
    } else {
        tell(&name, &report, output);
        if !good {
            let floors = format!("precision {} %, recall {} %", args.min_precision, args.min_recall);
            output::line(&output.bad(&format!("not reached: {floors}")));
        }
    }
    if good { Exit::Ok } else { Exit::NotAsItShouldBe }
}

impl GuardArgs {
    /// Whether what is noticed reaches the floors. Where nothing is hit no hit is wrong, and where there is no
    /// attack none is missed.
    fn holds(&self, noticed: &Tally) -> bool {
        let reached = |min: u8, figure: Option<u64>| figure.is_none_or(|figure| figure >= u64::from(min) * 10);
        reached(self.min_precision, noticed.precision()) && reached(self.min_recall, noticed.recall())
    }
}

/// Why there is nothing to judge by.
enum NoGuard {
    Faults(Vec<Fault>),
    Message(String),
}

impl NoGuard {
    fn told(&self, output: Output) -> Exit {
        match self {
            Self::Faults(faults) => lint::faulty(faults, output),
            Self::Message(message) => {
                output::error(message);
                Exit::NotAsItShouldBe
            }
        }
    }
}

/// What judges, and what it is called.
fn guard(folder: Option<&Path>) -> Result<(String, Guard), NoGuard> {
    let Some(folder) = folder else {
        let guard = built_in_guard().map_err(|error| NoGuard::Message(format!("the built-in signs: {error}")))?;
        return Ok(("built-in signs".to_owned(), guard));
    };
    let flow = load_folder(folder).map_err(NoGuard::Faults)?.flow;
    if flow.guard().policies.is_empty() && flow.guard().steering.is_none() {
        let message = format!("{} guards against nothing\n  fix: give it guard: policies or steering", flow.name());
        return Err(NoGuard::Message(message));
    }
    Ok((flow.name().to_string(), flow.guard().clone()))
}

fn corpus(file: Option<&Path>) -> Result<Vec<Row>, Vec<Fault>> {
    file.map_or_else(built_in_corpus, read_corpus)
}

fn tell(name: &str, report: &Report, output: Output) {
    report.misjudged.iter().for_each(|misjudged| tell_misjudged(misjudged, output));
    for (part, title) in [(&report.open, "open"), (&report.held_out, "held out")] {
        let counted = format!("{} attacks, {} benign texts", part.attacks, part.benign);
        output::line(&format!("{}, {title}: {counted}", output.strong(name)));
        tell_part(part);
    }
}

/// The text as one line in which nothing is hidden, and what was found in it.
fn tell_misjudged(Misjudged { row, judged }: &Misjudged, output: Output) {
    let wrong = match row.label {
        Label::Attack => "missed",
        Label::Benign => "wrongly hit",
    };
    let mut text: String = row.text.chars().take(SHOWN_CHARS).collect();
    if text.len() < row.text.len() {
        text.push('…');
    }
    let head = format!("line {}: {wrong} {}/{}, score {}", row.line, row.label.name(), row.kind, judged.score);
    output::line(&format!("{}: {}", output.bad(&head), text.escape_debug()));
    if !judged.hits.is_empty() {
        output::line(&output.faint(&format!("  by {}", judged.hits.join(", "))));
    }
}

fn tell_part(part: &Part) {
    for (tally, what) in [(&part.noticed, "flagged or refused"), (&part.refused, "refused")] {
        output::line(&format!(
            "  {what}: precision {}, recall {}, F1 {} ({} of {} attacks, {} of {} benign texts)",
            percent(tally.precision()),
            percent(tally.recall()),
            percent(tally.f1()),
            tally.hit,
            part.attacks,
            tally.wrongly_hit,
            part.benign,
        ));
    }
}

/// With one digit after the point.
fn percent(per_mille: Option<u64>) -> String {
    per_mille.map_or_else(|| "-".to_owned(), |mille| format!("{}.{} %", mille / 10, mille % 10))
}
