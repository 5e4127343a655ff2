//! Timers fire once, at their time, whatever ends in between; and what is no timer any more does not fire.

use std::sync::Mutex;

use colloquy_store::{Batch, Opened, RecordKind, memory::Fault};
use colloquy_types::{Clock, Timestamp};
use tokio::time::sleep;

use super::*;
use crate::{
    Attribution, FlowFile, FlowSources, PauseTraffic, PromoteFlow, PublishFlow, RevisionChoice,
    runtime::{EraseConversation, ForkConversation, PauseConversation},
    timers::{Verdict, fire, slot_key, slot_of},
};

const TIMED: &str = r"
format: colloquy.flow/v1
name: timed
start: desk.open
fallback: Sorry?
intents: {desk: {initial: open, states: {open: {}}}}
rules:
  - {id: later, in: any, when: text.contains('later'), then: [{remind: {id: nudge, in: 10m}}]}
  - {id: never, in: any, when: text.contains('never'), then: [{forget: nudge}]}
  - {id: again, in: any, when: timer == 'tick', then: [{remind: {id: tick, in: 10m}}]}
  - {id: tick, in: any, when: text.contains('tick'), then: [{remind: {id: tick, in: 10m}}]}
responses:
  - {in: any, when: timer == 'nudge', exact: Are you still there?}
  - {in: any, exact: Fine.}
";

/// A wall clock that goes with the runtime's time, and that can be put forth.
struct Wall(Instant, Mutex<Duration>);

impl Wall {
    fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now(), Mutex::default()))
    }

    fn step(&self, by: Duration) {
        *self.1.lock().unwrap() += by;
    }
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_614_400_000_000).plus(self.0.elapsed() + *self.1.lock().unwrap())
    }
}

/// A store, and processes on it one after the other.
struct House {
    gate: Arc<Gate>,
    wall: Arc<Wall>,
    runtime: Runtime,
}

impl House {
    async fn new() -> Self {
        let (gate, wall) = (Gate::new(), Wall::new());
        let runtime = Self::begin(&gate, &wall).await;
        Self { gate, wall, runtime }
    }

    async fn begin(gate: &Arc<Gate>, wall: &Arc<Wall>) -> Runtime {
        let flows = FlowCatalogue::new();
        let sources = vec![("flow.yaml".to_owned(), TIMED.to_owned())];
        flows.insert(SHARED_TENANT, load_sources("the flow", sources).expect("the flow is sound").flow);
        let dependencies = dependencies(gate.clone(), flows, Arc::new(crate::Nowhere));
        let dependencies = Dependencies { clock: wall.clone(), ..dependencies };
        Runtime::start(RuntimeSettings::default(), dependencies).await.unwrap()
    }

    /// Ends the process, and begins another one after a while.
    async fn restart(&mut self, down: Duration) {
        self.end().await;
        sleep(down).await;
        self.runtime = Self::begin(&self.gate, &self.wall).await;
    }

    async fn end(&self) {
        self.runtime.drain(Instant::now() + Duration::from_secs(5)).await;
    }

    async fn say(&self, conversation: &str, request_id: &str, text: &str) -> Result<TurnReply, Error> {
        let flow = Some(FlowName::parse("timed").unwrap());
        self.runtime.submit_turn(SubmitTurn { flow, ..turn(conversation, request_id, text) }).await
    }

    /// The request ids of a conversation's turns, from the first.
    async fn turns(&self, conversation: &str) -> Vec<String> {
        let turns = self.gate.turns(&key(conversation), TurnSeq::new(1), 1_000).await.unwrap();
        let turns = turns.iter().map(|stored| crate::CommittedTurn::from_stored(stored).unwrap());
        turns.map(|turn| turn.record.request_id.as_str().to_owned()).collect()
    }

    async fn timers(&self, conversation: &str) -> Vec<colloquy_turn::Timer> {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.runtime.describe(&key(conversation), deadline).await.unwrap().state.timers().to_vec()
    }

    /// Set, fired, dropped.
    fn counted(&self) -> (u64, u64, u64) {
        let timers = &self.runtime.shared().metrics.timers;
        (timers.set.get(), timers.fired.get(), timers.dropped.get())
    }

