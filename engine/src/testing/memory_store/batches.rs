//! Batches of commands.

use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryStore, next_id};
use crate::ids::NodeName;
use crate::runtime::Timestamp;
use crate::store::{
    BatchProgress, BatchRow, BatchState, BatchStore, CommandState, ListCursor, NewBatch, StoreError,
};

/// A batch, and who works on it until when.
pub(super) struct Line {
    row: BatchRow,
    worker: Option<NodeName>,
    worker_until: Timestamp,
}

#[async_trait]
impl BatchStore for MemoryStore {
    async fn submit_batch(&self, batch: &NewBatch) -> Result<(BatchRow, bool), StoreError> {
        let mut tables = self.up("submitting a batch of commands")?;
        let mut lines = tables.batches.values();
        if let Some(existing) = lines.find(|line| line.row.batch.key == batch.key) {
            return Ok((existing.row.clone(), false));
        }
        let id = next_id(&tables.batches);
        let row = BatchRow {
            id,
            batch: batch.clone(),
            state: BatchState::Running,
            place: None,
            submitted: 0,
        };
        let line = Line {
            row: row.clone(),
            worker: None,
            worker_until: Timestamp(0),
        };
        tables.batches.insert(id, line);
        Ok((row, true))
    }

    async fn batch(&self, id: u64) -> Result<Option<BatchRow>, StoreError> {
        let tables = self.up("reading batches of commands")?;
        Ok(tables.batches.get(&id).map(|line| line.row.clone()))
    }

    async fn batches(&self, before: Option<u64>, limit: u32) -> Result<Vec<BatchRow>, StoreError> {
        let tables = self.up("reading batches of commands")?;
        let earlier = tables.batches.range(..before.unwrap_or(u64::MAX));
        let rows = earlier.rev().map(|(_, line)| line.row.clone());
        Ok(rows.take(limit as usize).collect())
    }

    async fn batch_progress(&self, id: u64) -> Result<BatchProgress, StoreError> {
        let tables = self.up("reading batches of commands")?;
        let mut progress = BatchProgress::default();
        let rows = tables.commands.values();
        for row in rows.filter(|row| row.command.batch == Some(id)) {
            match row.state {
                CommandState::Pending => progress.pending += 1,
                CommandState::Done { .. } => progress.done += 1,
                CommandState::Refused { .. } => progress.refused += 1,
            }
        }
        Ok(progress)
    }

    async fn take_batch(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Option<BatchRow>, StoreError> {
        let now = self.runtime.now();
        let mut tables = self.up("taking a batch of commands")?;
        let is_own = |line: &Line| line.worker.as_ref() == Some(node);
        let free = tables.batches.values_mut().filter(|line| {
            line.row.state == BatchState::Running && (is_own(line) || line.worker_until <= now)
        });
        // Its own first, then the oldest.
        let Some(line) = free.min_by_key(|line| (!is_own(line), line.row.id)) else {
            return Ok(None);
        };
        line.worker = Some(node.clone());
        line.worker_until = now.after(lease);
        Ok(Some(line.row.clone()))
    }

    async fn advance_batch(
        &self,
        node: &NodeName,
        id: u64,
        place: Option<&ListCursor>,
        submitted: u64,
        state: BatchState,
    ) -> Result<bool, StoreError> {
        let now = self.runtime.now();
        let mut tables = self.up("noting how far a batch of commands is")?;
        let line = tables.batches.get_mut(&id).filter(|line| {
            line.row.state == BatchState::Running
                && line.worker.as_ref() == Some(node)
                && line.worker_until > now
        });
        let Some(line) = line else {
            return Ok(false);
        };
        line.row.place = place.cloned();
        line.row.submitted = submitted;
        line.row.state = state;
        Ok(true)
    }

    async fn stop_batch(&self, id: u64) -> Result<bool, StoreError> {
        let mut tables = self.up("stopping a batch of commands")?;
        let line = tables.batches.get_mut(&id);
        let Some(line) = line.filter(|line| line.row.state == BatchState::Running) else {
            return Ok(false);
        };
        line.row.state = BatchState::Stopped;
        Ok(true)
    }
}
