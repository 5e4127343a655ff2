//! Admission: how many calls may be in flight, per process, per tenant and per conversation, how many may come in a
//! time, and how many turns are carried out at once.
//!
//! A [`Permit`] travels inside the message and gives its places back when dropped, wherever that is:
//! with the reply, with a dead actor's mailbox, or with a caller that went away before sending.

mod caller;
mod delay;
mod rates;
mod slots;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::Instant;

pub(crate) use self::caller::Caller;
pub use self::rates::Rate;
use self::{
    delay::Shedding,
    rates::Buckets,
    slots::{NoSlot, Slot, Slots},
};
use crate::{
    error::{DeadlineOutcome, Error, LimitKind, RateOf},
    settings::Limits,
};

/// How soon a refused caller should try again at the soonest; a turn takes well under this. And at the latest.
const RETRY_SOONEST: Duration = Duration::from_millis(50);
const RETRY_LATEST: Duration = Duration::from_secs(5);
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
    /// Bytes of its input, and the count they are in.
    bytes: usize,
    held_bytes: Arc<AtomicUsize>,
    /// Of a turn that is being carried out.
    slot: Option<TurnSlot>,
}

impl Permit {
    /// Keeps the slot of the turn that this permit is for.
    pub(crate) fn keep_slot(&mut self, slot: Option<TurnSlot>) {
        self.slot = slot;
    }

    /// Gives the slot back of a turn that waits for something else than the cores.
    fn give_slot(&mut self) {
        self.slot = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.conversation.give();
        self.tenant.give();
        self.global.give();
    }
}

/// The right of a turn to be carried out now. Gives itself back when dropped, or as soon as the turn waits for a call outside.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct TurnSlot(#[expect(dead_code, reason = "held for its drop")] Arc<Slot>);

/// How many turns are carried out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnSlots {
    /// How many are; one that waits for a call outside, or behind another, is not.
    pub held: usize,
    /// How many may be now.
    pub limit: usize,
    /// How many wait for it.
    pub waiting: usize,
}

/// Hands out permits.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    global: Arc<Count>,
    bytes: Arc<AtomicUsize>,
    tenants: DashMap<Box<str>, Arc<Count>>,
    tenant_rates: Buckets,
    peer_rates: Buckets,
    shedding: Shedding,
    slots: Arc<Slots>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            global: Arc::default(),
            bytes: Arc::default(),
            tenants: DashMap::new(),
            tenant_rates: Buckets::new(limits.tenant_rate),
            peer_rates: Buckets::new(limits.peer_rate),
            shedding: Shedding::new(limits.wait_target, limits.in_flight_max.get()),
            slots: Arc::new(Slots::new(limits.at_once_min.get(), limits.in_flight_max.get())),
            limits,
        }
    }

    /// Takes a place of each kind, or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] names the first limit that is reached.
    pub(crate) fn admit(&self, tenant: &str, conversation: &Arc<Count>, bytes: usize) -> Result<Permit, Error> {
        let refused = |limit, bound| Error::Overloaded { limit, bound, retry_after: self.retry_after() };
        let limit = self.shedding.limit(self.global.get());
        if !self.global.take(limit) {
            return Err(self.overloaded(limit));
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
        let (conversation, held_bytes) = (Arc::clone(conversation), Arc::clone(&self.bytes));
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // From here on its drop gives everything back.
        let (global, tenant, slot) = (Arc::clone(&self.global), tenant_count, None);
        let permit = Permit { global, tenant, conversation, bytes, held_bytes, slot };
        let bytes_max = self.limits.queue_bytes_max.get();
        if held > bytes_max {
            return Err(refused(LimitKind::Bytes, bytes_max));
        }
        Ok(permit)
    }

    /// Waits until a turn may be carried out. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many wait as may, or when it could not begin before the deadline;
    /// [`Error::DeadlineExceeded`] when it has not.
    pub(crate) async fn turn_slot(&self, deadline: Instant) -> Result<TurnSlot, Error> {
        if let Some(slot) = self.free_turn_slot() {
            return Ok(slot);
        }
        let in_flight = self.global.get();
        let limit = self.shedding.limit(in_flight);
        if in_flight + self.slots.waiting() >= limit {
            return Err(self.overloaded(limit));
        }
        let slot = self.slots.enter(deadline).await.map_err(|none| match none {
            NoSlot::TooLate { waiting, expected } => Error::Overloaded {
                limit: LimitKind::Deadline,
                bound: waiting,
                retry_after: self.retry_after().max(expected).min(RETRY_LATEST),
            },
            NoSlot::Expired => Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied },
        })?;
        Ok(TurnSlot(Arc::new(slot)))
    }

    /// A slot, if one is free.
    pub(crate) fn free_turn_slot(&self) -> Option<TurnSlot> {
        self.slots.try_enter().map(|slot| TurnSlot(Arc::new(slot)))
    }

    /// The refusal of a call beyond what may be in flight now.
    fn overloaded(&self, bound: usize) -> Error {
        let limit = if bound < self.limits.in_flight_max.get() { LimitKind::Shedding } else { LimitKind::Global };
        Error::Overloaded { limit, bound, retry_after: self.retry_after() }
    }

    /// Takes a token of the tenant.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn rate_tenant(&self, tenant: &str) -> Result<(), Error> {
        let refused = |retry_after| Error::RateLimited { of: RateOf::Tenant, retry_after };
        self.tenant_rates.take(tenant).map_err(refused)
    }

    /// Takes a token of the peer.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn rate_peer(&self, peer: IpAddr) -> Result<(), Error> {
        if self.limits.peer_rate.is_none() {
            return Ok(());
        }
        let refused = |retry_after| Error::RateLimited { of: RateOf::Peer, retry_after };
        self.peer_rates.take(&peer_name(peer)).map_err(refused)
    }

    /// Notes how long a call waited between the door and its actor.
    pub(crate) fn waited(&self, wait: Duration) {
        self.shedding.waited(wait);
    }

    /// When a refused caller should try again: twice what those who are let in wait.
    pub(crate) fn retry_after(&self) -> Duration {
        (self.standing() * 2).clamp(RETRY_SOONEST, RETRY_LATEST)
    }

    /// Calls in flight in this process.
    pub(crate) fn in_flight(&self) -> usize {
        self.global.get()
    }

    /// How many calls may be in flight now.
    pub(crate) fn limit(&self) -> usize {
        self.shedding.limit(self.global.get())
    }

    /// How long calls wait on average, as measured last: to be carried out, and for their actor.
    pub(crate) fn standing(&self) -> Duration {
        self.shedding.standing() + self.slots.expected()
    }

    /// Turns that are being carried out, that may be at once, and that wait for it.
    pub(crate) fn slots(&self) -> TurnSlots {
        TurnSlots { held: self.slots.held(), limit: self.slots.limit(), waiting: self.slots.waiting() }
    }

    /// Bytes of input of the calls in flight.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
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

