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
use crate::{
    error::{DeadlineOutcome, Error},
    planted::Planted,
};

/// How long after a failure streams are read again, at first and at the longest, and how long reading one may take.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// The tenants whose streams may say something else than the catalogue. Outlives the keeper: one that dies within a
/// write leaves its tenant here.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<BTreeSet<TenantId>>);

impl Unsettled {
    fn with<T>(&self, with: impl FnOnce(&mut BTreeSet<TenantId>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tenant's stream is being written to.
    pub(super) fn begin(&self, tenant: &TenantId) {
        self.with(|tenants| tenants.insert(tenant.clone()));
    }

    /// What it says is known.
    pub(super) fn end(&self, tenant: &TenantId) {
        self.with(|tenants| tenants.remove(tenant));
    }

    /// The one behind `tenant`, and after the last one the first.
    fn behind(&self, tenant: Option<&TenantId>) -> Option<TenantId> {
        self.with(|tenants| tenants.iter().find(|other| Some(*other) > tenant).or(tenants.first()).cloned())
    }
}

impl Keeper {
    /// Drops the streams when it is not known where they end, or they are another's, and sees that they are read again.
    pub(super) fn ended<T>(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        tenant: &TenantId,
        ended: &Result<T, Error>,
    ) {
        let unknown = Error::DeadlineExceeded { outcome: DeadlineOutcome::Unknown };
        if ended
            .as_ref()
            .is_err_and(|error| matches!(error, Error::StoreUnavailable | Error::Restarted) || *error == unknown)
        {
            let tenants = state.tenants.take().map(|(stream, _)| stream);
            for stream in state.streams.remove(tenant).into_iter().chain(tenants) {
                stream.release(self.shared.store.as_ref());
            }
        }
        self.settle_in(PAUSE, myself, state);
    }

    /// Begins to read again what may have been written.
    pub(super) fn settle_in(&self, pause: Duration, myself: &ActorRef<Message>, state: &mut State) {
        if self.shared.is_planted(Planted::ForgetsUnsettled) {
            return;
        }
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
        match self.stream(state, &tenant, Instant::now() + READ_DEADLINE).await {
            Ok(_) => {
                tracing::info!(%tenant, "its flows were read again after a failure");
                state.unread = 0;
            }
            Err(error) => {
                tracing::warn!(%tenant, %error, "its flows cannot be read again yet");
                state.unread = state.unread.saturating_add(1);
            }
        }
        state.settled_last = Some(tenant);
        let pause = match state.unread {
            0 => Duration::ZERO,
            tries => PAUSE.saturating_mul(2_u32.saturating_pow(tries - 1)).min(PAUSE_MAX),
        };
        self.settle_in(pause, myself, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_behind_the_one_before_it() {
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
