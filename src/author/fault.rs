//! Faults in what an author wrote: each with its place, what is wrong and what to do about it.
//!
//! How many are kept, and how long their texts are, is bounded: a hostile flow can be wrong everywhere.

use std::{fmt, io, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::lint;

/// Most faults that are told at once.
pub const FAULTS_MAX: usize = 500;
/// Longest message or fix, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// A place in a source: file, line and column, both from 1. Line 0 means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) file: Arc<str>,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Mark {
    pub(crate) fn file(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), line: 0, column: 0 }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) mark: Mark,
}

/// Whether a fault keeps a flow from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The flow cannot be used.
    Error,
    /// The flow works, but probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One fault. Displays as `path:line:column: error[id]: message`, then the path, if there is one, and the fix
/// on lines of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable name of the kind of fault, in kebab case.
    pub id: &'static str,
    /// Whether it is an error or a warning.
    pub severity: Severity,
    /// The file, as it was given.
    pub file: String,
    /// Line, from 1; 0 when it concerns the file as a whole.
    pub line: u64,
    /// Column, from 1; 0 when it concerns the file as a whole.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// How a conversation gets there, step by step; empty where that says nothing.
    pub path: Vec<String>,
    /// What to do about it.
    pub fix: String,
}

impl Fault {
    /// A file or folder that cannot be read.
    pub fn unreadable(file: &str, error: &io::Error) -> Self {
        Self {
            id: "unreadable",
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("cannot be read: {error}"),
            path: Vec::new(),
            fix: "give the path of a flow's folder or file, readable and in UTF-8".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}[{}]: {}", self.severity.name(), self.id, self.message)?;
        if !self.path.is_empty() {
            write!(f, "\n  path: {}", self.path.join(" -> "))?;
        }
        write!(f, "\n  fix: {}", self.fix)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Fault", 8)?;
        fields.serialize_field("id", self.id)?;
        fields.serialize_field("severity", self.severity.name())?;
        fields.serialize_field("file", &self.file)?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("fix", &self.fix)?;
        fields.end()
    }
}

/// Most that the patterns of a flow may compile to together, in bytes, each counted by
/// [`colloquy_flow::Pattern::bytes_max`].
const PATTERN_BYTES_MAX: usize = 32 << 20;

/// Faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: Vec<Fault>,
    errors: bool,
    /// What the patterns that were read so far compile to.
    pattern_bytes: usize,
    /// Where the first fault stands that is not told.
    more: Option<Mark>,
}

impl Faults {
    pub(crate) fn error(&mut self, id: &'static str, mark: &Mark, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Error, id, mark, message.into(), Vec::new(), fix.into());
    }

    pub(crate) fn warn(&mut self, id: &'static str, mark: &Mark, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Warning, id, mark, message.into(), Vec::new(), fix.into());
    }

    /// A fault with the way that leads to it; its severity is that of its lint.
    pub(crate) fn on_path(
        &mut self,
        id: &'static str,
        mark: &Mark,
        message: impl Into<String>,
        path: Vec<String>,
        fix: impl Into<String>,
    ) {
        let severity = lint::find(id).map_or(Severity::Error, |lint| lint.severity);
        self.push(severity, id, mark, message.into(), path, fix.into());
    }

    fn push(
        &mut self,
        severity: Severity,
        id: &'static str,
        mark: &Mark,
        message: String,
        path: Vec<String>,
        fix: String,
    ) {
        debug_assert!(lint::find(id).is_some_and(|lint| lint.severity == severity), "{id} is not registered so");
        self.errors |= severity == Severity::Error;
        if self.is_full() {
            self.more.get_or_insert_with(|| mark.clone());
            return;
        }
        let file = mark.file.to_string();
        let (message, fix) = (clipped(message), clipped(fix));
        let fault = Fault { id, severity, file, line: mark.line, column: mark.column, message, path, fix };
        if !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }

    /// Whether one more pattern of this size may be kept; the first that may not is reported.
    pub(crate) fn admits_pattern(&mut self, bytes: usize, mark: &Mark) -> bool {
        let before = self.pattern_bytes;
        self.pattern_bytes = before.saturating_add(bytes);
        if before <= PATTERN_BYTES_MAX && self.pattern_bytes > PATTERN_BYTES_MAX {
            let message = format!("together the patterns compile to more than {} MiB", PATTERN_BYTES_MAX >> 20);
            self.error("too-large", mark, message, "use fewer patterns, smaller ones, or keywords");
        }
        self.pattern_bytes <= PATTERN_BYTES_MAX
    }

    /// Whether another pattern would be one too many: it need not be compiled then.
    pub(crate) fn has_patterns_enough(&self) -> bool {
        self.pattern_bytes > PATTERN_BYTES_MAX
    }

    /// Whether no more are told: what is dear to find need not be looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= FAULTS_MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors
    }

    /// The faults, ordered by place.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        if let Some(mark) = self.more.take() {
            self.found.pop();
            let message = format!("there are more than {FAULTS_MAX} faults; the rest is not told");
            self.warn("too-many-faults", &mark, message, "correct these first");
        }
        self.found
            .sort_by(|a, b| (&a.file, a.line, a.column, a.severity).cmp(&(&b.file, b.line, b.column, b.severity)));
        self.found
    }
}

fn clipped(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
