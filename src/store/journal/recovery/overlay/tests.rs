//! Whose a key is, whatever order its holders become known in.

use colloquy_types::{Activation, ConversationKey, ConversationUid, Epoch, Head, RecordNo, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::{
    port::Lease,
    record::{Batch, decode_header},
};

fn key() -> ConversationKey {
    ConversationKey::from_parts("acme", "c").unwrap()
}

fn place(segment: u64) -> Place {
    Place { at: Position { segment, offset: 64 }, len: 200 }
}

fn begins(overlay: &mut Overlay<'_>, uid: u8, segment: u64) {
    let (epoch, activation) = (Epoch::new(1), Activation::new(1));
    let lease = Lease { key: key(), uid: ConversationUid([uid; 16]), epoch, activation };
    let mut batch = Batch::new(&lease, &Head::default());
    batch.push_created(Timestamp::default(), [1; 16], &lease.key, b"created").unwrap();
    overlay.record(&decode_header(batch.bytes()).unwrap(), Some(&lease.key), place(segment)).unwrap();
}

#[test]
fn the_later_of_two_that_claim_a_key_has_it() {
    for earlier_first in [true, false] {
        for spills in [false, true] {
            let folder = TempDir::new().unwrap();
            let index = Index::open(folder.path(), 1 << 20).unwrap();
            let mut overlay = Overlay::new(&index, 0);
            let (first, second) = if earlier_first { ((1, 2), (9, 5)) } else { ((9, 5), (1, 2)) };
            begins(&mut overlay, first.0, first.1);
            if spills {
                overlay.spill().unwrap();
            }
            begins(&mut overlay, second.0, second.1);
            overlay.finish().unwrap();
            let context = format!("earlier first: {earlier_first}, spills: {spills}");
            let row = index.row(key().as_str()).unwrap().unwrap();
            assert_eq!((row.uid, row.head.record_no), (ConversationUid([9; 16]), RecordNo::new(1)), "{context}");
            let ended = index.erased(ConversationUid([1; 16])).unwrap().unwrap();
            assert_eq!(ended.erased_in, Some(5), "{context}: it ended no later than the other began");
        }
    }
}

#[test]
fn rows_that_threads_look_up_are_those_that_one_finds() {
    let folder = TempDir::new().unwrap();
    let index = Index::open(folder.path(), 1 << 20).unwrap();
    let header = |number: u128| {
        let (epoch, activation) = (Epoch::new(1), Activation::new(1));
        let key = ConversationKey::from_parts("acme", &format!("c{number}")).unwrap();
        let lease = Lease { key, uid: ConversationUid(number.to_le_bytes()), epoch, activation };
        let mut batch = Batch::new(&lease, &Head::default());
        batch.push_created(Timestamp::default(), [1; 16], &lease.key, b"created").unwrap();
        (decode_header(batch.bytes()).unwrap(), lease.key)
    };
    let count = 5 * UIDS_SHARED_MIN as u128;
    let headers: Vec<_> = (0..2 * count).map(header).collect();
    let (known, _) = headers.split_at(headers.len() / 2);
    let mut overlay = Overlay::new(&index, usize::MAX);
    for (header, key) in known {
        overlay.record(header, Some(key), place(1)).unwrap();
    }
    overlay.finish().unwrap();

    overlay.fetch(headers.iter().map(|(header, _)| header)).unwrap();
    let rows: Vec<_> = headers.iter().map(|(header, _)| overlay.rows.get(&header.uid).cloned()).collect();
    let found: Vec<_> = headers.iter().map(|(header, _)| index.by_uid(header.uid).unwrap()).collect();
    assert_eq!(rows, found, "those that the index does not know are left out");
    assert_eq!(rows.iter().flatten().count() as u128, count);
}
