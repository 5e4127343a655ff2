//! History is the canonical turn log: what is told about it changes no byte of it.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use colloquy_turn::Rating;
use colloquy_types::{Clock, Entropy, Timestamp, TraceContext};
use rustix::time::{ClockId, clock_gettime};
use tracing::subscriber::set_default;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::*;
use crate::RecordFeedback;

/// A clock and an entropy of which every process of the same program is told the same.
#[derive(Default)]
struct Counted(AtomicU64);

impl Clock for Counted {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_603_600_000_000)
    }
}

impl Entropy for Counted {
    fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        bytes
    }
}

/// Every stored byte of a conversation that was held with a caller's `trace`.
async fn stored(trace: Option<&str>) -> Vec<Vec<u8>> {
    let store = Arc::new(MemoryStore::new(Arc::new(Counted::default())));
    let flows = FlowCatalogue::new();
    flows.insert(SHARED_TENANT, load_sources("the flow", sources()).expect("the flow is sound").flow);
    let shared = Arc::clone(&store) as Arc<dyn ConversationStore>;
    let dependencies = Dependencies {
        clock: Arc::new(Counted::default()),
        entropy: Arc::new(Counted::default()),
        ..dependencies(shared, flows, Arc::new(crate::Nowhere))
    };
    let runtime = Runtime::start(RuntimeSettings::default(), dependencies).await.unwrap();
    let trace = trace.map(|trace| TraceContext::parse(trace, None).expect("well formed"));
    let said = ["hello", "cancel order A-1001", "yes", "where is order AB-1234?", "", "start over", "cancel", "no"];
    for (number, text) in said.into_iter().enumerate() {
        let turn = SubmitTurn { trace: trace.clone(), ..turn("c", &format!("r-{number}"), text) };
        runtime.submit_turn(turn).await.unwrap();
    }
    let request_id = RequestId::parse("f-1").unwrap();
    let comment = "just so".to_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    let feedback = RecordFeedback {
        key: key("c"),
        request_id,
        turn_seq: TurnSeq::new(2),
        rating: Rating::Good,
        comment,
        deadline,
    };
    runtime.record_feedback(feedback).await.unwrap();
    let page = store.history(&key("c"), Head::default(), 1000).await.unwrap();
    page.records.into_iter().map(|record| record.stored).collect()
}

/// CE-013, P7: history is identical under every audit level: whatever is logged, in whichever form, and whether a caller
/// traces, is sampled or not.
#[tokio::test]
async fn nothing_that_is_told_of_a_turn_changes_its_history() {
    let silent = stored(None).await;
    assert!(silent.len() > 9, "{}", silent.len());
    for trace in [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    ] {
        assert_eq!(stored(Some(trace)).await, silent, "{trace}");
    }
    for filter in ["off", "error", "info", "debug", "trace"] {
        for json in [false, true] {
            let lines = Lines::default();
            let told = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(lines.clone());
            // The runtime has one thread, so actors tell the same subscriber.
            let guard = if json { set_default(told.json().finish()) } else { set_default(told.finish()) };
            assert_eq!(stored(None).await, silent, "{filter}");
            tracing::trace!("whoever tells all tells this");
            drop(guard);
            assert_eq!(lines.0.load(Ordering::Relaxed) > 0, filter == "trace", "{filter}");
        }
    }
}

/// P10: what a turn costs does not grow with the length of its conversation. Held by a wide factor, as the machine has
/// other work; what a long conversation has more than a short one is up to 1,000 remembered request ids in its snapshots.
#[tokio::test]
async fn a_turn_costs_the_same_in_a_conversation_of_thousands() {
    const BATCH: usize = 100;
    let runtime = start(Arc::new(MemoryStore::new(Arc::new(SystemEntropy)))).await;
    let spent = async |conversation: &str, from: usize, count: usize| {
        // All of it runs on this thread; what else the machine does is not counted.
        let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let begun = cpu();
        for number in from..from + count {
            runtime.submit_turn(turn(conversation, &format!("r-{number}"), "hello")).await.unwrap();
        }
        cpu() - begun
    };
    spent("long", 0, 5000).await;
    let mut ratios = Vec::new();
    for round in 0..9 {
        let short = format!("short-{round}");
        spent(&short, 0, 10).await;
        let (short, long) = (spent(&short, 10, BATCH).await, spent("long", 5000 + round * BATCH, BATCH).await);
        ratios.push(long.as_secs_f64() / short.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!("of a short one's: {ratios:.2?}");
    assert!(ratios[ratios.len() / 2] < 1.5, "{ratios:?}");
}

/// Counts what is written to it.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicU64>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
