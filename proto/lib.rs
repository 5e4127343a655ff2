//! The wire contract `colloquy.v1`, generated from the `.proto` files beside this one.
//!
//! Only the gateway and clients see these types; the domain has its own.

mod codec;

/// Version 1 of the contract.
#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated; the .proto files document every field")]
pub mod v1 {
    tonic::include_proto!("colloquy.v1");
}

/// The contract's descriptors, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/colloquy.bin"));

/// The metadata entry by which proxies route: `tenant/conversation`.
pub const CONVERSATION_KEY_METADATA: &str = "x-conversation-key";
/// The version of the events of streams.
pub const EVENT_VERSION: u32 = 1;
/// Largest message to the server, in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Largest message to the server's `FlowService`, in bytes: sources are larger than turns.
pub const FLOW_REQUEST_BYTES_MAX: usize = 4 << 20;
/// Largest message from the server, in bytes: what gRPC clients take unless they are told otherwise.
pub const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// Bytes that `message` takes on the wire.
pub fn encoded_len(message: &impl prost::Message) -> usize {
    message.encoded_len()
}
