//! Streams to callers: a turn as it happens, a conversation as it goes on.
//!
//! Each stream is fed by one task that ends with its reader: a bounded channel of one event, and a limit
//! on how long that event may wait to be read.

use std::{pin::Pin, time::Duration};

use colloquy_actors::{Error, EventPlace, Runtime, TurnEvent, TurnStream, WatchEvent, Watcher};
use colloquy_proto::{EVENT_VERSION, v1};
use colloquy_types::{ConversationKey, TurnSeq};
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{convert, log::Call, status};

/// A boxed stream of responses.
pub(crate) type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Events that wait for a reader; the transport buffers more.
pub(crate) const EVENTS_WAITING: usize = 4;

/// From one sign of life to the next on a stream on which nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells why a stream ends, if its reader takes that in time: the transport may have room once more. A reader that
/// takes nothing must not keep the stream, and with it the end of the server, waiting.
pub(crate) async fn end<T>(events: &mpsc::Sender<Result<T, Status>>, why: Status, stall_max: Duration) {
    drop(tokio::time::timeout(stall_max, events.send(Err(why))).await);
}

/// A turn as it happens. The turn goes on when its reader goes away.
pub(crate) fn turn(stream: TurnStream, call: Call, stall_max: Duration) -> BoxedStream<v1::StreamTurnResponse> {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    let mut reader = TurnReader { events, stall_max, key: call.key.clone() };
    tokio::spawn(async move {
        // A reader that is gone, or too slow, finds the rest by its request id.
        drop(reader.feed(stream, call).await);
    });
    Box::pin(ReceiverStream::new(received))
}

/// Nobody reads the stream any more.
struct Gone;

/// The reader of one turn's stream.
struct TurnReader {
    events: mpsc::Sender<Result<v1::StreamTurnResponse, Status>>,
    stall_max: Duration,
    key: ConversationKey,
}

impl TurnReader {
    async fn feed(&mut self, mut stream: TurnStream, call: Call) -> Result<(), Gone> {
        use v1::stream_turn_response::Event;
        let mut seen = stream.last_place();
        loop {
            let event = match tokio::time::timeout(KEEP_ALIVE, stream.event()).await {
                Ok(None) => break,
                Ok(Some((place, event))) => {
                    seen = place;
                    event_of(event)
                }
                Err(_) => Event::KeepAlive(v1::KeepAlive {}),
            };
            self.send(seen, event).await?;
        }
        let mut place = stream.last_place();
        match stream.ending().await {
            Ok(reply) => {
                call.ended(&reply);
                let turn = convert::ending(&reply, false);
                place.turn_seq = TurnSeq::new(turn.turn_seq);
                let committed = v1::TurnCommitted { turn: Some(turn), replayed: reply.replayed };
                self.send(place, Event::Committed(committed)).await
            }
            Err(error) => {
                call.refused(&error);
                let status = status::status(&error, call.key.as_str());
                let failed = v1::TurnFailed {
                    code: u32::try_from(i32::from(status.code())).unwrap_or_default(),
                    reason: status::reason(&error).to_owned(),
                    message: status.message().to_owned(),
                };
                self.send(place, Event::Failed(failed)).await?;
                end(&self.events, status, self.stall_max).await;
                Ok(())
            }
        }
    }

    async fn send(&self, place: EventPlace, event: v1::stream_turn_response::Event) -> Result<(), Gone> {
        let EventPlace { turn_seq, attempt, index } = place;
        let offset = Some(v1::EventOffset { turn_seq: turn_seq.get(), attempt, index });
        let response = v1::StreamTurnResponse { event_version: EVENT_VERSION, offset, event: Some(event) };
        match tokio::time::timeout(self.stall_max, self.events.send(Ok(response))).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                let sent = TurnSeq::new(turn_seq.get().saturating_sub(1));
                let slow = status::status(&Error::SlowReader { sent }, self.key.as_str());
                end(&self.events, slow, self.stall_max).await;
                Err(Gone)
            }
        }
    }
}

fn event_of(event: TurnEvent) -> v1::stream_turn_response::Event {
    use v1::stream_turn_response::Event;
    match event {
        TurnEvent::Accepted { turn_id, head, .. } => {
            Event::Accepted(v1::TurnAccepted { turn_id: turn_id.to_string(), head: Some(convert::head(&head)) })
        }
        TurnEvent::Progress { stage, text } => {
            Event::Progress(v1::StageProgress { stage: stage.name().to_owned(), text: text.to_string() })
        }
        TurnEvent::Stage(stage) => Event::Stage(convert::stage(&stage)),
        TurnEvent::Delta { step, text } => Event::Delta(v1::TextDelta { answer: step.into(), text: text.to_string() }),
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
    // The watcher is ahead of its reader by what waits to be sent.
    let mut sent = watcher.position();
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
            Err(error) => return end(&events, status::status(&error, key.as_str()), stall_max).await,
        };
        let response = v1::WatchConversationResponse { event_version: EVENT_VERSION, event: Some(event) };
        match tokio::time::timeout(stall_max, events.send(Ok(response))).await {
            Ok(Ok(())) => sent = watcher.position(),
            Ok(Err(_)) => return,
            Err(_) => return end(&events, status::status(&Error::SlowReader { sent }, key.as_str()), stall_max).await,
        }
    }
}
