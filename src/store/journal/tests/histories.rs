//! Random histories of appends, snapshots, erasures, compactions, crashes and reopenings, against a simple model.

use std::{collections::BTreeMap, num::NonZeroU64};

use colloquy_types::{ConversationUid, Head};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    fake_disk::FakeDisk,
    rig::{Rig, turn},
};
use crate::{
    journal::Retention,
    port::{Lease, ReadError},
    record::{Batch, RecordKind},
};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Turns that the retention of half of the histories keeps.
const KEPT_TURNS: u64 = 2;

#[derive(Clone, Debug)]
enum Step {
    Turn {
        name: usize,
        bytes: usize,
        snapshot: bool,
    },
    Snapshot(usize),
    Erase(usize),
    Release(usize),
    Checkpoint,
    /// The keeper of segments does what it was asked.
    Keep,
    Compact,
    /// A pass over what the index covers by now.
    Pass,
    /// Another process opens what this one leaves.
    Reopen {
        keeps_index: bool,
        power_cut: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        12 => (name.clone(), 1_usize..3000, prop::bool::weighted(0.3))
            .prop_map(|(name, bytes, snapshot)| Step::Turn { name, bytes, snapshot }),
        2 => name.clone().prop_map(Step::Snapshot),
        2 => name.clone().prop_map(Step::Erase),
        1 => name.prop_map(Step::Release),
        2 => Just(Step::Checkpoint),
        4 => Just(Step::Keep),
        2 => Just(Step::Compact),
        2 => Just(Step::Pass),
        2 => (any::<bool>(), any::<bool>())
            .prop_map(|(keeps_index, power_cut)| Step::Reopen { keeps_index, power_cut }),
    ]
}

#[derive(Clone)]
struct Talk {
    lease: Option<Lease>,
    uid: ConversationUid,
    head: Head,
    /// What each turn says.
    turns: Vec<Vec<u8>>,
    /// What the newest snapshot says, and the turn it was made at.
    snapshot: Option<(Vec<u8>, u64)>,
}

#[derive(Default)]
struct Model {
    talks: BTreeMap<usize, Talk>,
    /// Erased conversations: how many records each had, and its end.
    erased: BTreeMap<ConversationUid, Head>,
    retention: bool,
    said: u64,
}

/// What a conversation says, so that it is found again wherever it is left.
fn words(uid: ConversationUid, number: u64, bytes: usize) -> Vec<u8> {
    let mut words = format!("said {number} by {uid};").into_bytes();
    words.resize(words.len() + bytes, b'x');
    words
}

impl Model {
    fn talk(&mut self, rig: &mut Rig, name: usize) -> Talk {
        let known = self.talks.get(&name).cloned();
        if let Some(talk) = known.as_ref().filter(|talk| talk.lease.is_some()) {
            return talk.clone();
        }
        let opened = rig.begin(NAMES[name]);
        let fresh =
            Talk { lease: None, uid: opened.lease.uid, head: Head::default(), turns: Vec::new(), snapshot: None };
        let talk = known.unwrap_or(fresh);
        assert_eq!((opened.lease.uid, opened.head), (talk.uid, talk.head));
        Talk { lease: Some(opened.lease), ..talk }
    }

    fn append(&mut self, rig: &mut Rig, name: usize, fill: impl FnOnce(&mut Talk, &mut Batch, u64)) {
        let mut talk = self.talk(rig, name);
        let lease = talk.lease.clone().unwrap();
        self.said += 1;
        let mut batch = Batch::new(&lease, &talk.head);
        fill(&mut talk, &mut batch, self.said);
        talk.head = batch.head_after();
        let command = rig.append(&lease, batch);
        rig.step([command]);
        self.talks.insert(name, talk);
    }

    fn apply(&mut self, mut rig: Rig, step: &Step) -> Rig {
        match *step {
            Step::Turn { name, bytes, snapshot } => self.append(&mut rig, name, |talk, batch, number| {
                let said = words(talk.uid, number, bytes);
                *batch = turn(talk.lease.as_ref().unwrap(), &talk.head, &said);
                talk.turns.push(said);
                if snapshot {
                    push_snapshot(talk, batch, number);
                }
            }),
            Step::Snapshot(name) if self.talks.contains_key(&name) => {
                self.append(&mut rig, name, push_snapshot);
            }
            Step::Erase(name) if self.talks.contains_key(&name) => {
                self.append(&mut rig, name, |_, batch, _| {
                    batch.push(RecordKind::Erased, Default::default(), [1; 16], b"receipt").unwrap();
                });
                if let Some(ended) = self.talks.remove(&name) {
                    self.erased.insert(ended.uid, ended.head);
                }
            }
            Step::Snapshot(_) | Step::Erase(_) => {}
            Step::Release(name) => {
                if let Some(lease) = self.talks.get_mut(&name).and_then(|talk| talk.lease.take()) {
                    rig.step([crate::journal::command::Command::Release(lease)]);
                }
            }
            Step::Checkpoint => rig.checkpoint(),
            Step::Keep => rig.keep(),
            Step::Compact => {
                rig.compact();
                self.is_forgotten(&mut rig);
            }
            Step::Pass => drop(rig.pass().unwrap()),
            Step::Reopen { keeps_index, power_cut } => {
                let files = if power_cut { rig.disk.durable() } else { rig.disk.cached() };
                let index = rig.kill();
                let index = if keeps_index { index } else { TempDir::new().unwrap() };
                self.talks.values_mut().for_each(|talk| talk.lease = None);
                rig = self.open(FakeDisk::with(files), index);
            }
        }
        rig
    }

