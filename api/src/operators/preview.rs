//! What an order would do, for `?dry_run=true`.

use engine::store::Status;
use engine::{Preview, WorkflowId};
use serde::Serialize;

use super::events::Entry;
use crate::problem::Problem;

/// What would be recorded, where the workflow would stand, and which attempts would begin.
#[derive(Serialize)]
pub struct Shown {
    workflow: String,
    /// The workflow's version now.
    version: u32,
    /// Where it would stand.
    state: Status,
    /// The event, with what would start and whether the workflow would end.
    event: Entry,
}

impl Shown {
    /// The preview of an order to this workflow.
    pub fn of(workflow: WorkflowId, preview: Preview) -> Result<Self, Problem> {
        Ok(Self {
            workflow: workflow.to_string(),
            version: preview.version,
            state: preview.status,
            event: Entry::of(preview.record)?,
        })
    }
}
