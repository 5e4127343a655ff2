//! Who waits for a conversation's next committed turn.
//!
//! The hub lives beside the directory, not in the conversation's actor, so that a watch outlives
//! restarts of the actor. It carries only the number of the last synced turn; the turns themselves are
//! read from the store, so a slow reader costs no memory. With no watcher anywhere a commit pays one
//! atomic load.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_store::{ConversationStore, ReadError, StoredRecord};
use colloquy_turn::TurnRecord;
use colloquy_types::{ConversationKey, Head, TurnSeq};
use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{Error, LimitKind},
    latest::Latest,
    reply::CommittedTurn,
};

/// Turns read from the store at a time.
const PAGE_TURNS: usize = 64;
/// Watches that may be open at once: each holds up to a page of turns.
const WATCHES_MAX: usize = 16_384;
/// When to try again once they are.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What changed in a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    turn_seq: TurnSeq,
    resets: u64,
    erasures: u64,
}

/// The meeting place of commits and watchers.
#[derive(Debug)]
pub(crate) struct WatchHub {
    watched: AtomicUsize,
    places: Arc<Semaphore>,
    marks: DashMap<ConversationKey, Arc<Latest<Mark>>>,
}

impl Default for WatchHub {
    fn default() -> Self {
        Self { watched: AtomicUsize::new(0), places: Arc::new(Semaphore::new(WATCHES_MAX)), marks: DashMap::default() }
    }
}

impl WatchHub {
    /// Tells the watchers of `key`, if there are any, that its turns up to `turn_seq` are synced.
    pub(crate) fn committed(&self, key: &ConversationKey, turn_seq: TurnSeq) {
        self.update(key, |mark| mark.turn_seq = mark.turn_seq.max(turn_seq));
    }

    /// Tells the watchers of `key` that it was reset.
    pub(crate) fn reset(&self, key: &ConversationKey) {
        self.update(key, |mark| mark.resets += 1);
    }

    /// Ends the watches of `key`: what they watch is no more.
    pub(crate) fn erased(&self, key: &ConversationKey) {
        self.update(key, |mark| mark.erasures += 1);
    }

    fn update(&self, key: &ConversationKey, change: impl FnOnce(&mut Mark)) {
        if self.watched.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(latest) = self.marks.get(key) {
            latest.change(change);
        }
    }

    /// How many watches are open.
    pub(crate) fn len(&self) -> usize {
        self.watched.load(Ordering::Relaxed)
    }

    /// Tells of what happens to `key` from now on.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many watches are open as may be.
    pub(crate) fn subscribe(self: &Arc<Self>, key: &ConversationKey) -> Result<Subscription, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (limit, bound, retry_after) = (LimitKind::Watches, WATCHES_MAX, RETRY_AFTER);
        let place = place.map_err(|_| Error::Overloaded { limit, bound, retry_after })?;
        self.watched.fetch_add(1, Ordering::AcqRel);
        let latest = Arc::clone(&self.marks.entry(key.clone()).or_default());
        let began = latest.get();
        Ok(Subscription { hub: Arc::clone(self), key: key.clone(), began, latest: Some(latest), _place: place })
    }
}

/// Leaves the hub when dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<WatchHub>,
    key: ConversationKey,
    began: Mark,
    latest: Option<Arc<Latest<Mark>>>,
    _place: OwnedSemaphorePermit,
}

impl Subscription {
    /// Begins anew if anything was erased since it began; whether it did.
    pub(crate) fn renew(&mut self) -> bool {
        let erased = self.is_erased();
        if let Some(latest) = self.latest.as_ref().filter(|_| erased) {
            self.began = latest.get();
        }
        erased
    }

    /// Whether what it tells of was erased since it began.
    fn is_erased(&self) -> bool {
        self.latest.as_ref().is_some_and(|latest| latest.get().erasures > self.began.erasures)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.latest = None;
        // Those who subscribe clone it under the same lock.
        self.hub.marks.remove_if(&self.key, |_, latest| Arc::strong_count(latest) == 1);
        self.hub.watched.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a watcher sees next.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// A committed, synced turn.
    Turn(Arc<CommittedTurn>),
    /// The conversation was reset; its turns so far stand.
    Reset,
}

/// An open watch: yields every committed turn from a sequence number on, through restarts.
///
/// [`Watcher::next`] is cancel safe.
pub struct Watcher {
    store: Arc<dyn ConversationStore>,
    subscription: Subscription,
    next_seq: TurnSeq,
    resets_seen: u64,
    page: VecDeque<StoredRecord>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("next_seq", &self.next_seq).finish_non_exhaustive()
    }
}

