//! Bad input for each command that handles a store: a folder that is missing, one that can only be read, a damaged file, the
//! version of another build, and a command that was killed in the middle.

use std::{
    cell::RefCell,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use colloquy_store::{
    Batch, ConversationStore as _, RecordKind,
    journal::{JournalOptions, JournalStore},
};
use colloquy_types::{ConversationKey, SystemClock, SystemEntropy, Timestamp};

use crate::{
    faults::folders::make_newer,
    harness::{BINARY, Place, Server, run, stderr, stdout, turn},
    namespace::{has_namespaces, run_read_only},
    outside::until,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Verify,
    Stats,
    Backup,
    Restore,
    Migrate,
    Import,
    Export,
    Erase,
}

use Does::{Backup, Erase, Export, Import, Migrate, Restore, Stats, Verify};

const ALL: [Does; 8] = [Verify, Stats, Backup, Restore, Migrate, Import, Export, Erase];

/// What the commands are given. By default each of it is as it should be.
#[derive(Clone)]
struct Given {
    /// The store, or where one is to be.
    data: PathBuf,
    /// Where a backup goes or is.
    backup: PathBuf,
    /// Where exports go or are.
    exports: PathBuf,
    receipts: PathBuf,
    /// A server's address.
    addr: String,
}

impl Given {
    fn arguments(&self, does: Does) -> Vec<String> {
        let Self { data, backup, exports, receipts, addr } = self;
        let [data, backup, exports, receipts] = [data, backup, exports, receipts].map(|path| path.to_str().unwrap());
        let client = ["--addr", addr, "--tenant", "acme"];
        let words = match does {
            Verify => vec!["store", "verify", "--data-dir", data],
            Stats => vec!["store", "stats", "--data-dir", data],
            Backup => vec!["store", "backup", "--data-dir", data, backup, "--copy", "--verify"],
            Restore => vec!["store", "restore", backup, "--data-dir", data],
            Migrate => vec!["store", "migrate", "--data-dir", data],
            Import => vec!["store", "import", exports, "--data-dir", data],
            Export => [&client[..], &["export", "--all", "--out", exports]].concat(),
            Erase => {
                [&client[..], &["erase", "--all-of-tenant", "--yes", "--compact", "--receipts", receipts]].concat()
            }
        };
        words.into_iter().map(str::to_owned).collect()
    }

    fn run(&self, does: Does) -> Output {
        run(&self.arguments(does).iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A store that no server runs on, a backup of it, exports, and the server of another.
struct World {
    place: Place,
    _other: Place,
    server: Server,
    given: Given,
}

impl World {
    async fn new() -> Self {
        let (place, other) = (Place::new(), Place::new());
        let server = place.start();
        talk(&server, &["ada", "bob"]).await;
        let mut given = Given {
            data: place.data_dir(),
            backup: place.path().join("backup"),
            exports: place.path().join("exports"),
            receipts: place.path().join("receipts"),
            addr: server.grpc.clone(),
        };
        for does in [Export, Backup] {
            let ran = given.run(does);
            assert_eq!(ran.status.code(), Some(0), "{does:?}: {}", stderr(&ran));
        }
        assert_eq!(server.terminate(), Some(0));
        let server = other.start();
        talk(&server, &["ada", "bob"]).await;
        given.addr = server.grpc.clone();
        Self { place, _other: other, server, given }
    }

    /// A folder or file that is not there.
    fn fresh(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }
}

async fn talk(server: &Server, conversations: &[&str]) {
    let client = server.client().await;
    for conversation in conversations {
        for n in 1..=3 {
            let said = turn(conversation, &format!("r-{n}"), &format!("{conversation} says {n}"));
            client.submit(&said).await.unwrap();
        }
    }
}

/// Holds what a command said against what it is to say.
fn check(fault: &str, does: Does, ran: &Output, (code, says): (i32, &str)) {
    let said = format!("{}{}", stdout(ran), stderr(ran));
    assert_eq!(ran.status.code(), Some(code), "{does:?} with {fault}: {said}");
    assert!(said.contains(says), "{does:?} with {fault} says {says:?}: {said}");
    assert!(
        code == 0 || ["error: ", "damaged: "].iter().any(|tells| said.contains(tells)),
        "{does:?} with {fault}: {said}"
    );
    assert!(!said.contains("panicked"), "{does:?} with {fault}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_told_and_no_store_is_made_of_it() {
    let world = World::new().await;
    let absent = world.fresh("absent");
    for does in ALL {
        let sound = world.given.clone();
        let (given, expected) = match does {
            Verify | Stats | Migrate => (Given { data: absent.clone(), ..sound }, (2, "no store\n  fix: ")),
            Backup => (Given { data: absent.clone(), backup: world.fresh("b"), ..sound }, (2, "no store\n  fix: ")),
            Restore => (Given { backup: absent.clone(), data: world.fresh("r"), ..sound }, (2, "is no backup")),
            Import => (Given { exports: absent.clone(), data: world.fresh("i"), ..sound }, (2, "cannot be read")),
            // The folder is made.
            Export => (Given { exports: world.fresh("e").join("deep"), ..sound }, (0, "2 conversations exported")),
            Erase => (Given { receipts: absent.join("receipts"), ..sound }, (2, "receipts cannot be kept")),
        };
        check("a missing folder", does, &given.run(does), expected);
        assert!(!absent.exists(), "{does:?} makes nothing of it");
    }
    assert!(["b", "r", "i"].iter().all(|name| !world.fresh(name).exists()), "nothing was begun");
    let left = world.server.client().await.conversations("acme", 10, "").await.unwrap();
    assert_eq!(left.conversations.len(), 2, "without a place for receipts nothing is erased");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_can_only_be_read_is_read_and_otherwise_told() {
    let world = World::new().await;
    if !has_namespaces(world.place.path(), "a_folder_that_can_only_be_read") {
        return;
    }
    let (data, sealed) = (world.given.data.clone(), world.fresh("sealed"));
    fs::create_dir(&sealed).unwrap();
    for does in ALL {
        let sound = world.given.clone();
        let (given, folder, expected) = match does {
            Verify => (sound, &data, (0, "sound: ")),
            Stats => (sound, &data, (0, "turns")),
            // The folder cannot list it.
            Backup => (Given { backup: world.fresh("b"), ..sound }, &data, (0, "warning: ")),
            Restore => (Given { data: sealed.join("r"), ..sound }, &sealed, (5, "cannot be read or written")),
            Migrate | Import => (sound, &data, (2, "cannot be written\n  fix: ")),
            Export => (Given { exports: sealed.join("e"), ..sound }, &sealed, (1, "cannot be made")),
            Erase => (Given { receipts: sealed.join("x"), ..sound }, &sealed, (2, "receipts cannot be kept")),
        };
        check("a read-only folder", does, &run_read_only(folder, &given.arguments(does)), expected);
    }
    let ran = Given { backup: world.fresh("c"), ..world.given.clone() };
    check(
        "a backup into it",
        Backup,
        &run_read_only(&sealed, &Given { backup: sealed.join("b"), ..ran }.arguments(Backup)),
        (5, "cannot be read or written"),
    );
    // What was backed up so names itself where it is brought back.
    let target = world.fresh("r");
    check(
        "a backup of it",
        Restore,
        &Given { backup: world.fresh("b"), data: target.clone(), ..world.given.clone() }.run(Restore),
        (0, ""),
    );
    assert!(fs::read_to_string(target.join("BACKUPS.jsonl")).unwrap().contains(world.fresh("b").to_str().unwrap()));
}

/// Changes a bit of the first record in `folder` that says `text`.
fn flip(folder: &Path, text: &str) {
    for entry in fs::read_dir(folder.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|here| here == text.as_bytes()) {
            bytes[at] ^= 1;
            return fs::write(path, bytes).unwrap();
        }
    }
    panic!("no segment says {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_told_and_what_is_sound_is_not_held_up() {
    let world = World::new().await;
    let sound = world.given.clone();
    flip(&sound.data, "ada says 2");
    // Its index is damaged instead.
    let other = world.fresh("other");
    let restored = Given { data: other.clone(), ..sound.clone() };
    check("a sound backup", Restore, &restored.run(Restore), (0, "restored"));
    fs::create_dir(other.join("index")).unwrap();
    fs::write(other.join("index").join("conf"), "no configuration of sled").unwrap();
    flip(&sound.backup, "bob says 1");
    let export = sound.exports.join("acme").join("bob.jsonl");
    let changed = fs::read_to_string(&export).unwrap().replacen("\"turn_seq\":1", "\"turn_seq\":9", 1);
    fs::write(&export, changed).unwrap();
    let server = world.place.start();
    let served = Given { addr: server.grpc.clone(), exports: world.fresh("e"), ..sound.clone() };
    for does in ALL {
        let (given, expected) = match does {
            Verify => (sound.clone(), (1, "damaged: acme/ada: body checksum does not fit")),
            Stats => (sound.clone(), (1, "something is damaged\n  fix: ")),
            Backup => (Given { backup: world.fresh("b"), ..sound.clone() }, (1, "acme/ada: body checksum")),
            Restore => (Given { data: world.fresh("r"), ..sound.clone() }, (1, "is not as it was written\n  fix: ")),
            Migrate => (Given { data: other.clone(), ..sound.clone() }, (5, "fix: remove the folder `index`")),
            Import => (Given { data: world.fresh("i"), ..sound.clone() }, (1, "fix: export the conversation again")),
            Export => (served.clone(), (4, "acme/ada was not exported")),
            Erase => (served.clone(), (1, "acme/ada was not erased")),
        };
        check("a damaged file", does, &given.run(does), expected);
    }
    assert!(world.fresh("e").join("acme").join("bob.jsonl").exists(), "the other was exported");
    assert_eq!(fs::read_to_string(&sound.receipts).unwrap().lines().count(), 1, "the other was erased");
    drop(server);
    let imported = Given { data: world.fresh("i"), ..sound };
    check("what was imported", Verify, &imported.run(Verify), (0, "sound: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_build_wrote_is_told_by_its_version() {
    let World { place, _other, server, given: sound } = World::new().await;
    let fresh = |name: &str| place.path().join(name);
    assert_eq!(server.terminate(), Some(0));
    make_newer(&sound.data.join("STORE"));
    let manifest = sound.backup.join("BACKUP.json");
    let newer = fs::read_to_string(&manifest).unwrap().replacen("colloquy.backup/v1", "colloquy.backup/v9", 1);
    fs::write(&manifest, newer).unwrap();
    for does in ALL {
        let (given, expected) = match does {
            Verify | Stats | Migrate | Import => {
                (sound.clone(), (2, "version 2, which is newer than this build\n  fix: "))
            }
            Backup => (Given { backup: fresh("b"), ..sound.clone() }, (2, "newer than this build\n  fix: ")),
            Restore => (Given { data: fresh("r"), ..sound.clone() }, (2, "its format is \"colloquy.backup/v9\"")),
            // No server runs on such a store, see `faults::folders`.
            Export | Erase => (sound.clone(), (3, "no server answers")),
        };
        check("another version", does, &given.run(does), expected);
    }
    let export = sound.exports.join("acme").join("bob.jsonl");
    let newer = fs::read_to_string(&export).unwrap().replacen("/v1", "/v9", 1);
    fs::write(&export, newer).unwrap();
    let given = Given { data: fresh("i"), ..sound };
    check(
        "an export of another version",
        Import,
        &given.run(Import),
        (1, "this build reads \"colloquy.export/v1\"\n  fix: "),
    );
}

/// Starts a command and kills it once it has `begun`; whether it was still at it.
fn killed(arguments: &[String], begun: impl Fn(u32) -> bool) -> bool {
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = RefCell::new(command.spawn().unwrap());
    until("it begins", || begun(child.borrow().id()) || child.borrow_mut().try_wait().unwrap().is_some());
    let mut child = child.into_inner();
    child.kill().unwrap();
    child.wait().unwrap().signal().is_some()
}

/// Bytes that a process has read.
fn has_read(process: u32) -> u64 {
    let told = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let read = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map(Iterator::count).unwrap_or_default()
}

/// A store that takes a while to read: 48 MiB in segments of 1 MiB.
async fn large(folder: &Path) {
    let options = JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::new(folder) };
    let store = JournalStore::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
    let opened = store.open(&ConversationKey::from_parts("acme", "c").unwrap()).await.unwrap();
    let mut head = opened.head;
    for n in 0..96 {
        let (mut batch, time) = (Batch::new(&opened.lease, &head), Timestamp::from_micros(n + 1));
        if n == 0 {
            batch.push_created(time, [1; 16], &opened.lease.key, b"").unwrap();
        }
        batch.push(RecordKind::Turn, time, [2; 16], &[b'x'; 500 << 10]).unwrap();
        let (reply, answer) = tokio::sync::oneshot::channel();
        store.append(&opened.lease, batch, Box::new(move |ending| drop(reply.send(ending))));
        head = answer.await.unwrap().unwrap();
    }
    store.close().await;
}

/// Kills a command in the middle, and has it done again.
fn again(given: &Given, does: Does, begun: impl Fn(u32) -> bool) {
    assert!(killed(&given.arguments(does), begun), "{does:?} was over before it was killed");
    check("a kill before", does, &given.run(does), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_while_it_read_or_copied_is_done_again_and_all_is_sound() {
    let place = Place::new();
    let given = Given {
        data: place.data_dir(),
        backup: place.path().join("backup"),
        exports: PathBuf::new(),
        receipts: PathBuf::new(),
        addr: String::new(),
    };
    large(&given.data).await;
    for does in [Verify, Stats] {
        again(&given, does, |process| has_read(process) > 8 << 20);
    }
    again(&given, Backup, |_| count(&given.backup.join("journal")) > 2);
    assert!(given.backup.join("BACKUP.json").exists());
    let restored = Given { data: place.path().join("restored"), ..given.clone() };
    again(&restored, Restore, |_| count(&restored.data.join("journal")) > 2);
    // It is short: at times it is over before it is killed.
    killed(&given.arguments(Migrate), |process| has_read(process) > 1 << 20);
    check("a kill before", Migrate, &given.run(Migrate), (0, ""));
    for given in [given, restored] {
        check("kills before", Verify, &given.run(Verify), (0, "1 conversations, 97 records, 96 turns"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_between_two_conversations_is_done_again_and_none_is_missing() {
    const MANY: usize = 150;
    let (place, target) = (Place::new(), Place::new());
    let server = place.start();
    let client = server.client().await;
    for n in 0..MANY {
        client.submit(&turn(&format!("c-{n}"), "r-1", "hello")).await.unwrap();
    }
    let given = Given {
        data: target.data_dir(),
        backup: PathBuf::new(),
        exports: place.path().join("exports"),
        receipts: place.path().join("receipts"),
        addr: server.grpc.clone(),
    };
    let exported = given.exports.join("acme");
    again(&given, Export, |_| count(&exported) > 10);
    let whole = fs::read_dir(&exported)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "jsonl"));
    assert_eq!(whole.count(), MANY);
    again(&given, Import, |process| has_read(process) > 0 && count(&given.data.join("journal")) > 0);
    check("a kill before", Verify, &given.run(Verify), (0, &format!("{MANY} conversations, ")));

    let receipts = || fs::read_to_string(&given.receipts).unwrap_or_default();
    again(&given, Erase, |_| receipts().lines().count() > 10);
    // That of the erasure in whose middle the command was killed was never had.
    assert!((MANY - 1..=MANY).contains(&receipts().lines().count()), "{}", receipts().lines().count());
    assert!(client.conversations("acme", 10, "").await.unwrap().conversations.is_empty());
    assert_eq!(server.terminate(), Some(0));
    let (data, receipts) = (place.data_dir(), given.receipts.to_str().unwrap());
    let gone = run(&["store", "verify", "--data-dir", data.to_str().unwrap(), "--receipt", receipts]);
    check("a kill before", Verify, &gone, (0, "sound: "));
}
