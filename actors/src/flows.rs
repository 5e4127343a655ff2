//! The flows that conversations run: the current revision of each name, and every revision that a
//! conversation may still be pinned to. Read when a conversation is created or activated, never per turn.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use colloquy_flow::Flow;
use colloquy_types::{Revision, SHARED_TENANT};

/// Flows by tenant and name, and by revision. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct FlowCatalogue {
    tables: Arc<RwLock<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    current: HashMap<(String, String), Arc<Flow>>,
    revisions: HashMap<(String, Revision), Arc<Flow>>,
}

/// A flow and the tenant whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) tenant: String,
    pub(crate) flow: Arc<Flow>,
}

/// One row of [`FlowCatalogue::current_flows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentFlow {
    /// The tenant whose flow it is; [`SHARED_TENANT`] for the built-in ones.
    pub tenant: String,
    /// The flow's name.
    pub name: String,
    /// The revision that new conversations run.
    pub revision: Revision,
}

impl FlowCatalogue {
    /// An empty catalogue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `flow` the current revision of its name for `tenant`.
    pub fn insert(&self, tenant: &str, flow: Arc<Flow>) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.revisions.insert((tenant.to_owned(), flow.revision()), Arc::clone(&flow));
        tables.current.insert((tenant.to_owned(), flow.name().to_string()), flow);
    }

    /// Keeps `flow` for the conversations pinned to it, without making it current.
    pub fn insert_pinned(&self, tenant: &str, flow: Arc<Flow>) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.revisions.insert((tenant.to_owned(), flow.revision()), flow);
    }

    /// The current flows, in order of tenant and name.
    pub fn current_flows(&self) -> Vec<CurrentFlow> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> = tables
            .current
            .iter()
            .map(|((tenant, name), flow)| CurrentFlow {
                tenant: tenant.clone(),
                name: name.clone(),
                revision: flow.revision(),
            })
            .collect();
        rows.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
        rows
    }

    /// The tenant's own flow of this name, or else the shared one.
    pub(crate) fn current(&self, tenant: &str, name: &str) -> Option<Found> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        [tenant, SHARED_TENANT].into_iter().find_map(|owner| {
            let flow = tables.current.get(&(owner.to_owned(), name.to_owned()))?;
            Some(Found { tenant: owner.to_owned(), flow: Arc::clone(flow) })
        })
    }

    pub(crate) fn revision(&self, owner: &str, revision: Revision) -> Option<Arc<Flow>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.revisions.get(&(owner.to_owned(), revision)).cloned()
    }
}
