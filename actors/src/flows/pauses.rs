//! Which tenants, and which revisions that their conversations run, take no turns: what the tenants' streams say of it.
//!
//! A turn asks when it begins. As long as nothing at all is paused that reads one number; otherwise it takes a lock for
//! reading, which only the keeper of the flows ever takes for writing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use colloquy_turn::Remembered;
use colloquy_types::{FlowName, Revision, TenantId, Timestamp};

use super::record::PauseDecision;
use crate::conversation::{EndingKind, Known, Window, hash16};

/// Characters of a pause's reason that its refusals tell.
const REASON_CHARS_TOLD: usize = 120;

/// A revision as a tenant's conversations run it, its own or a shared one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedRevision {
    /// The flow's name.
    pub flow: FlowName,
    /// The revision.
    pub revision: Revision,
}

/// Turns that are refused until they are resumed: all of a tenant, or those of its conversations that run a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficPause {
    /// Its place in the tenant's stream: later ones have higher numbers.
    pub number: u64,
    /// Whose turns.
    pub tenant: TenantId,
    /// Of which revision; none for all of them.
    pub revision: Option<PausedRevision>,
    /// Since when.
    pub since: Timestamp,
    /// Who paused it, as the caller said.
    pub by: String,
    /// Why, as the caller said.
    pub reason: String,
}

impl TrafficPause {
    /// What is paused: `tenant`, or `tenant/flow/revision`. Lists are in its order.
    pub fn place(&self) -> String {
        match &self.revision {
            None => self.tenant.to_string(),
            Some(PausedRevision { flow, revision }) => format!("{}/{flow}/{revision}", self.tenant),
        }
    }

    /// Why, as far as a refusal tells it.
    pub fn reason_told(&self) -> String {
        self.reason.chars().take(REASON_CHARS_TOLD).collect()
    }

    /// What is paused, in words. Why is what somebody wrote, and not for logs.
    pub(crate) fn words(&self) -> String {
        match &self.revision {
            None => "turns of the tenant are paused".to_owned(),
            Some(PausedRevision { flow, revision }) => format!("revision {revision} of flow {flow} is paused"),
        }
    }
}

/// The pauses of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// How many hold.
    holding: AtomicUsize,
    tenants: RwLock<BTreeMap<String, TenantPauses>>,
}

#[derive(Debug, Default)]
struct TenantPauses {
    whole: Option<Arc<TrafficPause>>,
    revisions: BTreeMap<Revision, Arc<TrafficPause>>,
    /// The requests that paused and resumed.
    requests: Window,
}

