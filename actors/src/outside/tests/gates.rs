//! Who gets in, who waits, and when nobody does.

use super::*;
use crate::outside::{
    BreakerPosition,
    board::Board,
    breaker::Verdict,
    gate::{Gate, GateHandle, Permit, Refused},
};

struct Door {
    handle: GateHandle,
    actor: ActorRef<crate::outside::gate::Message>,
}

async fn door(policy: GatePolicy) -> Door {
    let board = Arc::new(Board::new("place"));
    let (actor, _) = Actor::spawn(None, Gate { policy, board: Arc::clone(&board) }, ()).await.unwrap();
    Door { handle: GateHandle { board }, actor }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

impl Door {
    async fn enter(&self) -> Permit {
        self.handle.enter(later()).await.expect("it lets us in")
    }

    fn waits(&self) -> tokio::task::JoinHandle<Result<Permit, Refused>> {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.enter(later()).await })
    }

    fn figures(&self) -> GateFigures {
        self.handle.board.figures()
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_as_may_are_inside_and_the_rest_wait_in_order() {
    let door = door(policy(2, 8, 5)).await;
    let (one, two) = (door.enter().await, door.enter().await);
    let (third, fourth) = (door.waits(), door.waits());
    settle().await;
    assert_eq!((door.figures().inside, door.figures().waiting), (2, 2));
    assert!(!third.is_finished());
    one.leave(Verdict::Answered);
    let third = third.await.unwrap().expect("a place became free");
    assert!(!fourth.is_finished(), "first come, first served");
    drop(two);
    let _fourth = fourth.await.unwrap().expect("who is dropped leaves, too");
    drop(third);
    settle().await;
    assert_eq!((door.figures().inside, door.figures().waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_bounded_and_who_stops_waiting_makes_room() {
    let door = door(policy(1, 2, 5)).await;
    let inside = door.enter().await;
    let (gives_up, stays) = (door.waits(), door.waits());
    settle().await;
    assert_eq!(door.handle.enter(later()).await.unwrap_err(), Refused::Full);
    assert_eq!(door.figures().refused, 1);
    gives_up.abort();
    settle().await;
    let next = door.waits();
    settle().await;
    drop(inside);
    drop(stays.await.unwrap().expect("it waited first"));
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_by_the_deadline() {
    let door = door(policy(1, 2, 5)).await;
    let _inside = door.enter().await;
    let began = Instant::now();
    assert_eq!(door.handle.enter(began + Duration::from_millis(300)).await.unwrap_err(), Refused::TooLate);
    assert_eq!(began.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn failures_shut_it_and_a_probe_opens_it_again() {
    let door = door(policy(4, 8, 2)).await;
    for _ in 0..2 {
        door.enter().await.leave(Verdict::Failed);
    }
    settle().await;
    assert_eq!(door.figures().breaker, BreakerPosition::Open);
    assert!(matches!(door.handle.enter(later()).await, Err(Refused::Open(_))));
    tokio::time::sleep(BreakerPolicy::default().open_for).await;
    let probe = door.enter().await;
    assert_eq!(door.figures().breaker, BreakerPosition::HalfOpen);
    assert!(matches!(door.handle.enter(later()).await, Err(Refused::Open(_))), "one probe at a time");
    probe.leave(Verdict::Answered);
    drop(door.enter().await);
    settle().await;
    assert_eq!((door.figures().breaker, door.figures().opened), (BreakerPosition::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_killed_begins_anew_and_forgets_who_was_inside() {
    let kept = kept(WorldSpec { sources: vec![super::sources::spec("crm", policy(1, 1, 5))], ..WorldSpec::default() });
    let kept = kept.await;
    let gates = kept.world.gates();
    let board = Arc::clone(gates.iter().flat_map(|gates| gates.boards()).next().unwrap());
    let handle = GateHandle { board: Arc::clone(&board) };
    let from_before = handle.enter(later()).await.unwrap();
    board.gate().unwrap().kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(kept.figures("crm").restarts, 1);
    let inside = handle.enter(later()).await.expect("it knows of nobody inside");
    drop(from_before);
    settle().await;
    assert_eq!(kept.figures("crm").inside, 1, "who was let in by another life makes no room in this one");
    drop(inside);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_a_gate_that_ends_is_told() {
    let door = door(policy(1, 2, 5)).await;
    let inside = door.enter().await;
    let waits = door.waits();
    settle().await;
    door.actor.kill();
    assert_eq!(waits.await.unwrap().unwrap_err(), Refused::Gone);
    drop(inside);
    assert_eq!(door.handle.enter(later()).await.unwrap_err(), Refused::Gone);
}
