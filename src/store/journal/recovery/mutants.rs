//! A planted bug, so that tests can show that it is noticed.

use std::sync::Arc;

use super::{Finish, Found, Replay, conclude, finish};
use crate::{
    journal::{
        bytes::to_usize,
        disk::read_vec,
        error::OpenError,
        group::{GroupHeader, Position},
        segment::footer_bytes,
        writer::{Active, Start},
    },
    record::epoch_record,
};

/// Finishes as [`finish`] does, but goes on in the last segment behind what a torn write left in it.
pub(crate) fn finish_behind_the_cut(
    mut replay: Replay<'_>,
    mut found: Found,
    with: &Finish<'_>,
) -> Result<Start, OpenError> {
    let epoch = replay.epoch.next().max(with.epoch_min);
    let body = epoch_record(with.uuid, epoch, with.clock.now(), with.entropy.bytes16());
    let Some((segment, end)) = torn_segment(&replay, &found, body.len())? else { return finish(replay, found, with) };
    let header = GroupHeader { records: 1, body_len: body.len() as u64, epoch, number: 1, synced: replay.mark };
    let mut group = header.encode(Position { segment, offset: end }, with.uuid).to_vec();
    group.extend_from_slice(&body);
    let (Some(segment), Some((table, _))) = (found.segments.remove(&segment), replay.tables.remove(&segment)) else {
        return finish(replay, found, with);
    };
    segment.file.write_at(&group, end)?;
    segment.file.sync_data()?;
    let active = Active { segment: Arc::new(segment), end: end + group.len() as u64, table };
    conclude(replay, found, active, epoch, with)
}

/// The last segment in use, when it ends in a torn write and has room for a group of `body` bytes behind it.
fn torn_segment(replay: &Replay<'_>, found: &Found, body: usize) -> Result<Option<(u64, u64)>, OpenError> {
    let in_use = found.segments.iter().rfind(|(id, _)| !replay.blank.contains(id) && !found.headless.contains(id));
    let Some((id, segment)) = in_use.filter(|(id, segment)| **id == replay.mark.segment && segment.trailer().is_none())
    else {
        return Ok(None);
    };
    let bytes = read_vec(segment.file.as_ref(), 0, to_usize(segment.size))?;
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(8) as u64;
    let has_room = written + 4 * (body as u64) + footer_bytes(64) < segment.size;
    let is_torn = written > replay.mark.offset && replay.survivors.is_empty();
    Ok((is_torn && has_room).then_some((*id, written)))
}
