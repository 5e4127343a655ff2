//! What callers do, each in a task of its own, and what they are told.

mod caller;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_store::simulated::Random;
use colloquy_types::{ConversationKey, FlowName, TurnSeq};
use tokio::{task::AbortHandle, time::sleep};

use self::caller::Caller;
use super::{
    network::Way,
    requests::RequestKind,
    schedule::{Expected, Manner, SAID},
    witness::Witness,
};
use crate::Runtime;

/// The callers of one process.
pub(super) struct Calls {
    runtime: Runtime,
    witness: Arc<Witness>,
    flow: FlowName,
    keys: Vec<ConversationKey>,
    /// Calls that have not ended.
    open: Arc<AtomicUsize>,
    tasks: Vec<AbortHandle>,
    /// None where every call arrives.
    network: Option<Random>,
}

/// Counts a call as long as its task lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Calls {
    pub(super) fn new(
        runtime: Runtime,
        witness: Arc<Witness>,
        flow: FlowName,
        keys: Vec<ConversationKey>,
        network: Option<Random>,
    ) -> Self {
        Self { runtime, witness, flow, keys, open: Arc::default(), tasks: Vec::new(), network }
    }

    /// Calls that have not ended.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn key(&self, conversation: usize) -> Option<&ConversationKey> {
        self.keys.get(conversation.checked_rem(self.keys.len())?)
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, conversation: usize, call: impl FnOnce(Caller) -> F) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let (runtime, witness, flow) = (self.runtime.clone(), Arc::clone(&self.witness), self.flow.clone());
        let way = self.network.as_mut().map_or(Way::Clear, Way::draw);
        let late = match way {
            Way::Lost => return self.witness.count("calls lost on the way"),
            Way::Late(late) => Some(late),
            Way::Clear | Way::Unheard => None,
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        let caller = Caller { runtime, witness: Arc::clone(&witness), key, flow, hears: way != Way::Unheard };
        let call = call(caller);
        let task = tokio::spawn(async move {
            if let Some(late) = late {
                sleep(late).await;
                witness.count("calls late on the way");
            }
            call.await;
            drop(open);
        });
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(task.abort_handle());
    }

    /// A caller goes away; what it asked for goes on.
    pub(super) fn disconnect(&mut self, which: usize) {
        if let Some(task) = which.checked_rem(self.tasks.len()).map(|place| self.tasks.swap_remove(place)) {
            task.abort();
        }
    }

    /// Every caller goes away.
    pub(super) fn disconnect_all(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }

    pub(super) fn submit(&mut self, conversation: usize, said: usize, expected: Expected, manner: Manner) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let text = said.checked_rem(SAID.len()).and_then(|place| SAID.get(place)).copied().unwrap_or_default();
        let expected_seq = self.expected(&key, expected);
        let made = self.witness.lock().requests.make(&key, RequestKind::Turn { text }, expected_seq);
        if let Some(request) = made {
            self.spawn(conversation, |caller| caller.turn(request, text.to_owned(), manner));
        }
    }

    /// Sends a request again that was made before, whatever became of it.
    pub(super) fn repeat(&mut self, conversation: usize, which: usize, other_payload: bool, manner: Manner) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let request = {
            let state = self.witness.lock();
            let made = state.requests.of(&key);
            // Mostly one that may still run.
            let recent = made.len().saturating_sub(if which.is_multiple_of(2) { 3 } else { made.len() });
            let place = (which / 2).checked_rem(made.len() - recent).map(|place| recent + place);
            place.and_then(|place| made.get(place).cloned())
        };
        let Some(request) = request else { return };
        match request.kind.clone() {
            RequestKind::Turn { text } => {
                let text = if other_payload { format!("{text} or not") } else { text.to_owned() };
                self.spawn(conversation, |caller| caller.turn(request, text, manner));
            }
            RequestKind::Reset => self.spawn(conversation, |caller| caller.reset(request, manner.budget)),
            RequestKind::Pause { paused } => {
                self.spawn(conversation, |caller| caller.pause(request, paused, manner.budget));
            }
            RequestKind::Fork { source, at } => {
                if let Some(source) = self.key(source).cloned() {
                    self.spawn(conversation, |caller| caller.fork(request, source, at, manner.budget));
                }
            }
            RequestKind::Feedback { turn_seq } => {
                self.spawn(conversation, |caller| caller.feedback(request, turn_seq, manner.budget));
            }
        }
    }

    pub(super) fn reset(&mut self, conversation: usize, expected: Expected, manner: Manner) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let expected_seq = self.expected(&key, expected);
        let made = self.witness.lock().requests.make(&key, RequestKind::Reset, expected_seq);
        if let Some(request) = made {
            self.spawn(conversation, |caller| caller.reset(request, manner.budget));
        }
    }

    pub(super) fn feedback(&mut self, conversation: usize, manner: Manner) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let made = {
            let mut state = self.witness.lock();
            let last = state.ledger.current(&key).map(|(_, known)| known.head.turn_seq).unwrap_or_default();
            state.requests.make(&key, RequestKind::Feedback { turn_seq: last }, None).map(|request| (request, last))
        };
        if let Some((request, turn_seq)) = made {
            self.spawn(conversation, |caller| caller.feedback(request, turn_seq, manner.budget));
        }
    }

    pub(super) fn erase(&mut self, conversation: usize, budget: Duration) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let made = self.witness.lock().requests.make(&key, RequestKind::Reset, None);
        if let Some(request) = made {
            self.spawn(conversation, |caller| caller.erase(request, budget));
        }
    }

    /// Ends a turn early that was sent before, by its request id.
    pub(super) fn cancel(&mut self, conversation: usize, which: usize, budget: Duration) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let request = {
            let state = self.witness.lock();
            let recent = state.requests.of(&key).iter().rev().take(4).collect::<Vec<_>>();
            which.checked_rem(recent.len()).and_then(|place| recent.get(place).map(|request| request.id.clone()))
        };
        if let Some(id) = request {
            self.spawn(conversation, |caller| caller.cancel(id, budget));
        }
    }

    pub(super) fn pause(&mut self, conversation: usize, paused: bool, manner: Manner) {
        let Some(key) = self.key(conversation).cloned() else { return };
        let made = self.witness.lock().requests.make(&key, RequestKind::Pause { paused }, None);
        if let Some(request) = made {
            self.spawn(conversation, |caller| caller.pause(request, paused, manner.budget));
        }
    }

    /// Pauses the tenant, or resumes it.
    pub(super) fn steer(&mut self, paused: bool, again: Option<usize>, budget: Duration) {
        let request = {
            let mut state = self.witness.lock();
            let made = again.and_then(|which| state.steering.made(which));
            made.or_else(|| state.steering.make(paused).map(|id| (id, paused)))
        };
        if let Some((id, paused)) = request {
            self.spawn(0, |caller| caller.steer(id, paused, budget));
        }
    }

    pub(super) fn fork(&mut self, conversation: usize, source: usize, at: Option<usize>, manner: Manner) {
        let (Some(key), Some(from)) = (self.key(conversation).cloned(), self.key(source).cloned()) else { return };
        let (made, at) = {
            let mut state = self.witness.lock();
            let last = state.ledger.current(&from).map(|(_, known)| known.head.turn_seq).unwrap_or_default();
            let at = at.map(|at| TurnSeq::new((at as u64) % (last.get() + 1)));
            (state.requests.make(&key, RequestKind::Fork { source, at }, None), at)
        };
        if let Some(request) = made {
            self.spawn(conversation, |caller| caller.fork(request, from, at, manner.budget));
        }
    }

    pub(super) fn passivate(&mut self, conversation: usize, budget: Duration) {
        self.spawn(conversation, |caller| caller.passivate(budget));
    }

    pub(super) fn describe(&mut self, conversation: usize, budget: Duration) {
        self.spawn(conversation, |caller| caller.describe(budget));
    }

    pub(super) fn read(&mut self, conversation: usize, budget: Duration) {
        self.spawn(conversation, |caller| caller.read(budget));
    }

    pub(super) fn watch(&mut self, conversation: usize, behind: bool) {
        self.spawn(conversation, |caller| caller.watch(behind));
    }

    fn expected(&self, key: &ConversationKey, expected: Expected) -> Option<TurnSeq> {
        match expected {
            Expected::Any => None,
            Expected::Another(turn_seq) => Some(turn_seq),
            Expected::TheLast => {
                let state = self.witness.lock();
                Some(state.ledger.current(key).map(|(_, known)| known.head.turn_seq).unwrap_or_default())
            }
        }
    }
}