    fn open(&self, disk: FakeDisk, index: TempDir) -> Rig {
        let mut rig = Rig::with_index(disk, index);
        if self.retention {
            let retention = Retention { turns: NonZeroU64::new(KEPT_TURNS), age: None };
            rig.compactor.options.retention.others = Some(retention);
        }
        rig
    }

    /// Nothing that an erased conversation said is anywhere.
    fn is_forgotten(&self, rig: &mut Rig) {
        for uid in self.erased.keys() {
            assert!(rig.erasure(*uid).unwrap().is_complete());
            let trace = format!(" by {uid};").into_bytes();
            for (name, bytes) in rig.disk.cached() {
                let found = bytes.windows(trace.len()).any(|window| window == trace);
                assert!(!found, "{name} still has what {uid} said");
            }
        }
    }

    fn holds(&self, rig: &mut Rig) {
        let listed: Vec<_> = rig.list().into_iter().map(|row| (row.uid, row.head)).collect();
        assert_eq!(listed, self.talks.values().map(|talk| (talk.uid, talk.head)).collect::<Vec<_>>());
        for (number, name) in NAMES.iter().enumerate() {
            let Some(talk) = self.talks.get(&number) else {
                assert_eq!(rig.turns(name), Err(ReadError::Absent));
                assert_eq!(rig.verify(name), Err(ReadError::Absent));
                continue;
            };
            assert_eq!(rig.verify(name).unwrap().head, talk.head);
            assert_eq!(rig.history(name).unwrap().reached, talk.head);
            self.has_turns(rig, name, talk);
        }
        for (uid, end) in &self.erased {
            let erasure = rig.erasure(*uid).unwrap();
            assert!(erasure.chain_holds);
            assert_eq!((erasure.head, erasure.records), (*end, end.record_no.get()));
        }
    }

    fn has_turns(&self, rig: &mut Rig, name: &str, talk: &Talk) {
        let read = rig.turns(name).unwrap();
        let gone = talk.turns.len() - read.len();
        let said: Vec<_> = read.into_iter().map(|turn| turn.payload).collect();
        assert_eq!(said, talk.turns[gone..], "what is left are the newest turns");
        let snapshot = talk.snapshot.as_ref().map_or(0, |(_, turn)| *turn);
        let may_go = snapshot.min((talk.turns.len() as u64).saturating_sub(KEPT_TURNS));
        assert!(gone as u64 <= if self.retention { may_go } else { 0 }, "{gone} turns are gone");
    }

    /// Opens everything, which fences what is open.
    fn opens(&mut self, rig: &mut Rig) {
        for (number, name) in NAMES.iter().enumerate() {
            let opened = rig.begin(name);
            let Some(talk) = self.talks.get_mut(&number) else {
                assert_eq!(opened.head, Head::default());
                continue;
            };
            assert_eq!((opened.lease.uid, opened.head), (talk.uid, talk.head));
            assert_eq!(opened.created.unwrap().payload, b"created");
            let snapshot = opened.snapshot.map(|snapshot| (snapshot.payload, snapshot.header.turn_seq.get()));
            assert_eq!(snapshot, talk.snapshot);
            let behind = opened.tail.iter().filter(|record| record.header.kind == RecordKind::Turn).count();
            assert_eq!(behind as u64, talk.turns.len() as u64 - snapshot.map_or(0, |(_, turn)| turn));
            assert!(opened.tail.iter().all(|record| !record.header.erased));
            talk.lease = Some(opened.lease);
        }
    }
}

fn push_snapshot(talk: &mut Talk, batch: &mut Batch, number: u64) {
    let state = words(talk.uid, number, 200);
    batch.push(RecordKind::Snapshot, batch.time(), [1; 16], &state).unwrap();
    talk.snapshot = Some((state, batch.head_after().turn_seq.get()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model_says_and_what_was_erased_is_forgotten(
        retention in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model { retention, ..Model::default() };
        let mut rig = model.open(FakeDisk::default(), TempDir::new().unwrap());
        for step in &steps {
            rig = model.apply(rig, step);
            model.holds(&mut rig);
        }
        model.opens(&mut rig);
        rig.compact();
        model.is_forgotten(&mut rig);
        model.holds(&mut rig);
        model.opens(&mut rig);
        rig = model.apply(rig, &Step::Reopen { keeps_index: steps.len() % 2 == 0, power_cut: true });
        model.holds(&mut rig);
        model.opens(&mut rig);
    }
}
