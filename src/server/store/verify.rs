//! `colloquy store verify`.

use std::path::PathBuf;

use clap::Args;
use colloquy_store::{
    Erasure,
    journal::survey::{IndexCheck, Survey, survey_all},
};
use colloquy_types::ConversationUid;
use serde::Deserialize;
use serde_json::json;

use super::{Folder, megabytes, shown, unusable};
use crate::{
    Exit,
    output::{self, Output},
};

/// Largest file of receipts that is read.
const RECEIPTS_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Receipts of erasures, one JSON object a line as `colloquy erase --receipts` writes them: tells whether what they
    /// name is physically gone from this folder.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// What of a receipt can be checked here.
#[derive(Deserialize)]
struct Receipt {
    uid: String,
    head: Option<ReceiptHead>,
}

#[derive(Deserialize)]
struct ReceiptHead {
    hash: String,
}

/// Reads and checks everything.
pub(super) fn run(args: &VerifyArgs, output: Output) -> Exit {
    let receipts = match args.receipt.as_ref().map(receipts).transpose() {
        Ok(receipts) => receipts.unwrap_or_default(),
        Err(problem) => {
            output::error(&problem);
            return Exit::Usage;
        }
    };
    let uids: Vec<_> = receipts.iter().map(|(uid, _)| *uid).collect();
    let surveyed = survey_all(&args.folder.data_dir, &uids, &mut shown);
    output::progress("");
    let (survey, erasures) = match surveyed {
        Ok(surveyed) => surveyed,
        Err(error) => return unusable(&error),
    };
    let mut sound = survey.faults.count() == 0;
    for ((uid, hash), erasure) in receipts.iter().zip(&erasures) {
        sound &= told(*uid, hash.as_deref(), erasure, output);
    }
    summary(&survey, output);
    if sound { Exit::Ok } else { Exit::NotAsItShouldBe }
}

fn receipts(path: &PathBuf) -> Result<Vec<(ConversationUid, Option<String>)>, String> {
    let cannot = |problem: &dyn std::fmt::Display| {
        format!("{}: {problem}\n  fix: give the file that `colloquy erase --receipts` wrote", path.display())
    };
    let bytes = std::fs::metadata(path).map_err(|error| cannot(&error))?.len();
    if bytes > RECEIPTS_BYTES_MAX {
        return Err(cannot(&format_args!("it has {bytes} bytes, at most {RECEIPTS_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(&error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let line_no = number + 1;
            let receipt: Receipt =
                serde_json::from_str(line).map_err(|error| cannot(&format_args!("line {line_no}: {error}")))?;
            let uid = ConversationUid::parse(&receipt.uid)
                .ok_or_else(|| cannot(&format_args!("line {line_no}: `uid` must be 32 hexadecimal digits")))?;
            Ok((uid, receipt.head.map(|head| head.hash)))
        })
        .collect()
}

/// Tells what is left of an erased conversation; whether all is as the receipt says.
fn told(uid: ConversationUid, hash: Option<&str>, erasure: &Erasure, output: Output) -> bool {
    let same = hash.is_none_or(|hash| hash == erasure.head.hash.to_string());
    let gone = erasure.is_complete() && erasure.chain_holds && same;
    if output.json {
        let found = json!({
            "receipt": { "uid": uid.to_string() }, "gone": gone, "records": erasure.records, "bodies_left": erasure.bodies,
            "snapshots_left": erasure.snapshots, "chain_holds": erasure.chain_holds, "head_as_in_receipt": same,
        });
        output::line(&found.to_string());
        return gone;
    }
    let verdict = match (erasure.records, gone) {
        (0, _) => output.bad("not erased in this store"),
        (_, true) => output.good("gone"),
        (_, false) if erasure.is_complete() => output.bad("gone, but the chain is not as the receipt says"),
        (_, false) => output.bad("still there: run a compaction, and see that no segment is damaged"),
    };
    let Erasure { records, bodies, snapshots, .. } = erasure;
    output::line(&format!("{uid}: {verdict} ({records} records, {bodies} bodies and {snapshots} snapshots left)"));
    gone
}

fn summary(survey: &Survey, output: Output) {
    let faults = &survey.faults;
    if output.json {
        let listed: Vec<_> = faults
            .first()
            .iter()
            .map(|fault| {
                json!({
                    "conversation": fault.key.as_ref().map(ToString::to_string),
                    "uid": fault.uid.map(|uid| uid.to_string()),
                    "segment": fault.segment, "offset": fault.offset, "problem": fault.kind.to_string(),
                })
            })
            .collect();
        let found = json!({
            "sound": faults.count() == 0, "faults": faults.count(), "listed": listed, "segments": survey.segments,
            "conversations": survey.conversations, "erased": survey.erased, "records": survey.records,
            "turns": survey.turns, "torn_bytes": survey.torn_bytes, "index": index_as_json(&survey.index),
        });
        output::line(&found.to_string());
        return;
    }
    for fault in faults.first() {
        output::line(&format!("{} {fault}", output.bad("damaged:")));
    }
    let more = faults.count() - faults.first().len() as u64;
    if more > 0 {
        output::line(&format!("and {more} more"));
    }
    if survey.torn_bytes > 0 {
        output::line(&format!("{} bytes of a torn write at the end; nobody was told of them", survey.torn_bytes));
    }
    match &survey.index {
        IndexCheck::Held { rows } => {
            output::line(&format!("the index names {rows} conversations, erased ones included"))
        }
        IndexCheck::NotChecked(why) => output::line(&format!("index not checked: {why}")),
        IndexCheck::NotAsked => {}
    }
    let Survey { segments, conversations, records, turns, journal_bytes, .. } = survey;
    let verdict = match faults.count() {
        0 => output.good("sound"),
        1 => output.bad("1 fault"),
        count => output.bad(&format!("{count} faults")),
    };
    let read = megabytes(*journal_bytes);
    output::line(&format!(
        "{verdict}: {conversations} conversations, {records} records, {turns} turns in {segments} segments, {read} read"
    ));
}

fn index_as_json(index: &IndexCheck) -> serde_json::Value {
    match index {
        IndexCheck::Held { rows } => json!({ "checked": true, "conversations": rows }),
        IndexCheck::NotChecked(why) => json!({ "checked": false, "why": why.to_string() }),
        IndexCheck::NotAsked => json!({ "checked": false }),
    }
}
