//! Figures of the running journal, written by its writer and read by anyone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use colloquy_types::{Epoch, Timestamp};

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
    damaged: AtomicU64,
    dead_bytes: AtomicU64,
    /// Erasures that the index does not know yet.
    erased: AtomicU64,
    /// Erasures that the index knows and compaction has not passed over.
    erased_indexed: AtomicU64,
    /// Unix microseconds; 0 for never.
    compacted_at: AtomicU64,
    /// Batches that wait for the writer, and their bytes.
    queued: AtomicU64,
    queued_bytes: AtomicU64,
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

    /// A batch is about to wait for the writer.
    pub(crate) fn queued(&self, bytes: usize) {
        self.queued.fetch_add(1, Relaxed);
        self.queued_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// So many of them do not any more.
    pub(crate) fn taken(&self, batches: u64, bytes: usize) {
        self.queued.fetch_sub(batches, Relaxed);
        self.queued_bytes.fetch_sub(bytes as u64, Relaxed);
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

    pub(crate) fn found_damaged(&self, damaged: u64) {
        self.damaged.store(damaged, Relaxed);
    }

    /// One more was found damaged while serving.
    pub(crate) fn found_one_damaged(&self) {
        self.damaged.fetch_add(1, Relaxed);
    }

    pub(crate) fn erasure_began(&self) {
        self.erased.fetch_add(1, Relaxed);
    }

    pub(crate) fn erasure_indexed(&self) {
        self.erased.fetch_sub(1, Relaxed);
    }

    /// Whether an erasure waits for a checkpoint.
    pub(crate) fn has_unindexed_erasures(&self) -> bool {
        self.erased.load(Relaxed) > 0
    }

    pub(crate) fn set_dead(&self, dead_bytes: u64, erasures: u64) {
        self.dead_bytes.store(dead_bytes, Relaxed);
        self.erased_indexed.store(erasures, Relaxed);
    }

    pub(crate) fn compacted(&self, at: Timestamp) {
        self.compacted_at.store(at.as_micros(), Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The figures, without those of the segments.
    pub(crate) fn snapshot(&self) -> StoreStats {
        let compacted_at = Some(self.compacted_at.load(Relaxed)).filter(|at| *at > 0);
        StoreStats {
            epoch: Epoch::new(self.epoch.load(Relaxed)),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            leases: self.leases.load(Relaxed),
            writable: !self.refuses.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            segments: 0,
            journal_bytes: 0,
            dead_bytes: self.dead_bytes.load(Relaxed),
            erasures_pending: self.erased.load(Relaxed) + self.erased_indexed.load(Relaxed),
            compacted_at: compacted_at.map(Timestamp::from_micros),
            queued: self.queued.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
        }
    }
}
