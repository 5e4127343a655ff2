//! A turn that was promised ends, also when the store refuses its commit.

use colloquy_store::{
    RecordKind,
    memory::{Fault, FaultPlan},
};
use colloquy_turn::AcceptedRecord;

use super::*;

/// The kinds of the records behind the first turn.
async fn written(gate: &Gate) -> Vec<RecordKind> {
    let page = gate.history(&key("c"), Head::default(), 100).await.unwrap();
    page.records.iter().map(|row| row.record.header.kind).skip(2).collect()
}

/// The numbers of the attempts at a turn, as they were promised.
async fn attempts(gate: &Gate) -> Vec<u32> {
    let page = gate.history(&key("c"), Head::default(), 100).await.unwrap();
    let records = page.records.iter().map(|row| &row.record);
    let accepted = records.filter(|record| record.header.kind == RecordKind::Accepted);
    accepted.map(|record| AcceptedRecord::decode(&record.payload).unwrap().attempt).collect()
}

#[tokio::test]
async fn a_promised_turn_whose_commit_was_refused_ends_before_any_other() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.set_faults(FaultPlan::new().succeed(1).then(Fault::Full).succeed(1).then(Fault::Full));
    let stream = runtime.stream_turn(turn("c", "r-1", "hello"), None).unwrap();
    assert_eq!(stream.ending().await.unwrap_err(), Error::DiskFull);
    assert_eq!(written(&gate).await, [RecordKind::Accepted]);
    assert_eq!(runtime.submit_turn(turn("c", "r-2", "hello")).await.unwrap_err(), Error::DiskFull);
    let other = runtime.submit_turn(turn("c", "r-2", "hello")).await.unwrap();
    assert_eq!(seq(&other), 3, "the promise comes first");
    let (promised, ended) = (RecordKind::Accepted, RecordKind::Turn);
    assert_eq!(written(&gate).await, [promised, promised, promised, ended, ended]);
    assert_eq!(attempts(&gate).await, [1, 2, 3], "no two attempts have the same number");
    let again = runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap();
    assert_eq!((seq(&again), again.replayed), (2, true));
}

#[tokio::test]
async fn what_waits_behind_a_promised_turn_is_refused_with_it() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.set_faults(FaultPlan::new().succeed(1).then(Fault::Full));
    gate.inner.hold();
    let stream = runtime.stream_turn(turn("c", "r-1", "hello"), None).unwrap();
    gate.until_waiting(1).await;
    let waiting = tokio::spawn({
        let runtime = runtime.clone();
        let reset = ResetConversation {
            key: key("c"),
            request_id: RequestId::parse("reset").unwrap(),
            reason: "test".to_owned(),
            expected_seq: None,
            deadline: Instant::now() + Duration::from_secs(5),
        };
        async move { runtime.reset(reset).await }
    });
    wait_for(|| runtime.stats().in_flight == 2).await;
    gate.inner.let_go();
    assert_eq!(stream.ending().await.unwrap_err(), Error::DiskFull);
    assert_eq!(waiting.await.unwrap().unwrap_err(), Error::DiskFull);
    wait_for(|| runtime.stats().in_flight == 0).await;
}
