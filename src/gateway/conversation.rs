//! `ConversationService`.

use std::sync::Arc;

use colloquy_actors::{
    Cancelled, CommittedTurn, EraseConversation, Error, EventPlace, ForkConversation, RecordFeedback,
    ResetConversation, Runtime, SubmitTurn,
};
use colloquy_proto::{
    RESPONSE_BYTES_MAX, encoded_len,
    v1::{self, conversation_service_server::ConversationService},
};
use colloquy_telemetry::Metrics;
use colloquy_types::TurnSeq;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    convert, deadline, export,
    log::Call,
    slots::Arrival,
    status,
    streams::{self, BoxedStream},
    validate::{self, Faults, ValidTurn},
};

/// Rows of a page when the caller does not say.
const PAGE_ROWS_DEFAULT: u32 = 50;

/// Bytes of turns on a page; leaves room for the framing of each, and for one that is as large as a record.
const PAGE_BYTES_MAX: usize = RESPONSE_BYTES_MAX / 4 * 3;

/// The service.
pub(crate) struct Conversations {
    runtime: Runtime,
    metrics: Arc<Metrics>,
}

impl Conversations {
    pub(crate) fn new(runtime: Runtime, metrics: Arc<Metrics>) -> Self {
        Self { runtime, metrics }
    }

    /// Takes note of a call that writes.
    fn rate<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let Some(peer) = request.remote_addr() else { return Ok(()) };
        self.runtime.rate_peer(peer.ip()).map_err(|error| self.error(&error, ""))
    }

    fn refuse(&self, status: Status) -> Status {
        self.metrics.calls_refused.inc();
        status
    }

    fn error(&self, error: &Error, key: &str) -> Status {
        self.refuse(status::status(error, key))
    }

    fn failed(&self, error: &Error, call: &Call) -> Status {
        call.refused(error);
        self.error(error, call.key.as_str())
    }
}

fn call(method: &'static str, turn: &ValidTurn) -> Call {
    Call { method, request_id: turn.request_id.clone(), key: turn.key.clone() }
}

/// The turns of one page: at most `rows`, and no more than fit a message, but at least one.
fn page(turns: &[CommittedTurn], rows: usize) -> v1::ListTurnsResponse {
    let (mut page, mut bytes) = (v1::ListTurnsResponse::default(), 0);
    for turn in turns {
        let row = convert::turn(turn);
        bytes += encoded_len(&row);
        if page.turns.len() == rows || (bytes > PAGE_BYTES_MAX && !page.turns.is_empty()) {
            page.next_from_seq = row.turn_seq;
            break;
        }
        page.turns.push(row);
    }
    page
}

