//! The stream of an export. It is fed by one task that ends with its reader, the server, or the history.

use std::time::Duration;

use colloquy_actors::{Error, Export, ExportEvent, HistoryRecord, Runtime};
use colloquy_proto::{EVENT_VERSION, v1};
use colloquy_types::{ConversationKey, Head, TurnSeq};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    convert, status,
    streams::{BoxedStream, EVENTS_WAITING, end},
};

type Sent = Result<v1::ExportConversationResponse, Status>;

/// A conversation's history as events.
pub(crate) fn events(
    export: Export,
    key: ConversationKey,
    runtime: &Runtime,
) -> BoxedStream<v1::ExportConversationResponse> {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(feed(export, key, runtime.draining(), runtime.settings().watch_stall_max, events));
    Box::pin(ReceiverStream::new(received))
}

async fn feed(
    mut export: Export,
    key: ConversationKey,
    draining: impl Future<Output = ()> + Send,
    stall_max: Duration,
    events: mpsc::Sender<Sent>,
) {
    tokio::pin!(draining);
    let (mut head, mut sent_seq) = (Head::default(), TurnSeq::default());
    loop {
        let next = tokio::select! {
            biased;
            () = events.closed() => return,
            () = &mut draining => Err(Error::Draining),
            next = export.next() => next,
        };
        let event = match next {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => return refuse(&events, &error, &key, stall_max).await,
        };
        let mut reaches = sent_seq;
        match &event {
            ExportEvent::Begun { head: begun, .. } => head = *begun,
            ExportEvent::Record(row) => reaches = row.record.header.turn_seq,
            ExportEvent::Revision { .. } | ExportEvent::Ended { .. } => {}
        }
        match tokio::time::timeout(stall_max, events.send(Ok(response(event, &head)))).await {
            Ok(Ok(())) => sent_seq = reaches,
            Ok(Err(_)) => return,
            Err(_) => return refuse(&events, &Error::SlowReader { sent: sent_seq }, &key, stall_max).await,
        }
    }
}

/// Tells why the stream ends, if its reader still takes it.
async fn refuse(events: &mpsc::Sender<Sent>, error: &Error, key: &ConversationKey, stall_max: Duration) {
    if matches!(error, Error::Corrupt { .. } | Error::RevisionUnavailable { .. }) {
        tracing::warn!(method = "ExportConversation", %key, reason = status::reason(error), %error, "call failed");
    }
    end(events, status::status(error, key.as_str()), stall_max).await;
}

fn response(event: ExportEvent, head: &Head) -> v1::ExportConversationResponse {
    use v1::export_conversation_response::Event;
    let event = match event {
        ExportEvent::Begun { key, uid, created, head } => Event::Begun(v1::ExportBegun {
            key: Some(convert::key(&key)),
            uid: uid.to_string(),
            flow: created.flow.to_string(),
            flow_tenant: created.flow_tenant,
            revision: created.revision.to_string(),
            head: Some(convert::head(&head)),
            records: head.record_no.get(),
        }),
        ExportEvent::Revision { revision, source } => {
            Event::Revision(v1::ExportedRevision { revision: revision.to_string(), source })
        }
        ExportEvent::Record(row) => Event::Record(record(*row)),
        ExportEvent::Ended { records } => Event::Ended(v1::ExportEnded { records, head: Some(convert::head(head)) }),
    };
    v1::ExportConversationResponse { event_version: EVENT_VERSION, event: Some(event) }
}

fn record(row: HistoryRecord) -> v1::ExportedRecord {
    let header = &row.record.header;
    v1::ExportedRecord {
        record_no: header.record_no.get(),
        turn_seq: header.turn_seq.get(),
        kind: header.kind.name().to_owned(),
        hash: header.hash.0.to_vec(),
        stored: row.stored,
    }
}
