//! What a turn does while it runs, kept so that any number of readers follow it at their own pace.
//!
//! Events are numbered in the order in which they happened; every reader sees the same ones under the same numbers,
//! whenever it comes and wherever it begins. A slow reader costs no memory: it is the turn that holds its events. They are
//! bounded; what is beyond the bound is not kept, and no reader sees it, for all of it is provisional.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use colloquy_types::TurnSeq;

use crate::{latest::Latest, reply::TurnEvent};

/// Events of a turn that are kept at most. A model that writes more parts than this is read by nobody in parts.
const EVENTS_MAX: usize = 16 << 10;
/// Bytes of text in a turn's events at most.
const TEXT_BYTES_MAX: usize = 512 << 10;
/// What an event costs beside its text.
const EVENT_BYTES: usize = 96;
/// Bytes of the events of all turns that a process keeps at most, of those that run and of those that ended.
const BYTES_MAX: usize = 256 << 20;
/// Bytes of events of ended turns that a process keeps at most.
const RETAINED_BYTES_MAX: usize = 32 << 20;

/// How many bytes of events the process holds. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventBytes(Arc<AtomicUsize>);

impl EventBytes {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds so many, unless that is more than the process may hold.
    fn add(&self, bytes: usize) -> bool {
        let fits = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES_MAX;
        if !fits {
            self.remove(bytes);
        }
        fits
    }

    fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The events of one attempt at a turn.
#[derive(Debug)]
pub(crate) struct TurnEvents {
    /// The turn this will be, if it commits.
    pub(crate) turn_seq: TurnSeq,
    /// Which attempt at the turn, from 1.
    pub(crate) attempt: u32,
    kept: Mutex<Kept>,
    /// How many events there are, and whether there will be more.
    told: Latest<Told>,
    held: EventBytes,
}

impl Drop for TurnEvents {
    fn drop(&mut self) {
        self.held.remove(self.bytes());
    }
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<TurnEvent>,
    text_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    len: usize,
    ended: bool,
}

impl TurnEvents {
    /// None yet; those to come count among `held`.
    pub(crate) fn new(turn_seq: TurnSeq, attempt: u32, held: EventBytes) -> Self {
        Self { turn_seq, attempt, kept: Mutex::default(), told: Latest::default(), held }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic between two of its changes is impossible: each is one push.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, unless the turn, or the process, has as many as are kept.
    pub(crate) fn push(&self, event: TurnEvent) {
        let mut kept = self.kept();
        let text_bytes = kept.text_bytes + event.text_bytes();
        if kept.events.len() < EVENTS_MAX
            && text_bytes <= TEXT_BYTES_MAX
            && self.held.add(event.text_bytes() + EVENT_BYTES)
        {
            kept.text_bytes = text_bytes;
            kept.events.push(event);
            let len = kept.events.len();
            drop(kept);
            self.told.change(|told| told.len = told.len.max(len));
        }
    }

    /// Tells readers that there is no more to come.
    pub(crate) fn end(&self) {
        self.told.change(|told| told.ended = true);
    }

    /// The parts of the answer that was being written last.
    pub(crate) fn shown(&self) -> String {
        let kept = self.kept();
        let mut shown = (0, String::new());
        for event in &kept.events {
            if let TurnEvent::Delta { step, text } = event {
                if *step > shown.0 {
                    shown = (*step, String::new());
                }
                shown.1.push_str(text);
            }
        }
        shown.1
    }

    fn bytes(&self) -> usize {
        let kept = self.kept();
        kept.text_bytes + kept.events.len() * EVENT_BYTES
    }
}

/// Ends the events of a turn when the turn does, however that is.
#[derive(Debug)]
pub(crate) struct EndsEvents(pub(crate) Arc<TurnEvents>);

impl Drop for EndsEvents {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Reads the events of one turn.
#[derive(Debug)]
pub(crate) struct TurnEventReader {
    events: Arc<TurnEvents>,
    next: usize,
}

impl TurnEventReader {
    /// Begins with the event of this number.
    pub(crate) fn new(events: Arc<TurnEvents>, next: usize) -> Self {
        Self { events, next }
    }

    pub(crate) fn events(&self) -> &TurnEvents {
        &self.events
    }

    /// The number of the event that is read next.
    pub(crate) const fn position(&self) -> usize {
        self.next
    }

