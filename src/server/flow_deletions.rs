//! `colloquy flow deletions`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use colloquy_author::{
    Deletions,
    deletions::{Deletion, DeletionError, Noticed, Which},
};
use serde_json::json;

use crate::{
    Exit, flow_test, lint,
    output::{self, Output},
};

/// What is deleted, and how much of it must be noticed.
#[derive(Debug, Args)]
pub(crate) struct DeletionsArgs {
    /// The flows' folders, each with its scenarios.yaml.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Of a hundred deletions, how many must be noticed over all folders; fewer make the exit code 1.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    min: u8,
    /// Delete optional keys too, such as `when` and `priority`.
    #[arg(long)]
    keys: bool,
    /// How many threads work; as many as there are processors when not given.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

/// Deletes every row of every flow; prints what nobody noticed.
pub(crate) fn run(args: &DeletionsArgs, output: Output) -> Exit {
    let which = if args.keys { Which::RowsAndKeys } else { Which::Rows };
    let (mut noticed, mut total) = (0, 0);
    for folder in &args.folders {
        let deletions = Deletions::of(folder, which, flow_test::jobs(args.jobs), &|done, rows| {
            output::progress(&format!("{}: {done} of {rows} deleted", folder.display()));
        });
        output::progress("");
        let deletions = match deletions {
            Ok(deletions) => deletions,
            Err(DeletionError::Faults(faults)) => return lint::faulty(&faults, output),
            Err(failing) => {
                output::error(&failing.to_string());
                return Exit::NotAsItShouldBe;
            }
        };
        tell(&deletions, output);
        noticed += deletions.noticed();
        total += deletions.rows.len();
    }
    if output.json {
        output::line(&json!({ "noticed": noticed, "deletions": total, "min": args.min }).to_string());
    } else if args.folders.len() > 1 {
        output::line(&format!("{noticed} of {total} deletions noticed ({})", percent(noticed, total)));
    }
    if noticed * 100 >= usize::from(args.min) * total { Exit::Ok } else { Exit::NotAsItShouldBe }
}

fn tell(deletions: &Deletions, output: Output) {
    if output.json {
        deletions.rows.iter().for_each(|row| output::line(&in_json(&deletions.flow, row).to_string()));
        return;
    }
    for Deletion { file, line, column, row, text, .. } in deletions.survivors() {
        output::line(&format!("{file}:{line}:{column}: nobody misses {}: {text}", output.strong(row)));
    }
    let (noticed, total) = (deletions.noticed(), deletions.rows.len());
    let by_lint = deletions.noticed_by_lint();
    output::line(&format!(
        "{}: {noticed} of {total} deletions noticed ({}), {by_lint} by lint, {} by scenarios",
        output.strong(&deletions.flow),
        percent(noticed, total),
        noticed - by_lint,
    ));
}

/// With one digit after the point, rounded down: a hundred means all.
fn percent(part: usize, whole: usize) -> String {
    let mille = (part * 1000).checked_div(whole).unwrap_or(1000);
    format!("{}.{} %", mille / 10, mille % 10)
}

fn in_json(flow: &str, deletion: &Deletion) -> serde_json::Value {
    let noticed = deletion.noticed.as_ref().map(|noticed| match noticed {
        Noticed::Lint(id) => json!({ "lint": id }),
        Noticed::Scenario(name, turn) => json!({ "scenario": name, "turn": turn }),
    });
    json!({
        "flow": flow,
        "row": deletion.row,
        "text": deletion.text,
        "file": deletion.file,
        "line": deletion.line,
        "column": deletion.column,
        "noticed": noticed,
    })
}
