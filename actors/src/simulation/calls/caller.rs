//! One caller: sends what it was told to, and holds what it gets against what must be.

use std::{sync::Arc, time::Duration};

use colloquy_turn::{InputKind, Rating};
use colloquy_types::{ConversationKey, FlowName, Head, RequestId, TenantId, TurnSeq};
use tokio::time::{Instant, timeout};

use crate::{
    Attribution, Cancelled, ControlReply, Ending, EraseConversation, Error, ForkConversation, PauseConversation,
    PauseTraffic, RecordFeedback, ResetConversation, Runtime, SubmitTurn, TurnEvent, TurnReply, WatchEvent,
    invariants::Invariant,
    simulation::{
        Breach,
        requests::Request,
        schedule::Manner,
        witness::{Floor, Witness},
    },
};

/// How much later than its deadline a call may end: the clock of tokio counts whole milliseconds.
const LATE_MAX: Duration = Duration::from_millis(5);
/// Turns that a read asks for.
const READ_TURNS: usize = 100;
/// How long a watch waits for its next event before it is let go.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);

/// What a caller's task has.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) runtime: Runtime,
    pub(super) witness: Arc<Witness>,
    pub(super) key: ConversationKey,
    pub(super) flow: FlowName,
    /// Whether replies to calls that change something reach it.
    pub(super) hears: bool,
}

impl Caller {
    fn begin(&self, request: Option<&Request>) -> (Floor, Instant) {
        if let Some(request) = request {
            self.sent(&request.id);
        }
        (self.witness.floor(&self.key), Instant::now())
    }

