//! What a large journal costs: bytes on disk, turns in very long conversations, opening it again after a kill.
//!
//! ```text
//! cargo bench -p colloquy-store --bench scale -- --conversations 1000000 --turns 10000000 --folder /some/disk
//! ```
//!
//! Fills a store with turns of about 1.5 KB spread over all conversations, ends as a killed process does, and opens it
//! in a process of its own: how long until the first turn of a conversation, drawn at random, is durable, and how much
//! memory that process took at most. Then compacts it and compares bytes on disk with bytes of payload. Then gives a few
//! conversations 100,000 turns each and compares the CPU of further turns with that of turns in conversations of 10. Without
//! `--bench`, which cargo adds, it makes a tiny store to show that it works. `--keep` ends after filling and prints the
//! store's folder, for `--reopen <folder>` under a profiler.

#![expect(clippy::expect_used, reason = "a measurement that cannot be made ends with what is wrong")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use colloquy_store::{
    Batch, ConversationStore, JournalOptions, JournalStore, Lease, RecordKind,
    record::{HEADER_BYTES, SALT_BYTES},
};
use colloquy_types::{ConversationKey, Entropy as _, Head, SystemClock, SystemEntropy, Timestamp};
use tokio::{runtime::Runtime, sync::oneshot};

const TURN_BYTES: usize = 1500;
const PAYLOAD_BYTES: usize = TURN_BYTES - HEADER_BYTES - SALT_BYTES;
const SNAPSHOT_BYTES: usize = 1024;
const TURNS_PER_SNAPSHOT: u64 = 16;
const PRODUCERS: usize = 64;
/// Conversations that a producer talks to at a time.
const WINDOW: usize = 300;
const LIMITS: &str = "within the limits";

struct Settings {
    conversations: usize,
    turns: usize,
    long: usize,
    folder: PathBuf,
    keep: bool,
    reopen: Option<PathBuf>,
}

impl Settings {
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            let place = arguments.iter().position(|argument| argument == name)?;
            arguments.get(place + 1).cloned()
        };
        let real = arguments.iter().any(|argument| argument == "--bench");
        let number = |name: &str, real_default, tiny| {
            let default = if real { real_default } else { tiny };
            value(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Self {
            conversations: number("--conversations", 100_000, 200),
            turns: number("--turns", 1_000_000, 1000),
            long: number("--long", 100_000, 100),
            folder: value("--folder").map_or_else(std::env::temp_dir, PathBuf::from),
            keep: arguments.iter().any(|argument| argument == "--keep"),
            reopen: value("--reopen").map(PathBuf::from),
        }
    }
}

fn opened(folder: &Path) -> Arc<JournalStore> {
    let options = JournalOptions::new(folder);
    Arc::new(JournalStore::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)).expect("the journal opens"))
}

fn key(number: usize) -> ConversationKey {
    ConversationKey::from_parts("bench", &format!("c{number}")).expect("well formed")
}

fn turn(lease: &Lease, head: &Head) -> Batch {
    let (time, payload) = (Timestamp::from_micros(1), [3; PAYLOAD_BYTES]);
    let mut batch = Batch::with_capacity(lease, head, TURN_BYTES + 8);
    if head.record_no.get() == 0 {
        batch.push_created(time, SystemEntropy.bytes16(), &lease.key, &[1; 64]).expect(LIMITS);
    }
    batch.push(RecordKind::Turn, time, SystemEntropy.bytes16(), &payload).expect(LIMITS);
    if batch.head_after().turn_seq.get().is_multiple_of(TURNS_PER_SNAPSHOT) {
        batch.push(RecordKind::Snapshot, time, SystemEntropy.bytes16(), &[4; SNAPSHOT_BYTES]).expect(LIMITS);
    }
    batch
}

async fn append(store: &JournalStore, lease: &Lease, head: &Head) -> Head {
    let (reply, answer) = oneshot::channel();
    store.append(lease, turn(lease, head), Box::new(move |ending| drop(reply.send(ending))));
    answer.await.expect("every append ends").expect("the turn is stored")
}

