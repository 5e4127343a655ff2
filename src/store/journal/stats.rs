//! Figures of the running journal, written by its writer and read by anyone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use colloquy_types::Epoch;

use crate::port::StoreStats;

/// Shared between the writer and the store's handle.
#[derive(Debug, Default)]
pub(crate) struct SharedStats {
    epoch: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    leases: AtomicU64,
    refuses: AtomicBool,
}

impl SharedStats {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch: AtomicU64::new(epoch.get()), ..Self::default() }
    }

    pub(crate) fn written(&self, records: u32, bytes: usize) {
        if records > 0 {
            self.records.fetch_add(records.into(), Relaxed);
            self.bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    pub(crate) fn synced(&self) {
        self.syncs.fetch_add(1, Relaxed);
    }

    pub(crate) fn lease_began(&self) {
        self.leases.fetch_add(1, Relaxed);
    }

    pub(crate) fn lease_ended(&self) {
        self.leases.fetch_sub(1, Relaxed);
    }

    pub(crate) fn refuse_writes(&self) {
        self.refuses.store(true, Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> StoreStats {
        StoreStats {
            epoch: Epoch::new(self.epoch.load(Relaxed)),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            leases: self.leases.load(Relaxed),
            writable: !self.refuses.load(Relaxed),
        }
    }
}