    fn sent(&self, id: &RequestId) {
        let mut state = self.witness.lock();
        let refused_in = state.steering.spell(true);
        state.requests.sent(&self.key, id, refused_in);
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

    /// Whether the reply to a call that changes something reaches its caller.
    fn hears<T>(&self, ended: &Result<T, Error>) -> bool {
        if !self.hears && ended.is_ok() {
            self.witness.count("replies lost on the way");
        }
        self.hears
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

    pub(super) async fn turn(self, request: Request, text: String, manner: Manner) {
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
        let taken_in = self.witness.lock().steering.spell(false);
        let ended = if manner.streamed {
            self.stream(turn, floor, manner.cut).await
        } else {
            self.runtime.submit_turn(turn).await
        };
        self.ended(request.id.as_str(), began, manner.budget, &told(&ended));
        if !self.hears(&ended) {
            return;
        }
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
            Err(error) => {
                let refused = matches!(error, Error::TrafficPaused(_)).then_some(taken_in).flatten();
                if refused.is_some() && refused == self.witness.lock().steering.spell(false) {
                    let what =
                        format!("{} of {} was told a pause of its tenant", request.id.as_str(), self.key.as_str());
                    self.witness.check(Err(Breach::new(Invariant::Paused, what)));
                }
                self.refused(Some(&request), &error, floor);
            }
        }
    }

    /// Has the tenant's turns refused, or taken again.
    pub(super) async fn steer(self, id: RequestId, paused: bool, budget: Duration) {
        let Ok(tenant) = TenantId::parse(self.key.tenant()) else { return };
        self.witness.refresh();
        let (began, now) = (Instant::now(), self.witness.clock.elapsed());
        let call = self.witness.lock().steering.begins(paused, now, budget);
        let attribution = Attribution::default();
        let pause =
            PauseTraffic { tenant, revision: None, request_id: id, paused, attribution, deadline: began + budget };
        let ended = self.runtime.pause_traffic(pause).await;
        self.ended("steering", began, budget, &told(&ended));
        if !self.hears(&ended) {
            return;
        }
        match ended {
            // A request that is repeated tells how it is now.
            Ok(reply) if reply.pause.is_some() == paused => {
                self.witness.count(if paused { "tenants paused" } else { "tenants resumed" });
                let now = self.witness.clock.elapsed();
                self.witness.lock().steering.told(call, now);
            }
            Ok(_) => {}
            Err(error) => self.witness.count(name(&error)),
        }
    }

    /// Follows a turn; with `cut` it goes away after so many events and comes back for those behind them.
    async fn stream(&self, turn: SubmitTurn, floor: Floor, mut cut: Option<usize>) -> Result<TurnReply, Error> {
        let (id, began) = (turn.request_id.clone(), self.witness.floor(&self.key));
        let mut after = None;
        loop {
            let mut stream = self.runtime.stream_turn(turn.clone(), after)?;
            let mut seen = 0;
            while cut != Some(seen) {
                let Some((place, event)) = stream.event().await else { return stream.ending().await };
                self.witness.followed(&self.key, &id, (after, place), &event, began);
                if let TurnEvent::Accepted { head, .. } = event {
                    self.witness.count("promises told");
                    // Whoever repeats a request is told its promise once more.
                    self.witness.told(&self.key, head, floor.anywhere(), "a promise");
                }
                after = Some(place);
                seen += 1;
            }
            cut = None;
            drop(stream);
            self.witness.count("streams taken up again");
            self.sent(&id);
        }
    }

    pub(super) async fn passivate(self, budget: Duration) {
        let (floor, began) = self.begin(None);
        let ended = self.runtime.passivate(&self.key, began + budget).await;
        self.ended("passivation", began, budget, &told(&ended));
        if let Err(error) = ended {
            self.refused(None, &error, floor);
        }
    }

    pub(super) async fn reset(self, request: Request, budget: Duration) {
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

    pub(super) async fn pause(self, request: Request, paused: bool, budget: Duration) {
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

    pub(super) async fn fork(self, request: Request, source: ConversationKey, at: Option<TurnSeq>, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.fork(ForkConversation {
            source,
            at,
            target: self.key.clone(),
            request_id: request.id.clone(),
            deadline: began + budget,
        });
        let ended = ended.await;
        self.ended("fork", began, budget, &told(&ended));
        if !self.hears(&ended) {
            return;
        }
        match ended {
            Ok(reply) => {
                self.witness.count(match at {
                    None => "conversations forked",
                    Some(_) => "conversations forked at a turn",
                });
                self.witness.told(&self.key, reply.head, floor, "a fork");
            }
            // It may be about the other conversation.
            Err(error) => self.witness.count(name(&error)),
        }
    }

    pub(super) async fn cancel(self, id: RequestId, budget: Duration) {
        let (floor, began) = self.begin(None);
        let ended = self.runtime.cancel_turn(&self.key, id.clone(), began + budget).await;
        self.ended("cancellation", began, budget, &told(&ended));
        if !self.hears(&ended) {
            return;
        }
        match ended {
            Ok(Cancelled::Ended(reply)) => {
                self.witness.count("turns ended early or before");
                self.witness.replied(&self.key, &id, None, &TurnReply { replayed: true, ..reply }, floor);
            }
            Ok(Cancelled::LeftNothing) => self.witness.count("turns cancelled without a trace"),
            Err(error) => self.refused(None, &error, floor),
        }
    }

    pub(super) async fn feedback(self, request: Request, turn_seq: TurnSeq, budget: Duration) {
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
        if !self.hears(&ended) {
            return;
        }
        match ended {
            Ok(reply) => self.witness.told(&self.key, reply.head, floor, what),
            Err(error) => self.refused(Some(&request), &error, floor),
        }
    }

    pub(super) async fn erase(self, request: Request, budget: Duration) {
        let (floor, began) = self.begin(Some(&request));
        let ended = self.runtime.erase(EraseConversation {
            key: self.key.clone(),
            request_id: request.id.clone(),
            uid: None,
            deadline: began + budget,
        });
        let ended = ended.await;
        self.ended("erasure", began, budget, &told(&ended));
        if !self.hears(&ended) {
            return;
        }
        match ended {
            Ok(receipt) => {
                self.witness.count("conversations erased");
                self.witness.told(&self.key, receipt.head, floor, "an erasure");
            }
            Err(error) => self.refused(Some(&request), &error, floor),
        }
    }

    pub(super) async fn describe(self, budget: Duration) {
        let (floor, began) = self.begin(None);
        let ended = self.runtime.describe(&self.key, began + budget).await;
        self.ended("description", began, budget, &told(&ended));
        match ended {
            Ok(described) => self.witness.told(&self.key, described.head, floor, "a description"),
            Err(error) => self.refused(None, &error, floor),
        }
    }

    pub(super) async fn read(self, budget: Duration) {
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
    pub(super) async fn watch(self, behind: bool) {
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
        Error::TrafficPaused(_) => "told traffic paused",
        Error::ConversationExists => "told there",
        Error::RequestAbsent => "told unknown",
        _ => "told otherwise",
    }
}
