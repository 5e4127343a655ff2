//! Streams: every reader of a turn sees the same, whenever it comes, however often it is cut.

use super::{
    outside::{AMPLE, Conduct, World, errand, kill, record, started},
    *,
};
use crate::runtime::{EventPlace, TurnStream};

/// What a reader saw: each event with its place, and how the turn ended.
async fn read(mut stream: TurnStream, most: usize) -> (Vec<(EventPlace, String)>, Option<TurnReply>) {
    let mut seen = Vec::new();
    while seen.len() < most {
        match stream.event().await {
            Some((place, event)) => seen.push((place, format!("{event:?}"))),
            None => {
                let last = stream.last_place();
                let reply = stream.ending().await.unwrap();
                seen.push((last, "ended".to_owned()));
                return (seen, Some(reply));
            }
        }
    }
    (seen, None)
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_and_taken_up_again_is_the_stream_that_was_not() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    let follow = |after| runtime.stream_turn(errand("r-1", "tell", AMPLE), after).unwrap();
    let uncut = tokio::spawn(read(follow(None), usize::MAX));
    wait_for(|| world.running() == 1).await;
    // While it runs, some readers are cut after each of its events so far, and wait where they were.
    let mut cut = Vec::new();
    for most in 1..5 {
        let (seen, _) = read(follow(None), most).await;
        let after = seen.last().map(|(place, _)| *place);
        cut.push((seen, tokio::spawn(read(follow(after), usize::MAX))));
    }
    world.gate.add_permits(1);
    let (uncut, reply) = uncut.await.unwrap();
    for (mut seen, rest) in cut {
        let (rest, again) = rest.await.unwrap();
        seen.extend(rest);
        assert_eq!(seen, uncut);
        assert_eq!(record(&again.unwrap()), record(reply.as_ref().unwrap()));
    }
    assert!(uncut.len() > 12, "{uncut:?}");
    // After its end, readers that lost it are given the rest as well, until another turn is followed.
    for most in 1..uncut.len() {
        let (mut seen, _) = read(follow(None), most).await;
        let (rest, again) = read(follow(seen.last().map(|(place, _)| *place)), usize::MAX).await;
        seen.extend(rest);
        assert_eq!(seen, uncut, "cut after {most}");
        assert!(again.unwrap().replayed);
    }
    world.gate.add_permits(1);
    read(runtime.stream_turn(errand("r-2", "tell", AMPLE), None).unwrap(), usize::MAX).await;
    let (seen, again) = read(follow(uncut.get(3).map(|(place, _)| *place)), usize::MAX).await;
    assert_eq!(seen.len(), 1, "the ending alone: {seen:?}");
    assert!(seen[0].0.index > uncut[3].0.index, "which stands behind what was seen");
    assert_eq!(record(&again.unwrap()), record(&reply.unwrap()));
}

#[tokio::test]
async fn another_attempt_is_followed_from_its_first_event() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    let follow = |after| runtime.stream_turn(errand("r-1", "tell", AMPLE), after).unwrap();
    wait_for(|| true).await;
    let (seen, _) = read(follow(None), 3).await;
    wait_for(|| world.running() == 1).await;
    kill(&runtime);
    restarted(&runtime, "c").await;
    let after = seen.last().map(|(place, _)| *place);
    world.gate.add_permits(1);
    let (rest, reply) = read(follow(after), usize::MAX).await;
    assert_eq!((rest[0].0.attempt, rest[0].0.index), (2, 0), "{rest:?}");
    assert_eq!(&*record(&reply.unwrap()).reply.text, "All is well.");
}

#[tokio::test]
async fn a_turn_that_waits_can_be_followed_before_it_begins() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    let first = tokio::spawn(read(runtime.stream_turn(errand("r-1", "tell", AMPLE), None).unwrap(), usize::MAX));
    wait_for(|| world.running() == 1).await;
    let second = || runtime.stream_turn(errand("r-2", "desk", AMPLE), None).unwrap();
    let (one, two) = (tokio::spawn(read(second(), usize::MAX)), tokio::spawn(read(second(), usize::MAX)));
    world.gate.add_permits(1);
    first.await.unwrap();
    let ((one, _), (two, _)) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!(one, two);
    assert!(one[0].1.starts_with("Accepted"), "what was promised to a follower is synced first: {one:?}");
}
