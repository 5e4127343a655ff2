//! Bytes of one record: the header's layout, checksums, the chain, and the envelope of `Created`.
//!
//! [`super::Batch`] encodes with this; the engines' readers and recovery decode with it.

use colloquy_types::{Activation, ConversationKey, ConversationUid, Epoch, Hash, Head, RecordNo, Timestamp, TurnSeq};

use super::{
    FLAG_ERASED, FORMAT_VERSION, HEADER_BYTES, RECORD_BYTES_MAX, RecordHeader, RecordKind, SALT_BYTES, StoredRecord,
};

const MAGIC: [u8; 4] = *b"CQR1";
/// Length and checksum of the key in front of it.
const ENVELOPE_BYTES: usize = 6;

/// Why bytes are not the record they should be. Never holds a byte of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// The bytes end before the record does.
    #[error("the record is cut off")]
    CutOff,
    /// No header begins here.
    #[error("no record begins here")]
    Magic,
    /// The header's checksum does not fit.
    #[error("header checksum does not fit")]
    HeaderChecksum,
    /// Written by a newer build.
    #[error("record format {0} is newer than this build")]
    NewerVersion(u8),
    /// A kind this build does not know.
    #[error("record kind {0} is of a newer build")]
    UnknownKind(u8),
    /// A flag this build does not know.
    #[error("record flags {0:#06x} are of a newer build")]
    UnknownFlags(u16),
    /// A length outside the bounds.
    #[error("record length {0} is out of bounds")]
    Length(u32),
    /// The body's checksum does not fit.
    #[error("body checksum does not fit")]
    BodyChecksum,
    /// The body's digest does not fit.
    #[error("body digest does not fit")]
    Digest,
    /// The key in a `Created` record is unreadable.
    #[error("the key of the conversation is unreadable")]
    Key,
    /// The record does not follow the one before it.
    #[error("record {found} does not follow record {after}")]
    Gap {
        /// The record before.
        after: RecordNo,
        /// The record found.
        found: RecordNo,
    },
    /// The chain's hash does not fit.
    #[error("chain hash of record {0} does not fit")]
    Chain(RecordNo),
}

/// Bytes a record with a body of `body_len` (salt and payload) takes, header and padding included.
pub const fn padded_len(body_len: usize) -> usize {
    HEADER_BYTES + body_len.next_multiple_of(8)
}

fn put<const N: usize>(header: &mut [u8; HEADER_BYTES], at: usize, bytes: [u8; N]) {
    if let Some(field) = header.get_mut(at..at + N) {
        field.copy_from_slice(&bytes);
    }
}

/// The field at `at`; zeros past the end, which no caller asks for.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    header.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// The header's bytes with hash as given and checksum set.
pub(super) fn encode_header(header: &RecordHeader) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    put(&mut bytes, 0, MAGIC);
    put(&mut bytes, 4, [FORMAT_VERSION, header.kind as u8]);
    put(&mut bytes, 6, if header.erased { FLAG_ERASED } else { 0 }.to_le_bytes());
    put(&mut bytes, 12, header.body_len.to_le_bytes());
    put(&mut bytes, 16, header.uid.0);
    put(&mut bytes, 32, header.epoch.get().to_le_bytes());
    put(&mut bytes, 40, header.activation.get().to_le_bytes());
    put(&mut bytes, 48, header.record_no.get().to_le_bytes());
    put(&mut bytes, 64, header.turn_seq.get().to_le_bytes());
    put(&mut bytes, 72, header.time.as_micros().to_le_bytes());
    put(&mut bytes, 80, header.body_crc.to_le_bytes());
    put(&mut bytes, 88, header.digest.0);
    set_hash_and_crc(&mut bytes, header.hash);
    bytes
}

/// Writes the last two fields of a header, which depend on all others.
pub(super) fn set_hash_and_crc(bytes: &mut [u8; HEADER_BYTES], hash: Hash) {
    put(bytes, 120, hash.0);
    put(bytes, 8, [0; 4]);
    let crc = crc32c::crc32c(bytes);
    put(bytes, 8, crc.to_le_bytes());
}

