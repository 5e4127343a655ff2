//! One export on its way from the stream to its file.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use colloquy_author::replay::Entry;
use colloquy_client::v1::{self, export_conversation_response::Event};
use colloquy_store::{
    decode_record,
    export::{ExportHeader, ExportLimits, ExportWriter, ExportedRevision},
};
use colloquy_types::{Clock as _, ConversationKey, ConversationUid, FlowName, Revision, SystemClock};
use serde_json::Value;

use super::Sources;
use crate::history;

/// Where an export goes.
pub(super) enum Target {
    /// Standard output, as it arrives.
    Stdout,
    /// A file, under another name until it is whole.
    File(PathBuf),
}

/// Takes the events of one export in order.
pub(super) struct Receiver {
    target: Option<Target>,
    open: Option<Open>,
}

struct Open {
    writer: ExportWriter<Box<dyn Write + Send>>,
    part: Option<Part>,
    records: u64,
}

/// A file that is not whole yet; removed unless it becomes so.
struct Part {
    path: PathBuf,
    whole: PathBuf,
    is_whole: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_whole {
            // What cannot be removed is not taken for an export: its name is another.
            drop(fs::remove_file(&self.path));
        }
    }
}

impl Part {
    fn create(whole: PathBuf) -> anyhow::Result<(Self, File)> {
        let folder = whole.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let mut name = whole.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = whole.with_file_name(name);
        let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok((Self { path, whole, is_whole: false }, file))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        fs::rename(&self.path, &self.whole)
            .with_context(|| format!("{} cannot be renamed to {}", self.path.display(), self.whole.display()))?;
        self.is_whole = true;
        Ok(())
    }
}

impl Receiver {
    pub(super) fn new(target: Target) -> Self {
        Self { target: Some(target), open: None }
    }

    /// Takes the next event; gives the number of records once the export is whole.
    pub(super) fn take(&mut self, event: Event, sources: &mut Sources) -> anyhow::Result<Option<u64>> {
        match event {
            Event::Begun(begun) => self.begin(&begun)?,
            Event::Revision(revision) => {
                let parsed = Revision::parse(&revision.revision).context("the server sent no revision")?;
                sources.insert(parsed, revision.source);
            }
            Event::Record(record) => self.record(&record, sources)?,
            Event::Ended(ended) => return self.end(&ended).map(Some),
        }
        Ok(None)
    }

    fn begin(&mut self, begun: &v1::ExportBegun) -> anyhow::Result<()> {
        let header = header(begun).context("the server did not say whose export this is")?;
        let Some(target) = self.target.take() else { bail!("the export began twice") };
        let (part, out): (_, Box<dyn Write + Send>) = match target {
            Target::Stdout => (None, Box::new(BufWriter::new(std::io::stdout()))),
            Target::File(path) => {
                let (part, file) = Part::create(path)?;
                (Some(part), Box::new(BufWriter::new(file)))
            }
        };
        let writer = ExportWriter::begin(out, &header, ExportLimits::default())?;
        self.open = Some(Open { writer, part, records: 0 });
        Ok(())
    }

    fn open(&mut self) -> anyhow::Result<&mut Open> {
        self.open.as_mut().context("the export did not begin with its beginning")
    }

    fn record(&mut self, record: &v1::ExportedRecord, sources: &Sources) -> anyhow::Result<()> {
        let open = self.open()?;
        let decoded = decode_record(&record.stored).context("a record was damaged on its way")?;
        // What cannot be decoded is exported all the same: the bytes are the truth.
        let entry = history::entry(&decoded.record).ok();
        if let Some(revision) = entry.as_ref().and_then(Entry::revision)
            && !open.writer.has_revision(&revision)
        {
            let source = sources.get(&revision);
            let source = source.with_context(|| format!("the server did not send revision {revision}"))?.clone();
            open.writer.revision(&ExportedRevision { revision, source })?;
        }
        open.writer.record(&record.stored, &entry.map_or(Value::Null, |entry| entry.view()))?;
        open.records += 1;
        Ok(())
    }

    fn end(&mut self, ended: &v1::ExportEnded) -> anyhow::Result<u64> {
        let Open { writer, part, records } = self.open.take().context("the export ended before it began")?;
        if records != ended.records {
            bail!("{records} records arrived, {} were sent", ended.records);
        }
        drop(writer.end()?);
        part.map_or(Ok(()), Part::finish)?;
        Ok(records)
    }
}

fn header(begun: &v1::ExportBegun) -> Option<ExportHeader> {
    let key = begun.key.as_ref()?;
    Some(ExportHeader {
        key: ConversationKey::from_parts(&key.tenant, &key.conversation).ok()?,
        uid: ConversationUid::parse(&begun.uid)?,
        flow: FlowName::parse(&begun.flow).ok()?,
        flow_tenant: begun.flow_tenant.clone(),
        revision: Revision::parse(&begun.revision)?,
        exported_at: SystemClock.now(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
