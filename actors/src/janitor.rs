//! The janitor: erases conversations in which nothing has happened for longer than their tenant keeps them.
//!
//! It walks the conversations of the tenants that have such a bound, a page a second, and asks the actor of each
//! that is idle to erase it, which looks again whether it is. It keeps no state that outlives it: a new one begins
//! anew. The downside of this design: a walk of many conversations takes its time, and each walk lists all of them.

use std::{collections::BTreeMap, num::NonZeroU32, ops::Bound, sync::Arc, time::Duration};

use colloquy_types::{ConversationKey, RequestId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, timeout_at};

use crate::{
    conversation::{Control, Erase, erase_digest},
    error::Error,
    heartbeat,
    runtime::controls,
    shared::Shared,
};

/// From one page to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// From the end of a walk to the next one.
const PAUSE_BETWEEN: Duration = Duration::from_secs(600);
/// From one sign of life to the next meanwhile.
const BEAT: Duration = Duration::from_secs(10);
/// Conversations on a page.
const PAGE_ROWS: usize = 200;
/// How long a page, or an erasure, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long conversations are kept in which nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleRetention {
    /// By tenant; those of other tenants are kept.
    pub tenants: BTreeMap<String, Duration>,
    /// How many conversations may be erased in a second.
    pub erasures_per_second: NonZeroU32,
}

impl Default for IdleRetention {
    fn default() -> Self {
        Self { tenants: BTreeMap::new(), erasures_per_second: NonZeroU32::MIN }
    }
}

/// The janitor's actor.
pub(crate) struct Janitor {
    pub(crate) shared: Arc<Shared>,
}

/// Where the walk stands: behind which tenant's which conversation.
#[derive(Debug, Default)]
pub(crate) struct Place {
    tenant: Option<String>,
    after: Option<String>,
    /// Until when nothing is looked at.
    rests_until: Option<Instant>,
}

impl Actor for Janitor {
    /// Time for the next page; from itself.
    type Msg = ();
    type State = Place;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<Place, ActorProcessingErr> {
        self.shared.heartbeats.beat(heartbeat::Janitor::Retention);
        myself.send_after(PAUSE, || ());
        Ok(Place::default())
    }

    async fn handle(&self, myself: ActorRef<()>, (): (), place: &mut Place) -> Result<(), ActorProcessingErr> {
        self.shared.heartbeats.beat(heartbeat::Janitor::Retention);
        if place.rests_until.is_some_and(|until| Instant::now() < until) {
            myself.send_after(BEAT, || ());
            return Ok(());
        }
        let walked = self.walk(place).await;
        place.rests_until = walked.then(|| Instant::now() + PAUSE_BETWEEN);
        let beat = self.shared.clock.now().as_micros() / 1_000_000;
        self.shared.metrics.storage.janitor_beat.set(i64::try_from(beat).unwrap_or(i64::MAX));
        myself.send_after(if walked { BEAT } else { PAUSE }, || ());
        Ok(())
    }
}

impl Janitor {
    /// Looks at the next page; whether it was the last one.
    async fn walk(&self, place: &mut Place) -> bool {
        let IdleRetention { tenants, erasures_per_second } = &self.shared.idle;
        let next = match &place.tenant {
            Some(tenant) => tenants.get_key_value(tenant),
            None => tenants.first_key_value(),
        };
        let Some((tenant, idle)) = next else { return true };
        let listing = self.shared.store.list(tenant, place.after.as_deref(), PAGE_ROWS);
        let rows = match timeout_at(Instant::now() + PATIENCE, listing).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                tracing::warn!(%error, "conversations cannot be listed for retention");
                return false;
            }
            Err(_) => return false,
        };
        let idle_micros = u64::try_from(idle.as_micros()).unwrap_or(u64::MAX);
        let since = Timestamp::from_micros(self.shared.clock.now().as_micros().saturating_sub(idle_micros));
        let (full, mut erased) = (rows.len() == PAGE_ROWS, 0);
        for row in rows {
            if row.updated_at <= since {
                if erased == erasures_per_second.get() || self.shared.is_draining() {
                    return false;
                }
                erased += 1;
                self.shared.heartbeats.beat(heartbeat::Janitor::Retention);
                self.erase(&row.key, since).await;
            }
            self.shared.metrics.storage.janitor_looked.inc();
            place.after = Some(row.key.conversation().to_owned());
        }
        if full {
            return false;
        }
        let beyond = (Bound::Excluded(tenant.clone()), Bound::Unbounded);
        let tenant = tenants.range(beyond).next().map(|(tenant, _)| tenant.clone());
        *place = Place { tenant, ..Place::default() };
        place.tenant.is_none()
    }

    async fn erase(&self, key: &ConversationKey, since: Timestamp) {
        // No conversation remembers this id: an erasure by the janitor is not looked up.
        let Ok(request_id) = RequestId::parse("retention") else { return };
        let control = Control::Erase(Erase::Idle { since });
        let deadline = Instant::now() + PATIENCE;
        match controls::control(&self.shared, key, request_id, erase_digest(None), control, deadline).await {
            Ok(reply) => tracing::info!(tenant = key.tenant(), uid = %reply.uid, "idle conversation erased"),
            // Something happened in it, or someone else erased it.
            Err(Error::HistoryChanged { .. } | Error::ConversationAbsent) => {}
            Err(error) => tracing::warn!(tenant = key.tenant(), %error, "idle conversation not erased"),
        }
    }
}