fn submit(turn: ValidTurn, deadline: Instant) -> SubmitTurn {
    let ValidTurn { key, request_id, flow, subject, input, text, expected_seq, busy, trace } = turn;
    SubmitTurn { key, request_id, flow, subject, input, text, expected_seq, busy, deadline, trace }
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn submit_turn(
        &self,
        mut request: Request<v1::SubmitTurnRequest>,
    ) -> Result<Response<v1::SubmitTurnResponse>, Status> {
        let Arrival { at, deadline, slot } = Arrival::of(&mut request, self.runtime.settings());
        self.rate(&request)?;
        let (metadata, _, message) = request.into_parts();
        let include_stages = message.include_stages;
        let turn = validate::turn(message, &metadata).map_err(|status| self.refuse(status))?;
        let call = call("SubmitTurn", &turn);
        let reply = self.runtime.submit_turn_in(slot, submit(turn, deadline)).await;
        if let Err(Error::Overloaded { .. }) = &reply {
            self.metrics.refusal_seconds.observe(at.elapsed().as_secs_f64());
        }
        let reply = reply.map_err(|error| self.failed(&error, &call))?;
        call.ended(&reply);
        self.metrics.turn_seconds.observe(at.elapsed().as_secs_f64());
        let turn = Some(convert::ending(&reply, include_stages));
        Ok(Response::new(v1::SubmitTurnResponse { turn, replayed: reply.replayed }))
    }

    type StreamTurnStream = BoxedStream<v1::StreamTurnResponse>;

    async fn stream_turn(
        &self,
        mut request: Request<v1::StreamTurnRequest>,
    ) -> Result<Response<Self::StreamTurnStream>, Status> {
        let Arrival { deadline, slot, .. } = Arrival::of(&mut request, self.runtime.settings());
        self.rate(&request)?;
        let (metadata, _, message) = request.into_parts();
        let turn = validate::turn(message.turn.unwrap_or_default(), &metadata).map_err(|s| self.refuse(s))?;
        let call = call("StreamTurn", &turn);
        let after = message.after.map(|after| EventPlace {
            turn_seq: TurnSeq::new(after.turn_seq),
            attempt: after.attempt,
            index: after.index,
        });
        let stream = self.runtime.stream_turn_in(slot, submit(turn, deadline), after);
        let stream = stream.map_err(|error| self.failed(&error, &call))?;
        Ok(Response::new(streams::turn(stream, call, self.runtime.settings().watch_stall_max)))
    }

    async fn cancel_turn(
        &self,
        request: Request<v1::CancelTurnRequest>,
    ) -> Result<Response<v1::CancelTurnResponse>, Status> {
        self.rate(&request)?;
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let (metadata, _, message) = request.into_parts();
        let mut faults = Faults::default();
        let asked = faults.key(message.key.as_ref(), &metadata).zip(faults.request_id(&message.request_id));
        let (key, request_id) = faults.finish(asked).map_err(|status| self.refuse(status))?;
        let call = Call { method: "CancelTurn", request_id: request_id.clone(), key: key.clone() };
        let cancelled = self.runtime.cancel_turn(&key, request_id, deadline).await;
        let turn = match cancelled.map_err(|error| self.failed(&error, &call))? {
            Cancelled::LeftNothing => None,
            Cancelled::Ended(reply) => {
                call.ended(&reply);
                Some(convert::ending(&reply, false))
            }
        };
        Ok(Response::new(v1::CancelTurnResponse { turn }))
    }

    async fn get_conversation(
        &self,
        request: Request<v1::GetConversationRequest>,
    ) -> Result<Response<v1::GetConversationResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let key = faults.finish(key).map_err(|status| self.refuse(status))?;
        let described = self.runtime.describe(&key, deadline).await;
        let described = described.map_err(|error| self.error(&error, key.as_str()))?;
        let conversation = Some(convert::conversation(&described));
        Ok(Response::new(v1::GetConversationResponse { conversation }))
    }

    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let message = request.into_inner();
        let mut faults = Faults::default();
        let (tenant, rows) = (faults.tenant(&message.tenant), faults.page_size(message.page_size, PAGE_ROWS_DEFAULT));
        let (tenant, rows) = faults.finish(tenant.zip(rows)).map_err(|status| self.refuse(status))?;
        let after = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
        let listed = self.runtime.list(tenant.as_str(), after, rows + 1, deadline).await;
        let mut listed = listed.map_err(|error| self.error(&error, ""))?;
        let more = listed.len() > rows;
        listed.truncate(rows);
        let last = listed.last().filter(|_| more).map(|last| last.key.conversation().to_owned());
        Ok(Response::new(v1::ListConversationsResponse {
            conversations: listed.iter().map(convert::summary).collect(),
            next_page_token: last.unwrap_or_default(),
        }))
    }

    async fn list_turns(
        &self,
        request: Request<v1::ListTurnsRequest>,
    ) -> Result<Response<v1::ListTurnsResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let message = request.into_inner();
        let rows = faults.page_size(message.page_size, PAGE_ROWS_DEFAULT);
        let (key, rows) = faults.finish(key.zip(rows)).map_err(|status| self.refuse(status))?;
        let from = TurnSeq::new(message.from_seq.max(1));
        let turns = self.runtime.turns(&key, from, rows + 1, deadline).await;
        let turns = turns.map_err(|error| self.error(&error, key.as_str()))?;
        Ok(Response::new(page(&turns, rows)))
    }

    type WatchConversationStream = BoxedStream<v1::WatchConversationResponse>;

    async fn watch_conversation(
        &self,
        request: Request<v1::WatchConversationRequest>,
    ) -> Result<Response<Self::WatchConversationStream>, Status> {
        // The deadline of a watch is the caller's to choose; ours bounds only its opening.
        let deadline = Instant::now() + self.runtime.settings().turn_deadline_default;
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let message = request.into_inner();
        let after = message.after.as_ref().map(|head| faults.head(head));
        let key = faults.finish(key).map_err(|status| self.refuse(status))?;
        let from = TurnSeq::new(message.from_seq.max(1));
        let watcher = self.runtime.watch(&key, from, after.flatten(), deadline).await;
        let watcher = watcher.map_err(|error| self.error(&error, key.as_str()))?;
        Ok(Response::new(streams::watch(watcher, key, &self.runtime)))
    }

    type ExportConversationStream = BoxedStream<v1::ExportConversationResponse>;

    async fn export_conversation(
        &self,
        request: Request<v1::ExportConversationRequest>,
    ) -> Result<Response<Self::ExportConversationStream>, Status> {
        // As with a watch, ours bounds only its opening.
        let deadline = Instant::now() + self.runtime.settings().turn_deadline_default;
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let known = faults.revisions(&request.get_ref().known_revisions);
        let (key, known) = faults.finish(key.zip(known)).map_err(|status| self.refuse(status))?;
        let export = self.runtime.export(&key, known, deadline).await;
        let export = export.map_err(|error| self.error(&error, key.as_str()))?;
        Ok(Response::new(export::events(export, key, &self.runtime)))
    }

    async fn reset_conversation(
        &self,
        request: Request<v1::ResetConversationRequest>,
    ) -> Result<Response<v1::ResetConversationResponse>, Status> {
        self.rate(&request)?;
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let (metadata, _, message) = request.into_parts();
        let mut faults = Faults::default();
        let key = faults.key(message.key.as_ref(), &metadata);
        let request_id = faults.request_id(&message.request_id);
        let reason = faults.reason(message.reason);
        let expected_seq = message.expected_seq.map(TurnSeq::new);
        let reset = (|| {
            Some(ResetConversation { key: key?, request_id: request_id?, reason: reason?, expected_seq, deadline })
        })();
        let reset = faults.finish(reset).map_err(|status| self.refuse(status))?;
        let call = Call { method: "ResetConversation", request_id: reset.request_id.clone(), key: reset.key.clone() };
        let reply = self.runtime.reset(reset).await.map_err(|error| self.failed(&error, &call))?;
        let head = Some(convert::head(&reply.head));
        Ok(Response::new(v1::ResetConversationResponse { head, replayed: reply.replayed }))
    }

    async fn fork_conversation(
        &self,
        request: Request<v1::ForkConversationRequest>,
    ) -> Result<Response<v1::ForkConversationResponse>, Status> {
        self.rate(&request)?;
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let (metadata, _, message) = request.into_parts();
        let mut faults = Faults::default();
        let source = faults.key(message.key.as_ref(), &metadata);
        let target = faults.sibling(source.as_ref(), &message.conversation);
        let asked = source.zip(target).zip(faults.request_id(&message.request_id));
        let ((source, target), request_id) = faults.finish(asked).map_err(|status| self.refuse(status))?;
        let call = Call { method: "ForkConversation", request_id: request_id.clone(), key: source.clone() };
        let at = message.at_seq.map(TurnSeq::new);
        let forked = self.runtime.fork(ForkConversation { source, at, target, request_id, deadline }).await;
        let reply = forked.map_err(|error| self.failed(&error, &call))?;
        Ok(Response::new(v1::ForkConversationResponse {
            uid: reply.uid.to_string(),
            head: Some(convert::head(&reply.head)),
            replayed: reply.replayed,
        }))
    }

    async fn erase_conversation(
        &self,
        request: Request<v1::EraseConversationRequest>,
    ) -> Result<Response<v1::EraseConversationResponse>, Status> {
        self.rate(&request)?;
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let (metadata, _, message) = request.into_parts();
        let mut faults = Faults::default();
        let key = faults.key(message.key.as_ref(), &metadata);
        let request_id = faults.request_id(&message.request_id);
        let (reason, uid) = (faults.reason(message.reason), faults.uid(&message.uid));
        let asked = (|| Some((key?, request_id?, reason?, uid?)))();
        let (key, request_id, reason, uid) = faults.finish(asked).map_err(|status| self.refuse(status))?;
        let call = Call { method: "EraseConversation", request_id: request_id.clone(), key: key.clone() };
        let erased = self.runtime.erase(EraseConversation { key, request_id, uid, deadline }).await;
        let receipt = erased.map_err(|error| self.failed(&error, &call))?;
        call.erased(&receipt);
        let receipt = Some(convert::receipt(call.key.tenant(), receipt, reason));
        Ok(Response::new(v1::EraseConversationResponse { receipt }))
    }

    async fn record_feedback(
        &self,
        request: Request<v1::RecordFeedbackRequest>,
    ) -> Result<Response<v1::RecordFeedbackResponse>, Status> {
        self.rate(&request)?;
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let (metadata, _, message) = request.into_parts();
        let mut faults = Faults::default();
        let key = faults.key(message.key.as_ref(), &metadata);
        let request_id = faults.request_id(&message.request_id);
        let (rating, comment) = (faults.rating(message.rating), faults.comment(message.comment));
        let turn_seq = TurnSeq::new(message.turn_seq);
        let feedback = (|| {
            let (key, request_id, rating, comment) = (key?, request_id?, rating?, comment?);
            Some(RecordFeedback { key, request_id, turn_seq, rating, comment, deadline })
        })();
        let feedback = faults.finish(feedback).map_err(|status| self.refuse(status))?;
        let (request_id, key) = (feedback.request_id.clone(), feedback.key.clone());
        let call = Call { method: "RecordFeedback", request_id, key };
        let reply = self.runtime.record_feedback(feedback).await.map_err(|error| self.failed(&error, &call))?;
        let head = Some(convert::head(&reply.head));
        Ok(Response::new(v1::RecordFeedbackResponse { head, replayed: reply.replayed }))
    }

    async fn list_feedback(
        &self,
        request: Request<v1::ListFeedbackRequest>,
    ) -> Result<Response<v1::ListFeedbackResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let message = request.into_inner();
        let rows = faults.page_size(message.page_size, PAGE_ROWS_DEFAULT);
        let skip = faults.page_number(&message.page_token, 0).and_then(|skip| usize::try_from(skip).ok());
        let asked = key.zip(rows).zip(skip);
        let ((key, rows), skip) = faults.finish(asked).map_err(|status| self.refuse(status))?;
        let page = self.runtime.feedback(&key, skip, rows, deadline).await;
        let page = page.map_err(|error| self.error(&error, key.as_str()))?;
        Ok(Response::new(v1::ListFeedbackResponse {
            feedback: page.rows.into_iter().map(convert::feedback).collect(),
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
        }))
    }
}
