//! Admission: how many calls may be in flight, per process, per tenant and per conversation.
//!
//! A [`Permit`] travels inside the message and gives its places back when dropped, wherever that is:
//! with the reply, with a dead actor's mailbox, or with a caller that went away before sending.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;

use crate::{
    error::{Error, LimitKind},
    settings::Limits,
};

/// How soon a refused caller should try again. A turn takes well under this.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Tenants without a call in flight are forgotten when more than this many are known.
const TENANTS_SWEEP_AT: usize = 1024;

/// A count with a bound.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    fn take(&self, bound: usize) -> bool {
        // Optimistic: one atomic add on the common path, a second only when refused.
        if self.0.fetch_add(1, Ordering::Relaxed) < bound {
            return true;
        }
        self.give();
        false
    }

    fn give(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The places one call holds.
#[derive(Debug)]
pub(crate) struct Permit {
    global: Arc<Count>,
    tenant: Arc<Count>,
    conversation: Arc<Count>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.conversation.give();
        self.tenant.give();
        self.global.give();
    }
}

/// Hands out permits.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    global: Arc<Count>,
    tenants: DashMap<Box<str>, Arc<Count>>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, global: Arc::default(), tenants: DashMap::new() }
    }

    /// Takes a place of each kind, or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] names the first limit that is reached.
    pub(crate) fn admit(&self, tenant: &str, conversation: &Arc<Count>) -> Result<Permit, Error> {
        let refused = |limit, bound| Error::Overloaded { limit, bound, retry_after: RETRY_AFTER };
        let global_max = self.limits.in_flight_max.get();
        if !self.global.take(global_max) {
            return Err(refused(LimitKind::Global, global_max));
        }
        let tenant_count = self.tenant(tenant);
        let tenant_max = self.limits.tenant_in_flight_max.get();
        if !tenant_count.take(tenant_max) {
            self.global.give();
            return Err(refused(LimitKind::Tenant, tenant_max));
        }
        let queue_max = self.limits.queue_len_max.get();
        if !conversation.take(queue_max) {
            tenant_count.give();
            self.global.give();
            return Err(refused(LimitKind::Conversation, queue_max));
        }
        Ok(Permit { global: Arc::clone(&self.global), tenant: tenant_count, conversation: Arc::clone(conversation) })
    }

    /// Calls in flight in this process.
    pub(crate) fn in_flight(&self) -> usize {
        self.global.get()
    }

    fn tenant(&self, tenant: &str) -> Arc<Count> {
        if let Some(count) = self.tenants.get(tenant) {
            return Arc::clone(&count);
        }
        if self.tenants.len() >= TENANTS_SWEEP_AT {
            // A count that someone else holds too has a permit out, or is about to.
            self.tenants.retain(|_, count| Arc::strong_count(count) > 1);
        }
        Arc::clone(&self.tenants.entry(tenant.into()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn limits(global: usize, tenant: usize, conversation: usize) -> Limits {
        let bound = |n| NonZeroUsize::new(n).unwrap();
        Limits { in_flight_max: bound(global), tenant_in_flight_max: bound(tenant), queue_len_max: bound(conversation) }
    }

    fn refusal(result: Result<Permit, Error>) -> LimitKind {
        match result {
            Err(Error::Overloaded { limit, .. }) => limit,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn each_limit_refuses_by_its_own_name_and_keeps_no_place() {
        let (a, b): (Arc<Count>, Arc<Count>) = Default::default();
        let admission = Admission::new(limits(3, 2, 1));
        let first = admission.admit("acme", &a).unwrap();
        assert_eq!(refusal(admission.admit("acme", &a)), LimitKind::Conversation);
        let _second = admission.admit("acme", &b).unwrap();
        let c = Arc::default();
        assert_eq!(refusal(admission.admit("acme", &c)), LimitKind::Tenant);
        let _third = admission.admit("other", &c).unwrap();
        assert_eq!(refusal(admission.admit("third", &Arc::default())), LimitKind::Global);
        assert_eq!(admission.in_flight(), 3);
        drop(first);
        assert_eq!((admission.in_flight(), a.get()), (2, 0));
        let _again = admission.admit("acme", &a).unwrap();
    }

    #[test]
    fn tenants_without_calls_are_forgotten() {
        let admission = Admission::new(limits(usize::MAX >> 1, 10, 10));
        let kept = admission.admit("kept", &Arc::default()).unwrap();
        for n in 0..TENANTS_SWEEP_AT * 3 {
            drop(admission.admit(&format!("t{n}"), &Arc::default()).unwrap());
        }
        assert!(admission.tenants.len() <= TENANTS_SWEEP_AT);
        assert!(admission.tenants.contains_key("kept"));
        drop(kept);
    }
}
