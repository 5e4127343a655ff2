//! How a conversation moves to the promoted revision of its flow: at a boundary, with its next turn, in that turn's
//! batch.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_turn::{Change, ControlRecord, ConversationState, PinnedRevision, at_boundary, upgrade};
use colloquy_types::Timestamp;

use super::{
    Conversation,
    loaded::{Loaded, OpenEffects},
    state::{Body, State},
};
use crate::{
    error::Error,
    pinning::{self, Pinned},
    reply::FlowPin,
};

/// What is promoted for a conversation, as far as it has looked.
#[derive(Debug, Default)]
pub(crate) struct Promotable {
    /// The catalogue's generation when it looked.
    seen: Option<u64>,
    /// The promoted flow, when it is another revision than the conversation's.
    other: Option<Arc<Flow>>,
}

/// A move that is decided and not committed yet.
#[derive(Debug)]
pub(super) struct Upgrading {
    pub(super) pin: FlowPin,
    pub(super) flow: Arc<Flow>,
    /// The state it begins the turn with.
    pub(super) state: ConversationState,
    from: FlowPin,
    changes: Vec<Change>,
}

impl Upgrading {
    pub(super) fn record(&self, at: Timestamp) -> ControlRecord {
        let pinned = |pin: &FlowPin| PinnedRevision { flow_tenant: pin.tenant.to_string(), revision: pin.revision };
        ControlRecord::Upgraded { from: pinned(&self.from), to: pinned(&self.pin), at, changes: self.changes.clone() }
    }
}

impl Conversation {
    /// The move that is due before the next turn, if one is. One that is due and does not map is counted; the
    /// conversation then goes on as it is.
    pub(super) fn upgrading(&self, loaded: &mut Loaded) -> Option<Upgrading> {
        let promoted = self.promoted(loaded)?;
        if !at_boundary(&loaded.state, &loaded.flow) {
            return None;
        }
        let moving = self.moving(loaded, promoted);
        if moving.is_none() {
            self.shared.metrics.upgrades_blocked.inc();
        }
        moving
    }

    /// The move that a turn begins with: the one an earlier activation began it with, if it did; otherwise the one
    /// that is due.
    ///
    /// # Errors
    /// [`Error::RevisionUnavailable`] when the revision that began to decide the turn is gone, or does not take the
    /// conversation any more.
    pub(super) fn upgrading_as(&self, loaded: &mut Loaded, known: &OpenEffects) -> Result<Option<Upgrading>, Error> {
        let Some((_, begun)) = &known.begun else { return Ok(self.upgrading(loaded)) };
        if begun.revision == loaded.pin.revision {
            return Ok(None);
        }
        let flow = self.shared.flows.revision(&begun.flow_tenant, begun.revision);
        let moved = flow.and_then(|flow| self.moving(loaded, flow));
        moved.map(Some).ok_or_else(|| Error::RevisionUnavailable {
            flow: loaded.pin.name.to_string(),
            revision: begun.revision.to_string(),
        })
    }

    fn moving(&self, loaded: &Loaded, flow: Arc<Flow>) -> Option<Upgrading> {
        let changes = upgrade(&loaded.state, loaded.pin.revision, &flow).ok()?;
        let mut state = loaded.state.clone();
        state.apply_all(&changes);
        let tenant = self.info.key.tenant().into();
        let pin = FlowPin { tenant, name: loaded.pin.name.clone(), revision: flow.revision() };
        Some(Upgrading { pin, flow, state, from: loaded.pin.clone(), changes })
    }

    /// The promoted flow, when it is another revision and not paused. Looks only when something was promoted, paused or
    /// resumed since it looked last.
    fn promoted(&self, loaded: &mut Loaded) -> Option<Arc<Flow>> {
        let flows = &self.shared.flows;
        let generation = flows.generation();
        if loaded.promotable.seen != Some(generation) {
            let promoted = flows.open_to(self.info.key.tenant(), loaded.pin.name.as_str());
            let other = promoted.filter(|flow| flow.revision() != loaded.pin.revision);
            loaded.promotable = Promotable { seen: Some(generation), other };
        }
        loaded.promotable.other.clone()
    }

    /// Takes over a move whose batch is synced.
    pub(super) fn upgraded(&self, loaded: &mut Loaded, upgrading: Upgrading) {
        self.shared.metrics.upgrades.inc();
        loaded.pin = upgrading.pin;
        loaded.flow = upgrading.flow;
        loaded.promotable = Promotable::default();
    }

    /// Whether and why the conversation is pinned to an older revision.
    pub(super) fn pinned(&self, state: &State) -> Result<Option<Pinned>, Error> {
        match &state.body {
            Body::Open(_, loaded) => Ok(pinning::judge(&self.info.key, loaded, &self.shared.flows)),
            Body::Absent(_) => Ok(None),
            Body::Broken(error) | Body::Unusable(_, _, error) => Err(error.clone()),
        }
    }
}
