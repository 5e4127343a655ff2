//! An export is read back as it was written, or refused: whatever was cut, changed or added.

use std::io::Cursor;

use colloquy_types::{Activation, ConversationKey, ConversationUid, Epoch, FlowName, Head, Revision, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    port::Lease,
    record::{Batch, RecordKind, decode_header, decode_record, stub_of},
};

fn header() -> ExportHeader {
    ExportHeader {
        key: ConversationKey::from_parts("acme", "c-17").unwrap(),
        uid: ConversationUid([7; 16]),
        flow: FlowName::parse("order-desk").unwrap(),
        flow_tenant: "_".to_owned(),
        revision: Revision([1; 32]),
        exported_at: Timestamp::from_micros(1_767_603_600_000_000),
        tool_version: "0.0.0".to_owned(),
    }
}

/// Stored records of a conversation: created, turns with these payloads, a snapshot behind each third.
fn stored(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let header = header();
    let lease =
        Lease { key: header.key.clone(), uid: header.uid, epoch: Epoch::new(1), activation: Activation::new(2) };
    let (mut head, mut records) = (Head::default(), Vec::new());
    for (number, payload) in payloads.iter().enumerate() {
        let mut batch = Batch::new(&lease, &head);
        let now = Timestamp::from_micros(number as u64 + 1);
        if number == 0 {
            batch.push_created(now, [3; 16], &lease.key, b"created").unwrap();
        }
        batch.push(RecordKind::Turn, now, [4; 16], payload).unwrap();
        if number % 3 == 2 {
            batch.push(RecordKind::Snapshot, now, [5; 16], b"snapshot").unwrap();
        }
        head = batch.head_after();
        let mut bytes = batch.bytes();
        while !bytes.is_empty() {
            let (record, rest) = bytes.split_at(decode_record(bytes).unwrap().len);
            records.push(record.to_vec());
            bytes = rest;
        }
    }
    records
}

fn revision(number: u8) -> ExportedRevision {
    ExportedRevision { revision: Revision([number; 32]), source: "{\"name\":\"a \\\" b\"}\n".to_owned() }
}

fn written(records: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = ExportWriter::begin(Vec::new(), &header(), ExportLimits::default()).unwrap();
    writer.revision(&revision(1)).unwrap();
    for (number, record) in records.iter().enumerate() {
        if number == 1 {
            writer.revision(&revision(2)).unwrap();
        }
        writer.record(record, &json!({ "number": number })).unwrap();
    }
    writer.end().unwrap()
}

/// Everything that an export says.
type Told = (ExportHeader, Vec<Item>, Head);

fn read_within(bytes: &[u8], limits: ExportLimits) -> Result<Told, ExportError> {
    let mut reader = ExportReader::open(Cursor::new(bytes), limits)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    Ok((reader.header().clone(), items, reader.reached()))
}

fn read(bytes: &[u8]) -> Result<Told, ExportError> {
    read_within(bytes, ExportLimits::default())
}

fn sample() -> Vec<u8> {
    written(&stored(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec(), b"four".to_vec()]))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

