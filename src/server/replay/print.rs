//! What a replay prints: conversations that came out otherwise, and all together.

use colloquy_author::replay::{
    Changed, ChangedTurn, Comparison, Difference, FieldRow, ReplayedConversation, StageRow, Summary, Verdict,
};
use serde_json::json;

use super::{Outcome, files::Question};
use crate::output::{self, Output};

/// Changed turns of one conversation that are printed; `--json` gives more.
const TURNS_PRINTED: usize = 5;
/// Changed transitions that are printed; `--json` gives more.
const TRANSITIONS_PRINTED: usize = 10;

/// One conversation, unless it came out as recorded and people read it.
pub(super) fn outcome(outcome: &Outcome, output: Output) {
    let file = outcome.file.display().to_string();
    let (key, replayed) = match &outcome.replayed {
        Ok(replayed) => replayed,
        Err(error) if output.json => {
            let row = json!({ "file": file, "verdict": "unreadable", "error": format!("{error:#}") });
            return output::line(&row.to_string());
        }
        Err(error) => return output::line(&format!("{} {file}: {error:#}", output.bad("unreadable"))),
    };
    let verdict = replayed.verdict();
    if output.json {
        let row = json!({ "file": file, "conversation": key.as_str(), "verdict": verdict, "replay": replayed });
        return output::line(&row.to_string());
    }
    if verdict != Verdict::Different {
        return;
    }
    output::line(&format!("{} {} {}", output.bad("different"), output.strong(key.as_str()), output.faint(&file)));
    match replayed {
        ReplayedConversation::Verified(verified) => {
            if let Some(found) = &verified.difference {
                difference(found, output);
            }
        }
        ReplayedConversation::Compared(comparison) => compared(comparison, output),
    }
}

fn difference(found: &Difference, output: Output) {
    let Difference { place, what, first, text, machine_version, stages, fields } = found;
    output::line(&format!("  {what} {}, record {}: {first}", place.turn_seq, place.record_no));
    if let Some(version) = machine_version {
        output::line(&format!("  decided by version {version} of the machine, which is not this build's"));
    }
    if let Some(text) = text {
        output::line(&format!("  {} {text}", output.faint("user")));
    }
    stage_table(stages, output);
    fields.iter().for_each(|row| field(row, output));
}

/// Stage events side by side; what differs is marked.
fn stage_table(stages: &[StageRow], output: Output) {
    let shown = |stage: &Option<String>| stage.clone().unwrap_or_else(|| "(nothing)".to_owned());
    let recorded: Vec<_> = stages.iter().map(|row| shown(&row.recorded)).collect();
    let width = recorded.iter().map(|stage| stage.chars().count()).max().unwrap_or_default();
    if !stages.is_empty() {
        output::line(&output.faint(&format!("    {:width$}  replayed", "recorded")));
    }
    for (row, recorded) in stages.iter().zip(recorded) {
        let pair = format!("{recorded:width$}  {}", shown(&row.replayed));
        if row.differs {
            output::line(&output.bad(&format!("  ! {pair}")));
        } else {
            output::line(&output.faint(&format!("    {pair}")));
        }
    }
}

fn field(row: &FieldRow, output: Output) {
    if row.differs {
        output::line(&output.bad(&format!("  ! {} recorded  {}", row.field, row.recorded)));
        output::line(&output.bad(&format!("  ! {} replayed  {}", row.field, row.replayed)));
    } else {
        output::line(&output.faint(&format!("    {}  {}", row.field, row.recorded)));
    }
}

fn compared(comparison: &Comparison, output: Output) {
    comparison.changed.iter().take(TURNS_PRINTED).for_each(|turn| changed_turn(turn, output));
    let shown = TURNS_PRINTED.min(comparison.changed.len()) as u64;
    if comparison.turns_changed > shown {
        output::line(&output.faint(&format!("  and {} more turns", comparison.turns_changed - shown)));
    }
    if let Some(undecided) = &comparison.undecided {
        let (effect, turns) = (&undecided.effect, undecided.turns);
        let turn_seq = undecided.turn_seq;
        output::line(
            &output.bad(&format!("  turn {turn_seq}: {effect} is not in the record; {turns} turns undecided")),
        );
    }
}

fn changed_turn(turn: &ChangedTurn, output: Output) {
    output::line(&format!("  turn {} {} {}", turn.turn_seq, output.faint("user"), turn.text));
    let changes = [("moves", &turn.transition), ("says", &turn.reply), ("ends", &turn.outcome)];
    for (what, change) in changes {
        if let Some(Changed { recorded, replayed }) = change {
            output::line(&format!("    {what:5} {}", output.faint(recorded)));
            output::line(&format!("    {:5} {}", "now", output.strong(replayed)));
        }
    }
    turn.effects.iter().for_each(|effect| output::line(&format!("    {}", output.faint(effect))));
}

/// All together; the last line is always of the same form.
pub(super) fn summary(summary: &Summary, question: &Question, output: Output) {
    if output.json {
        return output::line(&json!({ "summary": summary }).to_string());
    }
    if let Question::WhatChanges(loaded) = question {
        let flow = &loaded.flow;
        let revision = flow.revision().to_string();
        let revision = output.faint(revision.get(..12).unwrap_or_default());
        output::line(&format!(
            "{} of {} turns change on {} {revision}",
            summary.turns_changed,
            summary.turns,
            flow.name()
        ));
        let kinds: Vec<_> = summary.kinds.iter().map(|(kind, turns)| format!("{kind} {turns}")).collect();
        if !kinds.is_empty() {
            output::line(&format!("turns by kind of change: {}", kinds.join(", ")));
        }
        transitions(summary, output);
        if summary.passed_over > 0 {
            output::line(&format!("{} conversations of other flows were passed over", summary.passed_over));
        }
    }
    if summary.turns_of_other_machines > 0 {
        let turns = summary.turns_of_other_machines;
        output::line(&format!("{turns} turns were decided by another version of the machine and come out the same"));
    }
    let Summary { identical, different, unreadable, turns, .. } = summary;
    let counts = format!("{identical} identical, {different} different, {unreadable} unreadable");
    let counts = if different + unreadable == 0 { output.good(&counts) } else { output.bad(&counts) };
    output::line(&format!("{turns} turns replayed: {counts}"));
}

fn transitions(summary: &Summary, output: Output) {
    let rows = summary.transitions.most_frequent();
    if rows.is_empty() {
        return;
    }
    output::line("transitions most often changed:");
    for row in rows.iter().take(TRANSITIONS_PRINTED) {
        let examples: Vec<_> = row.examples.iter().map(|(key, turn)| format!("{key} turn {turn}")).collect();
        let Changed { recorded, replayed } = row.changed;
        output::line(&format!("  {:>6}  {recorded}", row.turns));
        output::line(&format!("  {:>6}  {} {}", "now", output.strong(replayed), output.faint(&examples.join(", "))));
    }
    let told: u64 = rows.iter().take(TRANSITIONS_PRINTED).map(|row| row.turns).sum();
    let all: u64 = rows.iter().map(|row| row.turns).sum::<u64>() + summary.transitions.untold();
    if all > told {
        output::line(&output.faint(&format!("  {:>6}  in other transitions", all - told)));
    }
}
