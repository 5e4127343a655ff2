//! What is paused takes no turns, whatever happens to its actor, and loses nothing. Pauses of tenants and revisions are
//! tested with the flows.

use super::{
    outside::{AMPLE, Conduct, World, errand, started, submitted},
    *,
};
use crate::{Attribution, PauseTraffic, flows::flows_key, runtime::PauseConversation};
use colloquy_store::memory::Fault;

async fn pause(runtime: &Runtime, request_id: &str, paused: bool) -> Result<crate::ControlReply, Error> {
    let (request_id, deadline) = (RequestId::parse(request_id).unwrap(), Instant::now() + Duration::from_secs(10));
    let reason = "ticket 4711".to_owned();
    runtime.pause(PauseConversation { key: key("c"), request_id, paused, reason, deadline }).await
}

#[tokio::test]
async fn a_paused_conversation_takes_no_turns_until_it_is_resumed_also_after_a_restart() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await.unwrap();
    assert!(!pause(&runtime, "p-1", true).await.unwrap().replayed);
    assert!(matches!(runtime.submit_turn(turn("c", "r-2", "yes")).await, Err(Error::Paused { .. })));
    // Known ids keep their endings, and reading goes on.
    assert!(runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await.unwrap().replayed);
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    restarted(&runtime, "c").await;
    let described = runtime.describe(&key("c"), Instant::now() + Duration::from_secs(10)).await.unwrap();
    assert!(described.paused_at.is_some());
    assert!(matches!(runtime.submit_turn(turn("c", "r-2", "yes")).await, Err(Error::Paused { .. })));
    assert!(pause(&runtime, "p-1", true).await.unwrap().replayed, "the same request");
    assert!(pause(&runtime, "p-2", true).await.unwrap().replayed, "it is so already");
    assert!(!pause(&runtime, "p-3", false).await.unwrap().replayed);
    assert_eq!(seq(&runtime.submit_turn(turn("c", "r-2", "yes")).await.unwrap()), 2);
    // Created, turn, pause, resume, turn: what was so already wrote nothing.
    assert_eq!(gate.verify(&key("c")).await.unwrap().records, 5);
}

#[tokio::test]
async fn what_runs_and_waits_ends_before_the_pause() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let submit = |request_id: &str| {
        let (runtime, turn) = (runtime.clone(), turn("c", request_id, "hello"));
        tokio::spawn(async move { runtime.submit_turn(turn).await })
    };
    let running = submit("r-1");
    gate.until_waiting(1).await;
    let in_flight = || runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get();
    let waiting = submit("r-2");
    wait_for(|| in_flight() == 2).await;
    let pausing = {
        let runtime = runtime.clone();
        tokio::spawn(async move { pause(&runtime, "p-1", true).await })
    };
    wait_for(|| in_flight() == 3).await;
    let behind = submit("r-3");
    wait_for(|| in_flight() == 4).await;
    gate.inner.let_go();
    assert_eq!((seq(&running.await.unwrap().unwrap()), seq(&waiting.await.unwrap().unwrap())), (2, 3));
    pausing.await.unwrap().unwrap();
    assert!(matches!(behind.await.unwrap(), Err(Error::Paused { .. })));
}

/// Of two tenants whose pauses nobody was told of, the one whose stream cannot be read does not keep the other back.
#[tokio::test(start_paused = true)]
async fn what_nobody_was_told_of_is_found_out_for_each_tenant_by_itself() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    let steer = async |owner: &str, request_id: &str, paused: bool| {
        let tenant = TenantId::parse(owner).unwrap();
        runtime.pause_traffic(PauseTraffic { tenant, paused, ..steering(request_id) }).await
    };
    for owner in ["acme", "beta"] {
        // A tenant is listed with its first pause.
        steer(owner, "p-1", true).await.unwrap();
        steer(owner, "p-2", false).await.unwrap();
        gate.inner.fail_next(Fault::UnknownWritten);
        assert_eq!(steer(owner, "p-3", true).await, Err(Error::StoreUnavailable));
    }
    let acme = flows_key(&TenantId::parse("acme").unwrap());
    *gate.unanswered.lock().unwrap() = Some(acme);
    let held = || runtime.paused_traffic(None, None, 9).rows.iter().map(|row| row.place()).collect::<Vec<_>>();
    assert_eq!(held(), [""; 0]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(held(), ["beta"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    *gate.unanswered.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(held(), ["acme", "beta"]);
}

/// A pause, or the end of one, of a whole tenant.
fn steering(request_id: &str) -> PauseTraffic {
    PauseTraffic {
        tenant: TenantId::parse("acme").unwrap(),
        revision: None,
        request_id: RequestId::parse(request_id).unwrap(),
        paused: true,
        attribution: Attribution::default(),
        deadline: Instant::now() + Duration::from_secs(10),
    }
}

#[tokio::test]
async fn a_turn_that_runs_ends_when_its_tenant_is_paused_and_one_that_waits_is_refused() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    let running = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let waiting = submitted(&runtime, errand("r-2", "desk", AMPLE));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    runtime.pause_traffic(steering("p-1")).await.unwrap();
    world.gate.add_permits(1);
    assert_eq!(seq(&running.await.unwrap().unwrap()), 2);
    assert!(matches!(waiting.await.unwrap(), Err(Error::TrafficPaused(_))));
}
