//! What everyone names: identifiers, heads, time, randomness and the payload codec.
//!
//! This crate sits at the bottom of every arrow. It performs no I/O of its own; the two ports it
//! declares ([`Clock`] and [`Entropy`]) are how time and randomness enter the system, so that a
//! simulation can supply both.

pub mod clock;
pub mod codec;
pub mod entropy;
pub mod head;
mod hex;
pub mod id;
pub mod trace;

#[cfg(feature = "system")]
pub use clock::SystemClock;
pub use clock::{Clock, Timestamp};
pub use entropy::Entropy;
#[cfg(feature = "system")]
pub use entropy::SystemEntropy;
pub use head::{Activation, Epoch, Hash, Head, RecordNo, TurnSeq};
pub use id::{
    ConversationId, ConversationKey, ConversationUid, FlowName, InvalidId, PARTITIONS, Partition, RequestId, Revision,
    SHARED_TENANT, SubjectId, TenantId, TurnId,
};
pub use trace::TraceContext;