    /// Waits for the next event; `None` when there are no more. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.events.kept().events.get(self.next).cloned() {
                self.next += 1;
                return Some(event);
            }
            let next = self.next;
            let told = self.events.told.wait_for(|told| told.len > next || told.ended).await;
            if told.len <= next {
                return None;
            }
        }
    }
}

/// How many bytes of events of ended turns the process holds.
#[derive(Debug, Default)]
pub(crate) struct Retained(Arc<AtomicUsize>);

impl Retained {
    /// Keeps the events of a turn that ended, for readers that lost it on its last words; none when the process
    /// holds as much as it may.
    pub(crate) fn keep(&self, events: &Arc<TurnEvents>) -> Option<RetainedEvents> {
        let bytes = events.bytes();
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes > RETAINED_BYTES_MAX {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(RetainedEvents { events: Arc::clone(events), bytes, held: Arc::clone(&self.0) })
    }
}

/// The events of a turn that ended; gives back its bytes when dropped.
#[derive(Debug)]
pub(crate) struct RetainedEvents {
    pub(crate) events: Arc<TurnEvents>,
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Drop for RetainedEvents {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(step: u16, text: &str) -> TurnEvent {
        TurnEvent::Delta { step, text: text.into() }
    }

    fn turn_events() -> TurnEvents {
        TurnEvents::new(TurnSeq::new(1), 1, EventBytes::default())
    }

    fn said(event: Option<TurnEvent>) -> String {
        match event {
            Some(TurnEvent::Delta { text, .. }) => text.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn every_reader_sees_every_event_from_where_it_begins() {
        let events = Arc::new(turn_events());
        let mut early = TurnEventReader::new(Arc::clone(&events), 0);
        events.push(delta(1, "a"));
        events.push(delta(2, "b"));
        let mut late = TurnEventReader::new(Arc::clone(&events), 1);
        assert_eq!((said(early.next().await), said(early.next().await)), ("a".to_owned(), "b".to_owned()));
        events.push(delta(2, "c"));
        events.end();
        assert_eq!((said(late.next().await), said(late.next().await)), ("b".to_owned(), "c".to_owned()));
        assert!(late.next().await.is_none());
        assert_eq!(said(early.next().await), "c");
        assert!(early.next().await.is_none());
        assert_eq!(events.shown(), "bc", "parts of an earlier answer were not the last word");
    }

    #[tokio::test]
    async fn a_turn_keeps_no_more_than_its_bound() {
        let events = Arc::new(turn_events());
        let long = "x".repeat(1 << 10);
        (0..TEXT_BYTES_MAX / long.len() + 10).for_each(|_| events.push(delta(1, &long)));
        assert_eq!(events.shown().len(), TEXT_BYTES_MAX);
        let many = turn_events();
        (0..EVENTS_MAX + 10).for_each(|_| many.push(delta(1, "")));
        assert_eq!(many.kept().events.len(), EVENTS_MAX);
        let retained = Retained::default();
        let held: Vec<_> = (0..1000).map_while(|_| retained.keep(&events)).collect();
        assert_eq!(held.len(), RETAINED_BYTES_MAX / events.bytes());
        drop(held);
        assert!(retained.keep(&events).is_some(), "what is dropped gives back its bytes");
    }

    #[test]
    fn a_process_keeps_no_more_than_its_bound_and_gets_back_what_ends() {
        let held = EventBytes::default();
        let long = "x".repeat(1 << 10);
        let full = || {
            let events = TurnEvents::new(TurnSeq::new(1), 1, held.clone());
            (0..TEXT_BYTES_MAX / long.len()).for_each(|_| events.push(delta(1, &long)));
            events
        };
        let mut turns: Vec<_> = (0..BYTES_MAX / TEXT_BYTES_MAX).map(|_| full()).collect();
        assert!(held.get() <= BYTES_MAX && held.get() > BYTES_MAX - long.len() - EVENT_BYTES, "{}", held.get());
        assert_eq!(turns.iter().map(TurnEvents::bytes).sum::<usize>(), held.get());
        let late = full();
        assert_eq!(late.bytes(), 0, "what is beyond the bound is not kept");
        turns.truncate(1);
        assert_eq!(held.get(), turns[0].bytes());
        late.push(delta(1, "a"));
        assert_eq!(late.shown(), "a");
        drop((turns, late));
        assert_eq!(held.get(), 0);
    }
}
