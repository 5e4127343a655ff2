//! `colloquy store backup` and `restore`.

use std::path::PathBuf;

use clap::Args;
use colloquy_store::journal::{
    backup::{self, BackupError, BackupOptions, BackupProgress, Made, Manifest},
    survey::survey,
};
use colloquy_types::{Clock as _, SystemClock};
use serde_json::json;

use super::{Folder, megabytes, shown, unusable};
use crate::{
    Exit,
    output::{self, Output},
};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    folder: Folder,
    /// Where the backup goes: a folder that is empty or does not exist, or that an interrupted backup left.
    to: PathBuf,
    /// Copy everything, also what could be linked.
    #[arg(long)]
    copy: bool,
    /// Read the backup again and check everything in it, as `store verify` does.
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup's folder.
    from: PathBuf,
    /// Where the store goes: a folder that is empty or does not exist, or that an interrupted return left.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Makes a backup.
pub(super) fn run(args: BackupArgs, output: Output) -> Exit {
    let options = BackupOptions {
        folder: args.folder.data_dir,
        to: args.to,
        copies: args.copy,
        now: SystemClock.now(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let made = backup::backup(&options, &mut copied);
    output::progress("");
    match made {
        Err(error) => failed(&error),
        Ok(Made { manifest, unlisted }) => {
            told("backed up to", &options.to, &manifest, unlisted.is_none(), output);
            if let Some(error) = unlisted {
                let list = options.folder.join("BACKUPS.jsonl");
                output::warning(&format!(
                    "{} cannot be written, so receipts of erasures will not name this backup: {error}\n  fix: keep its \
                     path with your receipts, and remove it once what it holds is to be forgotten",
                    list.display()
                ));
            }
            if args.verify { verified(&options.to) } else { Exit::Ok }
        }
    }
}

/// Brings a backup back.
pub(super) fn restore(args: &RestoreArgs, output: Output) -> Exit {
    let brought = backup::restore(&args.from, &args.data_dir, &mut copied);
    output::progress("");
    match brought {
        Err(error) => failed(&error),
        Ok(manifest) => {
            told("restored to", &args.data_dir, &manifest, true, output);
            verified(&args.data_dir)
        }
    }
}

fn copied(progress: BackupProgress) {
    let BackupProgress { files, of, bytes } = progress;
    output::progress(&format!("{files} of {of} files, {}", megabytes(bytes)));
}

fn told(what: &str, folder: &std::path::Path, manifest: &Manifest, listed: bool, output: Output) {
    let (files, bytes) = (manifest.files.len(), manifest.bytes());
    if output.json {
        let folder = folder.display().to_string();
        let taken_at_us = manifest.taken_at.as_micros();
        let done = json!({
            "folder": folder, "files": files, "linked": manifest.linked, "bytes": bytes, "taken_at_us": taken_at_us,
            "listed": listed,
        });
        output::line(&done.to_string());
    } else {
        output::line(&format!("{files} files, {}, {what} {}", megabytes(bytes), folder.display()));
    }
}

/// Checks what lies in the folder now.
fn verified(folder: &std::path::Path) -> Exit {
    let surveyed = survey(folder, &mut shown);
    output::progress("");
    match surveyed {
        Err(error) => unusable(&error),
        Ok(survey) if survey.faults.count() == 0 => Exit::Ok,
        Ok(survey) => {
            for fault in survey.faults.first() {
                output::error(&fault.to_string());
            }
            output::error("the store was damaged when the backup was made\n  fix: use an earlier backup for these");
            Exit::NotAsItShouldBe
        }
    }
}

fn failed(error: &BackupError) -> Exit {
    match error {
        BackupError::Store(error) => unusable(error),
        BackupError::NotEmpty(_) | BackupError::NoManifest(_) | BackupError::Manifest(_) => {
            output::error(&error.to_string());
            Exit::Usage
        }
        BackupError::Changed { .. } => {
            output::error(&error.to_string());
            Exit::NotAsItShouldBe
        }
        BackupError::TooFast | BackupError::Io { .. } => {
            output::error(&error.to_string());
            Exit::Store
        }
    }
}
