//! What operators see of actors, and do to them.

use std::num::NonZeroU32;

use super::{
    outside::{AMPLE, Conduct, World, errand, started, submitted},
    *,
};
use crate::{ActorKind, ActorStatus, ChaosBudget, FailureCause, TreeFilter, TreeRow};

fn row(runtime: &Runtime, path: &str) -> TreeRow {
    crate::tree::row(runtime.shared(), path).expect(path)
}

fn path(name: &str) -> String {
    let key = key(name);
    format!("root/conversations/{:02}/{key}", crate::shard::of(&key))
}

#[tokio::test]
async fn a_conversation_says_what_it_waits_for_and_until_when() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    let running = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let waiting = submitted(&runtime, errand("r-2", "desk", AMPLE));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    let found = runtime.inspect(&path("c")).await.unwrap();
    let report = found.conversation.unwrap();
    assert_eq!((report.head.turn_seq.get(), report.queued, report.ahead), (1, 1, 0));
    let told = report.running.unwrap();
    assert_eq!((told.phase, told.turn_id.is_some(), told.effects.len()), ("deciding", true, 1));
    assert_eq!((told.effects[0].kind, told.effects[0].name.as_str()), ("model", "respond"));
    let patience = Duration::from_secs(2);
    assert!(told.effects[0].left <= patience && told.effects[0].left > patience / 2, "{told:?}");
    assert!(told.left <= AMPLE && told.left > AMPLE / 2);
    assert!(found.memory_bytes > 0 && found.failures.is_none());
    // The tree tells the same without asking the actor.
    let shown = row(&runtime, &path("c"));
    let effect = shown.effect.expect("it waits");
    assert_eq!((effect.kind, effect.name.as_str(), effect.step), ("model", "respond", told.effects[0].step));
    assert!(effect.left <= patience && effect.left > patience / 2, "{effect:?}");
    assert_eq!((shown.memory_bytes, shown.last_failure), (found.memory_bytes, None));
    world.gate.add_permits(1);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert!(runtime.inspect(&path("c")).await.unwrap().conversation.unwrap().running.is_none());
    assert_eq!(row(&runtime, &path("c")).effect, None);
    // Looking does not wake anybody.
    let before = runtime.stats().conversations_active;
    assert_eq!(runtime.inspect(&path("nobody")).await.unwrap_err(), Error::ActorAbsent);
    assert_eq!(runtime.inspect("root/conversations/99").await.unwrap_err(), Error::ActorAbsent);
    assert_eq!(runtime.inspect("root").await.unwrap().row.unwrap().kind, ActorKind::Root);
    assert_eq!(runtime.stats().conversations_active, before);
}

#[tokio::test]
async fn an_actor_is_killed_within_the_budget_and_comes_back() {
    let chaos = ChaosBudget { conversations: NonZeroU32::new(1), supervisors: NonZeroU32::new(2) };
    let runtime = start_with(Gate::new(), RuntimeSettings { chaos, ..RuntimeSettings::default() }).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    assert_eq!(runtime.kill(&path("nobody")), Err(Error::ActorAbsent), "which costs nothing");
    assert_eq!(runtime.kill(&path("c")), Ok(ActorKind::Conversation));
    restarted(&runtime, "c").await;
    assert!(matches!(runtime.kill(&path("c")), Err(Error::KillRefused { retry_after: Some(_) })));
    let found = runtime.inspect(&path("c")).await.unwrap();
    assert_eq!(found.failures, Some((1, FailureCause::Killed)));
    assert_eq!(found.row.and_then(|row| row.last_failure), Some(FailureCause::Killed));
    assert_eq!(runtime.kill("root/flows"), Ok(ActorKind::Flows));
    let shard = path("c").rsplit_once("/acme/").unwrap().0.to_owned();
    let before = runtime.shared().shard(crate::shard::of(&key("c"))).map(|shard| shard.get_id());
    assert_eq!(runtime.kill(&shard), Ok(ActorKind::Shard));
    assert!(matches!(runtime.kill("root/flows"), Err(Error::KillRefused { .. } | Error::ActorAbsent)));
    // The shard comes back, and with it all below it.
    let number = crate::shard::of(&key("c"));
    let supervisor = || runtime.shared().shard(number).map(|shard| shard.get_id());
    wait_for(|| supervisor().is_some_and(|id| Some(id) != before)).await;
    runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap();
    let unarmed = start(Gate::new()).await;
    unarmed.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    assert_eq!(unarmed.kill(&path("c")), Err(Error::KillRefused { retry_after: None }));
}

