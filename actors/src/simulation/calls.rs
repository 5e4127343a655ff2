//! What callers do, each in a task of its own, and what they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_turn::{InputKind, Rating};
use colloquy_types::{ConversationKey, FlowName, Head, RequestId, TurnSeq};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    Breach,
    requests::{Request, RequestKind},
    schedule::{Expected, Manner, SAID},
    witness::{Floor, Witness},
};
use crate::{
    Cancelled, ControlReply, Ending, EraseConversation, Error, ForkConversation, PauseConversation, RecordFeedback,
    ResetConversation, Runtime, SubmitTurn, TurnEvent, TurnReply, WatchEvent, invariants::Invariant,
};

/// How much later than its deadline a call may end: the clock of tokio counts whole milliseconds.
const LATE_MAX: Duration = Duration::from_millis(5);
/// Turns that a read asks for.
const READ_TURNS: usize = 100;
/// How long a watch waits for its next event before it is let go.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);

/// The callers of one process.
pub(super) struct Calls {
    runtime: Runtime,
    witness: Arc<Witness>,
    flow: FlowName,
    keys: Vec<ConversationKey>,
    /// Calls that have not ended.
    open: Arc<AtomicUsize>,
    tasks: Vec<AbortHandle>,
}

/// Counts a call as long as its task lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a caller's task has.
#[derive(Clone)]
struct Caller {
    runtime: Runtime,
    witness: Arc<Witness>,
    key: ConversationKey,
    flow: FlowName,
}

