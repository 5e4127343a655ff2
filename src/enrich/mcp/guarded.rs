//! The HTTP client of the protocol's library, without what a session does not want of it.

use std::{collections::HashMap, sync::Arc};

use futures::stream::BoxStream;
use reqwest::{
    Client,
    header::{HeaderName, HeaderValue},
};
use rmcp::{
    model::{ClientJsonRpcMessage, JsonRpcMessage},
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::Sse;

use super::factory::MESSAGE_BYTES_MAX;

type Headers = HashMap<HeaderName, HeaderValue>;
type Failure = StreamableHttpError<reqwest::Error>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// A client that opens no stream for what nobody asked, and understands a refusal that names no request.
#[derive(Clone)]
pub(super) struct Guarded(pub(super) Client);

impl StreamableHttpClient for Guarded {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.post_message_with_max_sse_event_size(uri, message, session, token, headers, MESSAGE_BYTES_MAX).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        bytes_max: usize,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let asked = if let JsonRpcMessage::Request(request) = &message { Some(request.id.clone()) } else { None };
        let in_session = session.is_some();
        let posted = self.0.post_message_with_max_sse_event_size(uri, message, session, token, headers, bytes_max);
        match (posted.await?, asked) {
            // It answers this request, though it does not name it: the server did not get as far as reading it.
            // Mostly it does not know the session, which some servers say in no other way.
            (StreamableHttpPostResponse::Json(JsonRpcMessage::Error(mut error), its), Some(asked))
                if error.id.is_none() =>
            {
                if in_session {
                    return Err(StreamableHttpError::SessionExpired);
                }
                error.id = Some(asked);
                Ok(StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), its))
            }
            (response, _) => Ok(response),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<(), Failure> {
        self.0.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failure> {
        self.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, MESSAGE_BYTES_MAX).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
        bytes_max: usize,
    ) -> Result<Events, Failure> {
        // An answer that broke off may be taken up again; servers have nothing else to say to us.
        if last_event.is_none() {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        self.0.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, bytes_max).await
    }
}
