//! The flows that conversations run: what is given and what is promoted, by tenant and name, and every revision that a
//! conversation may still be pinned to.
//!
//! Everything here is compiled and in memory. A turn compares one number to learn that nothing was promoted since
//! its conversation looked last; only after a promotion does it look again.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use colloquy_flow::Flow;
use colloquy_types::{Revision, SHARED_TENANT, TenantId};

use super::{
    keeper::Unsettled,
    pauses::{Pauses, TrafficPause},
    record::PauseDecision,
    revision::{FlowRevision, Promotion},
};
use crate::error::Error;

/// Flows by tenant and name, and by revision. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct FlowCatalogue {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tenants: RwLock<HashMap<String, TenantFlows>>,
    pauses: Pauses,
    unsettled: Unsettled,
    /// Raised by each promotion and each pause or end of one, after it holds.
    generation: AtomicU64,
    found: AtomicU64,
    absent: AtomicU64,
}

/// What one tenant has.
#[derive(Debug, Default)]
struct TenantFlows {
    /// Built in, or of a folder.
    given: HashMap<String, Arc<Flow>>,
    /// Promoted; nothing inside when this build cannot compile what was promoted.
    promoted: HashMap<String, (Revision, Option<Arc<Flow>>)>,
    compiled: HashMap<Revision, Arc<Flow>>,
    /// Every revision once, by rising number.
    revisions: Vec<Arc<FlowRevision>>,
    /// Every promotion, by rising number.
    promotions: Vec<Arc<Promotion>>,
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

/// How often a compiled revision was looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupStats {
    /// It was there.
    pub found: u64,
    /// It was not: unknown, or not compiled by this build.
    pub absent: u64,
}

impl FlowCatalogue {
    /// An empty catalogue.
    pub fn new() -> Self {
        Self::default()
    }

    fn change<T>(&self, tenant: &str, change: impl FnOnce(&mut TenantFlows) -> T) -> T {
        let mut tenants = self.inner.tenants.write().unwrap_or_else(PoisonError::into_inner);
        change(tenants.entry(tenant.to_owned()).or_default())
    }

    fn read<T>(&self, tenant: &str, read: impl FnOnce(&TenantFlows) -> T) -> Option<T> {
        let tenants = self.inner.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(tenant).map(read)
    }

