//! Turns that are followed while they run, and turns that are to end early.

use std::sync::Arc;

use colloquy_types::{ConversationKey, RequestId, TurnSeq};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Runtime, SubmitTurn};
use crate::{
    admission::{Caller, TurnSlot},
    conversation::{Cancel, Message, hash16},
    error::Error,
    events::{TurnEventReader, TurnEvents},
    planted::Planted,
    reply::{Answer, TurnEvent, TurnReply},
};

impl Runtime {
    /// Submits a turn whose acceptance is made durable first and whose stages are told as they end. With a request id
    /// that was sent before it follows that turn: its events from the first on, or those behind `after`.
    ///
    /// # Errors
    /// [`Error`] when it is refused at the door.
    pub fn stream_turn(&self, turn: SubmitTurn, after: Option<EventPlace>) -> Result<TurnStream, Error> {
        self.stream_turn_in(None, turn, after)
    }

    /// The same in a slot of [`Self::turn_slot`].
    ///
    /// # Errors
    /// [`Error`] when it is refused at the door.
    pub fn stream_turn_in(
        &self,
        slot: Option<TurnSlot>,
        turn: SubmitTurn,
        after: Option<EventPlace>,
    ) -> Result<TurnStream, Error> {
        let (key, deadline) = (turn.key.clone(), turn.deadline);
        let (events, follows) = oneshot::channel();
        let answer = self.send_turn(slot, turn, Some(events))?;
        Ok(TurnStream {
            runtime: self.clone(),
            key,
            deadline,
            after,
            follows: Follows::Waiting(follows),
            answer: Some(answer),
        })
    }

    /// Ends a turn by its request id: takes it out of the queue, or ends it where it stands and keeps what was shown of
    /// it as a partial turn. Waits until it has ended.
    ///
    /// # Errors
    /// [`Error::RequestAbsent`] when no turn of this id waits, runs or is remembered.
    pub async fn cancel_turn(
        &self,
        key: &ConversationKey,
        request_id: RequestId,
        deadline: Instant,
    ) -> Result<Cancelled, Error> {
        let (handle, permit) = self.admit(key)?;
        let (caller, answer) = Caller::new(permit);
        let request_hash = hash16(request_id.as_str().as_bytes());
        let cancel = Cancel { request_id, request_hash, caller };
        self.shared.send(handle, Message::Cancel(Box::new(cancel)));
        match self.ending(key, deadline, answer).await {
            Ok(ended) => Ok(Cancelled::Ended(ended)),
            Err(Error::Cancelled) => Ok(Cancelled::LeftNothing),
            Err(error) => Err(error),
        }
    }
}

fn place(events: &TurnEvents, index: usize) -> EventPlace {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    EventPlace { turn_seq: events.turn_seq, attempt: events.attempt, index }
}

/// How a turn ended that was to be cancelled.
#[derive(Clone, Debug)]
pub enum Cancelled {
    /// As if it had never been sent: it was waiting, or was dropped for another.
    LeftNothing,
    /// It is part of the history: as a partial turn if it was interrupted, or as it had ended by then.
    Ended(TurnReply),
}

/// The place of an event in a turn's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// The turn that this attempt will be, if it commits.
    pub turn_seq: TurnSeq,
    /// Which attempt at the turn, from 1.
    pub attempt: u32,
    /// Counts the events of the attempt, from 0.
    pub index: u32,
}

/// How far a stream has come in finding the events of its turn.
#[derive(Debug)]
enum Follows {
    /// The turn has not begun, as far as it is known.
    Waiting(oneshot::Receiver<Arc<TurnEvents>>),
    /// It has.
    Reading(TurnEventReader),
    /// There is nothing to follow.
    Nothing,
}

/// A streamed turn: events first, then one ending.
#[derive(Debug)]
pub struct TurnStream {
    runtime: Runtime,
    key: ConversationKey,
    deadline: Instant,
    after: Option<EventPlace>,
    follows: Follows,
    answer: Option<oneshot::Receiver<Answer>>,
}

impl TurnStream {
    /// The next event and its place; `None` once there are no more and [`TurnStream::ending`] tells the rest. Ends at
    /// the turn's deadline at the latest. Cancel safe.
    pub async fn event(&mut self) -> Option<(EventPlace, TurnEvent)> {
        timeout_at(self.deadline, self.next_event()).await.ok().flatten()
    }

    async fn next_event(&mut self) -> Option<(EventPlace, TurnEvent)> {
        loop {
            match &mut self.follows {
                Follows::Waiting(events) => {
                    self.follows = match events.await {
                        Ok(events) => Follows::Reading(TurnEventReader::new(Arc::clone(&events), self.begin(&events))),
                        Err(_) => Follows::Nothing,
                    };
                }
                Follows::Reading(reader) => {
                    let event = reader.next().await?;
                    let index = reader.position().saturating_sub(1);
                    return Some((place(reader.events(), index), event));
                }
                Follows::Nothing => return None,
            }
        }
    }

    /// The number of the first event to read: behind what the caller has seen of this attempt.
    fn begin(&self, events: &TurnEvents) -> usize {
        let seen = self.after.filter(|after| (after.turn_seq, after.attempt) == (events.turn_seq, events.attempt));
        let behind = if self.runtime.shared.is_planted(Planted::SkipsEvent) { 2 } else { 1 };
        seen.map_or(0, |after| usize::try_from(after.index).unwrap_or(usize::MAX).saturating_add(behind))
    }

    /// The place of the ending: behind every event, and behind what the caller had seen.
    pub fn last_place(&self) -> EventPlace {
        match &self.follows {
            Follows::Reading(reader) => place(reader.events(), reader.position()),
            Follows::Waiting(_) | Follows::Nothing => {
                let behind = |after: EventPlace| EventPlace { index: after.index.saturating_add(1), ..after };
                self.after.map_or(EventPlace { turn_seq: TurnSeq::default(), attempt: 1, index: 0 }, behind)
            }
        }
    }

    /// How the turn ended.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ending(mut self) -> Result<TurnReply, Error> {
        let Some(answer) = self.answer.take() else { return Err(Error::Restarted) };
        self.runtime.ending(&self.key, self.deadline, answer).await
    }
}
