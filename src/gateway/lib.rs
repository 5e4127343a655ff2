//! The gRPC edge: services, conversions, validation, and the one table of errors.
//!
//! Wire types stop here. The gateway checks what a caller sent, takes its deadline, and asks the
//! [`Runtime`]; it owns no state of any conversation.

mod conversation;
mod convert;
mod deadline;
mod export;
mod flow;
mod log;
mod operator;
mod slots;
mod stalls;
mod status;
mod streams;
#[cfg(test)]
mod tests;
mod traffic;
mod tree_watch;
mod validate;

use std::{future::Future, sync::Arc, time::Duration};

use colloquy_actors::Runtime;
use colloquy_proto::{
    FLOW_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX,
    v1::{
        conversation_service_server::ConversationServiceServer, flow_service_server::FlowServiceServer,
        operator_service_server::OperatorServiceServer,
    },
};
use colloquy_telemetry::Metrics;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

use crate::{conversation::Conversations, flow::Flows, operator::Operator, slots::SlotLayer, stalls::StallLayer};

/// Calls of a connection that may be reset before the server has looked at them. Callers whose deadlines pass together
/// must not cost everybody else on their connection: twenty, which is what h2 takes by itself, are no attack here.
const PENDING_RESETS_MAX: usize = 1024;

/// Bounds and times of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Calls that one connection may have open. What comes beyond waits in the caller, where it costs the server nothing.
    pub streams_per_connection: u32,
    /// How often an idle connection is asked whether its peer is still there.
    pub keepalive_interval: Duration,
    /// How long the peer may take to answer that.
    pub keepalive_timeout: Duration,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            streams_per_connection: 100,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

/// Why the gateway ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport failed.
    #[error("the gRPC server failed")]
    Transport(#[source] tonic::transport::Error),
    /// The contract's descriptors cannot be served.
    #[error("server reflection cannot be built")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// Serves until `shutdown` resolves and the open calls have ended.
///
/// # Errors
/// [`Error`].
pub async fn serve(
    listener: TcpListener,
    settings: GatewaySettings,
    runtime: Runtime,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ConversationServiceServer<Conversations>>().await;
    health.set_serving::<FlowServiceServer<Flows>>().await;
    health.set_serving::<OperatorServiceServer<Operator>>().await;
    let stalls = metrics.stalls.clone();
    let slots = SlotLayer { runtime: runtime.clone(), metrics: Arc::clone(&metrics) };
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(colloquy_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflection().build_v1().map_err(Error::Reflection)?;
    // Many clients, the Python one among them, ask for this older version only.
    let reflection_v1alpha = reflection().build_v1alpha().map_err(Error::Reflection)?;
    let conversations = ConversationServiceServer::new(Conversations::new(runtime.clone(), Arc::clone(&metrics)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(RESPONSE_BYTES_MAX);
    let flows = FlowServiceServer::new(Flows::new(runtime.clone(), metrics))
        .max_decoding_message_size(FLOW_REQUEST_BYTES_MAX)
        .max_encoding_message_size(RESPONSE_BYTES_MAX);
    let operator = OperatorServiceServer::new(Operator::new(runtime))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(RESPONSE_BYTES_MAX);
    let shutdown = async {
        shutdown.await;
        health.set_not_serving::<ConversationServiceServer<Conversations>>().await;
        health.set_not_serving::<FlowServiceServer<Flows>>().await;
        health.set_not_serving::<OperatorServiceServer<Operator>>().await;
    };
    Server::builder()
        .max_concurrent_streams(settings.streams_per_connection)
        .http2_keepalive_interval(Some(settings.keepalive_interval))
        .http2_keepalive_timeout(Some(settings.keepalive_timeout))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .layer(StallLayer(stalls))
        .layer(slots)
        .add_service(health_service)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha)
        .add_service(conversations)
        .add_service(flows)
        .add_service(operator)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown)
        .await
        .map_err(Error::Transport)
}
