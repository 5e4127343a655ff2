//! The lines of an export as JSON. Unknown keys are refused: a newer format has another name.

use colloquy_types::{ConversationKey, ConversationUid, FlowName, Revision, Timestamp};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::FORMAT;

/// What an export says of its conversation before the first record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportHeader {
    /// The conversation.
    pub key: ConversationKey,
    /// The random name it had inside the store.
    pub uid: ConversationUid,
    /// The flow it runs.
    pub flow: FlowName,
    /// The tenant the flow belongs to; `_` for built-in ones.
    pub flow_tenant: String,
    /// The revision it began with.
    pub revision: Revision,
    /// When the export was made, by the clock of whoever made it.
    pub exported_at: Timestamp,
    /// The version of the program that made it.
    pub tool_version: String,
}

/// The source of a flow revision that the conversation ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedRevision {
    /// The revision. That it is the source's hash is for the reader of flows to check.
    pub revision: Revision,
    /// The normalised source.
    pub source: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine {
    pub(super) format: String,
    key: KeyLine,
    uid: String,
    flow: FlowName,
    flow_tenant: String,
    revision: String,
    exported_at_us: u64,
    tool_version: String,
}

/// The one key of the header that is read before all others: another format may have other keys.
#[derive(Deserialize)]
pub(super) struct FormatLine {
    pub(super) format: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    tenant: String,
    conversation: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevisionLine {
    pub(super) revision: String,
    pub(super) source: String,
}

#[derive(Serialize)]
pub(super) struct RecordLine<'a, V> {
    pub(super) record_no: u64,
    pub(super) turn_seq: u64,
    pub(super) kind: &'a str,
    pub(super) hash: String,
    pub(super) stored: String,
    pub(super) view: V,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadRecordLine {
    pub(super) record_no: u64,
    pub(super) turn_seq: u64,
    pub(super) kind: String,
    pub(super) hash: String,
    pub(super) stored: String,
    #[serde(rename = "view")]
    _view: IgnoredAny,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    pub(super) records: u64,
    pub(super) hash: String,
    pub(super) digest: String,
}

/// Any line but the header, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a, V> {
    Revision(RevisionLine),
    Record(RecordLine<'a, V>),
    End(EndLine),
}

/// Any line but the header, as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReadLine {
    Revision(RevisionLine),
    Record(ReadRecordLine),
    End(EndLine),
}

impl HeaderLine {
    pub(super) fn of(header: &ExportHeader) -> Self {
        Self {
            format: FORMAT.to_owned(),
            key: KeyLine { tenant: header.key.tenant().to_owned(), conversation: header.key.conversation().to_owned() },
            uid: header.uid.to_string(),
            flow: header.flow.clone(),
            flow_tenant: header.flow_tenant.clone(),
            revision: header.revision.to_string(),
            exported_at_us: header.exported_at.as_micros(),
            tool_version: header.tool_version.clone(),
        }
    }

    /// The header, or the name of the field that does not hold what it should.
    pub(super) fn header(self) -> Result<ExportHeader, &'static str> {
        Ok(ExportHeader {
            key: ConversationKey::from_parts(&self.key.tenant, &self.key.conversation).map_err(|_| "key")?,
            uid: ConversationUid::parse(&self.uid).ok_or("uid")?,
            flow: self.flow,
            flow_tenant: self.flow_tenant,
            revision: Revision::parse(&self.revision).ok_or("revision")?,
            exported_at: Timestamp::from_micros(self.exported_at_us),
            tool_version: self.tool_version,
        })
    }
}
