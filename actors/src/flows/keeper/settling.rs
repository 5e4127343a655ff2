//! What becomes of a write whose ending is not known: the stream is read again until it tells, whether its caller asks
//! again or not.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use colloquy_types::TenantId;
use ractor::ActorRef;
use tokio::time::Instant;

use super::{Keeper, Message, State};
use crate::error::Error;

/// How long after a failure streams are read again, and how long reading one may take.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// The tenants whose streams may say something else than the catalogue. Outlives the keeper: one that dies within a
/// write leaves its tenant here.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<BTreeSet<TenantId>>);

impl Unsettled {
    fn with<T>(&self, with: impl FnOnce(&mut BTreeSet<TenantId>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tenant's stream may be written to.
    pub(super) fn begin(&self, tenant: &TenantId) {
        self.with(|tenants| tenants.insert(tenant.clone()));
    }

    fn end(&self, tenant: &TenantId) {
        self.with(|tenants| tenants.remove(tenant));
    }

    /// The one behind `tenant`, and after the last one the first.
    fn behind(&self, tenant: Option<&TenantId>) -> Option<TenantId> {
        self.with(|tenants| tenants.iter().find(|other| Some(*other) > tenant).or(tenants.first()).cloned())
    }
}

impl Keeper {
    /// After a failure of the store the streams are dropped, and read again: whether it was written is not known.
    pub(super) fn ended<T>(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        tenant: &TenantId,
        ended: &Result<T, Error>,
    ) {
        let store_failed = matches!(
            ended,
            Err(Error::StoreUnavailable | Error::DiskFull | Error::Restarted | Error::DeadlineExceeded { .. })
        );
        if !store_failed {
            return self.shared.flows.unsettled().end(tenant);
        }
        let tenants = state.tenants.take().map(|(stream, _)| stream);
        for stream in state.streams.remove(tenant).into_iter().chain(tenants) {
            stream.release(self.shared.store.as_ref());
        }
        self.settle_in(PAUSE, myself, state);
    }

    /// Begins to read again what may have been written.
    pub(super) fn settle_in(&self, pause: Duration, myself: &ActorRef<Message>, state: &mut State) {
        if !state.settles && self.shared.flows.unsettled().behind(None).is_some() {
            state.settles = true;
            drop(myself.send_after(pause, || Message::Settle));
        }
    }

    /// Reads one stream again, and goes on with the next: callers do not wait for all of them, nor they for one that cannot
    /// be read.
    pub(super) async fn settle(&self, myself: &ActorRef<Message>, state: &mut State) {
        state.settles = false;
        let Some(tenant) = self.shared.flows.unsettled().behind(state.settled_last.as_ref()) else { return };
        let read = self.stream(state, &tenant, Instant::now() + READ_DEADLINE).await.map(drop);
        match &read {
            Ok(()) => tracing::info!(%tenant, "its flows were read again after a failure"),
            Err(error) => tracing::warn!(%tenant, %error, "its flows cannot be read again yet"),
        }
        self.ended(myself, state, &tenant, &read);
        state.settled_last = Some(tenant);
        self.settle_in(Duration::ZERO, myself, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_read_does_not_keep_the_others_back() {
        let (unsettled, tenant) = (Unsettled::default(), |name: &str| TenantId::parse(name).unwrap());
        assert_eq!(unsettled.behind(None), None);
        let all = ["acme", "beta", "gamma"].map(tenant);
        all.iter().for_each(|tenant| unsettled.begin(tenant));
        let [acme, beta, gamma] = &all;
        let behind = |last| unsettled.behind(last).unwrap();
        assert_eq!(behind(None), *acme);
        assert_eq!(
            (behind(Some(acme)), behind(Some(beta)), behind(Some(gamma))),
            (beta.clone(), gamma.clone(), acme.clone())
        );
        unsettled.end(beta);
        assert_eq!((behind(Some(acme)), behind(Some(beta))), (gamma.clone(), gamma.clone()));
    }
}
