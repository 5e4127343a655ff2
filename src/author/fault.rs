//! Faults in what an author wrote: each with its place, what is wrong and what to do about it.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct};

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

/// One fault. Displays as `path:line:column: error[id]: message`, then the fix on a line of its own.
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
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}[{}]: {}\n  fix: {}", self.severity.name(), self.id, self.message, self.fix)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Fault", 7)?;
        fields.serialize_field("id", self.id)?;
        fields.serialize_field("severity", self.severity.name())?;
        fields.serialize_field("file", &self.file)?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("fix", &self.fix)?;
        fields.end()
    }
}

/// Faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn error(&mut self, id: &'static str, mark: &Mark, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Error, id, mark, message.into(), fix.into());
    }

    pub(crate) fn warn(&mut self, id: &'static str, mark: &Mark, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Warning, id, mark, message.into(), fix.into());
    }

    fn push(&mut self, severity: Severity, id: &'static str, mark: &Mark, message: String, fix: String) {
        let fault =
            Fault { id, severity, file: mark.file.to_string(), line: mark.line, column: mark.column, message, fix };
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|fault| fault.severity == Severity::Error)
    }

    /// The faults, ordered by place.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.0.sort_by(|a, b| (&a.file, a.line, a.column, a.severity).cmp(&(&b.file, b.line, b.column, b.severity)));
        self.0
    }
}