    fn counted<T>(&self, found: Option<T>) -> Option<T> {
        let count = if found.is_some() { &self.inner.found } else { &self.inner.absent };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Gives `tenant` a flow: the current one of its name, unless one is promoted.
    pub fn insert(&self, tenant: &str, flow: Arc<Flow>) {
        self.change(tenant, |flows| {
            flows.compiled.insert(flow.revision(), Arc::clone(&flow));
            flows.given.insert(flow.name().to_string(), flow);
        });
    }

    /// Replaces what is known of a tenant's stream.
    pub(super) fn restore(
        &self,
        tenant: &TenantId,
        revisions: Vec<Arc<FlowRevision>>,
        promotions: Vec<Arc<Promotion>>,
        pauses: Vec<PauseDecision>,
    ) {
        self.inner.pauses.restore(tenant, pauses);
        self.change(tenant.as_str(), |flows| {
            flows.revisions.clear();
            revisions.into_iter().for_each(|revision| flows.publish(revision));
            flows.promoted.clear();
            promotions.iter().for_each(|promotion| flows.promote(promotion));
            flows.promotions = promotions;
        });
        self.inner.generation.fetch_add(1, Ordering::Release);
    }

    /// Adds a revision; one that was published before is replaced, scenarios and all.
    pub(super) fn publish(&self, tenant: &str, revision: Arc<FlowRevision>) {
        self.change(tenant, |flows| flows.publish(revision));
    }

    /// Makes a published revision the one that `tenant`'s conversations run.
    pub(super) fn promote(&self, tenant: &str, promotion: Arc<Promotion>) {
        self.change(tenant, |flows| {
            flows.promote(&promotion);
            flows.promotions.push(promotion);
        });
        self.inner.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes up a pause, or the end of one; gives the pause, when it is one.
    pub(super) fn decide_pause(&self, tenant: &TenantId, decision: PauseDecision) -> Option<Arc<TrafficPause>> {
        let pause = self.inner.pauses.decide(tenant, decision);
        self.inner.generation.fetch_add(1, Ordering::Release);
        pause
    }

    /// What takes no turns.
    pub(crate) fn pauses(&self) -> &Pauses {
        &self.inner.pauses
    }

    /// Whose stream may say something else than this.
    pub(super) fn unsettled(&self) -> &Unsettled {
        &self.inner.unsettled
    }

    /// Raised by each promotion and pause: as long as it is the same, nothing was promoted, paused or resumed.
    pub(crate) fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// The current flows, in order of tenant and name.
    pub fn current_flows(&self) -> Vec<CurrentFlow> {
        let tenants = self.inner.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        for (tenant, flows) in tenants.iter() {
            let row = |name: &String, revision| CurrentFlow { tenant: tenant.clone(), name: name.clone(), revision };
            let given = flows.given.iter().filter(|(name, _)| !flows.promoted.contains_key(*name));
            rows.extend(given.map(|(name, flow)| row(name, flow.revision())));
            rows.extend(flows.promoted.iter().map(|(name, (revision, _))| row(name, *revision)));
        }
        rows.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
        rows
    }

    /// How often a compiled revision was looked for.
    pub fn lookups(&self) -> LookupStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LookupStats { found: load(&self.inner.found), absent: load(&self.inner.absent) }
    }

    /// What new conversations of the tenant run under this name: what it promoted, or else what it was given, or
    /// else the shared flow.
    pub(crate) fn current(&self, tenant: &str, name: &str) -> Option<Found> {
        let own = self.read(tenant, |flows| match flows.promoted.get(name) {
            Some((_, flow)) => Some(flow.clone()),
            None => flows.given.get(name).map(|flow| Some(Arc::clone(flow))),
        });
        let found = match own.flatten() {
            Some(flow) => flow.map(|flow| Found { tenant: tenant.to_owned(), flow }),
            None => {
                let shared = self.read(SHARED_TENANT, |flows| flows.given.get(name).cloned()).flatten();
                shared.map(|flow| Found { tenant: SHARED_TENANT.to_owned(), flow })
            }
        };
        self.counted(found)
    }

    /// A compiled revision that conversations of the tenant may run: its own, or a shared one.
    pub(crate) fn compiled(&self, tenant: &str, revision: Revision) -> Option<Arc<Flow>> {
        let of = |owner: &str| self.read(owner, |flows| flows.compiled.get(&revision).cloned()).flatten();
        of(tenant).or_else(|| of(SHARED_TENANT))
    }

    /// Whether a revision is what new conversations of the tenant would run under its flow's name.
    pub(crate) fn is_current(&self, tenant: &str, revision: Revision) -> bool {
        let current = self.compiled(tenant, revision).and_then(|flow| self.current(tenant, flow.name().as_str()));
        current.is_some_and(|found| found.flow.revision() == revision)
    }

    /// What the tenant promoted under this name.
    pub(crate) fn promoted(&self, tenant: &str, name: &str) -> Option<Arc<Flow>> {
        self.read(tenant, |flows| flows.promoted.get(name)?.1.clone()).flatten()
    }

    /// What conversations of the tenant may move to under this name: what is promoted, unless it is paused.
    pub(crate) fn open_to(&self, tenant: &str, name: &str) -> Option<Arc<Flow>> {
        let promoted = self.promoted(tenant, name)?;
        self.inner.pauses.of_revision(tenant, promoted.revision()).is_none().then_some(promoted)
    }

    /// The revision that the tenant promoted under this name, compiled or not.
    pub(crate) fn promoted_revision(&self, tenant: &str, name: &str) -> Option<Revision> {
        self.read(tenant, |flows| flows.promoted.get(name).map(|(revision, _)| *revision)).flatten()
    }

    /// A compiled revision that `owner` has.
    pub(crate) fn revision(&self, owner: &str, revision: Revision) -> Option<Arc<Flow>> {
        self.counted(self.read(owner, |flows| flows.compiled.get(&revision).cloned()).flatten())
    }

    /// A published revision.
    pub(crate) fn published(&self, tenant: &str, revision: Revision) -> Option<Arc<FlowRevision>> {
        self.read(tenant, |flows| flows.revisions.iter().find(|known| known.revision == revision).cloned()).flatten()
    }

    /// The one published revision of a flow whose hash begins with these hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::RevisionAbsent`] and [`Error::RevisionAmbiguous`].
    pub(crate) fn resolve(&self, tenant: &str, name: &str, digits: &str) -> Result<Arc<FlowRevision>, Error> {
        let begins =
            |known: &&Arc<FlowRevision>| known.name.as_str() == name && known.revision.to_string().starts_with(digits);
        let matching: Option<Vec<_>> =
            self.read(tenant, |flows| flows.revisions.iter().filter(begins).take(2).cloned().collect());
        match matching.unwrap_or_default().as_slice() {
            [] => Err(Error::RevisionAbsent { flow: name.to_owned(), revision: digits.to_owned() }),
            [one] => Ok(Arc::clone(one)),
            _ => Err(Error::RevisionAmbiguous { digits: digits.to_owned() }),
        }
    }

    /// Published revisions below a number, the latest first.
    pub(crate) fn revisions(&self, tenant: &str, name: &str, below: u64, limit: usize) -> Vec<Arc<FlowRevision>> {
        let of = |flows: &TenantFlows| {
            let wanted =
                |known: &&Arc<FlowRevision>| known.number < below && (name.is_empty() || known.name.as_str() == name);
            flows.revisions.iter().rev().filter(wanted).take(limit).cloned().collect()
        };
        self.read(tenant, of).unwrap_or_default()
    }

    /// Promotions below a number, the latest first.
    pub(crate) fn promotions(&self, tenant: &str, name: &str, below: u64, limit: usize) -> Vec<Arc<Promotion>> {
        let of = |flows: &TenantFlows| {
            let wanted =
                |known: &&Arc<Promotion>| known.number < below && (name.is_empty() || known.flow.as_str() == name);
            flows.promotions.iter().rev().filter(wanted).take(limit).cloned().collect()
        };
        self.read(tenant, of).unwrap_or_default()
    }
}

impl TenantFlows {
    fn publish(&mut self, revision: Arc<FlowRevision>) {
        if let Some(flow) = &revision.flow {
            self.compiled.entry(revision.revision).or_insert_with(|| Arc::clone(flow));
        }
        self.revisions.retain(|known| known.revision != revision.revision);
        self.revisions.push(revision);
    }

    fn promote(&mut self, promotion: &Promotion) {
        let flow = self.compiled.get(&promotion.to).cloned();
        self.promoted.insert(promotion.flow.to_string(), (promotion.to, flow));
    }
}