fn joined(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

/// The same lines with an end line that fits them: what somebody who tampers would write.
fn resealed(mut lines: Vec<String>) -> Vec<u8> {
    let mut end: serde_json::Value = serde_json::from_str(&lines.pop().unwrap()).unwrap();
    end["end"]["digest"] = blake3::hash(&joined(&lines)).to_hex().as_str().into();
    lines.push(end.to_string());
    joined(&lines)
}

#[test]
fn an_export_is_written_and_read_as_ever() {
    let golden = include_bytes!("../fixtures/export-v1.jsonl");
    assert_eq!(String::from_utf8_lossy(&sample()), String::from_utf8_lossy(golden));
    read(golden).unwrap();
}

#[test]
fn an_export_gives_back_header_revisions_and_records() {
    let records = stored(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    let (told, items, head) = read(&written(&records)).unwrap();
    assert_eq!(told, header());
    let mut read_records = Vec::new();
    let mut read_revisions = Vec::new();
    for item in items {
        match item {
            Item::Revision(revision) => read_revisions.push((read_records.len(), revision)),
            Item::Record(record) => read_records.push(record.stored),
        }
    }
    assert_eq!(read_records, records);
    assert_eq!(read_revisions, [(0, revision(1)), (1, revision(2))]);
    assert_eq!((head.record_no.get(), head.turn_seq.get()), (4, 3));
}

#[test]
fn an_export_with_erased_bodies_is_read_back_and_its_chain_still_checked() {
    let mut records = stored(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    for erased in [0, 2] {
        records[erased] = stub_of(&decode_header(&records[erased]).unwrap()).to_vec();
    }
    let (_, items, head) = read(&written(&records)).unwrap();
    let items = items.into_iter().filter_map(|item| match item {
        Item::Record(record) => Some(*record),
        Item::Revision(_) => None,
    });
    let items: Vec<_> = items.collect();
    assert_eq!(items.iter().map(|item| item.stored.clone()).collect::<Vec<_>>(), records);
    let erased: Vec<_> = items.iter().map(|item| item.record.header.erased).collect();
    assert_eq!(erased, [true, false, true, false, false]);
    assert_eq!((head.record_no.get(), head.turn_seq.get()), (4, 3));
    let mut without = ExportWriter::begin(Vec::new(), &header(), ExportLimits::default()).unwrap();
    without.record(&records[0], &()).unwrap();
    assert!(without.record(&records[2], &()).is_err(), "a stub is a link like any other");
}

#[test]
fn a_line_that_was_taken_out_doubled_or_swapped_is_refused_even_with_a_new_digest() {
    let whole = lines(&sample());
    let records: Vec<usize> = (0..whole.len()).filter(|at| whole[*at].starts_with("{\"record\":")).collect();
    assert_eq!(records.len(), 6);
    for at in &records {
        let snapshot = whole[*at].contains("\"kind\":\"snapshot\"");
        let mut without = whole.clone();
        without.remove(*at);
        assert!(read(&resealed(without)).is_err(), "line {at} was taken out");
        let mut twice = whole.clone();
        twice.insert(*at, whole[*at].clone());
        assert!(read(&resealed(twice)).is_err(), "line {at} is there twice, snapshot: {snapshot}");
    }
    for pair in records.windows(2) {
        let mut swapped = whole.clone();
        swapped.swap(pair[0], pair[1]);
        assert!(read(&resealed(swapped)).is_err(), "lines {pair:?} were swapped");
    }
    assert!(read(&resealed(whole)).is_ok(), "sealed anew as it was");
}

#[test]
fn a_field_that_says_other_than_the_stored_bytes_is_refused_by_name() {
    let whole = lines(&sample());
    for (at, from, to, told) in [
        (2, "\"record_no\":1", "\"record_no\":9", "record_no"),
        (2, "\"turn_seq\":0", "\"turn_seq\":1", "turn_seq"),
        (2, "\"kind\":\"created\"", "\"kind\":\"turn\"", "kind"),
        (0, "\"conversation\":\"c-17\"", "\"conversation\":\"c-18\"", "key"),
        (0, "\"uid\":\"0707", "\"uid\":\"0708", "uid"),
    ] {
        let mut changed = whole.clone();
        assert!(changed[at].contains(from), "{}", changed[at]);
        changed[at] = changed[at].replace(from, to);
        let refused = read(&resealed(changed)).unwrap_err();
        assert!(matches!(refused.problem, Problem::Disagrees(field) if field == told), "{told}: {refused}");
    }
}

#[test]
fn a_view_is_not_read_back_but_may_not_be_changed() {
    let mut changed = lines(&sample());
    changed[2] = changed[2].replace("\"number\":0", "\"number\":5");
    let refused = read(&joined(&changed)).unwrap_err();
    assert!(matches!(refused.problem, Problem::Digest), "{refused}");
    assert_eq!(refused.line as usize, changed.len());
    assert_eq!(read(&resealed(changed)).unwrap(), read(&sample()).unwrap());
}

#[test]
fn every_bound_is_kept_and_named() {
    let whole = sample();
    let longest = lines(&whole).iter().map(String::len).max().unwrap();
    let limits = ExportLimits::default();
    for (limits, told) in [
        (ExportLimits { line_bytes: longest, ..limits }, "longer than"),
        (ExportLimits { file_bytes: whole.len() as u64 - 1, ..limits }, "file is longer"),
        (ExportLimits { records: 5, ..limits }, "more than 5 records"),
        (ExportLimits { revisions: 1, ..limits }, "more than 1 flow revisions"),
    ] {
        let refused = read_within(&whole, limits).unwrap_err().to_string();
        assert!(refused.contains(told) && refused.contains("fix: "), "{refused}");
    }
    let exact = ExportLimits { line_bytes: longest + 1, file_bytes: whole.len() as u64, records: 6, revisions: 2 };
    assert!(read_within(&whole, exact).is_ok());
}

#[test]
fn the_writer_keeps_the_bounds_that_the_reader_keeps() {
    let records = stored(&[b"one".to_vec(), b"two".to_vec()]);
    let begin = |limits| ExportWriter::begin(Vec::new(), &header(), limits).unwrap();
    let mut writer = begin(ExportLimits { records: 1, ..ExportLimits::default() });
    writer.record(&records[0], &()).unwrap();
    assert!(matches!(writer.record(&records[1], &()).unwrap_err().problem, Problem::TooMany { .. }));
    let mut writer = begin(ExportLimits { line_bytes: 500, ..ExportLimits::default() });
    let long = json!({ "text": "x".repeat(500) });
    assert!(matches!(writer.record(&records[0], &long).unwrap_err().problem, Problem::LineTooLong { max: 500 }));
}

#[test]
fn a_damaged_record_is_noticed_when_it_is_written() {
    let mut records = stored(&[b"one".to_vec()]);
    let mut writer = ExportWriter::begin(Vec::new(), &header(), ExportLimits::default()).unwrap();
    assert!(writer.record(&records[1], &()).is_err(), "it does not begin with the creation");
    writer.record(&records[0], &()).unwrap();
    let last = records[1].len() - 6;
    records[1][last] ^= 1;
    assert!(matches!(writer.record(&records[1], &()).unwrap_err().problem, Problem::Record(_)));
}

#[test]
fn what_is_no_export_is_told_so_with_line_and_fix() {
    for (bytes, told) in [
        (&b""[..], "cut off"),
        (b"\n", "not an export"),
        (b"hello\n", "not an export"),
        (b"{\"format\":\"colloquy.export/v9\",\"new\":1}\n", "colloquy.export/v9"),
        (b"{\"format\":\"colloquy.export/v1\"}\n", "not an export"),
    ] {
        let refused = read(bytes).unwrap_err();
        assert_eq!(refused.line, 1);
        assert!(refused.to_string().contains(told) && refused.to_string().contains("fix: "), "{refused}");
    }
    let mut more = sample();
    more.extend_from_slice(b"{}\n");
    assert!(matches!(read(&more).unwrap_err().problem, Problem::AfterEnd));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_written_is_read_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..12)) {
        let records = stored(&payloads);
        let (told, items, _) = read(&written(&records)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(told, header());
        let read: Vec<_> = items.into_iter().filter_map(|item| match item {
            Item::Record(record) => Some(record.stored),
            Item::Revision(_) => None,
        }).collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn a_cut_export_is_refused_or_reads_the_same(at in any::<prop::sample::Index>()) {
        let whole = sample();
        let cut = &whole[..at.index(whole.len())];
        // Without the very last line end nothing is missing.
        prop_assert_eq!(read(cut).is_ok(), cut.len() == whole.len() - 1);
    }

    #[test]
    fn a_changed_byte_is_refused_or_reads_the_same(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let whole = sample();
        let mut changed = whole.clone();
        let at = at.index(changed.len());
        changed[at] = to;
        match read(&changed) {
            Ok(told) => prop_assert_eq!(told, read(&whole).unwrap()),
            Err(error) => prop_assert!(error.line >= 1 && changed[at] != whole[at]),
        }
    }
}

#[test]
fn every_single_flipped_bit_before_the_end_line_is_refused() {
    let whole = sample();
    let end = whole.iter().rposition(|byte| *byte == b'\n').unwrap();
    let end = whole[..end].iter().rposition(|byte| *byte == b'\n').unwrap();
    for at in 0..end {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(read(&changed).is_err(), "byte {at} was changed");
    }
}
