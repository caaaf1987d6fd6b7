//! A newtype for each id, so that a partition is never taken for an epoch.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The unit of ownership and of the journal's order. A workflow is born in one and stays there for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a partition has changed hands. Every write carries it; a write under an older one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The name under which a node owns partitions. A node that restarts under its old name takes its partitions back at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part of a workflow's id that does not depend on where it was born: 12 bytes, unique in a store.
pub type Ident = [u8; 12];

/// A workflow's id: a version 8 UUID (RFC 9562, section 5.8) of the partition (32 bits) and the [`Ident`].
///
/// The partition in the id lets any node find the owner without a look-up. The ident of a workflow that was started
/// under a key is derived from that key, so a repeated start can only ever name the same workflow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(Uuid);

impl WorkflowId {
    /// The id of the workflow with this ident, born in `partition`. Six bits of the ident are overwritten by the UUID's
    /// version and variant.
    #[must_use]
    pub fn new(partition: PartitionId, ident: Ident) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&partition.0.to_be_bytes());
        bytes[4..].copy_from_slice(&ident);
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(Uuid::from_bytes(bytes))
    }

    /// The id that a start under `key` in `scope` (a definition and who asks) has in `partition`.
    #[must_use]
    pub fn for_key(partition: PartitionId, key: &StartKey) -> Self {
        Self::new(partition, key.ident())
    }

    /// The id with these 16 bytes, as [`WorkflowId::bytes`] gave them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id in a URL or a message; `None` when the text is not a UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The partition that this workflow was born in.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        let bytes = self.0.as_bytes();
        PartitionId(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The part that is unique in the store, whatever the partition.
    #[must_use]
    pub fn ident(&self) -> Ident {
        let mut ident = [0; 12];
        ident.copy_from_slice(&self.0.as_bytes()[4..]);
        ident
    }

    /// The 16 bytes that are stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a start idempotent: the key space, who asks, and the key that they chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StartKey {
    /// The definition's name, or the one that several definitions share their keys under.
    pub key_space: String,
    /// Who asks, such as a buyer: keys of different askers never meet.
    pub scope: String,
    /// The asker's `Idempotency-Key`.
    pub key: String,
}

impl StartKey {
    /// 12 bytes of the SHA-256 of the three parts, length-prefixed so that no two triples run together, with the bits that
    /// a [`WorkflowId`] fixes already set.
    #[must_use]
    pub fn ident(&self) -> Ident {
        let mut hash = Sha256::new();
        for part in [&self.key_space, &self.scope, &self.key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut ident = [0; 12];
        ident.copy_from_slice(&hash.finalize()[..12]);
        WorkflowId::new(PartitionId(0), ident).ident()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_partition_and_its_ident() {
        let key = StartKey {
            key_space: "purchase".into(),
            scope: "b".into(),
            key: "k".into(),
        };
        let id = WorkflowId::for_key(PartitionId(7), &key);
        assert_eq!((id.partition(), id.ident()), (PartitionId(7), key.ident()));
        assert_eq!(WorkflowId::parse(&id.to_string()), Some(id));
        assert_eq!(WorkflowId::from_bytes(*id.bytes()), id);
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        let key = |scope: &str, key: &str| {
            StartKey {
                key_space: "d".into(),
                scope: scope.into(),
                key: key.into(),
            }
            .ident()
        };
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
