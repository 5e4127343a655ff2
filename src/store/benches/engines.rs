//! Compares the engines with a bare grouped append of the same bytes, in one run on one disk.
//!
//! A turn is one record of about `--turn-bytes` (1,500), and a snapshot of 1 KB with every 16th turn; it counts when it
//! is acknowledged as durable. Each producer has conversations of its own and one turn in flight. The ceiling
//! (`bare`) does what nothing can leave out: one thread copies what waits into one buffer, one `pwrite` into
//! zero-filled space, one `fdatasync`, then all acknowledgements. It has no format at all: no checksum, no digest, no
//! chain, no fence. `encoded` is the same with the callers encoding their records.
//!
//! `cargo bench -p colloquy-store --bench engines -- --seconds 5 --rounds 3 --folder /some/disk`; a line is the median
//! round, `CPU µs` the time of the whole process for a turn, producers included. Without `--bench`, which cargo adds, it
//! only makes a tiny run to show that it works.

#![expect(clippy::expect_used, reason = "a measurement that cannot be made ends with what is wrong")]

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use colloquy_store::{
    AppendError, Batch, Completion, ConversationStore, JournalOptions, JournalStore, Lease, MemoryStore, RecordKind,
    SledStore,
    record::{HEADER_BYTES, SALT_BYTES},
};
use colloquy_types::{
    Activation, ConversationKey, ConversationUid, Entropy as _, Epoch, Head, SystemClock, SystemEntropy, Timestamp,
    TurnSeq,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

/// What the server allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONVERSATIONS_PER_PRODUCER: usize = 40;
const CEILING_FILE_BYTES: u64 = 64 << 20;

/// Where a producer's batches go.
enum Target {
    Engine(Arc<dyn ConversationStore>),
    Ceiling { writer: Sender<(Bytes, Completion)>, encodes: bool },
}

/// What the ceiling writes.
enum Bytes {
    Encoded(Batch),
    Plain(Vec<u8>),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Encoded(batch) => batch.bytes(),
            Self::Plain(bytes) => bytes,
        }
    }
}

impl Target {
    async fn open(&self, key: &ConversationKey) -> (Lease, Head) {
        match self {
            Self::Engine(store) => {
                let opened = store.open(key).await.expect("a conversation opens");
                (opened.lease, opened.head)
            }
            Self::Ceiling { .. } => {
                let uid = ConversationUid(SystemEntropy.bytes16());
                let (epoch, activation) = (Epoch::new(1), Activation::new(1));
                (Lease { key: key.clone(), uid, epoch, activation }, Head::default())
            }
        }
    }

    /// Stores the next turn of a conversation.
    async fn append(&self, lease: &Lease, head: &Head, shape: Shape) -> Result<Head, AppendError> {
        let (reply, answer) = oneshot::channel();
        let done: Completion = Box::new(move |ending| drop(reply.send(ending)));
        match self {
            Self::Engine(store) => store.append(lease, shape.turn(lease, head), done),
            Self::Ceiling { writer, encodes } => {
                let bytes = if *encodes {
                    Bytes::Encoded(shape.turn(lease, head))
                } else {
                    Bytes::Plain(vec![3; shape.turn_bytes + if shape.has_snapshot(head) { SNAPSHOT_BYTES } else { 0 }])
                };
                writer.send((bytes, done)).expect("the ceiling's writer runs");
                let ending = answer.await.expect("every append ends");
                return ending.map(|_| head_after(head));
            }
        }
        answer.await.expect("every append ends")
    }
}

/// The head as far as the ceiling counts.
fn head_after(head: &Head) -> Head {
    Head { turn_seq: TurnSeq::new(head.turn_seq.get() + 1), record_no: head.record_no.next(), ..*head }
}

const SNAPSHOT_BYTES: usize = 1024;
const TURNS_PER_SNAPSHOT: u64 = 16;

/// What a turn is made of.
#[derive(Clone, Copy)]
struct Shape {
    turn_bytes: usize,
}

