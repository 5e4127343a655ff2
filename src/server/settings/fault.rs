//! What is wrong with one setting, and everything that is wrong with all of them.

use std::fmt;

use colloquy_flow::Redaction;

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `file:line:column`, the environment variable, or the flag.
    pub(crate) place: String,
    /// The setting.
    pub(crate) key: String,
    /// What is wrong, with the value.
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}\n  fix: {}", self.place, self.key, self.problem, self.fix)
    }
}

/// A value as faults repeat it: without what looks like a secret.
pub(super) fn shown(value: &str) -> String {
    format!("`{}`", Redaction::default().text(value))
}

/// What reading settings brings besides their values.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What is wrong.
    pub(super) faults: Vec<Fault>,
    /// Every table that was read, as its lines in a settings file.
    pub(super) tables: Vec<(String, Vec<String>)>,
}

impl Report {
    pub(super) fn fault(
        &mut self,
        place: impl Into<String>,
        key: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (place, key, problem, fix) = (place.into(), key.into(), problem.into(), fix.into());
        self.faults.push(Fault { place, key, problem, fix });
    }

    /// Notes that a table is there, though it may hold nothing.
    pub(super) fn table(&mut self, table: &str) {
        if self.tables.iter().all(|(name, _)| name != table) {
            self.tables.push((table.to_owned(), Vec::new()));
        }
    }

    /// Notes what a key of a table holds, as TOML writes it, and where it comes from.
    pub(super) fn holds(&mut self, table: &str, line: &str, place: &str) {
        let line = format!("{line} # {place}");
        match self.tables.iter_mut().find(|(name, _)| name == table) {
            Some((_, lines)) => lines.push(line),
            None => self.tables.push((table.to_owned(), vec![line])),
        }
    }
}
