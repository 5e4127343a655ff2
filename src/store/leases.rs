//! The fences of one process: which activation owns a conversation, and where its head stands.
//!
//! The `memory` and `sled` engines use it as it is; the journal's writer keeps the same rules on its
//! own map, which also carries positions.

use std::collections::HashMap;

use colloquy_types::{Activation, ConversationKey, ConversationUid, Entropy, Epoch, Head};

use crate::{
    port::{Lease, NotApplied},
    record::Batch,
};

#[derive(Clone, Copy, Debug)]
struct Live {
    activation: Activation,
    head: Head,
}

/// The live leases of one process.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    epoch: Epoch,
    last: Activation,
    live: HashMap<ConversationUid, Live>,
    /// Uids given to keys that nothing has been stored under yet.
    unborn: HashMap<ConversationKey, ConversationUid>,
}

impl Leases {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// The uid of a conversation that is not stored yet; the same one until it is released.
    pub(crate) fn unborn(&mut self, key: &ConversationKey, entropy: &dyn Entropy) -> ConversationUid {
        *self.unborn.entry(key.clone()).or_insert_with(|| ConversationUid(entropy.bytes16()))
    }

    /// Begins an activation, which fences every earlier one of the conversation.
    pub(crate) fn open(&mut self, key: &ConversationKey, uid: ConversationUid, head: Head) -> Lease {
        self.last = self.last.next();
        self.live.insert(uid, Live { activation: self.last, head });
        Lease { key: key.clone(), uid, epoch: self.epoch, activation: self.last }
    }

    /// Ends the lease unless a later one has begun.
    pub(crate) fn release(&mut self, lease: &Lease) {
        if lease.epoch == self.epoch && self.live.get(&lease.uid).is_some_and(|l| l.activation == lease.activation) {
            self.live.remove(&lease.uid);
            self.unborn.remove(&lease.key);
        }
    }

    /// Whether `batch` may be appended under `lease`.
    pub(crate) fn check(&self, lease: &Lease, batch: &Batch) -> Result<(), NotApplied> {
        let live = self.live.get(&batch.uid()).map(|live| (live.activation, live.head));
        check(self.epoch, live, lease, batch)
    }

    /// Moves the head to where `batch` leaves it; one that erases ends the lease.
    pub(crate) fn advance(&mut self, lease: &Lease, batch: &Batch) {
        if let Some(live) = self.live.get_mut(&batch.uid()) {
            live.head = batch.head_after();
        }
        if batch.created().is_some() {
            self.unborn.remove(&lease.key);
        }
        if batch.erases() {
            self.live.remove(&batch.uid());
        }
    }
}

/// The fence itself, the same for every engine: `live` is the owner's activation and the head, if any.
pub(crate) fn check(
    epoch: Epoch,
    live: Option<(Activation, Head)>,
    lease: &Lease,
    batch: &Batch,
) -> Result<(), NotApplied> {
    let expect = batch.expect();
    let owner = live.filter(|(activation, _)| {
        expect.epoch == epoch && expect.activation == *activation && lease.activation == *activation
    });
    let Some((_, head)) = owner.filter(|_| lease.uid == batch.uid() && lease.epoch == epoch) else {
        return Err(NotApplied::Fenced);
    };
    if head.record_no != expect.record_no || !batch.fits(&lease.key) {
        return Err(NotApplied::Conflict { head });
    }
    Ok(())
}