impl Pauses {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, TenantPauses>)) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut tenants);
        let holding = tenants.values().map(|one| one.revisions.len() + usize::from(one.whole.is_some())).sum();
        self.holding.store(holding, Ordering::Release);
    }

    fn read<T>(&self, tenant: &TenantId, read: impl FnOnce(&TenantPauses) -> T) -> Option<T> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant.as_str()).map(read)
    }

    /// Replaces what is known of a tenant's pauses.
    pub(super) fn restore(&self, tenant: &TenantId, decisions: Vec<PauseDecision>) {
        self.change(|tenants| {
            let mut restored = TenantPauses::default();
            decisions.into_iter().for_each(|decision| drop(restored.decide(tenant, decision)));
            tenants.insert(tenant.to_string(), restored);
        });
    }

    /// Takes up a decision; gives the pause, when it is one.
    pub(super) fn decide(&self, tenant: &TenantId, decision: PauseDecision) -> Option<Arc<TrafficPause>> {
        let mut pause = None;
        self.change(|tenants| pause = tenants.entry(tenant.to_string()).or_default().decide(tenant, decision));
        pause
    }

    /// What has turns of the tenant refused that would run this revision.
    pub(crate) fn of(&self, tenant: &str, revision: Revision) -> Option<Arc<TrafficPause>> {
        self.find(tenant, |pauses| pauses.whole.as_ref().or_else(|| pauses.revisions.get(&revision)))
    }

    /// The pause of the tenant's revision, whether or not all of the tenant is paused.
    pub(crate) fn of_revision(&self, tenant: &str, revision: Revision) -> Option<Arc<TrafficPause>> {
        self.find(tenant, |pauses| pauses.revisions.get(&revision))
    }

    fn find(
        &self,
        tenant: &str,
        find: impl FnOnce(&TenantPauses) -> Option<&Arc<TrafficPause>>,
    ) -> Option<Arc<TrafficPause>> {
        if self.holding.load(Ordering::Acquire) == 0 {
            return None;
        }
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(tenant).and_then(find).cloned()
    }

    /// The pause of exactly this: of a revision, or of all of the tenant.
    pub(super) fn exactly(&self, tenant: &TenantId, of: Option<&PausedRevision>) -> Option<Arc<TrafficPause>> {
        let held = |pauses: &TenantPauses| match of {
            None => pauses.whole.clone(),
            Some(of) => pauses.revisions.get(&of.revision).cloned(),
        };
        self.read(tenant, held).flatten()
    }

    /// What is paused of the tenant.
    pub(super) fn of_tenant(&self, tenant: &TenantId) -> Vec<Arc<TrafficPause>> {
        let all = |pauses: &TenantPauses| pauses.whole.iter().chain(pauses.revisions.values()).cloned().collect();
        self.read(tenant, all).unwrap_or_default()
    }

    /// Takes note of a request that found things as it wanted them.
    pub(super) fn remember(&self, tenant: &TenantId, request: Remembered) {
        self.change(|tenants| tenants.entry(tenant.to_string()).or_default().requests.remember(request));
    }

    /// What became of a request to pause or to resume.
    pub(super) fn known(&self, tenant: &TenantId, request_hash: &[u8; 16], request_digest: &[u8; 16]) -> Known {
        self.read(tenant, |pauses| pauses.requests.look_up(request_hash, request_digest)).unwrap_or(Known::No)
    }

    /// What is paused, of `tenant` or of all, behind the place `after`, in the order of places.
    pub(crate) fn list(&self, tenant: Option<&str>, after: Option<&str>, limit: usize) -> Vec<Arc<TrafficPause>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = tenants.iter().filter(|(owner, _)| tenant.is_none_or(|tenant| *owner == tenant));
        let held = wanted.flat_map(|(_, pauses)| pauses.whole.iter().chain(pauses.revisions.values()));
        let placed = held.map(|pause| (pause.place(), Arc::clone(pause)));
        let mut rows: Vec<_> = placed.filter(|(place, _)| after.is_none_or(|after| place.as_str() > after)).collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.truncate(limit);
        rows.into_iter().map(|(_, pause)| pause).collect()
    }

    /// How many hold.
    pub(crate) fn len(&self) -> usize {
        self.holding.load(Ordering::Acquire)
    }
}

impl TenantPauses {
    fn decide(&mut self, tenant: &TenantId, decision: PauseDecision) -> Option<Arc<TrafficPause>> {
        let PauseDecision { number, at, paused, revision, by, reason, request_id, request_digest } = decision;
        let kind = if paused { EndingKind::Paused } else { EndingKind::Resumed };
        let request_hash = hash16(request_id.as_bytes());
        self.requests.remember(Remembered { request_hash, request_digest, turn_seq: number, kind: kind.to_byte() });
        let of = revision.as_ref().map(|of| of.revision);
        let held = TrafficPause { number, tenant: tenant.clone(), revision, since: at, by, reason };
        let pause = paused.then(|| Arc::new(held));
        match (of, pause.clone()) {
            (None, pause) => self.whole = pause,
            (Some(of), Some(pause)) => drop(self.revisions.insert(of, pause)),
            (Some(of), None) => drop(self.revisions.remove(&of)),
        }
        pause
    }
}
