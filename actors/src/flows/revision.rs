//! What is known of a published revision, and of a promotion.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_types::{FlowName, Revision, Timestamp};

use super::author::FlowFault;

/// A published revision of a flow.
#[derive(Clone, Debug)]
pub struct FlowRevision {
    /// Its place in the tenant's stream: later ones have higher numbers.
    pub number: u64,
    /// The flow's name.
    pub name: FlowName,
    /// The hash that names it.
    pub revision: Revision,
    /// The normalised source.
    pub source: Arc<str>,
    /// Its scenarios; empty when it has none.
    pub scenarios: Arc<str>,
    /// What is not as it must or should be.
    pub faults: Vec<FlowFault>,
    /// The compiled flow, unless there is an error in it.
    pub flow: Option<Arc<Flow>>,
    /// When it was published.
    pub published_at: Timestamp,
    /// Who published it, as the caller said.
    pub published_by: String,
    /// What the caller noted.
    pub note: String,
}

impl FlowRevision {
    /// Whether something of it or of its scenarios keeps it from being used.
    pub fn has_errors(&self) -> bool {
        self.flow.is_none() || self.faults.iter().any(|fault| fault.is_error)
    }
}

/// A revision became the one that its tenant's conversations run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Its place in the tenant's stream: later ones have higher numbers.
    pub number: u64,
    /// The flow's name.
    pub flow: FlowName,
    /// The revision that was promoted before; none at the flow's first promotion.
    pub from: Option<Revision>,
    /// The revision that is promoted now.
    pub to: Revision,
    /// When.
    pub at: Timestamp,
    /// Who promoted it, as the caller said.
    pub by: String,
    /// What the caller noted.
    pub note: String,
}
