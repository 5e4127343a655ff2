//! The actor that publishes, promotes and pauses: one for all tenants, so that what one caller checks no other has changed.
//!
//! Owns the streams of flows it has written to. Takes publications, promotions and pauses, in the order they come; each is
//! checked against the catalogue, made durable, put in the catalogue, answered. Durable before a reply: the
//! record of what the reply says. A crash loses what was not answered; sending it again is safe, since a
//! publication of what is published, a promotion of what is promoted and a pause of what is paused do nothing.
//! Whether a write happened that the store did not answer in time is found out here, by reading the stream again.
//!
//! The downside: it waits for the store inside its handler, so a slow sync of one tenant delays the others. These
//! calls are rare, each has a deadline, and serial is what the actor is for.

mod pausing;
mod settling;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use colloquy_store::RecordKind;
use colloquy_types::{FlowName, Revision, TenantId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{sync::oneshot, time::Instant};

pub(crate) use self::{pausing::Pause, settling::Unsettled};
use super::{
    author::{CompiledFlow, FlowFault},
    open::{encode, list_tenant, listed_tenants, restore},
    record::{PromotionRecord, RevisionRecord},
    revision::{FlowRevision, Promotion},
    stream::{self, Ports, Stream},
    workshop::Place,
};
use crate::{
    error::{DeadlineOutcome, Error},
    shared::Shared,
    timers,
};

/// What the actor is told; always by the runtime's calls. Each may repeat.
#[derive(Debug)]
pub(crate) enum Message {
    /// Keep this revision. Answers with it, and whether it is new.
    Publish(Box<Publish>),
    /// Make this revision the tenant's. Answers with the promotion, and whether anything changed.
    Promote(Box<Promote>),
    /// Have turns of a tenant or of a revision refused, or taken again. Answers with what is paused now, and whether it
    /// was so before.
    Pause(Box<Pause>),
    /// Read a stream again that may have been written to. From the actor itself, as long as there is one.
    Settle,
}

/// A compiled revision on its way to the log.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) tenant: TenantId,
    pub(crate) name: FlowName,
    pub(crate) revision: Revision,
    pub(crate) source: String,
    pub(crate) scenarios: String,
    pub(crate) compiled: CompiledFlow,
    pub(crate) by: String,
    pub(crate) note: String,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<(Arc<FlowRevision>, bool), Error>>,
    /// Held until answered.
    pub(crate) _place: Place,
}

/// A checked promotion on its way to the log.
#[derive(Debug)]
pub(crate) struct Promote {
    pub(crate) tenant: TenantId,
    /// What was checked: it is promoted only if it still is what is published.
    pub(crate) checked: Arc<FlowRevision>,
    /// The revision that must be promoted now, or none; not given, any may be.
    pub(crate) expected_from: Option<Option<Arc<FlowRevision>>>,
    pub(crate) by: String,
    pub(crate) note: String,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<(Arc<Promotion>, bool), Error>>,
    /// Held until answered.
    pub(crate) _place: Place,
}

/// The actor.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
}

/// The streams that were opened, and the tenants that are listed once that list was.
#[derive(Default)]
pub(crate) struct State {
    streams: HashMap<TenantId, Stream>,
    tenants: Option<(Stream, BTreeSet<TenantId>)>,
    /// [`Message::Settle`] is on its way.
    settles: bool,
    /// Whose stream was read again last, or was to be.
    settled_last: Option<TenantId>,
}

impl Actor for Keeper {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        let mut state = State::default();
        self.settle_in(settling::PAUSE, &myself, &mut state);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Publish(publish) => {
                let Publish { tenant, name, revision, source, scenarios, compiled, by, note, deadline, reply, _place } =
                    *publish;
                let faults = compiled.faults;
                let entry = Entry { name, revision, source, scenarios, flow: compiled.flow, faults, by, note };
                self.shared.flows.unsettled().begin(&tenant);
                let published = self.publish(state, &tenant, entry, deadline).await;
                self.ended(&myself, state, &tenant, &published);
                drop(reply.send(published));
            }
            Message::Promote(promote) => {
                self.shared.flows.unsettled().begin(&promote.tenant);
                let promoted = self.promote(state, &promote).await;
                self.ended(&myself, state, &promote.tenant, &promoted);
                drop(promote.reply.send(promoted));
            }
            Message::Pause(pause) => {
                self.shared.flows.unsettled().begin(&pause.tenant);
                let steered = self.pause(state, &pause).await;
                self.ended(&myself, state, &pause.tenant, &steered);
                drop(pause.reply.send(steered));
            }
            Message::Settle => self.settle(&myself, state).await,
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let streams = state.streams.values().chain(state.tenants.as_ref().map(|(stream, _)| stream));
        streams.for_each(|stream| stream.release(self.shared.store.as_ref()));
        Ok(())
    }
}

/// What is to be published.
struct Entry {
    name: FlowName,
    revision: Revision,
    source: String,
    scenarios: String,
    flow: Option<Arc<colloquy_flow::Flow>>,
    faults: Vec<FlowFault>,
    by: String,
    note: String,
}