impl Shape {
    fn has_snapshot(self, head: &Head) -> bool {
        (head.turn_seq.get() + 1).is_multiple_of(TURNS_PER_SNAPSHOT)
    }

    fn turn(self, lease: &Lease, head: &Head) -> Batch {
        let time = Timestamp::from_micros(1);
        let mut batch = Batch::new(lease, head);
        let limits = "within the limits";
        if head.record_no.get() == 0 {
            batch.push_created(time, SystemEntropy.bytes16(), &lease.key, &[1; 64]).expect(limits);
        }
        let payload = vec![3; self.turn_bytes.saturating_sub(HEADER_BYTES + SALT_BYTES)];
        batch.push(RecordKind::Turn, time, SystemEntropy.bytes16(), &payload).expect(limits);
        if self.has_snapshot(head) {
            batch.push(RecordKind::Snapshot, time, SystemEntropy.bytes16(), &[4; SNAPSHOT_BYTES]).expect(limits);
        }
        batch
    }
}

/// Runs one producer until `end`; the latencies of its turns in microseconds.
async fn produce(target: Arc<Target>, producer: usize, shape: Shape, warm: Instant, end: Instant) -> Vec<u32> {
    let mut conversations = Vec::new();
    for number in 0..CONVERSATIONS_PER_PRODUCER {
        let key = ConversationKey::from_parts("bench", &format!("p{producer}-c{number}")).expect("well formed");
        conversations.push(target.open(&key).await);
    }
    let mut latencies = Vec::new();
    'run: loop {
        for (lease, head) in &mut conversations {
            let began = Instant::now();
            if began >= end {
                break 'run;
            }
            *head = target.append(lease, head, shape).await.expect("the turn is stored");
            if began >= warm {
                latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        }
    }
    latencies
}

struct Figures {
    turns_per_s: f64,
    p50_us: u32,
    p99_us: u32,
    cpu_us: f64,
}

/// What the process has computed so far.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

fn measure(runtime: &tokio::runtime::Runtime, target: Target, producers: usize, settings: &Settings) -> Figures {
    let (length, shape) = (settings.length, settings.shape);
    let target = Arc::new(target);
    let warm = Instant::now() + length / 5;
    let end = warm + length;
    let (mut latencies, spent): (Vec<u32>, Duration) = runtime.block_on(async {
        let tasks: Vec<_> = (0..producers)
            .map(|producer| tokio::spawn(produce(Arc::clone(&target), producer, shape, warm, end)))
            .collect();
        tokio::time::sleep_until(warm.into()).await;
        let before = cpu();
        tokio::time::sleep_until(end.into()).await;
        let spent = cpu().saturating_sub(before);
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.expect("no producer panics"));
        }
        (all, spent)
    });
    if let Target::Engine(store) = target.as_ref() {
        runtime.block_on(store.close());
    }
    latencies.sort_unstable();
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or_default();
    let turns = latencies.len().max(1) as f64;
    let cpu_us = spent.as_secs_f64() * 1e6 / turns;
    Figures { turns_per_s: turns / length.as_secs_f64(), p50_us: at(50), p99_us: at(99), cpu_us }
}

/// The ceiling's writer: no fences, no headers, no index, no segments.
fn append_bare(file: &File, queue: &Receiver<(Bytes, Completion)>) {
    let (mut buffer, mut waiting, mut offset) = (Vec::new(), Vec::new(), 0);
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some((bytes, done)) = next.take() {
            buffer.extend_from_slice(bytes.get());
            waiting.push(done);
            if buffer.len() < 1 << 20 {
                next = queue.try_recv().ok();
            }
        }
        if offset + buffer.len() as u64 > CEILING_FILE_BYTES {
            offset = 0;
        }
        file.write_all_at(&buffer, offset).and_then(|()| file.sync_data()).expect("the ceiling's file is written");
        offset += buffer.len() as u64;
        buffer.clear();
        for done in waiting.drain(..) {
            done(Ok(Head::default()));
        }
    }
}

