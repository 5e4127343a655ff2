//! Validated identifiers. A value of one of these types cannot be malformed.

use std::{fmt, hash, sync::Arc};

use serde::{Deserialize, Serialize};

/// Number of partitions, for ever: the top 12 bits of the key's hash.
pub const PARTITIONS: u16 = 4096;
/// Longest tenant, conversation or flow identifier, in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// The tenant whose flows every tenant may use. No caller can name it: it does not match the pattern.
pub const SHARED_TENANT: &str = "_";

/// Why a string is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It is longer than the bound.
    #[error("must be at most {max} bytes long, but has {len}")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// It has a character that is not allowed, or begins with one that may not stand first.
    #[error("must match ^[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}$")]
    Pattern,
    /// A request id has a character outside visible ASCII (0x21 to 0x7e).
    #[error("must consist of visible ASCII characters (0x21 to 0x7e)")]
    NotVisibleAscii,
}

fn check_name(text: &str) -> Result<(), InvalidId> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else { return Err(InvalidId::Empty) };
    if bytes.len() > ID_BYTES_MAX {
        return Err(InvalidId::TooLong { len: bytes.len(), max: ID_BYTES_MAX });
    }
    let rest_is_fine = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if first.is_ascii_alphanumeric() && rest_is_fine { Ok(()) } else { Err(InvalidId::Pattern) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`.
            ///
            /// # Errors
            /// [`InvalidId`] tells what is wrong.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A tenant: the isolation boundary, part of every key.
    TenantId
}
name! {
    /// A conversation's name within its tenant.
    ConversationId
}
name! {
    /// Whom a conversation is about, as its tenant calls them: by this, all that was said with them can be erased.
    SubjectId
}
name! {
    /// A flow's name within its tenant.
    FlowName
}

impl TenantId {
    /// The tenant of what is shared; see [`SHARED_TENANT`].
    pub fn shared() -> Self {
        Self(SHARED_TENANT.into())
    }
}

/// The client's idempotency key of one turn or reset: 1 to 128 bytes of visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Checks `text`: 1 to 128 bytes of visible ASCII.
    ///
    /// # Errors
    /// [`InvalidId`] tells what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > REQUEST_ID_BYTES_MAX {
            return Err(InvalidId::TooLong { len: text.len(), max: REQUEST_ID_BYTES_MAX });
        }
        if text.bytes().all(|b| b.is_ascii_graphic()) { Ok(Self(text.into())) } else { Err(InvalidId::NotVisibleAscii) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `tenant/conversation`: what routes, hashes and isolates. Cheap to clone.
#[derive(Clone)]
pub struct ConversationKey {
    text: Arc<str>,
    tenant_len: u8,
}

impl ConversationKey {
    /// Joins the two identifiers.
    pub fn new(tenant: &TenantId, conversation: &ConversationId) -> Self {
        Self::join(tenant.as_str(), conversation.as_str())
    }

    /// The key of a tenant's own stream (its flow revisions, for instance): `tenant/@name`.
    ///
    /// `@` cannot stand in a conversation id, so the two can never be confused.
    pub fn tenant_stream(tenant: &TenantId, name: &str) -> Self {
        Self::join(tenant.as_str(), &format!("@{name}"))
    }

    /// The key whose two parts were stored, be it a conversation's or a stream's.
    pub fn from_stored(tenant: &str, conversation: &str) -> Option<Self> {
        if tenant != SHARED_TENANT {
            check_name(tenant).ok()?;
        }
        check_name(conversation.strip_prefix('@').unwrap_or(conversation)).ok()?;
        Some(Self::join(tenant, conversation))
    }

    /// Whether this is the key of a tenant's own stream and not of a conversation.
    pub fn is_tenant_stream(&self) -> bool {
        self.conversation().starts_with('@')
    }

    fn join(tenant: &str, conversation: &str) -> Self {
        let mut text = String::with_capacity(tenant.len() + 1 + conversation.len());
        text.push_str(tenant);
        text.push('/');
        text.push_str(conversation);
        // ID_BYTES_MAX bounds the tenant to 128 bytes.
        Self { text: text.into(), tenant_len: u8::try_from(tenant.len()).unwrap_or(u8::MAX) }
    }

    /// Parses the two parts without making either on its own: one allocation.
    ///
    /// # Errors
    /// The part (`"tenant"` or `"conversation"`) that is wrong, and how.
    pub fn from_parts(tenant: &str, conversation: &str) -> Result<Self, (&'static str, InvalidId)> {
        check_name(tenant).map_err(|invalid| ("tenant", invalid))?;
        check_name(conversation).map_err(|invalid| ("conversation", invalid))?;
        Ok(Self::join(tenant, conversation))
    }

    /// `tenant/conversation`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tenant's part.
    pub fn tenant(&self) -> &str {
        self.text.get(..usize::from(self.tenant_len)).unwrap_or_default()
    }

    /// The conversation's part.
    pub fn conversation(&self) -> &str {
        self.text.get(usize::from(self.tenant_len) + 1..).unwrap_or_default()
    }

    /// The tenant as an owned identifier.
    pub fn tenant_id(&self) -> TenantId {
        TenantId(self.tenant().into())
    }

    /// The partition this key belongs to, for ever: the top 12 bits of its BLAKE3 hash.
    pub fn partition(&self) -> Partition {
        let hash = blake3::hash(self.text.as_bytes());
        let [high, low, ..] = *hash.as_bytes();
        Partition(u16::from_be_bytes([high, low]) >> 4)
    }
}

impl PartialEq for ConversationKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ConversationKey {}

impl hash::Hash for ConversationKey {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl std::borrow::Borrow<str> for ConversationKey {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One of the [`PARTITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// The partition's number, below [`PARTITIONS`].
    pub const fn get(self) -> u16 {
        self.0
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Reads what [`fmt::Display`] writes: lower-case hexadecimal digits, two for each byte.
            pub fn parse(text: &str) -> Option<Self> {
                crate::hex::parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                crate::hex::write(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

random_id! {
    /// Random, given at creation; what the store and the chain use instead of the name.
    ConversationUid, 16
}
random_id! {
    /// Random, one per accepted turn.
    TurnId, 16
}
random_id! {
    /// Hash of a flow's format version and normalised source.
    Revision, 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_refuse_paths_blanks_and_long_names() {
        assert_eq!(TenantId::parse(""), Err(InvalidId::Empty));
        assert_eq!(TenantId::parse("../etc"), Err(InvalidId::Pattern));
        assert_eq!(TenantId::parse("a/b"), Err(InvalidId::Pattern));
        assert_eq!(TenantId::parse("-a"), Err(InvalidId::Pattern));
        assert_eq!(TenantId::parse(&"a".repeat(129)), Err(InvalidId::TooLong { len: 129, max: 128 }));
        assert!(TenantId::parse(&"a".repeat(128)).is_ok());
        assert_eq!(RequestId::parse("a b"), Err(InvalidId::NotVisibleAscii));
    }

    proptest! {
        #[test]
        fn a_key_gives_back_its_parts(tenant in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}", conversation in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}") {
            let key = ConversationKey::from_parts(&tenant, &conversation).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            prop_assert_eq!(key.tenant(), tenant);
            prop_assert_eq!(key.conversation(), conversation);
            prop_assert!(key.partition().get() < PARTITIONS);
        }
    }

    #[test]
    fn identifiers_are_shown_as_hexadecimal_digits() {
        let mut bytes = [0; 32];
        bytes[..3].copy_from_slice(&[0x00, 0x9f, 0xa0]);
        assert_eq!(Revision(bytes).to_string(), format!("009fa0{}", "00".repeat(29)));
        assert_eq!(TurnId([0xab; 16]).to_string(), "ab".repeat(16));
        assert_eq!(Revision::parse(&Revision(bytes).to_string()), Some(Revision(bytes)));
        for bad in ["ab".repeat(15), "ab".repeat(17), "AB".repeat(16), format!("{}g0", "ab".repeat(15))] {
            assert_eq!(TurnId::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_partition_of_a_key_never_changes() {
        // Golden values: the partition of a key is part of the on-disk and wire contract.
        for (conversation, partition) in [("c-1", 587), ("c-2", 2266)] {
            let key = ConversationKey::from_parts("acme", conversation).map(|key| key.partition().get());
            assert_eq!(key, Ok(partition));
        }
    }
}
