//! How much of a flow its checks and scenarios hold in place.
//!
//! Each row is deleted, one at a time, and the rest is loaded, linted and played. A deletion that nothing
//! notices is a row that is not needed, or one that no scenario shows the need for.

mod rows;

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use self::rows::Row;
pub use self::rows::Which;
use crate::{
    fault::Fault,
    load,
    node::Node,
    scenario::{Failure, Scenario, Suite, in_parallel, load_folders_scenarios},
};

/// Why the deletions of a flow tell nothing.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// The flow or its scenarios have faults as they are.
    #[error("the flow or its scenarios have faults")]
    Faults(Vec<Fault>),
    /// A scenario fails while nothing is deleted.
    #[error("nothing was deleted yet, and {0}")]
    Failing(Box<Failure>),
}

/// Who noticed that a row was gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// A check: the id of a fault that was not there before.
    Lint(&'static str),
    /// A scenario: its name, and the turn that came out otherwise, from 1.
    Scenario(String, usize),
}

/// A row that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Where in the flow: `rules[to-confirm].then[1]`.
    pub row: String,
    /// What stood there, shortened.
    pub text: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// Its column, from 1.
    pub column: u64,
    /// Who noticed.
    pub noticed: Option<Noticed>,
}

/// Every single-row deletion of a flow.
#[derive(Clone, Debug)]
pub struct Deletions {
    /// The flow.
    pub flow: String,
    /// The deletions, in the order of their places in the flow.
    pub rows: Vec<Deletion>,
}

impl Deletions {
    /// Deletes each row of the flow in `folder`, on at most `jobs` threads. Calls `each` after each with how many
    /// are done, and how many there are.
    ///
    /// # Errors
    /// [`DeletionError`] when the flow or its scenarios are not sound as they are.
    pub fn of(
        folder: &Path,
        which: Which,
        jobs: NonZeroUsize,
        each: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, DeletionError> {
        // On a thread of its own, as loading needs.
        let sound = in_parallel(&[folder], NonZeroUsize::MIN, |folder| Sound::load(folder)).pop();
        let sound = sound.unwrap_or_else(|| Err(DeletionError::Faults(Vec::new())))?;
        let rows = rows::rows(&sound.tree, which);
        let done = AtomicUsize::new(0);
        let deleted = in_parallel(&rows, jobs, |row| {
            let noticed = sound.without(row);
            each(done.fetch_add(1, Ordering::Relaxed) + 1, rows.len());
            noticed.map(|noticed| row.deletion(noticed))
        });
        Ok(Self { flow: sound.suite.loaded.flow.name().to_string(), rows: deleted.into_iter().flatten().collect() })
    }

    /// How many deletions somebody noticed.
    pub fn noticed(&self) -> usize {
        self.rows.iter().filter(|row| row.noticed.is_some()).count()
    }

    /// How many deletions a check noticed before any scenario was played.
    pub fn noticed_by_lint(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.noticed, Some(Noticed::Lint(_)))).count()
    }

    /// The deletions nobody noticed.
    pub fn survivors(&self) -> impl Iterator<Item = &Deletion> {
        self.rows.iter().filter(|row| row.noticed.is_none())
    }
}

/// A flow that is sound as it is.
struct Sound {
    tree: Node,
    suite: Suite,
}

impl Sound {
    fn load(folder: &Path) -> Result<Self, DeletionError> {
        let tree = load::parse_folder(folder).map_err(DeletionError::Faults)?;
        let whole = load::load_tree(&tree).map_err(DeletionError::Faults)?;
        let scenarios: Arc<[Scenario]> = load_folders_scenarios(folder).map_err(DeletionError::Faults)?.into();
        let suite = Suite { loaded: whole, scenarios };
        match suite.first_failure() {
            Some(failure) => Err(DeletionError::Failing(Box::new(failure))),
            None => Ok(Self { tree, suite }),
        }
    }

    /// Who notices that a row is gone. `None` for a key that must be there: that it is missed shows nothing.
    fn without(&self, row: &Row<'_>) -> Option<Option<Noticed>> {
        let loaded = match load::load_tree(&row.deleted_from(&self.tree)) {
            Ok(loaded) => loaded,
            Err(faults) => {
                let required = row.is_key && faults.iter().any(|fault| fault.id == "missing-key");
                return (!required).then(|| faults.first().map(|fault| Noticed::Lint(fault.id)));
            }
        };
        if let Some(warning) = loaded.warnings.iter().find(|warning| !self.suite.loaded.warnings.contains(warning)) {
            return Some(Some(Noticed::Lint(warning.id)));
        }
        let suite = Suite { loaded, scenarios: Arc::clone(&self.suite.scenarios) };
        Some(suite.first_failure().map(|failure| Noticed::Scenario(failure.scenario, failure.turn)))
    }
}
