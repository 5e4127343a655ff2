//! The chains of all conversations, followed side by side in the order of the journal.

use std::collections::HashMap;

use colloquy_types::{ConversationKey, ConversationUid, Head, RecordNo};

use super::{Fault, FaultKind, Survey, index::Claims};
use crate::{
    history::ErasureWalk,
    journal::{scan::Damage, table::UidMap},
    port::Erasure,
    record::{RecordHeader, RecordKind, decode_record},
};

/// One conversation, as far as it was followed.
pub(super) struct Chain {
    pub(super) head: Head,
    pub(super) key: Option<ConversationKey>,
    pub(super) is_erased: bool,
    /// One fault tells enough of a conversation.
    pub(super) is_damaged: bool,
    /// The last record in segments that the index claims to cover.
    pub(super) covered: RecordNo,
}

pub(super) struct Chains {
    chains: UidMap<Chain>,
    /// What the index claims of them.
    claims: Claims,
    /// The conversations whose erasure is looked at.
    walks: UidMap<ErasureWalk>,
}

impl Chains {
    pub(super) fn new(wanted: &[ConversationUid], claims: Claims) -> Self {
        let walks = wanted.iter().map(|uid| (*uid, ErasureWalk::default())).collect();
        Self { chains: UidMap::default(), claims, walks }
    }

    /// Takes a record whose checksums fit.
    pub(super) fn take(
        &mut self,
        header: &RecordHeader,
        stored: &[u8],
        (segment, offset): (u64, usize),
        survey: &mut Survey,
    ) {
        if header.kind == RecordKind::Epoch {
            survey.epoch = survey.epoch.max(header.epoch.get());
            return;
        }
        if let Some(walk) = self.walks.get_mut(&header.uid) {
            walk.push(header);
        }
        let at = |kind, key: Option<&ConversationKey>| Fault {
            uid: Some(header.uid),
            key: key.cloned(),
            ..Fault::at(segment, offset, kind)
        };
        let key = match decode_record(stored) {
            Ok(decoded) => decoded.key,
            Err(bad) => return self.fault(header.uid, survey, |key| at(FaultKind::Record(bad), key)),
        };
        let body = if header.erased { 0 } else { u64::from(header.body_len) };
        if header.kind == RecordKind::Snapshot {
            survey.snapshots += 1;
            survey.snapshot_bytes += body;
        } else {
            let known = self.chains.get(&header.uid).map(|chain| chain.head);
            if known.is_some_and(|head| header.record_no <= head.record_no) {
                // What a recovery that was cut short has written twice counts once.
                return;
            }
            survey.records += 1;
            survey.turns += u64::from(header.kind == RecordKind::Turn);
            survey.stubs += u64::from(header.erased);
            if let Some(kind) = self.link(header, key, segment) {
                self.fault(header.uid, survey, |key| at(kind, key));
            }
        }
        survey.body_bytes += body;
    }

    /// Adds a chained record to its chain; what is wrong with that.
    fn link(&mut self, header: &RecordHeader, key: Option<ConversationKey>, segment: u64) -> Option<FaultKind> {
        self.claims.saw(header.uid, &header.head());
        let is_known = self.chains.contains_key(&header.uid);
        let chain = self.chains.entry(header.uid).or_insert_with(|| Chain {
            head: Head::default(),
            key: None,
            is_erased: false,
            is_damaged: false,
            covered: RecordNo::default(),
        });
        let link = header.follows(&chain.head);
        chain.head = header.head();
        if segment < self.claims.covered {
            chain.covered = header.record_no;
        }
        chain.is_erased |= header.kind == RecordKind::Erased;
        if key.is_some() {
            chain.key = key;
        }
        if !is_known && header.record_no != RecordNo::new(1) {
            return Some(FaultKind::Beginning(header.record_no.get()));
        }
        link.err().map(FaultKind::Record)
    }

    /// Takes bytes that are no intact record.
    pub(super) fn damaged(&mut self, damage: &Damage, (segment, offset): (u64, usize), survey: &mut Survey) {
        let at = Fault::at(segment, offset, FaultKind::Record(damage.bad.clone()));
        match damage.uid.filter(|uid| self.chains.contains_key(uid)) {
            Some(uid) => self.fault(uid, survey, |key| Fault { uid: Some(uid), key: key.cloned(), ..at }),
            None => survey.faults.add(at),
        }
    }

    fn fault(
        &mut self,
        uid: ConversationUid,
        survey: &mut Survey,
        fault: impl FnOnce(Option<&ConversationKey>) -> Fault,
    ) {
        match self.chains.get_mut(&uid) {
            Some(chain) if chain.is_damaged => {}
            Some(chain) => {
                chain.is_damaged = true;
                survey.faults.add(fault(chain.key.as_ref()));
            }
            None => survey.faults.add(fault(None)),
        }
    }

    /// Checks what can be told only of whole conversations.
    pub(super) fn finish(self, survey: &mut Survey) -> UidMap<Erasure> {
        let mut keys: HashMap<&ConversationKey, ConversationUid> = HashMap::new();
        for (uid, chain) in &self.chains {
            if chain.is_erased {
                survey.erased += 1;
                continue;
            }
            survey.conversations += 1;
            match &chain.key {
                None if !chain.is_damaged => survey.faults.add(Fault::of(*uid, None, FaultKind::NoKey)),
                None => {}
                Some(key) if keys.insert(key, *uid).is_some() => {
                    survey.faults.add(Fault::of(*uid, Some(key), FaultKind::SameKey));
                }
                Some(_) => {}
            }
        }
        self.claims.judge(&self.chains, &mut survey.faults);
        survey.index = self.claims.check;
        self.walks.into_iter().map(|(uid, walk)| (uid, walk.finish())).collect()
    }
}
