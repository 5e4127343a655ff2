//! Loading flows: from a folder, a file, or sources in memory. All faults are found before any is reported.

use std::{fs, io, path::Path, sync::Arc, thread};

use colloquy_flow::Flow;
use colloquy_types::{FlowName, Revision};

use crate::{
    check,
    compile::{self, Texts},
    fault::{Fault, Faults, Mark, Severity},
    node::{self, FILE_BYTES_MAX, Node},
    read,
    source::SourceFlow,
};

/// The file of a flow's folder that holds scenarios and no part of the flow.
pub const SCENARIOS_FILE: &str = "scenarios.yaml";
/// Most files a flow may consist of.
pub const FILES_MAX: usize = 64;
/// Parsers recurse: hostile sources get a stack of their own.
pub(crate) const STACK_BYTES: usize = 16 << 20;

/// A flow that can be used.
#[derive(Clone, Debug)]
pub struct LoadedFlow {
    /// The compiled flow.
    pub flow: Arc<Flow>,
    /// The source, normalised: canonical JSON, which is YAML too. Loading it again gives the same revision.
    pub source: String,
    /// What works, but probably not as meant; ordered by place.
    pub warnings: Vec<Fault>,
}

/// What can be told of sources, whether or not they make a flow.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The flow's name, when it can be read.
    pub name: Option<FlowName>,
    /// The source, normalised, and its revision, when every file can be parsed. Loading it again finds the same.
    pub source: Option<(Revision, String)>,
    /// The compiled flow, unless there is an error.
    pub flow: Option<Arc<Flow>>,
    /// Every fault, ordered by place.
    pub faults: Vec<Fault>,
}

impl Inspected {
    fn nothing(faults: Vec<Fault>) -> Self {
        Self { name: None, source: None, flow: None, faults }
    }

    fn loaded(self) -> Result<LoadedFlow, Vec<Fault>> {
        match (self.flow, self.source) {
            (Some(flow), Some((_, source))) => Ok(LoadedFlow { flow, source, warnings: self.faults }),
            _ => Err(self.faults),
        }
    }
}

/// Loads the flow in `path`: a folder whose `.yaml` and `.yml` files are one flow, in the order of their
/// names and without `scenarios.yaml`; or a single file.
///
/// # Errors
/// Every fault, ordered by place.
pub fn load_folder(path: &Path) -> Result<LoadedFlow, Vec<Fault>> {
    let shown = path.display().to_string();
    load_sources(&shown, read_folder(path)?)
}

/// Loads a flow from sources in memory: the name each is reported by, and its text. They are joined in the
/// order of their names. `name` stands for the whole in faults that concern no single file.
///
/// # Errors
/// Every fault, ordered by place.
pub fn load_sources(name: &str, sources: Vec<(String, String)>) -> Result<LoadedFlow, Vec<Fault>> {
    inspect_sources(name, sources).loaded()
}

/// As [`load_sources`], for who keeps faulty flows too.
pub fn inspect_sources(name: &str, mut sources: Vec<(String, String)>) -> Inspected {
    sources.sort();
    let whole = Mark::file(&name.into());
    let spawned = thread::Builder::new()
        .name("flow-loader".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || inspect(&whole, &sources));
    let inspected = spawned.ok().and_then(|loader| loader.join().ok());
    inspected.unwrap_or_else(|| {
        Inspected::nothing(vec![Fault {
            id: "internal",
            severity: Severity::Error,
            file: name.to_owned(),
            line: 0,
            column: 0,
            message: "the loader ended unexpectedly".to_owned(),
            fix: "load the files one by one to find the one it cannot cope with".to_owned(),
        }])
    })
}

fn inspect(whole: &Mark, sources: &[(String, String)]) -> Inspected {
    let mut faults = Faults::default();
    match parse(whole, sources, &mut faults) {
        Some(merged) => compiled(&merged, faults),
        None => Inspected::nothing(faults.into_sorted()),
    }
}

/// The files of `path` as one tree.
///
/// # Errors
/// Every fault, ordered by place.
pub(crate) fn parse_folder(path: &Path) -> Result<Node, Vec<Fault>> {
    let mut sources = read_folder(path)?;
    sources.sort();
    let whole = Mark::file(&path.display().to_string().into());
    let mut faults = Faults::default();
    parse(&whole, &sources, &mut faults).filter(|_| !faults.has_errors()).ok_or_else(|| faults.into_sorted())
}

/// Loads a flow from the tree of its files. Compiling recurses: the caller's thread needs [`STACK_BYTES`].
///
/// # Errors
/// Every fault, ordered by place.
pub(crate) fn load_tree(merged: &Node) -> Result<LoadedFlow, Vec<Fault>> {
    compiled(merged, Faults::default()).loaded()
}