/// What tells peers apart: the address, or of IPv6 the part that a provider gives to one customer.
fn peer_name(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn limits(global: usize, tenant: usize, conversation: usize) -> Limits {
        let bound = |n| NonZeroUsize::new(n).unwrap();
        Limits {
            in_flight_max: bound(global),
            tenant_in_flight_max: bound(tenant),
            queue_len_max: bound(conversation),
            ..Limits::default()
        }
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
        let first = admission.admit("acme", &a, 0).unwrap();
        assert_eq!(refusal(admission.admit("acme", &a, 0)), LimitKind::Conversation);
        let _second = admission.admit("acme", &b, 0).unwrap();
        let c = Arc::default();
        assert_eq!(refusal(admission.admit("acme", &c, 0)), LimitKind::Tenant);
        let _third = admission.admit("other", &c, 0).unwrap();
        assert_eq!(refusal(admission.admit("third", &Arc::default(), 0)), LimitKind::Global);
        assert_eq!(admission.in_flight(), 3);
        drop(first);
        assert_eq!((admission.in_flight(), a.get()), (2, 0));
        let _again = admission.admit("acme", &a, 0).unwrap();
    }

    #[test]
    fn input_is_bounded_in_bytes_and_given_back() {
        let limits = Limits { queue_bytes_max: NonZeroUsize::new(100).unwrap(), ..limits(9, 9, 9) };
        let (admission, conversation) = (Admission::new(limits), Arc::default());
        let held = admission.admit("acme", &conversation, 60).unwrap();
        assert_eq!(refusal(admission.admit("acme", &conversation, 41)), LimitKind::Bytes);
        assert_eq!((admission.bytes(), admission.in_flight(), conversation.get()), (60, 1, 1), "it keeps no place");
        drop(held);
        assert_eq!((admission.bytes(), admission.in_flight()), (0, 0));
    }

    #[test]
    fn a_peer_is_an_address_or_a_network_of_one_customer() {
        let name = |text: &str| peer_name(text.parse().unwrap());
        assert_eq!(name("::ffff:192.0.2.7"), name("192.0.2.7"));
        assert_eq!(name("2001:db8:1:2:3::4"), name("2001:db8:1:2:ffff::9"));
        assert_ne!(name("2001:db8:1:2::4"), name("2001:db8:1:3::4"));
    }

    #[test]
    fn tenants_without_calls_are_forgotten() {
        let admission = Admission::new(limits(usize::MAX >> 1, 10, 10));
        let kept = admission.admit("kept", &Arc::default(), 0).unwrap();
        for n in 0..TENANTS_SWEEP_AT * 3 {
            drop(admission.admit(&format!("t{n}"), &Arc::default(), 0).unwrap());
        }
        assert!(admission.tenants.len() <= TENANTS_SWEEP_AT);
        assert!(admission.tenants.contains_key("kept"));
        drop(kept);
    }
}
