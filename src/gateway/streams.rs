//! Streams to callers: a turn as it happens, a conversation as it goes on.
//!
//! Each stream is fed by one task that ends with its reader: a bounded channel of one event, and a limit
//! on how long that event may wait to be read.

use std::{pin::Pin, time::Duration};

use colloquy_actors::{Error, Runtime, TurnEvent, TurnStream, WatchEvent, Watcher};
use colloquy_proto::{EVENT_VERSION, v1};
use colloquy_types::ConversationKey;
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{convert, log::Call, status};

/// A boxed stream of responses.
pub(crate) type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Events that wait for a reader; the transport buffers more.
pub(crate) const EVENTS_WAITING: usize = 4;

/// Numbers the events of one turn.
struct Offsets {
    turn_seq: u64,
    attempt: u32,
    index: u32,
}

impl Offsets {
    fn next(&mut self, event: v1::stream_turn_response::Event) -> v1::StreamTurnResponse {
        let offset = v1::EventOffset { turn_seq: self.turn_seq, attempt: self.attempt, index: self.index };
        self.index += 1;
        v1::StreamTurnResponse { event_version: EVENT_VERSION, offset: Some(offset), event: Some(event) }
    }
}

/// A turn as it happens. The turn goes on when its reader goes away.
pub(crate) fn turn(stream: TurnStream, call: Call) -> BoxedStream<v1::StreamTurnResponse> {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(feed_turn(stream, call, events));
    Box::pin(ReceiverStream::new(received))
}

async fn feed_turn(mut stream: TurnStream, call: Call, events: mpsc::Sender<Result<v1::StreamTurnResponse, Status>>) {
    use v1::stream_turn_response::Event;
    let mut offsets = Offsets { turn_seq: 0, attempt: 1, index: 0 };
    while let Some(event) = stream.event().await {
        let event = match event {
            TurnEvent::Accepted { turn_id, attempt, head } => {
                offsets.turn_seq = head.turn_seq.get() + 1;
                offsets.attempt = attempt;
                Event::Accepted(v1::TurnAccepted { turn_id: turn_id.to_string(), head: Some(convert::head(&head)) })
            }
            TurnEvent::Progress { stage, text } => {
                Event::Progress(v1::StageProgress { stage: stage.name().to_owned(), text: text.to_string() })
            }
            TurnEvent::Stage(stage) => Event::Stage(convert::stage(&stage)),
            TurnEvent::Delta { step, text } => {
                Event::Delta(v1::TextDelta { answer: step.into(), text: text.to_string() })
            }
        };
        if events.send(Ok(offsets.next(event))).await.is_err() {
            return;
        }
    }
    match stream.ending().await {
        Ok(reply) => {
            call.ended(&reply);
            let turn = convert::ending(&reply, false);
            offsets.turn_seq = turn.turn_seq;
            let committed = v1::TurnCommitted { turn: Some(turn), replayed: reply.replayed };
            // A reader that is gone finds the ending by its request id.
            drop(events.send(Ok(offsets.next(Event::Committed(committed)))).await);
        }
        Err(error) => {
            call.refused(&error);
            let status = status::status(&error, call.key.as_str());
            let failed = v1::TurnFailed {
                code: u32::try_from(i32::from(status.code())).unwrap_or_default(),
                reason: status::reason(&error).to_owned(),
                message: status.message().to_owned(),
            };
            if events.send(Ok(offsets.next(Event::Failed(failed)))).await.is_ok() {
                drop(events.send(Err(status)).await);
            }
        }
    }
}

/// A conversation as it goes on.
pub(crate) fn watch(
    watcher: Watcher,
    key: ConversationKey,
    runtime: &Runtime,
) -> BoxedStream<v1::WatchConversationResponse> {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(feed_watch(watcher, key, runtime.draining(), runtime.settings().watch_stall_max, events));
    Box::pin(ReceiverStream::new(received))
}

async fn feed_watch(
    mut watcher: Watcher,
    key: ConversationKey,
    draining: impl Future<Output = ()> + Send,
    stall_max: Duration,
    events: mpsc::Sender<Result<v1::WatchConversationResponse, Status>>,
) {
    use v1::watch_conversation_response::Event;
    tokio::pin!(draining);
    loop {
        let next = tokio::select! {
            biased;
            () = events.closed() => return,
            () = &mut draining => Err(Error::Draining),
            next = watcher.next() => next,
        };
        let event = match next {
            Ok(WatchEvent::Turn(turn)) => Event::Committed(convert::committed(&turn)),
            Ok(WatchEvent::Reset) => Event::Reset(v1::ConversationReset {}),
            Err(error) => return drop(events.send(Err(status::status(&error, key.as_str()))).await),
        };
        let response = v1::WatchConversationResponse { event_version: EVENT_VERSION, event: Some(event) };
        match tokio::time::timeout(stall_max, events.send(Ok(response))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let error = Error::SlowReader { sent: watcher.position() };
                // Waits for room once more: the transport may still take the reason.
                let told = events.send(Err(status::status(&error, key.as_str())));
                return drop(tokio::time::timeout(stall_max, told).await);
            }
        }
    }
}
