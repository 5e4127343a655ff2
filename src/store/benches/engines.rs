//! Compares the engines with a bare grouped append of the same bytes, in one run on one disk.
//!
//! A turn is an accepted record and a turn record of about 300 bytes each, and a snapshot of 1 KB with
//! every 16th turn; it counts when it is acknowledged as durable. Each producer has conversations of its
//! own and one turn in flight. The ceiling does what no engine can leave out: the callers encode, one
//! thread copies what waits into one buffer, one `pwrite` into zero-filled space, one `fdatasync`, then
//! all acknowledgements.
//!
//! `cargo bench -p colloquy-store -- --seconds 5 --rounds 3 --folder /some/disk`; a line is the median round. Without `--bench`, which cargo adds,
//! it only makes a tiny run to show that it works.

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
};
use colloquy_types::{
    Activation, ConversationKey, ConversationUid, Entropy as _, Epoch, Head, SystemClock, SystemEntropy, Timestamp,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

const CONVERSATIONS_PER_PRODUCER: usize = 40;
const CEILING_FILE_BYTES: u64 = 64 << 20;

/// Where a producer's batches go.
enum Target {
    Engine(Arc<dyn ConversationStore>),
    Ceiling(Sender<(Batch, Completion)>),
}

impl Target {
    async fn open(&self, key: &ConversationKey) -> (Lease, Head) {
        match self {
            Self::Engine(store) => {
                let opened = store.open(key).await.expect("a conversation opens");
                (opened.lease, opened.head)
            }
            Self::Ceiling(_) => {
                let uid = ConversationUid(SystemEntropy.bytes16());
                let (epoch, activation) = (Epoch::new(1), Activation::new(1));
                (Lease { key: key.clone(), uid, epoch, activation }, Head::default())
            }
        }
    }

    async fn append(&self, lease: &Lease, batch: Batch) -> Result<Head, AppendError> {
        let (reply, answer) = oneshot::channel();
        let done: Completion = Box::new(move |ending| drop(reply.send(ending)));
        match self {
            Self::Engine(store) => store.append(lease, batch, done),
            Self::Ceiling(writer) => writer.send((batch, done)).expect("the ceiling's writer runs"),
        }
        answer.await.expect("every append ends")
    }
}

fn turn(lease: &Lease, head: &Head) -> Batch {
    let time = Timestamp::from_micros(1);
    let mut batch = Batch::new(lease, head);
    let limits = "within the limits";
    if head.record_no.get() == 0 {
        batch.push_created(time, SystemEntropy.bytes16(), &lease.key, &[1; 64]).expect(limits);
    }
    batch.push(RecordKind::Accepted, time, SystemEntropy.bytes16(), &[2; 132]).expect(limits);
    batch.push(RecordKind::Turn, time, SystemEntropy.bytes16(), &[3; 132]).expect(limits);
    if batch.head_after().turn_seq.get().is_multiple_of(16) {
        batch.push(RecordKind::Snapshot, time, SystemEntropy.bytes16(), &[4; 1024]).expect(limits);
    }
    batch
}

/// Runs one producer until `end`; the latencies of its turns in microseconds.
async fn produce(target: Arc<Target>, producer: usize, warm: Instant, end: Instant) -> Vec<u32> {
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
            *head = target.append(lease, turn(lease, head)).await.expect("the turn is stored");
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
}

fn measure(runtime: &tokio::runtime::Runtime, target: Target, producers: usize, length: Duration) -> Figures {
    let target = Arc::new(target);
    let warm = Instant::now() + length / 5;
    let end = warm + length;
    let mut latencies: Vec<u32> = runtime.block_on(async {
        let tasks: Vec<_> =
            (0..producers).map(|producer| tokio::spawn(produce(Arc::clone(&target), producer, warm, end))).collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.expect("no producer panics"));
        }
        all
    });
    if let Target::Engine(store) = target.as_ref() {
        runtime.block_on(store.close());
    }
    latencies.sort_unstable();
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or_default();
    Figures { turns_per_s: latencies.len() as f64 / length.as_secs_f64(), p50_us: at(50), p99_us: at(99) }
}

/// The ceiling's writer: no fences, no headers, no index, no segments.
fn append_bare(file: &File, queue: &Receiver<(Batch, Completion)>) {
    let (mut buffer, mut waiting, mut offset) = (Vec::new(), Vec::new(), 0);
    while let Ok((batch, done)) = queue.recv() {
        let mut next = Some((batch, done));
        while let Some((batch, done)) = next.take() {
            buffer.extend_from_slice(batch.bytes());
            waiting.push((batch.head_after(), done));
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
        for (head, done) in waiting.drain(..) {
            done(Ok(head));
        }
    }
}

fn ceiling(folder: &Path) -> Target {
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
    Target::Ceiling(writer)
}

fn target(name: &str, folder: &Path) -> Target {
    let entropy = Arc::new(SystemEntropy);
    let store: Arc<dyn ConversationStore> = match name {
        "ceiling" => return ceiling(folder),
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
        length: if real { Duration::from_secs(number("--seconds", 5)) } else { Duration::from_millis(50) },
        rounds: usize::try_from(number("--rounds", 1)).unwrap_or(1),
        folder: value("--folder").map_or_else(std::env::temp_dir, PathBuf::from),
        producers: producers.iter().filter_map(|text| text.parse().ok()).collect(),
        engines: list("--engines", "ceiling,journal,sled,memory"),
    }
}

fn main() {
    let settings = settings();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    println!("{:>9} {:>9} {:>10} {:>8} {:>8} {:>11}", "producers", "engine", "turns/s", "p50 µs", "p99 µs", "of first");
    for producers in &settings.producers {
        // The rounds alternate between the engines, so that what else the machine does meets all of them.
        let mut rounds: Vec<Vec<Figures>> = settings.engines.iter().map(|_| Vec::new()).collect();
        for _ in 0..settings.rounds {
            for (engine, measured) in settings.engines.iter().zip(&mut rounds) {
                let folder = tempfile::tempdir_in(&settings.folder).expect("a folder is made");
                measured.push(measure(&runtime, target(engine, folder.path()), *producers, settings.length));
            }
        }
        let mut first = None;
        for (engine, measured) in settings.engines.iter().zip(&mut rounds) {
            measured.sort_by(|one, other| one.turns_per_s.total_cmp(&other.turns_per_s));
            let Some(median) = measured.get(measured.len() / 2) else { continue };
            let of = median.turns_per_s / *first.get_or_insert(median.turns_per_s);
            let Figures { turns_per_s, p50_us, p99_us } = median;
            println!("{producers:>9} {engine:>9} {turns_per_s:>10.0} {p50_us:>8} {p99_us:>8} {of:>11.2}");
        }
    }
}