/// Gives each of `conversations` so many turns by [`PRODUCERS`] at once: a turn to each of a window of them, then the
/// next, so that what belongs to one is spread over many groups and some segments.
fn give(runtime: &Runtime, store: &Arc<JournalStore>, conversations: std::ops::Range<usize>, turns: usize) {
    runtime.block_on(async {
        let tasks: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (store, mine) = (Arc::clone(store), conversations.clone().skip(producer).step_by(PRODUCERS));
                tokio::spawn(async move {
                    let mine: Vec<_> = mine.collect();
                    for window in mine.chunks(WINDOW) {
                        let mut opened = Vec::with_capacity(window.len());
                        for number in window {
                            let found = store.open(&key(*number)).await.expect("a conversation opens");
                            opened.push((found.lease, found.head));
                        }
                        for _ in 0..turns {
                            for (lease, head) in &mut opened {
                                *head = append(&store, lease, head).await;
                            }
                        }
                        opened.iter().for_each(|(lease, _)| store.release(lease));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no producer panics");
        }
    });
}

fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder is read").flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// The most memory that this process has had so far.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}

/// What the process that opens the store again does and prints.
fn reopen(folder: &Path, conversations: usize) {
    let runtime = Runtime::new().expect("a runtime starts");
    let begun = Instant::now();
    let store = opened(folder);
    let open = begun.elapsed();
    let random = SystemEntropy.bytes16().iter().fold(0, |sum: usize, byte| sum.wrapping_mul(251) + usize::from(*byte));
    runtime.block_on(async {
        let opened = store.open(&key(random % conversations)).await.expect("a conversation opens");
        append(&store, &opened.lease, &opened.head).await;
    });
    let first = begun.elapsed();
    println!("opened in {open:.2?}, first turn durable after {first:.2?}, most memory {}", memory());
    // Ends as a killed process does, so that the next one has as much to read.
    std::process::exit(0);
}

/// CPU of `turns` further turns in each of `conversations`.
fn cost(runtime: &Runtime, store: &Arc<JournalStore>, conversations: std::ops::Range<usize>, turns: usize) -> f64 {
    let (count, before) = (conversations.len() * turns, cpu());
    give(runtime, store, conversations, turns);
    (cpu() - before).as_secs_f64() * 1e6 / count as f64
}

fn main() {
    let settings = Settings::read();
    if let Some(folder) = &settings.reopen {
        return reopen(folder, settings.conversations);
    }
    let runtime = Runtime::new().expect("a runtime starts");
    let scratch = tempfile::tempdir_in(&settings.folder).expect("a folder is made");
    let folder = scratch.path().join("store");
    let store = opened(&folder);
    let begun = Instant::now();
    let each = settings.turns.div_ceil(settings.conversations).max(1);
    give(&runtime, &store, 0..settings.conversations, each);
    let turns = each * settings.conversations;
    let (spent, memory) = (begun.elapsed(), memory());
    println!("{turns} turns in {} conversations, filled in {spent:.0?}, most memory {memory}", settings.conversations);
    drop(store);
    if settings.keep {
        println!("{}", scratch.keep().join("store").display());
        return;
    }
    for _ in 0..3 {
        let again = Command::new(std::env::current_exe().expect("it has a path"))
            .args(["--reopen", &folder.display().to_string(), "--conversations", &settings.conversations.to_string()])
            .status();
        assert!(again.expect("it starts").success(), "the store opens again");
    }
    let store = opened(&folder);
    let compacted = runtime.block_on(store.compact()).expect("the journal is compacted");
    let (journal, index) = (bytes_in(&folder.join("journal")), bytes_in(&folder.join("index")));
    let payload = (turns * PAYLOAD_BYTES) as f64;
    println!(
        "{compacted:?}\npayload {:.0} MB, journal {:.2} of it, index {:.2} of it",
        payload / 1e6,
        journal as f64 / payload,
        index as f64 / payload
    );
    // Conversations of ten turns, then a few with very many; each gets as many more, round after round.
    let base = settings.conversations;
    let (short, long) = (base..base + PRODUCERS * 100, base + PRODUCERS * 100..base + PRODUCERS * 101);
    give(&runtime, &store, short.clone(), 10);
    give(&runtime, &store, long.clone(), settings.long);
    let further = (settings.long / 100).max(10);
    let mut ratios: Vec<f64> = (0..7)
        .map(|_| {
            let short = cost(&runtime, &store, short.start..short.start + PRODUCERS, further);
            cost(&runtime, &store, long.clone(), further) / short
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    println!("a turn in a conversation of {} costs {median:.3} of one in a conversation of ten", settings.long);
    runtime.block_on(store.close());
}
