//! What the store offers to those who look after it: which partitions and definitions there are, what waits and why, and the
//! removal of what is old.

use async_trait::async_trait;

use super::{Head, Status, StoreError};
use crate::ids::{Epoch, Ident, NodeName, PartitionId};
use crate::runtime::Timestamp;
use crate::workflow::{DefinitionRef, Record};

/// A workflow that is not terminal, as the index of open workflows knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRow {
    /// The workflow.
    pub ident: Ident,
    /// Its status.
    pub status: Status,
    /// The version of its definition, whose name is in the cursor.
    pub version: u32,
    /// When it is to be woken, if it waits for an instant.
    pub wake_at: Option<Timestamp>,
    /// Where the next page begins.
    pub cursor: OpenCursor,
}

/// A place in the index of open workflows: right after this entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCursor {
    /// The entry's status.
    pub status: Status,
    /// Its definition, by name.
    pub definition: String,
    /// When it was started.
    pub created_at: Timestamp,
    /// The workflow.
    pub ident: Ident,
}

/// A partition, as `nodes` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRow {
    /// Which one.
    pub id: PartitionId,
    /// Who owns it, or owned it last.
    pub owner: NodeName,
    /// How often it has changed hands.
    pub epoch: Epoch,
    /// How long its lease still runs by the database's clock, in microseconds; negative when it has run out.
    pub lease_left_us: i64,
    /// Nobody owns it, and nothing in it is open.
    pub retired: bool,
    /// The number of its last event.
    pub last_seq: u64,
    /// The number of its last event that the bus has acknowledged.
    pub published_seq: u64,
}

/// Workflows that are parked for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorGroup {
    /// What they run, by name.
    pub definition: String,
    /// The step that they are parked on.
    pub step: Option<String>,
    /// The error's class.
    pub class: String,
    /// What the errors say, without what differs: see [`normalised`].
    pub message: String,
    /// How many.
    pub count: u64,
    /// Since when the first of them is parked.
    pub first_since: Timestamp,
    /// Since when the last of them is parked.
    pub last_since: Timestamp,
}

/// A step of a purge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// Workflows that were removed, with their events and commands.
    pub workflows: u64,
    /// Events that were removed.
    pub events: u64,
}

/// Looking after the store.
#[async_trait]
pub trait UpkeepStore: Send + Sync + 'static {
    /// Notes that these definitions exist. Returns those that are known under the same name and version with another hash, as
    /// they are known.
    async fn register_definitions(
        &self,
        definitions: &[DefinitionRef],
    ) -> Result<Vec<DefinitionRef>, StoreError>;

    /// All partitions, by id.
    async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError>;

    /// The reasons for which workflows are parked, those with most workflows first, at most `limit`.
    async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError>;

    /// Terminal workflows that were started and last changed before `before` and whose events are all published, each with its
    /// records, at most `limit`, the oldest first.
    async fn purgeable(
        &self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError>;

    /// Removes these workflows with their events and commands, unless they are not terminal or have an event that is not
    /// published.
    async fn purge(&self, idents: &[Ident]) -> Result<Purged, StoreError>;

    /// The workflows of all partitions that are not terminal, each with its partition, in the order of their index, after
    /// `after`, at most `limit`: what the auditor finds those by that are in a partition of which nobody takes care.
    async fn open_everywhere(
        &self,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(PartitionId, OpenRow)>, StoreError>;

    /// Makes a partition that is retired, or has no row any more, one that can be taken over. `false`: nothing is known of it.
    async fn reopen(&self, partition: PartitionId) -> Result<bool, StoreError>;
}

/// The bytes that a normalised message has at most.
pub const NORMALISED_BYTES_MAX: usize = 300;

/// A message without what differs from one error to the next: each run of letters, digits and `-` that has a digit in it becomes
/// `#`, and what is too long is cut.
#[must_use]
pub fn normalised(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(NORMALISED_BYTES_MAX));
    let mut word = String::new();
    for letter in message.chars().chain(std::iter::once(' ')) {
        if letter.is_alphanumeric() || letter == '-' {
            word.push(letter);
            continue;
        }
        if word.contains(|letter: char| letter.is_ascii_digit()) {
            text.push('#');
        } else {
            text.push_str(&word);
        }
        word.clear();
        text.push(letter);
    }
    text.truncate(text.trim_end().len());
    let end = (0..=NORMALISED_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_one_error_to_the_next_is_left_out() {
        let cases = [
            ("no answer within 1500 ms", "no answer within # ms"),
            (
                "order 0000-ab12/payment: HTTP 503",
                "order #/payment: HTTP #",
            ),
            ("nothing differs", "nothing differs"),
            ("", ""),
        ];
        for (message, expected) in cases {
            assert_eq!(normalised(message), expected);
        }
        assert!(normalised(&"ä ".repeat(400)).len() <= NORMALISED_BYTES_MAX);
    }
}
