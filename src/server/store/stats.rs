//! `colloquy store stats`.

use std::path::Path;

use colloquy_store::journal::{
    backup::known_backups,
    survey::{Survey, survey},
};
use serde_json::json;

use super::{megabytes, shown, unusable};
use crate::{
    Exit,
    output::{self, Output},
};

/// Reads everything and prints figures.
pub(super) fn run(folder: &Path, output: Output) -> Exit {
    let surveyed = survey(folder, &mut shown);
    output::progress("");
    let survey = match surveyed {
        Ok(survey) => survey,
        Err(error) => return unusable(&error),
    };
    let backups = known_backups(folder).unwrap_or_default().len();
    if output.json {
        output::line(&as_json(&survey, backups).to_string());
    } else {
        told(&survey, backups, output);
    }
    if survey.faults.count() > 0 {
        output::error("something is damaged\n  fix: `colloquy store verify` tells what");
        return Exit::NotAsItShouldBe;
    }
    Exit::Ok
}

fn told(survey: &Survey, backups: usize, output: Output) {
    let Survey { conversations, erased, records, turns, snapshots, stubs, segments, sealed, rewritten, .. } = survey;
    let bodies = megabytes(survey.body_bytes);
    for (name, value) in [
        ("conversations", format!("{conversations}, and {erased} erased")),
        ("turns", format!("{turns}, {} bytes each on disk", of(survey.journal_bytes, *turns))),
        ("records", format!("{records}, {stubs} of them without their bodies; {snapshots} snapshots")),
        ("segments", format!("{segments}, {sealed} sealed, {rewritten} of them compacted")),
        ("journal", format!("{}, {bodies} of it salts and payloads", megabytes(survey.journal_bytes))),
        ("index", megabytes(survey.index_bytes)),
        ("on disk for each byte", ratio(survey.journal_bytes + survey.index_bytes, survey.body_bytes)),
        ("opened", format!("{} times", survey.epoch)),
        ("backups known", backups.to_string()),
    ] {
        output::line(&format!("{:<22} {value}", output.faint(name)));
    }
}

fn of(bytes: u64, count: u64) -> u64 {
    bytes.checked_div(count).unwrap_or_default()
}

/// A ratio to two places, without floats.
fn ratio(bytes: u64, of: u64) -> String {
    let hundredths = (u128::from(bytes) * 100).checked_div(u128::from(of)).unwrap_or_default();
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn as_json(survey: &Survey, backups: usize) -> serde_json::Value {
    let Survey { epoch, segments, sealed, rewritten, journal_bytes, index_bytes, body_bytes, .. } = survey;
    let Survey { snapshot_bytes, conversations, erased, records, turns, snapshots, stubs, torn_bytes, .. } = survey;
    json!({
        "epoch": epoch, "segments": segments, "sealed": sealed, "rewritten": rewritten,
        "journal_bytes": journal_bytes, "index_bytes": index_bytes, "body_bytes": body_bytes,
        "snapshot_bytes": snapshot_bytes, "conversations": conversations, "erased": erased, "records": records,
        "turns": turns, "snapshots": snapshots, "stubs": stubs, "torn_bytes": torn_bytes,
        "bytes_per_turn": of(*journal_bytes, *turns), "amplification": ratio(journal_bytes + index_bytes, *body_bytes),
        "faults": survey.faults.count(), "backups": backups,
    })
}
