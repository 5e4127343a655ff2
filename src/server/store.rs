//! `colloquy store`: what an operator does with a store's folder, without a server.

mod backup;
mod import;
mod migrate;
mod stats;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use colloquy_store::journal::{OpenError, survey::SurveyProgress};

use crate::{
    Exit,
    output::{self, Output},
};

/// What is done with a store's folder.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Reads everything and checks it: checksums, digests, every conversation's chain, footers, torn ends, and the index
    /// against all of that.
    ///
    /// Nothing in the folder is written, and a running store can be checked, but for its index: that takes a store that no
    /// server runs on, and room for a copy of the index among the temporary files. Only the index tells of segments that
    /// were lost at the end, or with all of a conversation. With --receipt it also tells whether what was erased is
    /// physically gone. Ends with 0 when all is as it was written, 1 when something is not, 2 when the folder is no store
    /// that this build can read, 5 when the disk failed.
    ///
    /// Example: colloquy store verify --data-dir /var/lib/colloquy
    Verify(verify::VerifyArgs),
    /// Reads everything and prints what is there: turns, bytes for each, how much of the disk is more than that.
    ///
    /// Example: colloquy store stats --data-dir /var/lib/colloquy --json
    Stats(FolderArgs),
    /// Makes a consistent copy of a store, also of one that is running.
    ///
    /// Sealed segments are linked where the target is on the same file system, and copied elsewhere. What was acknowledged
    /// before the command began is in it. A copy on another machine is for you to make of it.
    ///
    /// Example: colloquy store backup --data-dir /var/lib/colloquy /backups/2026-11-21
    Backup(backup::BackupArgs),
    /// Brings a backup back into a folder of its own, and checks every file of it.
    ///
    /// Clients that hold a later head of a conversation are told HISTORY_CHANGED when they watch it.
    ///
    /// Example: colloquy store restore /backups/2026-11-21 --data-dir /var/lib/colloquy-restored
    Restore(backup::RestoreArgs),
    /// Brings exported conversations into a store that no server runs on: the records as they were, chain and all.
    ///
    /// What is there already is passed over, so that an import which was interrupted is made again. A conversation that
    /// was erased from the store does not come back. Flows are not part of an export: publish those that are missing.
    ///
    /// Example: colloquy store import exports/acme --data-dir /var/lib/colloquy
    Import(import::ImportArgs),
    /// Brings a store that no server runs on to the newest formats. Older ones are read for good, so this may wait.
    ///
    /// What was interrupted is made again and goes on. A store of a newer version is refused: use a newer build.
    ///
    /// Example: colloquy store migrate --data-dir /var/lib/colloquy
    Migrate(FolderArgs),
}

/// The folder.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// Folder of the store.
    #[arg(long, env = "COLLOQUY_STORE_DATA_DIR", default_value = "colloquy-data", value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    #[command(flatten)]
    folder: Folder,
}

/// Does what was asked.
pub(crate) async fn run(command: StoreCommand, output: Output) -> Exit {
    match command {
        StoreCommand::Verify(args) => verify::run(&args, output),
        StoreCommand::Stats(args) => stats::run(&args.folder.data_dir, output),
        StoreCommand::Backup(args) => backup::run(args, output),
        StoreCommand::Restore(args) => backup::restore(&args, output),
        StoreCommand::Migrate(args) => migrate::run(&args.folder.data_dir, output),
        StoreCommand::Import(args) => import::run(args, output).await,
    }
}

/// Shows how far reading is.
fn shown(progress: SurveyProgress) {
    let SurveyProgress { segments, of, bytes } = progress;
    output::progress(&format!("{segments} of {of} segments read, {}", megabytes(bytes)));
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Says why a folder cannot be used, and what to do.
fn unusable(error: &OpenError) -> Exit {
    let (fix, exit) = match error {
        OpenError::NotAStore { .. } => ("name the folder that `colloquy serve` was given as --data-dir", Exit::Usage),
        OpenError::NewerVersion { .. } | OpenError::NewerRecord { .. } => {
            ("use the version of colloquy that wrote it, or a newer one", Exit::Usage)
        }
        OpenError::Locked { .. } => ("stop the process that uses it first", Exit::Usage),
        OpenError::ReadOnly { .. } => ("run as a user who may write there", Exit::Usage),
        OpenError::Setting { .. } => ("correct the setting", Exit::Usage),
        OpenError::Foreign { .. } => ("take the segment out of the folder; it came from another store", Exit::Store),
        OpenError::Identity => ("bring back a backup, or the file STORE of this store from one", Exit::Store),
        OpenError::Full => ("make room on the disk", Exit::Store),
        OpenError::Index(_) => ("remove the folder `index`; it is made again", Exit::Store),
        OpenError::Io(_) => ("see that the folder can be read, and whether the disk is sound", Exit::Store),
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    output::error(&format!("{error}{cause}\n  fix: {fix}"));
    exit
}