impl Keeper {
    fn ports(&self) -> Ports<'_> {
        let shared = self.shared.as_ref();
        Ports { store: shared.store.as_ref(), clock: shared.clock.as_ref(), entropy: shared.entropy.as_ref() }
    }

    /// The tenant's stream; the catalogue agrees with what stands in it.
    async fn stream<'s>(
        &self,
        state: &'s mut State,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<&'s mut Stream, Error> {
        match state.streams.entry(tenant.clone()) {
            std::collections::hash_map::Entry::Occupied(opened) => Ok(opened.into_mut()),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let (stream, records) = Stream::open(self.ports(), &stream::flows_key(tenant), deadline).await?;
                let Shared { flows, author, workshop, .. } = self.shared.as_ref();
                restore(flows, author, workshop, tenant, &records, deadline).await?;
                // Perhaps they are again, and nobody was told.
                self.shared.tell_timers(timers::Message::Resumed(timers::Resumed::Tenant(tenant.clone())));
                Ok(vacant.insert(stream))
            }
        }
    }

    /// Makes sure that the next start reads the tenant's stream.
    async fn list(&self, state: &mut State, tenant: &TenantId, deadline: Instant) -> Result<(), Error> {
        let mut opened = match state.tenants.take() {
            Some(opened) => opened,
            None => {
                let (stream, records) = Stream::open(self.ports(), &stream::tenants_key(), deadline).await?;
                (stream, listed_tenants(&records)?)
            }
        };
        if !opened.1.contains(tenant) {
            list_tenant(&mut opened.0, self.ports(), tenant, deadline).await?;
            opened.1.insert(tenant.clone());
        }
        state.tenants = Some(opened);
        Ok(())
    }

    async fn publish(
        &self,
        state: &mut State,
        tenant: &TenantId,
        entry: Entry,
        deadline: Instant,
    ) -> Result<(Arc<FlowRevision>, bool), Error> {
        in_time(deadline)?;
        self.list(state, tenant, deadline).await?;
        let stream = self.stream(state, tenant, deadline).await?;
        let known = self.shared.flows.published(tenant.as_str(), entry.revision);
        if let Some(known) = known.filter(|known| *known.scenarios == *entry.scenarios) {
            return Ok((known, false));
        }
        let Entry { name, revision, source, scenarios, flow, faults, by, note } = entry;
        let record = RevisionRecord::V2 {
            name: name.to_string(),
            revision,
            source: source.clone(),
            scenarios: scenarios.clone(),
            published_by: by.clone(),
            note: note.clone(),
        };
        let payload = encode(&record)?;
        let (number, published_at) = stream.append(self.ports(), RecordKind::Revision, &payload, deadline).await?;
        let published = Arc::new(FlowRevision {
            number,
            name,
            revision,
            source: source.into(),
            scenarios: scenarios.into(),
            faults,
            flow,
            published_at,
            published_by: by,
            note,
        });
        self.shared.flows.publish(tenant.as_str(), Arc::clone(&published));
        Ok((published, true))
    }

    async fn promote(&self, state: &mut State, promote: &Promote) -> Result<(Arc<Promotion>, bool), Error> {
        let Promote { tenant, checked, expected_from, by, note, deadline, .. } = promote;
        in_time(*deadline)?;
        let stream = self.stream(state, tenant, *deadline).await?;
        let flows = &self.shared.flows;
        let from = flows.promoted_revision(tenant.as_str(), checked.name.as_str());
        let conflict = || Error::PromotionConflict { promoted: from.map(|from| from.to_string()) };
        if expected_from.as_ref().is_some_and(|expected| expected.as_ref().map(|one| one.revision) != from) {
            return Err(conflict());
        }
        // Published anew with other scenarios since it was checked: what was checked is not what is kept.
        let kept = flows.published(tenant.as_str(), checked.revision);
        if kept.is_none_or(|kept| kept.scenarios != checked.scenarios) {
            return Err(conflict());
        }
        if from == Some(checked.revision) {
            let last = flows.promotions(tenant.as_str(), checked.name.as_str(), u64::MAX, 1).pop();
            return last.map(|last| (last, false)).ok_or_else(conflict);
        }
        let record = PromotionRecord::V1 {
            flow: checked.name.to_string(),
            from,
            to: checked.revision,
            by: by.clone(),
            note: note.clone(),
        };
        let payload = encode(&record)?;
        let (number, at) = stream.append(self.ports(), RecordKind::Promotion, &payload, *deadline).await?;
        let promotion = Arc::new(Promotion {
            number,
            flow: checked.name.clone(),
            from,
            to: checked.revision,
            at,
            by: by.clone(),
            note: note.clone(),
        });
        flows.promote(tenant.as_str(), Arc::clone(&promotion));
        self.shared.metrics.promotions.inc();
        tracing::info!(%tenant, flow = %promotion.flow, revision = %promotion.to, "flow promoted");
        Ok((promotion, true))
    }
}

fn in_time(deadline: Instant) -> Result<(), Error> {
    if deadline > Instant::now() {
        return Ok(());
    }
    Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })
}
