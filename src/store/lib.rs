//! Stores of conversations: the port, its engines, the record format, and the kit that every engine passes.
//!
//! A store keeps record headers and opaque payloads; it knows no flow. `colloquy-actors` is its user,
//! and callers encode their own records ([`Batch`]), so that an engine's writer only copies.

pub mod conformance;
mod done;
pub mod export;
pub mod faults;
mod history;
pub mod journal;
mod leases;
pub mod memory;
pub mod port;
pub mod record;
pub mod simulated;
pub mod sled_engine;
mod sled_files;

pub use journal::{JournalOptions, JournalStore, Retention, RetentionPolicy};
pub use memory::MemoryStore;
pub use port::*;
pub use record::{
    BATCH_BYTES_MAX, BadRecord, Batch, DecodedRecord, EFFECT_RESULT_BYTES_MAX, RECORD_BYTES_MAX, RecordHeader,
    RecordKind, SNAPSHOT_BYTES_MAX, StoredRecord, TooLarge, decode_header, decode_record,
};
pub use sled_engine::SledStore;