fn ceiling(folder: &Path, encodes: bool) -> Target {
    let path = folder.join("ceiling");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("a file is made");
    let zeros = vec![0; 1 << 20];
    for number in 0..CEILING_FILE_BYTES / zeros.len() as u64 {
        file.write_all_at(&zeros, number * zeros.len() as u64).expect("the file is filled");
    }
    file.sync_all().expect("the file is synced");
    let (writer, queue) = bounded(8192);
    let spawned = std::thread::Builder::new().name("ceiling".to_owned()).spawn(move || append_bare(&file, &queue));
    spawned.expect("a thread starts");
    Target::Ceiling { writer, encodes }
}

fn target(name: &str, folder: &Path) -> Target {
    let entropy = Arc::new(SystemEntropy);
    let store: Arc<dyn ConversationStore> = match name {
        "bare" => return ceiling(folder, false),
        "encoded" => return ceiling(folder, true),
        "memory" => Arc::new(MemoryStore::new(entropy)),
        "journal" => {
            let options = JournalOptions::new(folder.join("journal"));
            Arc::new(JournalStore::open(&options, Arc::new(SystemClock), entropy).expect("the journal opens"))
        }
        _ => Arc::new(SledStore::open(&folder.join("sled"), 64 << 20, entropy).expect("sled opens")),
    };
    Target::Engine(store)
}

struct Settings {
    shape: Shape,
    length: Duration,
    rounds: usize,
    folder: PathBuf,
    producers: Vec<usize>,
    engines: Vec<String>,
}

fn settings() -> Settings {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let number = |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let real = arguments.iter().any(|argument| argument == "--bench");
    let list = |name: &str, default: &str| -> Vec<String> {
        value(name).unwrap_or_else(|| default.to_owned()).split(',').map(str::to_owned).collect()
    };
    let producers = list("--producers", if real { "1,64,256" } else { "4" });
    Settings {
        shape: Shape { turn_bytes: usize::try_from(number("--turn-bytes", 1500)).unwrap_or(1500) },
        length: if real { Duration::from_secs(number("--seconds", 5)) } else { Duration::from_millis(50) },
        rounds: usize::try_from(number("--rounds", 1)).unwrap_or(1),
        folder: value("--folder").map_or_else(std::env::temp_dir, PathBuf::from),
        producers: producers.iter().filter_map(|text| text.parse().ok()).collect(),
        engines: list("--engines", "bare,encoded,journal,sled,memory"),
    }
}

fn main() {
    let settings = settings();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    println!(
        "{:>9} {:>9} {:>10} {:>8} {:>8} {:>8} {:>11}",
        "producers", "engine", "turns/s", "p50 µs", "p99 µs", "CPU µs", "of first"
    );
    for producers in &settings.producers {
        // The rounds alternate between the engines, so that what else the machine does meets all of them.
        let mut rounds: Vec<Vec<Figures>> = settings.engines.iter().map(|_| Vec::new()).collect();
        for _ in 0..settings.rounds {
            for (engine, measured) in settings.engines.iter().zip(&mut rounds) {
                let folder = tempfile::tempdir_in(&settings.folder).expect("a folder is made");
                measured.push(measure(&runtime, target(engine, folder.path()), *producers, &settings));
            }
        }
        let mut first = None;
        for (engine, measured) in settings.engines.iter().zip(&mut rounds) {
            measured.sort_by(|one, other| one.turns_per_s.total_cmp(&other.turns_per_s));
            let Some(median) = measured.get(measured.len() / 2) else { continue };
            let of = median.turns_per_s / *first.get_or_insert(median.turns_per_s);
            let Figures { turns_per_s, p50_us, p99_us, cpu_us } = median;
            println!("{producers:>9} {engine:>9} {turns_per_s:>10.0} {p50_us:>8} {p99_us:>8} {cpu_us:>8.1} {of:>11.2}");
        }
    }
}
