//! The client against a server that answers from a script.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use colloquy_proto::v1::{
    self, ErrorReason,
    conversation_service_server::{ConversationService, ConversationServiceServer},
};
use futures::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

type Answer = Result<v1::SubmitTurnResponse, Status>;
type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What one attempt carried.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    request_id: String,
    routed_to: Option<String>,
    has_deadline: bool,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    fn see<T>(&self, request: &Request<T>, request_id: &str) {
        let text = |name: &str| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        let routed_to = text(CONVERSATION_KEY_METADATA);
        let has_deadline = text("grpc-timeout").is_some();
        self.seen.lock().unwrap().push(Seen { request_id: request_id.to_owned(), routed_to, has_deadline });
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn not_in_script<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in the script"))
}

#[tonic::async_trait]
impl ConversationService for Script {
    async fn submit_turn(
        &self,
        request: Request<v1::SubmitTurnRequest>,
    ) -> Result<Response<v1::SubmitTurnResponse>, Status> {
        self.see(&request, &request.get_ref().request_id);
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| Err(Status::internal("the script has ended"))).map(Response::new)
    }

    type StreamTurnStream = Boxed<v1::StreamTurnResponse>;

    async fn stream_turn(&self, _: Request<v1::StreamTurnRequest>) -> Result<Response<Self::StreamTurnStream>, Status> {
        let first = v1::StreamTurnResponse { event_version: 1, ..Default::default() };
        let events = stream::iter([Ok(first), Err(refusal(Code::Unavailable, "RESTARTED", Some(RETRY)))]);
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel_turn(&self, _: Request<v1::CancelTurnRequest>) -> Result<Response<v1::CancelTurnResponse>, Status> {
        not_in_script()
    }

    async fn fork_conversation(
        &self,
        _: Request<v1::ForkConversationRequest>,
    ) -> Result<Response<v1::ForkConversationResponse>, Status> {
        not_in_script()
    }

    async fn get_conversation(
        &self,
        _: Request<v1::GetConversationRequest>,
    ) -> Result<Response<v1::GetConversationResponse>, Status> {
        not_in_script()
    }

    async fn list_conversations(
        &self,
        _: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        not_in_script()
    }

    async fn list_turns(&self, _: Request<v1::ListTurnsRequest>) -> Result<Response<v1::ListTurnsResponse>, Status> {
        not_in_script()
    }

    type WatchConversationStream = Boxed<v1::WatchConversationResponse>;

    async fn watch_conversation(
        &self,
        request: Request<v1::WatchConversationRequest>,
    ) -> Result<Response<Self::WatchConversationStream>, Status> {
        self.see(&request, "");
        Ok(Response::new(Box::pin(stream::empty())))
    }

    type ExportConversationStream = Boxed<v1::ExportConversationResponse>;

    async fn export_conversation(
        &self,
        request: Request<v1::ExportConversationRequest>,
    ) -> Result<Response<Self::ExportConversationStream>, Status> {
        self.see(&request, "");
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn reset_conversation(
        &self,
        request: Request<v1::ResetConversationRequest>,
    ) -> Result<Response<v1::ResetConversationResponse>, Status> {
        self.see(&request, &request.get_ref().request_id);
        not_in_script()
    }

    async fn erase_conversation(
        &self,
        request: Request<v1::EraseConversationRequest>,
    ) -> Result<Response<v1::EraseConversationResponse>, Status> {
        self.see(&request, &request.get_ref().request_id);
        not_in_script()
    }

    async fn record_feedback(
        &self,
        request: Request<v1::RecordFeedbackRequest>,
    ) -> Result<Response<v1::RecordFeedbackResponse>, Status> {
        self.see(&request, &request.get_ref().request_id);
        not_in_script()
    }

    async fn list_feedback(
        &self,
        _: Request<v1::ListFeedbackRequest>,
    ) -> Result<Response<v1::ListFeedbackResponse>, Status> {
        not_in_script()
    }
}

const RETRY: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);

fn refusal(code: Code, reason: &str, retry: Option<Duration>) -> Status {
    let metadata = HashMap::from([("turn_seq".to_owned(), "7".to_owned())]);
    let mut details = ErrorDetails::with_error_info(reason, "colloquy.v1", metadata);
    details.add_bad_request_violation("input.text", "must not be empty");
    if retry.is_some() {
        details.set_retry_info(retry);
    }
    Status::with_error_details(code, "no", details)
}

fn reply(turn_seq: u64) -> v1::SubmitTurnResponse {
    v1::SubmitTurnResponse { turn: Some(v1::Turn { turn_seq, ..Default::default() }), replayed: false }
}