/// The chain's hash after the record whose header is `bytes`, when `previous` stood before it.
pub(super) fn chain_hash(bytes: &[u8; HEADER_BYTES], previous: Hash) -> Hash {
    let mut input = [0; HEADER_BYTES + 32];
    let (header, tail) = input.split_at_mut(HEADER_BYTES);
    header.copy_from_slice(bytes);
    tail.copy_from_slice(&previous.0);
    for range in [6..12, 120..HEADER_BYTES] {
        if let Some(zeroed) = header.get_mut(range) {
            zeroed.fill(0);
        }
    }
    Hash(*blake3::hash(&input).as_bytes())
}

/// Checks that `header` is the link after `head`: its number, its turn, its epoch, its hash.
pub(super) fn check_link(header: &RecordHeader, head: &Head) -> Result<(), BadRecord> {
    let turns = u64::from(header.kind == RecordKind::Turn);
    if header.record_no != head.record_no.next() || header.turn_seq.get() != head.turn_seq.get() + turns {
        return Err(BadRecord::Gap { after: head.record_no, found: header.record_no });
    }
    if header.epoch < head.epoch || header.hash != chain_hash(&encode_header(header), head.hash) {
        return Err(BadRecord::Chain(header.record_no));
    }
    Ok(())
}

/// The uid field of a header that may be damaged.
pub(crate) fn possible_uid(bytes: &[u8]) -> Option<ConversationUid> {
    let uid = bytes.get(16..32)?.try_into().ok()?;
    Some(ConversationUid(uid))
}

/// Decodes the header that `bytes` begins with.
///
/// # Errors
/// [`BadRecord`] when no intact header of a known version and kind begins here.
pub fn decode_header(bytes: &[u8]) -> Result<RecordHeader, BadRecord> {
    if !bytes.starts_with(&MAGIC) {
        return Err(BadRecord::Magic);
    }
    let bytes: &[u8; HEADER_BYTES] =
        bytes.get(..HEADER_BYTES).and_then(|head| head.try_into().ok()).ok_or(BadRecord::CutOff)?;
    let mut unsummed = *bytes;
    put(&mut unsummed, 8, [0; 4]);
    if crc32c::crc32c(&unsummed) != u32::from_le_bytes(field(bytes, 8)) {
        return Err(BadRecord::HeaderChecksum);
    }
    let [version, kind] = field(bytes, 4);
    if version != FORMAT_VERSION {
        return Err(BadRecord::NewerVersion(version));
    }
    let kind = RecordKind::from_number(kind).ok_or(BadRecord::UnknownKind(kind))?;
    let flags = u16::from_le_bytes(field(bytes, 6));
    if flags & !FLAG_ERASED != 0 {
        return Err(BadRecord::UnknownFlags(flags));
    }
    let body_len = u32::from_le_bytes(field(bytes, 12));
    let len = usize::try_from(body_len).map_err(|_| BadRecord::Length(body_len))?;
    if !(SALT_BYTES..=RECORD_BYTES_MAX - HEADER_BYTES).contains(&len) {
        return Err(BadRecord::Length(body_len));
    }
    let number = |at| u64::from_le_bytes(field(bytes, at));
    Ok(RecordHeader {
        kind,
        erased: flags & FLAG_ERASED != 0,
        body_len,
        uid: ConversationUid(field(bytes, 16)),
        epoch: Epoch::new(number(32)),
        activation: Activation::new(number(40)),
        record_no: RecordNo::new(number(48)),
        turn_seq: TurnSeq::new(number(64)),
        time: Timestamp::from_micros(number(72)),
        body_crc: u32::from_le_bytes(field(bytes, 80)),
        digest: Hash(field(bytes, 88)),
        hash: Hash(field(bytes, 120)),
    })
}

