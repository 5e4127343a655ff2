//! `colloquy store import`.

use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use colloquy_store::{
    ConversationStore as _, JournalOptions, JournalStore,
    export::{ExportLimits, ExportReader},
    journal::import::{self, Checked, Imported},
};
use colloquy_types::{Epoch, SystemClock, SystemEntropy, TenantId};
use serde_json::json;

use super::{Folder, unusable};
use crate::{
    Exit,
    output::{self, Output},
    replay,
};

/// What is read of a file at a time.
const BUFFER_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    folder: Folder,
    /// Exports, or folders of them, as `colloquy export` writes them.
    #[arg(required = true, value_name = "FILE|DIR")]
    exports: Vec<PathBuf>,
}

/// Checks every export, then brings each in.
pub(super) async fn run(args: ImportArgs, output: Output) -> Exit {
    let files = match replay::find(&args.exports) {
        Ok(files) => files,
        Err(error) => {
            output::error(&format!("{error:#}"));
            return Exit::Usage;
        }
    };
    let (sound, epoch, faulty) = checked(&files);
    if sound.is_empty() {
        return Exit::NotAsItShouldBe;
    }
    let options = JournalOptions { epoch_min: epoch, ..JournalOptions::new(&args.folder.data_dir) };
    let store = match JournalStore::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)) {
        Ok(store) => store,
        Err(error) => return unusable(&error),
    };
    let mut told = Told::new(output, faulty);
    for (number, file) in sound.iter().enumerate() {
        output::progress(&format!("{} of {} imported", number, sound.len()));
        match brought_in(&store, file).await {
            Ok((imported, revision)) => told.took(&imported, revision),
            Err(error) => told.failed(file, &error),
        }
    }
    output::progress("");
    store.close().await;
    told.end()
}

/// The files that can be brought in, the epoch the store must have, and how many cannot.
fn checked(files: &[PathBuf]) -> (Vec<PathBuf>, Epoch, u64) {
    let (mut sound, mut epoch, mut faulty) = (Vec::new(), Epoch::default(), 0);
    for (number, file) in files.iter().enumerate() {
        output::progress(&format!("{number} of {} checked", files.len()));
        match opened(file).and_then(|export| Ok(import::check(export)?)) {
            Ok(Checked { epoch: found, .. }) => {
                epoch = epoch.max(found.next());
                sound.push(file.clone());
            }
            Err(error) => {
                output::progress("");
                output::error(&format!("{}: {error:#}", file.display()));
                faulty += 1;
            }
        }
    }
    output::progress("");
    (sound, epoch, faulty)
}

fn opened(file: &Path) -> anyhow::Result<ExportReader<BufReader<File>>> {
    let input = File::open(file).with_context(|| "it cannot be read")?;
    Ok(ExportReader::open(BufReader::with_capacity(BUFFER_BYTES, input), ExportLimits::default())?)
}

/// What came of it, and the flow's revision when it is one that somebody must have published.
async fn brought_in(store: &JournalStore, file: &Path) -> anyhow::Result<(Imported, Option<String>)> {
    let export = opened(file)?;
    let header = export.header();
    let is_built_in = header.flow_tenant == TenantId::shared().as_str();
    let revision = (!is_built_in).then(|| format!("{} of {}", header.revision, header.flow));
    Ok((import::import(store, export).await?, revision))
}

struct Told {
    output: Output,
    imported: u64,
    was_there: u64,
    records: u64,
    faulty: u64,
    revisions: BTreeSet<String>,
}

impl Told {
    fn new(output: Output, faulty: u64) -> Self {
        Self { output, imported: 0, was_there: 0, records: 0, faulty, revisions: BTreeSet::new() }
    }

    fn took(&mut self, imported: &Imported, revision: Option<String>) {
        self.records += imported.records;
        if imported.was_there {
            self.was_there += 1;
        } else {
            self.imported += 1;
            self.revisions.extend(revision);
        }
    }

    fn failed(&mut self, file: &Path, error: &anyhow::Error) {
        output::progress("");
        output::error(&format!("{}: {error:#}", file.display()));
        self.faulty += 1;
    }

    fn end(self) -> Exit {
        let Self { output, imported, was_there, records, faulty, revisions } = self;
        if output.json {
            let told = json!({
                "imported": imported, "records": records, "was_there": was_there, "failed": faulty,
                "revisions": revisions,
            });
            output::line(&told.to_string());
        } else {
            output::line(&format!(
                "{imported} conversations imported, {records} records, {was_there} were there, {faulty} failed"
            ));
            for revision in &revisions {
                output::line(&format!("they run revision {revision}: publish it here if it is not yet"));
            }
        }
        if faulty == 0 { Exit::Ok } else { Exit::NotAsItShouldBe }
    }
}