impl Watcher {
    /// Opens a watch that begins with turn `from`; with `after`, right behind that head, which must
    /// be part of this conversation's history.
    pub(crate) async fn open(
        subscription: Subscription,
        store: Arc<dyn ConversationStore>,
        from: TurnSeq,
        after: Option<Head>,
        head: Head,
    ) -> Result<Self, Error> {
        let mut next_seq = from.max(TurnSeq::new(1));
        if let Some(after) = after {
            check_history(store.as_ref(), &subscription.key, after, head).await?;
            next_seq = after.turn_seq.next();
        }
        Ok(Self { store, subscription, next_seq, resets_seen: 0, page: VecDeque::new() })
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// [`Error::ConversationErased`]; [`Error`] when the store cannot be read. The watch is over then.
    pub async fn next(&mut self) -> Result<WatchEvent, Error> {
        loop {
            if self.subscription.is_erased() {
                return Err(Error::ConversationErased);
            }
            if let Some(record) = self.page.pop_front() {
                let turn = CommittedTurn::from_stored(&record)?;
                self.next_seq = turn.head.turn_seq.next();
                return Ok(WatchEvent::Turn(Arc::new(turn)));
            }
            let Some(latest) = &self.subscription.latest else { return Err(Error::StoreUnavailable) };
            // Seen before the read: a commit after this line ends the wait below.
            let mark = latest.get();
            let page = match self.store.turns(&self.subscription.key, self.next_seq, PAGE_TURNS).await {
                Err(ReadError::Absent) => return Err(Error::ConversationErased),
                page => page?,
            };
            if !page.is_empty() {
                self.page = page.into();
                continue;
            }
            if mark.resets > self.resets_seen {
                self.resets_seen = mark.resets;
                return Ok(WatchEvent::Reset);
            }
            latest.wait_for(|now| *now != mark).await;
        }
    }

    /// The last turn that was given out, or that the watch began behind.
    pub fn position(&self) -> TurnSeq {
        TurnSeq::new(self.next_seq.get().saturating_sub(1))
    }
}

async fn check_history(
    store: &dyn ConversationStore,
    key: &ConversationKey,
    after: Head,
    head: Head,
) -> Result<(), Error> {
    let is_current = (after.epoch, after.turn_seq, after.hash) == (head.epoch, head.turn_seq, head.hash);
    if after.turn_seq == TurnSeq::default() || is_current {
        return Ok(());
    }
    let found = store.turns(key, after.turn_seq, 1).await?;
    let same = found.first().is_some_and(|turn| {
        turn.header.turn_seq == after.turn_seq && turn.header.hash == after.hash && turn.header.epoch == after.epoch
    });
    if same { Ok(()) } else { Err(Error::HistoryChanged { head }) }
}

impl CommittedTurn {
    /// Decodes a stored turn.
    pub(crate) fn from_stored(stored: &StoredRecord) -> Result<Self, Error> {
        let record = TurnRecord::decode(&stored.payload)
            .map_err(|_| Error::Corrupt { reason: format!("turn {} cannot be decoded", stored.header.turn_seq) })?;
        Ok(Self { record, head: stored.header.head(), committed_at: stored.header.time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_watches_are_open_than_may_be() {
        let (hub, key) = (Arc::new(WatchHub::default()), ConversationKey::from_parts("acme", "c").unwrap());
        let mut open: Vec<_> = (0..WATCHES_MAX).map(|_| hub.subscribe(&key).unwrap()).collect();
        let refused = hub.subscribe(&key).unwrap_err();
        assert_eq!(refused, Error::Overloaded { limit: LimitKind::Watches, bound: 16_384, retry_after: RETRY_AFTER });
        assert_eq!(hub.len(), WATCHES_MAX, "the refused one is not counted");
        open.pop();
        assert!(hub.subscribe(&key).is_ok(), "there is a place again");
        open.clear();
        assert_eq!((hub.len(), hub.marks.len(), hub.places.available_permits()), (0, 0, WATCHES_MAX));
    }
}