    async fn pause(&self, request_id: &str, paused: bool) {
        let (request_id, deadline) = (RequestId::parse(request_id).unwrap(), Instant::now() + Duration::from_secs(10));
        let reason = String::new();
        self.runtime.pause(PauseConversation { key: key("c"), request_id, paused, reason, deadline }).await.unwrap();
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// A turn that is decided but not synced may have dropped the timer, and then never happen.
#[tokio::test(start_paused = true)]
async fn a_timer_that_only_an_unsynced_turn_has_dropped_fires_when_that_turn_is_refused() {
    for refused in [true, false] {
        let house = House::new().await;
        house.say("c", "r-1", "later").await.unwrap();
        sleep(10 * MINUTE - Duration::from_secs(2)).await;
        house.gate.inner.hold();
        if refused {
            house.gate.inner.fail_next(Fault::Full);
        }
        let ended = {
            let dropping = house.say("c", "r-2", "never");
            tokio::pin!(dropping);
            let waits = tokio::time::timeout(Duration::from_secs(5), &mut dropping).await;
            assert!(waits.is_err(), "its sync is waited for, and meanwhile the timer is due");
            house.gate.inner.let_go();
            dropping.await
        };
        assert_eq!(ended.is_err(), refused);
        sleep(MINUTE).await;
        let fired = house.turns("c").await;
        assert_eq!(fired, if refused { ["r-1", "timer/nudge/1"] } else { ["r-1", "r-2"] });
        assert!(house.timers("c").await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_at_its_time() {
    let house = House::new().await;
    house.say("c", "r-1", "later").await.unwrap();
    sleep(10 * MINUTE - Duration::from_secs(1)).await;
    assert_eq!(house.turns("c").await, ["r-1"]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(house.turns("c").await, ["r-1", "timer/nudge/1"]);
    let stored = house.gate.turns(&key("c"), TurnSeq::new(2), 1).await.unwrap();
    let fired = crate::CommittedTurn::from_stored(&stored[0]).unwrap().record;
    assert_eq!((fired.input, fired.text.as_str()), (InputKind::Timer, "nudge"));
    assert_eq!(fired.reply.text, "Are you still there?");
    sleep(30 * MINUTE).await;
    assert_eq!(house.turns("c").await.len(), 2);
    assert!(house.timers("c").await.is_empty());
    assert_eq!(house.counted(), (1, 1, 0));
    // One that sets itself anew goes on.
    house.say("d", "r-1", "tick").await.unwrap();
    sleep(31 * MINUTE).await;
    assert_eq!(house.turns("d").await, ["r-1", "timer/tick/1", "timer/tick/2", "timer/tick/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_outlives_the_process() {
    let mut house = House::new().await;
    house.say("due-later", "r-1", "later").await.unwrap();
    house.restart(5 * MINUTE).await;
    sleep(4 * MINUTE).await;
    assert_eq!(house.turns("due-later").await.len(), 1);
    assert!(house.runtime.shared().directory.get(&key("due-later")).is_none(), "nobody woke it");
    sleep(2 * MINUTE).await;
    assert_eq!(house.turns("due-later").await, ["r-1", "timer/nudge/1"]);
    // It came due while nobody was there.
    house.say("overdue", "r-1", "later").await.unwrap();
    house.restart(60 * MINUTE).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(house.turns("overdue").await, ["r-1", "timer/nudge/1"]);
    // What has fired is marked, and does not wake its conversation again.
    sleep(MINUTE).await;
    house.restart(MINUTE).await;
    sleep(MINUTE).await;
    assert_eq!((house.runtime.stats().conversations_active, house.counted()), (0, (0, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_submitted_again_and_again_is_one_turn() {
    let house = House::new().await;
    house.say("c", "r-1", "later").await.unwrap();
    let timer = house.timers("c").await.remove(0);
    let hint = crate::timers::Hint { key: key("c"), timer: timer.clone() };
    let shared = house.runtime.shared();
    assert_eq!(fire(Arc::clone(shared), &hint).await, Verdict::Later(timer.due_at), "it is not due");
    house.wall.step(10 * MINUTE);
    let verdicts = tokio::join!(fire(Arc::clone(shared), &hint), fire(Arc::clone(shared), &hint));
    assert_eq!(verdicts, (Verdict::Fired { again: false }, Verdict::Fired { again: true }));
    assert_eq!(fire(Arc::clone(shared), &hint).await, Verdict::Fired { again: true });
    sleep(MINUTE).await;
    assert_eq!(house.turns("c").await, ["r-1", "timer/nudge/1"]);
    let never = crate::timers::Hint { timer: colloquy_turn::Timer { set_turn: 9, ..timer }, ..hint };
    assert_eq!(fire(Arc::clone(shared), &never).await, Verdict::Dropped);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_replaced_reset_or_erased_does_not_fire() {
    let house = House::new().await;
    for conversation in ["dropped", "replaced", "reset", "erased"] {
        house.say(conversation, "r-1", "later").await.unwrap();
    }
    sleep(5 * MINUTE).await;
    house.say("dropped", "r-2", "never").await.unwrap();
    house.say("replaced", "r-2", "later").await.unwrap();
    let (request_id, deadline) = (RequestId::parse("x-1").unwrap(), Instant::now() + MINUTE);
    let reset = ResetConversation {
        key: key("reset"),
        request_id: request_id.clone(),
        expected_seq: None,
        reason: String::new(),
        deadline,
    };
    house.runtime.reset(reset).await.unwrap();
    assert!(house.timers("reset").await.is_empty());
    house.runtime.erase(EraseConversation { key: key("erased"), request_id, uid: None, deadline }).await.unwrap();
    // Whoever takes the key has timers of its own, and at their own time.
    sleep(MINUTE).await;
    house.say("erased", "r-1", "later").await.unwrap();
    sleep(4 * MINUTE + Duration::from_secs(30)).await;
    assert_eq!(house.turns("dropped").await, ["r-1", "r-2"]);
    assert_eq!(house.turns("replaced").await, ["r-1", "r-2"]);
    assert_eq!(house.turns("reset").await, ["r-1"]);
    assert_eq!(house.turns("erased").await, ["r-1"]);
    sleep(6 * MINUTE).await;
    assert_eq!(house.turns("replaced").await, ["r-1", "r-2", "timer/nudge/2"]);
    assert_eq!(house.turns("erased").await, ["r-1", "timer/nudge/1"]);
    // They were told to the keeper, so nobody was woken for nothing.
    assert_eq!(house.counted(), (6, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fork_has_no_timers_of_the_other() {
    let house = House::new().await;
    house.say("c", "r-1", "later").await.unwrap();
    for (at, target) in [(None, "now"), (Some(TurnSeq::new(1)), "then")] {
        let (request_id, deadline) = (RequestId::parse("fork-1").unwrap(), Instant::now() + MINUTE);
        let fork = ForkConversation { source: key("c"), at, target: key(target), request_id, deadline };
        house.runtime.fork(fork).await.unwrap();
        assert!(house.timers(target).await.is_empty());
    }
    sleep(11 * MINUTE).await;
    assert_eq!(house.turns("c").await.len(), 2);
    assert_eq!((house.turns("now").await.len(), house.turns("then").await.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_timer_of_a_paused_conversation_waits_until_it_is_resumed() {
    for restarts in [false, true] {
        let mut house = House::new().await;
        house.say("c", "r-1", "later").await.unwrap();
        house.pause("p-1", true).await;
        sleep(30 * MINUTE).await;
        if restarts {
            house.restart(MINUTE).await;
            sleep(MINUTE).await;
        }
        assert_eq!(house.turns("c").await, ["r-1"]);
        house.pause("p-2", false).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(house.turns("c").await, ["r-1", "timer/nudge/1"], "restarted: {restarts}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_timer_of_a_paused_tenant_waits_until_it_is_resumed() {
    let house = House::new().await;
    let steer = async |request_id: &str, paused: bool| {
        let (request_id, deadline) = (RequestId::parse(request_id).unwrap(), Instant::now() + Duration::from_secs(10));
        let (tenant, attribution) = (TenantId::parse("acme").unwrap(), Attribution::default());
        let pause = PauseTraffic { tenant, revision: None, request_id, paused, attribution, deadline };
        house.runtime.pause_traffic(pause).await.unwrap();
    };
    house.say("c", "r-1", "later").await.unwrap();
    steer("p-1", true).await;
    sleep(30 * MINUTE).await;
    assert_eq!(house.turns("c").await, ["r-1"]);
    steer("p-2", false).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(house.turns("c").await, ["r-1", "timer/nudge/1"]);
}

/// A conversation at a boundary leaves a paused revision, and its timer comes with it.
#[tokio::test(start_paused = true)]
async fn the_timer_of_a_paused_revision_fires_when_another_one_is_promoted() {
    let house = House::new().await;
    let tenant = || TenantId::parse("acme").unwrap();
    let release = async |fallback: &str| {
        let file = FlowFile {
            name: "flow.yaml".to_owned(),
            text: TIMED.replace("open: {}", "open: {terminal: true}").replace("Sorry?", fallback),
        };
        let sources = FlowSources { files: vec![file], scenarios: String::new() };
        let (attribution, deadline) = (Attribution::default(), Instant::now() + MINUTE);
        let publish = PublishFlow { tenant: tenant(), sources, attribution: attribution.clone(), deadline };
        // It is compiled on a thread that has no virtual time.
        tokio::time::resume();
        let revision = house.runtime.publish_flow(publish).await.unwrap().revision.revision.to_string();
        let (flow, expected_from) = ("timed".to_owned(), None);
        let promote =
            PromoteFlow { tenant: tenant(), flow, revision: revision.clone(), expected_from, attribution, deadline };
        house.runtime.promote_flow(promote).await.unwrap();
        tokio::time::pause();
        revision
    };
    let digits = release("Pardon?").await;
    house.say("c", "r-1", "later").await.unwrap();
    let pause = PauseTraffic {
        tenant: tenant(),
        revision: Some(RevisionChoice { flow: "timed".to_owned(), digits }),
        request_id: RequestId::parse("p-1").unwrap(),
        paused: true,
        attribution: Attribution::default(),
        deadline: Instant::now() + MINUTE,
    };
    house.runtime.pause_traffic(pause).await.unwrap();
    sleep(30 * MINUTE).await;
    assert_eq!(house.turns("c").await, ["r-1"]);
    release("What?").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(house.turns("c").await, ["r-1", "timer/nudge/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_not_written_leaves_no_timer() {
    let house = House::new().await;
    house.say("c", "r-1", "hello").await.unwrap();
    *house.gate.panics.lock().unwrap() = Some(key("c"));
    assert_eq!(house.say("c", "r-2", "later").await.unwrap_err(), Error::Restarted);
    assert_eq!(house.counted(), (1, 0, 0), "its hint was written");
    sleep(11 * MINUTE).await;
    assert_eq!(house.turns("c").await, ["r-1"]);
    assert_eq!(house.counted(), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_hint_is_not_written_is_not_written_either() {
    let house = House::new().await;
    house.say("c", "r-1", "hello").await.unwrap();
    let slot = slot_key(slot_of(house.wall.now().plus(10 * MINUTE)));
    *house.gate.panics.lock().unwrap() = Some(slot);
    assert_eq!(house.say("c", "r-2", "later").await.unwrap_err(), Error::StoreUnavailable);
    assert_eq!(house.turns("c").await, ["r-1"]);
    // The keeper is started anew, and nobody else was harmed.
    sleep(MINUTE).await;
    house.say("c", "r-2", "later").await.unwrap();
    sleep(11 * MINUTE).await;
    assert_eq!(house.turns("c").await, ["r-1", "r-2", "timer/nudge/2"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_downtime_timers_fire_some_at_a_time() {
    let mut house = House::new().await;
    for number in 0..50 {
        house.say(&format!("c-{number}"), "r-1", "later").await.unwrap();
    }
    house.end().await;
    sleep(60 * MINUTE).await;
    house.runtime = House::begin(&house.gate, &house.wall).await;
    // Each conversation that is opened waits for the store.
    house.gate.stalled.store(true, std::sync::atomic::Ordering::Relaxed);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(house.runtime.stats().in_flight, 16);
    house.gate.stalled.store(false, std::sync::atomic::Ordering::Relaxed);
    sleep(10 * MINUTE).await;
    for number in 0..50 {
        assert_eq!(house.turns(&format!("c-{number}")).await.len(), 2, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn hints_are_no_conversations_and_go_when_all_have_fired() {
    let house = House::new().await;
    let slot = slot_key(slot_of(house.wall.now().plus(10 * MINUTE)));
    house.say("c", "r-1", "later").await.unwrap();
    assert!(house.gate.verify(&slot).await.is_ok());
    let deadline = Instant::now() + MINUTE;
    assert!(house.runtime.list(SHARED_TENANT, None, 10, deadline).await.unwrap().is_empty());
    assert_eq!(house.runtime.list("acme", None, 10, deadline).await.unwrap().len(), 1);
    sleep(11 * MINUTE).await;
    assert!(house.gate.verify(&slot).await.is_ok(), "others may come to it");
    house.wall.step(5 * 24 * 60 * MINUTE);
    sleep(MINUTE).await;
    assert!(house.gate.verify(&slot).await.is_err(), "its time is over");
    // The ring comes round: the same stream begins anew.
    house.wall.step(507 * 24 * 60 * MINUTE);
    house.say("c", "r-2", "later").await.unwrap();
    sleep(11 * MINUTE).await;
    assert_eq!(house.turns("c").await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_another_build_is_passed_over_and_its_stream_kept() {
    let mut house = House::new().await;
    let slot = slot_key(slot_of(house.wall.now().plus(10 * MINUTE)));
    house.say("c", "r-1", "later").await.unwrap();
    house.end().await;
    let Opened { lease, head, .. } = house.gate.open(&slot).await.unwrap();
    let mut batch = Batch::new(&lease, &head);
    batch.push(RecordKind::Control, house.wall.now(), [1; 16], b"\xffnobody knows").unwrap();
    let (reply, answer) = tokio::sync::oneshot::channel();
    house.gate.append(&lease, batch, Box::new(move |ending| drop(reply.send(ending))));
    answer.await.unwrap().unwrap();
    house.restart(MINUTE).await;
    sleep(11 * MINUTE).await;
    assert_eq!(house.turns("c").await.len(), 2, "the other timers fire");
    house.wall.step(5 * 24 * 60 * MINUTE);
    sleep(MINUTE).await;
    assert!(house.gate.verify(&slot).await.is_ok(), "a build that knows it may come yet");
}