/// A record and what stood around its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedRecord {
    /// The record.
    pub record: StoredRecord,
    /// The key, when it is a `Created` record that was not erased.
    pub key: Option<ConversationKey>,
    /// Bytes it takes, padding included: the next record begins there.
    pub len: usize,
}

/// The body after `header`, its checksum checked; a stub has none.
pub(crate) fn checked_body<'a>(header: &RecordHeader, bytes: &'a [u8]) -> Result<&'a [u8], BadRecord> {
    if header.erased {
        return Ok(&[]);
    }
    let len = usize::try_from(header.body_len).map_err(|_| BadRecord::Length(header.body_len))?;
    if bytes.len() < padded_len(len) {
        return Err(BadRecord::CutOff);
    }
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + len).ok_or(BadRecord::CutOff)?;
    if crc32c::crc32c(body) == header.body_crc { Ok(body) } else { Err(BadRecord::BodyChecksum) }
}

/// Decodes the record that `bytes` begins with and checks its checksums and digest, not its place in
/// the chain ([`RecordHeader::follows`]).
///
/// # Errors
/// [`BadRecord`].
pub fn decode_record(bytes: &[u8]) -> Result<DecodedRecord, BadRecord> {
    let header = decode_header(bytes)?;
    if header.erased {
        return Ok(DecodedRecord {
            key: None,
            len: HEADER_BYTES,
            record: StoredRecord { header, payload: Vec::new() },
        });
    }
    let body = checked_body(&header, bytes)?;
    if *blake3::hash(body).as_bytes() != header.digest.0 {
        return Err(BadRecord::Digest);
    }
    let len = padded_len(body.len());
    let mut payload = body.get(SALT_BYTES..).ok_or(BadRecord::Length(header.body_len))?;
    let mut key = None;
    if header.kind == RecordKind::Created {
        let (found, rest) = split_envelope(payload).ok_or(BadRecord::Key)?;
        key = Some(found);
        payload = rest;
    }
    Ok(DecodedRecord { key, len, record: StoredRecord { header, payload: payload.to_vec() } })
}

/// Appends the envelope that names `key`: its length, its checksum, its text.
pub(super) fn put_envelope(buffer: &mut Vec<u8>, key: &ConversationKey) {
    let text = key.as_str().as_bytes();
    // Two identifiers of at most 128 bytes and a slash always fit.
    buffer.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    buffer.extend_from_slice(&crc32c::crc32c(text).to_le_bytes());
    buffer.extend_from_slice(text);
}

/// Bytes of the envelope of `key`.
pub(super) fn envelope_len(key: &ConversationKey) -> usize {
    ENVELOPE_BYTES + key.as_str().len()
}

/// The key and what follows it. The key has its own checksum, so that it can be trusted although the
/// payload is damaged.
pub(crate) fn split_envelope(payload: &[u8]) -> Option<(ConversationKey, &[u8])> {
    let (len, rest) = payload.split_first_chunk::<2>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    if crc32c::crc32c(text) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (tenant, conversation) = std::str::from_utf8(text).ok()?.split_once('/')?;
    Some((ConversationKey::from_stored(tenant, conversation)?, rest))
}

/// The record that a process writes before anything else; of the store itself, in no chain.
pub(crate) fn epoch_record(store: [u8; 16], epoch: Epoch, time: Timestamp, salt: [u8; SALT_BYTES]) -> Vec<u8> {
    let mut record = encode_header(&RecordHeader {
        kind: RecordKind::Epoch,
        erased: false,
        body_len: SALT_BYTES as u32,
        uid: ConversationUid(store),
        epoch,
        activation: Activation::default(),
        record_no: RecordNo::default(),
        turn_seq: TurnSeq::default(),
        time,
        body_crc: crc32c::crc32c(&salt),
        digest: Hash(*blake3::hash(&salt).as_bytes()),
        hash: Hash::default(),
    })
    .to_vec();
    record.extend_from_slice(&salt);
    record
}
