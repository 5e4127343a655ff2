//! A poll that keeps its thread fails the test in which it is seen: every runtime of these tests looks when it is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

impl Drop for Runtime {
    /// Each clone looks: the last one may go with a task whose panic nobody sees.
    fn drop(&mut self) {
        let offenders = self.shared().metrics.stalls.offenders();
        assert!(offenders.is_empty() || std::thread::panicking(), "polls kept their thread: {}", offenders.join("; "));
    }
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn a_turn_that_keeps_its_thread_fails_the_test_that_sent_it() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap();
    drop(runtime.clone());
    gate.computes.store(true, std::sync::atomic::Ordering::Relaxed);
    runtime.submit_turn(turn("c", "r-2", "hello")).await.unwrap();
    let failed = catch_unwind(AssertUnwindSafe(|| drop(runtime))).expect_err("it looks");
    let told = failed.downcast_ref::<String>().expect("words");
    assert!(told.starts_with("polls kept their thread: conversation: 1 polls of 100ms"), "{told}");
}
