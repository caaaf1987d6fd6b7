//! One command to many workflows: who is told, how fast, and what it would come to.
//!
//! A batch is durable. Some node walks the list of the workflows that its filter names, newest first, and submits the command to
//! each of them under the key `batch/<number>`, so that none gets it twice whatever happens to the node. Each workflow answers
//! for itself, as it does to any other command: one that no longer fits refuses, with the reason.

use crate::command::Verb;
use crate::engine::{CommandError, Preview};
use crate::store::{Head, ListFilter, NewBatch, StoreError};
use crate::workflow::By;

/// The fastest pace, in commands a second.
pub const PER_SECOND_MAX: u32 = 1_000;
/// A text of the filter has at most so many bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// A preview counts so far.
pub const COUNT_MAX: u64 = 10_000;
/// So many workflows are shown by a preview at most.
pub const SAMPLE_MAX: u16 = 100;

/// A batch to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// Its sender's name for it: sent again under this key, it is the same batch. 1 to 200 bytes.
    pub key: String,
    /// Which workflows: all that pass the filter when the batch comes by and have not ended. At least one of status, definition,
    /// reason, label and step must be set; where to begin and how many at once are not the sender's to say.
    pub filter: ListFilter,
    /// What each of them is told.
    pub verb: Verb,
    /// Who and why.
    pub by: By,
    /// At most so many commands a second, 1 to [`PER_SECOND_MAX`].
    pub per_second: u32,
}

impl BatchRequest {
    /// The batch as it is stored, if it may be. `created_at` is not set.
    pub(crate) fn checked(self) -> Result<NewBatch, BatchError> {
        let filter = ListFilter {
            after: None,
            limit: 0,
            ..self.filter
        };
        let named = [
            &filter.definition,
            &filter.reason,
            &filter.label,
            &filter.step,
        ];
        if filter.status.is_none() && named.iter().all(|text| text.is_none()) {
            return Err(BatchError::EmptyFilter);
        }
        let is_long = |text: &String| text.len() > TEXT_BYTES_MAX;
        if named.iter().any(|text| text.as_ref().is_some_and(is_long)) {
            return Err(BatchError::Invalid(format!(
                "a text of the filter has at most {TEXT_BYTES_MAX} bytes"
            )));
        }
        if let Some(status) = filter.status.filter(|status| status.is_terminal()) {
            return Err(BatchError::Invalid(format!(
                "workflows that are {status} have ended: nothing can be told to them"
            )));
        }
        if !(1..=PER_SECOND_MAX).contains(&self.per_second) {
            return Err(BatchError::Invalid(format!(
                "`per_second` must be 1 to {PER_SECOND_MAX}"
            )));
        }
        Ok(NewBatch {
            key: self.key,
            filter,
            verb: self.verb,
            by: self.by,
            per_second: self.per_second,
            created_at: crate::runtime::Timestamp(0),
        })
    }
}

/// A batch was not accepted: nothing is durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BatchError {
    /// The filter names no workflows in particular.
    #[error("a batch must name its workflows: by status, definition, reason, label or step")]
    EmptyFilter,
    /// Something that the batch carries is wrong; the sentence names it.
    #[error("{0}")]
    Invalid(String),
    /// The key was used for another batch.
    #[error("the key was used for another batch, number {0}")]
    KeyReused(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a batch would come to, as the workflows now are.
#[derive(Clone, Debug)]
pub struct BatchPreview {
    /// How many workflows would get the command.
    pub count: u64,
    /// There are more than were counted.
    pub more: bool,
    /// The first of them, with what the command would do.
    pub sample: Vec<(Head, Result<Preview, CommandError>)>,
}
