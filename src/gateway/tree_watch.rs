//! The stream of a watched supervision tree: what is otherwise than it was at the last look. It is fed by one task that
//! ends with its reader or the server.

use std::{collections::HashMap, time::Duration};

use colloquy_actors::{Error, Runtime, TreeFilter};
use colloquy_proto::{EVENT_VERSION, v1};
use colloquy_types::TurnSeq;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    convert, status,
    streams::{BoxedStream, EVENTS_WAITING, end},
};

/// Actors that are watched at most.
const ACTORS_MAX: usize = 10_000;
/// How long a page may take to be looked for.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Actors in one message.
const PAGE_ROWS: usize = 500;

type Sent = Result<v1::WatchSupervisionTreeResponse, Status>;

/// The tree as it changes, looked at every `interval`. Holds its place until the stream has ended.
pub(crate) fn events(
    runtime: Runtime,
    filter: TreeFilter,
    interval: Duration,
    place: OwnedSemaphorePermit,
) -> BoxedStream<v1::WatchSupervisionTreeResponse> {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(async move {
        let _place = place;
        let (draining, reader) = (runtime.draining(), events.clone());
        let mut watch = TreeWatch { runtime, filter, events, told: HashMap::new() };
        let ended = tokio::select! {
            biased;
            () = reader.closed() => return,
            () = draining => Error::Draining,
            ended = watch.feed(interval) => ended,
        };
        end(&watch.events, status::status(&ended, ""), watch.runtime.settings().watch_stall_max).await;
    });
    Box::pin(ReceiverStream::new(received))
}

struct TreeWatch {
    runtime: Runtime,
    filter: TreeFilter,
    events: mpsc::Sender<Sent>,
    /// What was told of each actor, by its path.
    told: HashMap<String, v1::Actor>,
}

impl TreeWatch {
    /// Looks again and again, until it cannot.
    async fn feed(&mut self, interval: Duration) -> Error {
        let mut looks = tokio::time::interval(interval);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.look().await {
                return error;
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let (mut after, mut seen) = (None::<String>, HashMap::with_capacity(self.told.len()));
        loop {
            let deadline = Instant::now() + LOOK_MAX;
            let page = self.runtime.tree(&self.filter, after.as_deref(), PAGE_ROWS, deadline).await?;
            if page.total > ACTORS_MAX {
                return Err(Error::TooManyActors { total: page.total, bound: ACTORS_MAX });
            }
            let mut changed = Vec::new();
            for row in page.rows {
                let actor = convert::actor(row);
                let before = self.told.remove(&actor.path);
                if before.is_none_or(|before| !is_alike(&before, &actor)) {
                    changed.push(actor.clone());
                }
                seen.insert(actor.path.clone(), actor);
            }
            let is_last = page.next.is_none();
            let gone = if is_last { self.told.drain().map(|(path, _)| path).collect() } else { Vec::new() };
            if is_last || !changed.is_empty() {
                self.send(v1::WatchSupervisionTreeResponse {
                    event_version: EVENT_VERSION,
                    changed,
                    gone,
                    complete: is_last,
                })
                .await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.told = seen;
        Ok(())
    }

    async fn send(&self, response: v1::WatchSupervisionTreeResponse) -> Result<(), Error> {
        let slow = || Error::SlowReader { sent: TurnSeq::default() };
        let sent = tokio::time::timeout(self.runtime.settings().watch_stall_max, self.events.send(Ok(response))).await;
        // A reader that is gone is told nothing any more.
        sent.map_err(|_| slow())?.map_err(|_| slow())
    }
}

/// Whether nothing of an actor changed that a watcher is told of. Its age always does, what is left of a call too, and
/// how much memory it takes with each turn.
fn is_alike(before: &v1::Actor, now: &v1::Actor) -> bool {
    let mut now = v1::Actor { age_ms: before.age_ms, memory_bytes: before.memory_bytes, ..now.clone() };
    if let (Some(effect), Some(before)) = (&mut now.effect, &before.effect) {
        effect.left_ms = before.left_ms;
    }
    *before == now
}
