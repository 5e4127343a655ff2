//! The actor that publishes, promotes and pauses: one for all tenants, so that what one caller checks no other has changed.
//!
//! Owns the streams of flows it has written to. Takes publications, promotions and pauses, in the order they come; each is
//! checked against the catalogue, made durable, put in the catalogue, answered. Durable before a reply: the
//! record of what the reply says. A crash loses what was not answered; sending it again is safe, since a
//! publication of what is published, a promotion of what is promoted and a pause of what is paused do nothing.
//! Whether a write happened that the store did not answer in time is found out here, by reading the stream again.
//!
//! The downside: it waits for the store inside its handler, so a slow sync of one tenant delays the others, and so does reading
//! a stream again, for five seconds at most. These calls are rare, each has a deadline, and serial is what the actor is for.

mod pausing;
mod settling;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use colloquy_store::RecordKind;
use colloquy_types::{FlowName, Revision, TenantId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

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
    admission::Caller,
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
    pub(crate) caller: Caller<Result<(Arc<FlowRevision>, bool), Error>, Place>,
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
    pub(crate) caller: Caller<Result<(Arc<Promotion>, bool), Error>, Place>,
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
    /// Whose stream was read again last, or was to be, and how many could not be read since one was.
    settled_last: Option<TenantId>,
    unread: u32,
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
                let Publish { tenant, name, revision, source, scenarios, compiled, by, note, deadline, caller } =
                    *publish;
                let faults = compiled.faults;
                let entry = Entry { name, revision, source, scenarios, flow: compiled.flow, faults, by, note };
                let published = self.publish(state, &tenant, entry, deadline).await;
                self.ended(&myself, state, &tenant, &published);
                caller.answer(published);
            }
            Message::Promote(promote) => {
                let promoted = self.promote(state, &promote).await;
                self.ended(&myself, state, &promote.tenant, &promoted);
                promote.caller.answer(promoted);
            }
            Message::Pause(pause) => {
                let steered = self.pause(state, &pause).await;
                self.ended(&myself, state, &pause.tenant, &steered);
                pause.caller.answer(steered);
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
                let before = flows.pauses().of_tenant(tenant);
                if let Err(error) = restore(flows, author, workshop, tenant, &records, deadline).await {
                    stream.release(self.shared.store.as_ref());
                    return Err(error);
                }
                flows.unsettled().end(tenant);
                let now = flows.pauses().of_tenant(tenant);
                if before.iter().any(|pause| !now.contains(pause)) {
                    self.try_timers(tenant);
                }
                Ok(vacant.insert(stream))
            }
        }
    }

    /// Appends to the tenant's stream, which is unsettled until it is known how that ends.
    async fn append(
        &self,
        state: &mut State,
        tenant: &TenantId,
        (kind, payload): (RecordKind, &[u8]),
        deadline: Instant,
    ) -> Result<(u64, Timestamp), Error> {
        let stream = self.stream(state, tenant, deadline).await?;
        let unsettled = self.shared.flows.unsettled();
        unsettled.begin(tenant);
        let written = stream.append(self.ports(), kind, payload, deadline).await;
        // No wait lies between this and the catalogue.
        if matches!(written, Ok(_) | Err(Error::DiskFull | Error::TooLarge { .. })) {
            unsettled.end(tenant);
        }
        written
    }

    /// Has the tenant's timers tried that were refused until now.
    fn try_timers(&self, tenant: &TenantId) {
        self.shared.tell_timers(timers::Message::Resumed(timers::Resumed::Tenant(tenant.clone())));
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
            if let Err(error) = list_tenant(&mut opened.0, self.ports(), tenant, deadline).await {
                opened.0.release(self.shared.store.as_ref());
                return Err(error);
            }
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
        self.stream(state, tenant, deadline).await?;
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
        let (number, published_at) = self.append(state, tenant, (RecordKind::Revision, &payload), deadline).await?;
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
        self.stream(state, tenant, *deadline).await?;
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
        let (number, at) = self.append(state, tenant, (RecordKind::Promotion, &payload), *deadline).await?;
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
        // It may lead away from a revision that is paused.
        if !flows.pauses().of_tenant(tenant).is_empty() {
            self.try_timers(tenant);
        }
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