async fn client_of(answers: impl IntoIterator<Item = Answer>) -> (Client, Script) {
    let script = Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Script::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = ConversationServiceServer::new(script.clone());
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    (Client::connect(&address, PATIENCE).await.unwrap(), script)
}

fn turn() -> Turn {
    Turn::new(Key::new("acme", "c-1"), "r-1", "desk", "hello")
}

#[tokio::test]
async fn a_refusal_is_decoded_whole() {
    let (client, _) = client_of([Err(refusal(Code::Aborted, "SEQ_MISMATCH", None))]).await;
    let error = client.submit(&turn()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Aborted, "SEQ_MISMATCH"));
    assert_eq!(error.error_reason(), Some(ErrorReason::SeqMismatch));
    assert_eq!(error.metadata("turn_seq"), Some("7"));
    assert_eq!(error.fields(), [("input.text".to_owned(), "must not be empty".to_owned())]);
    assert_eq!((error.retry_after(), error.is_retryable()), (None, false));
}

#[tokio::test]
async fn calls_carry_the_routing_key_and_a_deadline_but_a_watch_and_an_export_no_deadline() {
    let (client, script) = client_of([Ok(reply(1))]).await;
    client.submit(&turn()).await.unwrap();
    let mut events = client.watch(&turn().key, 1, None).await.unwrap();
    assert!(events.message().await.unwrap().is_none());
    let mut events = client.export(&turn().key, Vec::new()).await.unwrap();
    assert!(events.message().await.unwrap().is_none());
    client.reset(&turn().key, "r-2", "").await.unwrap_err();
    let seen = |request_id: &str, has_deadline| Seen {
        request_id: request_id.to_owned(),
        routed_to: Some("acme/c-1".to_owned()),
        has_deadline,
    };
    assert_eq!(script.seen(), [seen("r-1", true), seen("", false), seen("", false), seen("r-2", true)]);
}

#[tokio::test]
async fn a_retry_sends_the_same_request_id_and_waits_as_long_as_the_server_asks() {
    let (client, script) = client_of([
        Err(refusal(Code::ResourceExhausted, "QUEUE_FULL", Some(RETRY))),
        Err(refusal(Code::Unavailable, "RESTARTED", Some(RETRY))),
        Ok(reply(3)),
    ])
    .await;
    let began = Instant::now();
    let response = client.submit_with_retry(&turn(), PATIENCE).await.unwrap();
    assert!(began.elapsed() >= RETRY * 2);
    assert_eq!(response.turn.unwrap().turn_seq, 3);
    let ids: Vec<_> = script.seen().into_iter().map(|seen| seen.request_id).collect();
    assert_eq!(ids, ["r-1", "r-1", "r-1"]);
}

#[tokio::test]
async fn what_a_retry_cannot_help_is_not_sent_again() {
    for refused in [
        refusal(Code::Aborted, "SEQ_MISMATCH", None),
        refusal(Code::AlreadyExists, "REQUEST_ID_REUSED", None),
        refusal(Code::DeadlineExceeded, "DEADLINE", None),
        refusal(Code::ResourceExhausted, "BUDGET_EXHAUSTED", None),
    ] {
        let code = refused.code();
        let (client, script) = client_of([Err(refused), Ok(reply(1))]).await;
        let error = client.submit_with_retry(&turn(), PATIENCE).await.unwrap_err();
        assert_eq!((error.code(), script.seen().len()), (code, 1));
    }
}

#[tokio::test]
async fn retrying_ends_within_its_limit_with_the_last_refusal() {
    let refused = || Err(refusal(Code::Unavailable, "DRAINING", Some(Duration::from_secs(60))));
    let (client, script) = client_of([refused(), refused()]).await;
    let error = client.submit_with_retry(&turn(), Duration::from_secs(30)).await.unwrap_err();
    assert_eq!((error.error_reason(), script.seen().len()), (Some(ErrorReason::Draining), 1));
}

#[tokio::test]
async fn a_stream_that_is_cut_off_says_why() {
    let (client, _) = client_of([]).await;
    let events: Vec<_> = client.stream(&turn()).await.unwrap().collect().await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].as_ref().unwrap().event_version, 1);
    assert_eq!(events[1].as_ref().unwrap_err().error_reason(), Some(ErrorReason::Restarted));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let error = Client::connect("127.0.0.1:1", PATIENCE).await.unwrap_err();
    assert_eq!(error.address, "127.0.0.1:1");
}