fn compiled(merged: &Node, mut faults: Faults) -> Inspected {
    let Some(prepared) = prepare(merged, &mut faults) else { return Inspected::nothing(faults.into_sorted()) };
    let (name, revision) = (prepared.written.name.clone(), revision_of(&prepared.source));
    let flow = if faults.has_errors() {
        None
    } else {
        compile::flow(prepared.written, prepared.texts, revision, &mut faults).map(Arc::new)
    };
    Inspected { name, source: Some((revision, prepared.source)), flow, faults: faults.into_sorted() }
}

/// A flow that is read and checked, whatever the checks found.
struct Prepared {
    written: SourceFlow,
    texts: Texts,
    source: String,
}

/// The sources as one tree.
fn parse(whole: &Mark, sources: &[(String, String)], faults: &mut Faults) -> Option<Node> {
    if sources.is_empty() {
        faults.error("no-source", whole, "there is no .yaml file", "add flow.yaml");
        return None;
    }
    if sources.len() > FILES_MAX {
        faults.error("too-large", whole, format!("a flow has at most {FILES_MAX} files"), "join some of them");
        return None;
    }
    let nodes: Vec<_> =
        sources.iter().filter_map(|(file, text)| node::parse(&file.as_str().into(), text, faults)).collect();
    if nodes.len() < sources.len() {
        // What an unreadable file would have declared would be reported as unknown everywhere else.
        return None;
    }
    // What the flow as a whole lacks is reported where its first file begins.
    let mark = nodes.first().map_or_else(|| whole.clone(), |node| node.mark.clone());
    Some(read::merge(nodes, &mark, faults))
}

fn prepare(merged: &Node, faults: &mut Faults) -> Option<Prepared> {
    let mut source = String::new();
    merged.write_json(&mut source);
    let written = read::flow(merged, faults)?;
    check::flow(&written, faults);
    let texts = compile::texts(&written, faults);
    Some(Prepared { written, texts, source })
}

/// The revision of a normalised source.
pub(crate) fn revision_of(source: &str) -> Revision {
    let mut hasher = blake3::Hasher::new();
    hasher.update(read::FORMAT.as_bytes()).update(b"\n").update(source.as_bytes());
    Revision(*hasher.finalize().as_bytes())
}

pub(crate) type Unreadable = (String, io::Error);

/// Reads the files of the flow in `path` without looking into them, as [`load_folder`] would: the name each is
/// reported by, and its text.
///
/// # Errors
/// The one [`Fault`] of what cannot be read.
pub fn read_folder(path: &Path) -> Result<Vec<(String, String)>, Vec<Fault>> {
    read_files(path).map_err(|(file, error)| vec![unreadable(&file, &error)])
}

fn read_files(path: &Path) -> Result<Vec<(String, String)>, Unreadable> {
    let failed = |path: &Path| {
        let shown = path.display().to_string();
        move |error| (shown, error)
    };
    if path.is_file() {
        return Ok(vec![read_file(path)?]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let file = entry.map_err(failed(path))?.path();
        let yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && file.is_file() && file.file_name().is_none_or(|name| name != SCENARIOS_FILE) {
            paths.push(file);
        }
    }
    paths.sort();
    paths.iter().take(FILES_MAX + 1).map(|path| read_file(path)).collect()
}

/// Reads a file, little more than a flow's file may have.
pub(crate) fn read_file(path: &Path) -> Result<(String, String), Unreadable> {
    use io::Read as _;
    let shown = path.display().to_string();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    match read {
        Ok(_) => Ok((shown, text)),
        Err(error) => Err((shown, error)),
    }
}

pub(crate) fn unreadable(file: &str, error: &io::Error) -> Fault {
    Fault {
        id: "unreadable",
        severity: Severity::Error,
        file: file.to_owned(),
        line: 0,
        column: 0,
        message: format!("cannot be read: {error}"),
        fix: "give the path of a flow's folder or file, readable and in UTF-8".to_owned(),
    }
}

/// A flow whose undeclared moves were not refused, to see that the machine refuses them.
#[cfg(test)]
pub(crate) fn load_despite_faults(source: &str) -> Result<Arc<colloquy_flow::Flow>, Vec<Fault>> {
    let mut faults = Faults::default();
    let sources = [("test.yaml".to_owned(), source.to_owned())];
    let merged = parse(&Mark::file(&"test".into()), &sources, &mut faults);
    let flow = merged.and_then(|merged| prepare(&merged, &mut faults)).and_then(|prepared| {
        compile::flow(prepared.written, prepared.texts, revision_of(source), &mut faults).map(Arc::new)
    });
    flow.ok_or_else(|| faults.into_sorted())
}
