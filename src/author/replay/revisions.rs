//! The flows of recorded revisions, compiled from their sources; each once, however many conversations ran it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use colloquy_flow::Flow;
use colloquy_types::Revision;

use crate::{
    fault::Fault,
    load::{load_sources, revision_of},
};

/// Compiled flows that are kept; beyond that all are let go and compiled again as needed.
const FLOWS_MAX: usize = 256;

/// Why a recorded source is not usable as the revision it is given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// The source is another one.
    #[error("the source given for revision {claimed} is that of {found}")]
    Hash {
        /// The revision it is given for.
        claimed: Revision,
        /// The revision it is.
        found: Revision,
    },
    /// This build does not take the source.
    #[error("the source of revision {revision} does not load: {}", first(faults))]
    Faults {
        /// The revision.
        revision: Revision,
        /// Everything that is wrong with it.
        faults: Vec<Fault>,
    },
}

fn first(faults: &[Fault]) -> String {
    faults.first().map(ToString::to_string).unwrap_or_default()
}

/// Flows by revision. Threads may share it.
#[derive(Debug, Default)]
pub struct RevisionCache {
    flows: Mutex<HashMap<Revision, Arc<Flow>>>,
}

impl RevisionCache {
    /// The flow of `revision`, which `source` must be the source of.
    ///
    /// # Errors
    /// [`RevisionError`].
    pub fn load(&self, revision: Revision, source: &str) -> Result<Arc<Flow>, RevisionError> {
        let found = revision_of(source);
        if found != revision {
            return Err(RevisionError::Hash { claimed: revision, found });
        }
        if let Some(flow) = self.flows.lock().unwrap_or_else(PoisonError::into_inner).get(&revision) {
            return Ok(Arc::clone(flow));
        }
        let name = format!("revision {revision}");
        let loaded = load_sources(&name, vec![(name.clone(), source.to_owned())]);
        let flow = loaded.map_err(|faults| RevisionError::Faults { revision, faults })?.flow;
        // The loader normalises; a source that is not as the loader would write it has another hash.
        if flow.revision() != revision {
            return Err(RevisionError::Hash { claimed: revision, found: flow.revision() });
        }
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        if flows.len() >= FLOWS_MAX {
            flows.clear();
        }
        flows.insert(revision, Arc::clone(&flow));
        Ok(flow)
    }
}