/// The rows of what the root supervises are no constants.
#[tokio::test(start_paused = true)]
async fn the_tree_tells_how_often_a_supervisor_was_started_anew_since_when_and_why() {
    let runtime = start(Gate::new()).await;
    let number = crate::shard::of(&key("c"));
    let shard = format!("root/conversations/{number:02}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    for restarts in 1..=2_u32 {
        let before = row(&runtime, &shard);
        assert_eq!((before.status, before.restarts), (ActorStatus::Running, restarts - 1));
        let killed = Instant::now();
        runtime.shared().shard(number).unwrap().kill();
        if restarts == 2 {
            // The second one costs a pause.
            while row(&runtime, &shard).status == ActorStatus::Running {
                tokio::task::yield_now().await;
            }
            let gone = row(&runtime, &shard);
            assert_eq!((gone.status, gone.restarts), (ActorStatus::Activating, 1));
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let after = row(&runtime, &shard);
        assert_eq!((after.status, after.restarts), (ActorStatus::Running, restarts));
        assert_eq!(after.last_failure, Some(FailureCause::Killed));
        assert!(after.age <= killed.elapsed() && after.age > Duration::from_secs(9), "{:?}", after.age);
    }
    // The others noticed nothing.
    for path in ["root/flows", "root/timers", "root/passivator", "root/conversations/63"] {
        let row = row(&runtime, path);
        assert_eq!((row.restarts, row.last_failure, row.status), (0, None, ActorStatus::Running), "{path}");
        assert!(row.age >= Duration::from_secs(120), "{path}: {:?}", row.age);
    }
    runtime.shared().keeper().unwrap().kill();
    wait_for(|| row(&runtime, "root/flows").restarts == 1).await;
}

#[tokio::test]
async fn a_supervisor_tells_how_many_calls_are_with_its_conversations() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    let calls: Vec<_> =
        ["r-1", "r-2"].map(|request| submitted(&runtime, errand(request, "tell", AMPLE))).into_iter().collect();
    let shard = path("c").rsplit_once("/acme/").unwrap().0.to_owned();
    wait_for(|| (row(&runtime, &shard).children, row(&runtime, &shard).queue_depth) == (1, 2)).await;
    world.gate.add_permits(2);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((row(&runtime, &shard).children, row(&runtime, &shard).queue_depth), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn ending_the_server_is_estimated_by_the_last_deadline_of_what_runs_and_waits() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    let estimate = || (runtime.drain_estimate().in_flight, runtime.drain_estimate().at_most);
    runtime.submit_turn(errand("r-0", "desk", AMPLE * 20)).await.unwrap();
    assert_eq!(estimate(), (0, Duration::ZERO), "what ended does not count");
    let running = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    assert_eq!(estimate(), (1, AMPLE));
    let waiting = submitted(&runtime, errand("r-2", "desk", AMPLE * 2));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(estimate(), (2, AMPLE * 2 - Duration::from_secs(1)));
    world.gate.add_permits(1);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    wait_for(|| estimate() == (0, Duration::ZERO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_of_the_tree_waits_for_another_no_longer_than_its_deadline() {
    let runtime = start(Gate::new()).await;
    let page = async || runtime.tree(&TreeFilter::default(), None, 9, Instant::now() + AMPLE).await;
    let place = Arc::clone(&runtime.shared().walks).acquire_owned().await.unwrap();
    let late = page().await.unwrap_err();
    assert_eq!(late, Error::DeadlineExceeded { outcome: crate::DeadlineOutcome::NotApplied });
    drop(place);
    assert_eq!(page().await.unwrap().rows.len(), 9);
}

#[tokio::test]
async fn pages_of_the_tree_are_in_order_and_hold_everybody_once() {
    let runtime = start(Gate::new()).await;
    for number in 0..150 {
        let tenant = if number % 3 == 0 { "acme" } else { "other" };
        let key = ConversationKey::from_parts(tenant, &format!("c-{number}")).unwrap();
        runtime.submit_turn(SubmitTurn { key, ..turn("c", "r-0", "hello") }).await.unwrap();
    }
    let walked = async |filter: TreeFilter, limit| {
        let (mut paths, mut after, mut total) = (Vec::new(), None::<String>, None);
        loop {
            let page = runtime.tree(&filter, after.as_deref(), limit, Instant::now() + AMPLE).await.unwrap();
            assert!(page.rows.len() <= limit);
            assert_eq!(*total.get_or_insert(page.total), page.total);
            paths.extend(page.rows.into_iter().map(|row| row.path));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(Some(paths.len()), total);
        assert!(paths.is_sorted() && paths.windows(2).all(|pair| pair[0] != pair[1]));
        paths
    };
    let all = walked(TreeFilter::default(), 1000).await;
    for limit in [1, 7, 64, 150] {
        assert_eq!(walked(TreeFilter::default(), limit).await, all, "pages of {limit}");
    }
    let of = |tenant: &str| TreeFilter { kind: None, tenant: Some(tenant.to_owned()) };
    assert_eq!(
        (walked(of("acme"), 9).await.len(), walked(of("other"), 9).await.len(), walked(of("nobody"), 9).await.len()),
        (50, 100, 0)
    );
    let shards = TreeFilter { kind: Some(ActorKind::Shard), tenant: None };
    assert_eq!(walked(shards, 10).await.len(), 64);
    let conversations = TreeFilter { kind: Some(ActorKind::Conversation), tenant: None };
    assert_eq!(walked(conversations, 10).await.len(), 150);
}