impl Calls {
    pub(super) fn new(runtime: Runtime, witness: Arc<Witness>, flow: FlowName, keys: Vec<ConversationKey>) -> Self {
        Self { runtime, witness, flow, keys, open: Arc::default(), tasks: Vec::new() }
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
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        let call = call(Caller { runtime, witness, key, flow });
        let task = tokio::spawn(async move {
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
            RequestKind::Fork { source } => {
                if let Some(source) = self.key(source).cloned() {
                    self.spawn(conversation, |caller| caller.fork(request, source, manner.budget));
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

    pub(super) fn fork(&mut self, conversation: usize, source: usize, manner: Manner) {
        let (Some(key), Some(from)) = (self.key(conversation).cloned(), self.key(source).cloned()) else { return };
        let made = self.witness.lock().requests.make(&key, RequestKind::Fork { source }, None);
        if let Some(request) = made {
            self.spawn(conversation, |caller| caller.fork(request, from, manner.budget));
        }
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

impl Caller {
    fn begin(&self, request: Option<&Request>) -> (Floor, Instant) {
        if let Some(request) = request {
            self.witness.lock().requests.sent(&self.key, &request.id);
        }
        (self.witness.floor(&self.key), Instant::now())
    }

    /// Every call ends by its deadline.
    fn ended(&self, what: &str, began: Instant, budget: Duration, told: &str) {
        let took = began.elapsed();
        self.witness.note(format_args!("           {} {what}: {told} after {took:?}", self.key.conversation()));
        if took > budget + LATE_MAX {
            let what = format!("{what} of {} took {took:?} of {budget:?}", self.key.as_str());
            self.witness.check(Err(Breach::new(Invariant::EndsInTime, what)));
        }
    }

    fn refused(&self, request: Option<&Request>, error: &Error, floor: Floor) {
        if let Some(request) = request {
            self.witness.lock().requests.refused(&self.key, &request.id, error);
        }
        if *error == Error::ConversationAbsent {
            self.witness.told_absent(&self.key, floor);
        }
        self.witness.count(name(error));
        self.witness.refused(&self.key, error, floor);
    }

    async fn turn(self, request: Request, text: String, manner: Manner) {
        let (floor, began) = self.begin(Some(&request));
        let turn = SubmitTurn {
            key: self.key.clone(),
            request_id: request.id.clone(),
            flow: Some(self.flow.clone()),
            subject: None,
            input: InputKind::Text,
            text: text.clone(),
            expected_seq: request.expected_seq,
            busy: manner.busy,
            deadline: began + manner.budget,
            trace: None,
        };
        let ended = if manner.streamed { self.stream(turn, floor).await } else { self.runtime.submit_turn(turn).await };
        self.ended(request.id.as_str(), began, manner.budget, &told(&ended));
        match ended {
            Ok(reply) => {
                if matches!(reply.ending, Ending::LeftOut { .. }) {
                    self.witness.lock().requests.left_out(&self.key, &request.id);
                }
                self.witness.count(match (&reply.ending, reply.replayed) {
                    (Ending::LeftOut { .. }, _) => "turns left out",
                    (_, true) => "replies repeated",
                    (Ending::Committed(_), false) => "replies",
                    (Ending::Closed { .. }, false) => "replies closed",
                });
                self.witness.replied(&self.key, &request.id, Some(&text), &reply, floor);
            }
            Err(error) => self.refused(Some(&request), &error, floor),
        }
    }

    async fn stream(&self, turn: SubmitTurn, floor: Floor) -> Result<TurnReply, Error> {
        let mut stream = self.runtime.stream_turn(turn, None)?;
        while let Some((_, event)) = stream.event().await {
            if let TurnEvent::Accepted { head, .. } = event {
                self.witness.count("promises told");
                // Whoever repeats a request is told its promise once more.
                self.witness.told(&self.key, head, floor.anywhere(), "a promise");
            }
        }
        stream.ending().await
    }

    async fn reset(self, request: Request, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.reset(ResetConversation {
            key: self.key.clone(),
            request_id: request.id.clone(),
            reason: "asked".to_owned(),
            expected_seq: request.expected_seq,
            deadline: began + budget,
        });
        let ended = ended.await;
        self.controlled("reset", request, (floor, began), budget, ended);
    }

    async fn pause(self, request: Request, paused: bool, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.pause(PauseConversation {
            key: self.key.clone(),
            request_id: request.id.clone(),
            paused,
            reason: "asked".to_owned(),
            deadline: began + budget,
        });
        let ended = ended.await;
        self.controlled("pause", request, (floor, began), budget, ended);
    }

    async fn fork(self, request: Request, source: ConversationKey, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.fork(ForkConversation {
            source,
            at: None,
            target: self.key.clone(),
            request_id: request.id.clone(),
            deadline: began + budget,
        });
        let ended = ended.await;
        self.ended("fork", began, budget, &told(&ended));
        match ended {
            Ok(reply) => {
                self.witness.count("conversations forked");
                self.witness.told(&self.key, reply.head, floor, "a fork");
            }
            // It may be about the other conversation.
            Err(error) => self.witness.count(name(&error)),
        }
    }

    async fn cancel(self, id: RequestId, budget: Duration) {
        let (floor, began) = self.begin(None);
        let ended = self.runtime.cancel_turn(&self.key, id.clone(), began + budget).await;
        self.ended("cancellation", began, budget, &told(&ended));
        match ended {
            Ok(Cancelled::Ended(reply)) => {
                self.witness.count("turns ended early or before");
                self.witness.replied(&self.key, &id, None, &TurnReply { replayed: true, ..reply }, floor);
            }
            Ok(Cancelled::LeftNothing) => self.witness.count("turns cancelled without a trace"),
            Err(error) => self.refused(None, &error, floor),
        }
    }

    async fn feedback(self, request: Request, turn_seq: TurnSeq, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.record_feedback(RecordFeedback {
            key: self.key.clone(),
            request_id: request.id.clone(),
            turn_seq,
            rating: Rating::Good,
            comment: String::new(),
            deadline: began + budget,
        });
        let ended = ended.await;
        self.controlled("feedback", request, (floor, began), budget, ended);
    }

    fn controlled(
        &self,
        what: &str,
        request: Request,
        (floor, began): (Floor, Instant),
        budget: Duration,
        ended: Result<ControlReply, Error>,
    ) {
        self.ended(what, began, budget, &told(&ended));
        match ended {
            Ok(reply) => self.witness.told(&self.key, reply.head, floor, what),
            Err(error) => self.refused(Some(&request), &error, floor),
        }
    }

    async fn erase(self, request: Request, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.erase(EraseConversation {
            key: self.key.clone(),
            request_id: request.id.clone(),
            uid: None,
            deadline: began + budget,
        });
        let ended = ended.await;
        self.ended("erasure", began, budget, &told(&ended));
        match ended {
            Ok(receipt) => {
                self.witness.count("conversations erased");
                self.witness.told(&self.key, receipt.head, floor, "an erasure");
            }
            Err(error) => self.refused(Some(&request), &error, floor),
        }
    }

    async fn describe(self, budget: Duration) {
        let (floor, began) = self.begin(None);
        let ended = self.runtime.describe(&self.key, began + budget).await;
        self.ended("description", began, budget, &told(&ended));
        match ended {
            Ok(described) => self.witness.told(&self.key, described.head, floor, "a description"),
            Err(error) => self.refused(None, &error, floor),
        }
    }

    async fn read(self, budget: Duration) {
        let (floor, began) = self.begin(None);
        let ended = self.runtime.turns(&self.key, TurnSeq::new(1), READ_TURNS, began + budget).await;
        self.ended("read", began, budget, &told(&ended));
        match ended {
            Ok(turns) => {
                for turn in &turns {
                    self.witness.told(&self.key, turn.head, floor.anywhere(), "a read");
                }
                let last = turns.last().map(|turn| turn.head.turn_seq).unwrap_or_default();
                self.witness.read_up_to(&self.key, last, READ_TURNS, floor);
                self.in_order(turns.iter().map(|turn| turn.head), TurnSeq::new(1));
            }
            Err(error) => self.refused(None, &error, floor),
        }
    }

    /// Watches until nothing happens for a while; with `behind` from where the conversation stands.
    async fn watch(self, behind: bool) {
        let (floor, began) = self.begin(None);
        let after = behind.then(|| floor.head()).filter(|head| head.turn_seq.get() > 0);
        let first = after.map_or(TurnSeq::new(1), |head| head.turn_seq.next());
        let opened = self.runtime.watch(&self.key, TurnSeq::new(1), after, began + WATCH_PATIENCE).await;
        self.ended(
            "watch",
            began,
            WATCH_PATIENCE,
            &opened.as_ref().map_or_else(|error| format!("{error:?}"), |_| "open".to_owned()),
        );
        let mut watcher = match opened {
            Ok(watcher) => watcher,
            Err(error) => return self.refused(None, &error, floor),
        };
        let mut seen = Vec::new();
        let ended = loop {
            match timeout(WATCH_PATIENCE, watcher.next()).await {
                Ok(Ok(WatchEvent::Turn(turn))) => {
                    self.witness.count("turns watched");
                    self.witness.told(&self.key, turn.head, floor.anywhere(), "a watch");
                    seen.push(turn.head);
                    self.in_order(seen.iter().copied(), first);
                }
                Ok(Ok(WatchEvent::Reset)) => {}
                Ok(Err(error)) => break format!("{error:?}"),
                Err(_) => break "nothing more".to_owned(),
            }
        };
        self.witness.note(format_args!(
            "           {} watch saw {} turns: {ended}",
            self.key.conversation(),
            seen.len()
        ));
    }

    /// What is seen of turns has no gap and no repetition.
    fn in_order(&self, seen: impl Iterator<Item = Head>, first: TurnSeq) {
        let mut next = first;
        for head in seen {
            if head.turn_seq != next {
                let what = format!("turn {} of {} was seen where {next} had to be", head.turn_seq, self.key.as_str());
                return self.witness.check(Err(Breach::new(Invariant::WatchInOrder, what)));
            }
            next = next.next();
        }
    }
}

fn told<T>(ended: &Result<T, Error>) -> String {
    match ended {
        Ok(_) => "done".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// What an error is counted by.
const fn name(error: &Error) -> &'static str {
    match error {
        Error::ConversationAbsent => "told absent",
        Error::ConversationErased => "told erased",
        Error::RequestIdReused => "told reused",
        Error::SeqMismatch { .. } => "told another turn",
        Error::Busy { .. } => "told busy",
        Error::HistoryChanged { .. } => "told changed",
        Error::Overloaded { .. } => "told overloaded",
        Error::DeadlineExceeded { .. } => "told late",
        Error::Restarted => "told restarted",
        Error::StoreUnavailable => "told unavailable",
        Error::DiskFull => "told full",
        Error::TurnAbsent { .. } => "told turn absent",
        Error::Draining => "told draining",
        Error::Cancelled => "told cancelled",
        Error::Paused { .. } => "told paused",
        Error::ConversationExists => "told there",
        Error::RequestAbsent => "told unknown",
        _ => "told otherwise",
    }
}
