//! Holding what a store answers against what callers were told.

use colloquy_types::{Head, TurnSeq};

use super::{
    Breach,
    life::Life,
    model::{Conversation, Model},
    random::Random,
};
use crate::{
    port::{Opened, ReadError},
    record::{RecordKind, StoredRecord},
};

/// The tenant of every conversation of a run.
pub(super) const TENANT: &str = "acme";

fn unreadable(conversation: &Conversation) -> impl Fn(ReadError) -> Breach + use<> {
    let conversation = conversation.name();
    move |error| Breach::Unreadable { conversation: conversation.clone(), error }
}

fn same<'a>(
    conversation: &Conversation,
    what: &'static str,
    found: impl IntoIterator<Item = &'a StoredRecord>,
    told: impl IntoIterator<Item = &'a StoredRecord>,
) -> Result<(), Breach> {
    let (mut found, mut told) = (found.into_iter(), told.into_iter());
    for place in 0.. {
        match (found.next(), told.next()) {
            (None, None) => break,
            (Some(found), Some(told)) if found == told => {}
            (_, told_here) => {
                let told = place + usize::from(told_here.is_some()) + told.count();
                return Err(Breach::Differs { conversation: conversation.name(), what, place, told });
            }
        }
    }
    Ok(())
}

/// Compares a whole history: only snapshots that a newer one superseded may be gone.
fn same_history(conversation: &Conversation, history: &[StoredRecord]) -> Result<(), Breach> {
    let mut told = conversation.certain.iter().rev();
    let mut kept = Vec::new();
    let mut is_superseded = false;
    for found in history.iter().rev() {
        let next = told.find(|told| {
            let may_be_gone = !told.header.kind.is_chained() && is_superseded;
            is_superseded |= !told.header.kind.is_chained();
            *told == found || !may_be_gone
        });
        kept.extend(next);
    }
    kept.extend(told.filter(|told| told.header.kind.is_chained()));
    same(conversation, "the history", history.iter().rev(), kept)
}

/// Opens a conversation, which settles what was unknown of it; how many appends were found applied, and how many
/// not.
pub(super) fn open(life: &mut Life, conversation: &mut Conversation) -> Result<(u64, u64), Breach> {
    let opened = life.open(&conversation.key).map_err(unreadable(conversation))?;
    let unknown = conversation.unknown.len();
    let applied = conversation.settle(&opened.head, opened.snapshot.as_ref())?;
    same_opened(conversation, &opened)?;
    if !conversation.certain.is_empty() {
        conversation.uid = Some(opened.lease.uid);
    }
    conversation.lease(Some(opened.lease));
    Ok((applied as u64, (unknown - applied) as u64))
}

fn same_opened(conversation: &Conversation, opened: &Opened) -> Result<(), Breach> {
    let certain = &conversation.certain;
    let snapshot = certain.iter().rposition(|record| !record.header.kind.is_chained());
    let covered = snapshot.and_then(|place| certain.get(place)).map(|record| record.header.record_no);
    let follows = |record: &&StoredRecord| {
        record.header.kind.is_chained() && covered.is_none_or(|covered| record.header.record_no > covered)
    };
    same(conversation, "the first record", &opened.created, certain.first())?;
    same(conversation, "the snapshot", &opened.snapshot, snapshot.and_then(|place| certain.get(place)))?;
    same(conversation, "the tail", &opened.tail, certain.iter().filter(follows))
}

/// Reads all of a conversation in every way there is.
pub(super) fn read(life: &mut Life, conversation: &Conversation, random: &mut Random) -> Result<(), Breach> {
    let unreadable = unreadable(conversation);
    if conversation.certain.is_empty() {
        return match life.verify(&conversation.key) {
            Err(ReadError::Absent) => Ok(()),
            Err(error) => Err(unreadable(error)),
            Ok(found) => Err(Breach::Stranger { conversation: conversation.name(), found: found.head.record_no }),
        };
    }
    let certain = &conversation.certain;
    let verified = life.verify(&conversation.key).map_err(&unreadable)?;
    let chained = certain.iter().filter(|record| record.header.kind.is_chained()).count();
    if verified.head != conversation.head || verified.records != chained as u64 {
        let (told, found) = (conversation.head.record_no, verified.head.record_no);
        return Err(Breach::Lost { conversation: conversation.name(), told, found });
    }
    let limit = random.between(1, 9);
    let (mut reached, mut history) = (Head::default(), Vec::new());
    while reached != conversation.head {
        let page = life.history(&conversation.key, reached, limit).map_err(&unreadable)?;
        if page.records.is_empty() {
            break;
        }
        history.extend(page.records.into_iter().map(|row| row.record));
        reached = page.reached;
    }
    same_history(conversation, &history)?;
    let from = TurnSeq::new(random.below(4) as u64);
    let turns = life.turns(&conversation.key, from).map_err(&unreadable)?;
    let is_wanted = |record: &&StoredRecord| record.header.kind == RecordKind::Turn && record.header.turn_seq >= from;
    same(conversation, "the turns", &turns, certain.iter().filter(is_wanted))
}

/// A conversation of which a bit was flipped must say so.
pub(super) fn damaged(life: &mut Life, conversation: &Conversation) -> Result<(), Breach> {
    match life.verify(&conversation.key) {
        Err(ReadError::Corrupt { .. }) => Ok(()),
        Ok(_) | Err(ReadError::Absent) => Err(Breach::DamageUnseen { conversation: conversation.name() }),
        Err(error) => Err(unreadable(conversation)(error)),
    }
}

/// Lists the tenant, once all that was unknown is settled.
pub(super) fn list(life: &mut Life, model: &Model) -> Result<(), Breach> {
    let whole: Vec<_> = model.conversations.iter().filter(|conversation| !conversation.is_damaged).collect();
    if whole.iter().any(|conversation| !conversation.unknown.is_empty()) {
        return Ok(());
    }
    let listed =
        life.list(TENANT).map_err(|error| Breach::Unreadable { conversation: "the list".to_owned(), error })?;
    let is_damaged = |key| model.conversations.iter().any(|known| known.is_damaged && known.key == key);
    let listed: Vec<_> = listed.into_iter().filter(|row| !is_damaged(row.key.clone())).collect();
    let born = whole.into_iter().filter(|conversation| !conversation.certain.is_empty());
    let mut told: Vec<_> = born.map(|conversation| (conversation.key.as_str(), conversation.head)).collect();
    told.sort_by_key(|(key, _)| *key);
    let found = listed.iter().map(|row| (row.key.as_str(), row.head));
    if found.eq(told.iter().copied()) {
        return Ok(());
    }
    Err(Breach::Listed { told: told.len(), found: listed.len() })
}
