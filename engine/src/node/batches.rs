//! Batches of commands, on every node: some node takes a running batch for a while, walks the list of its workflows page by page
//! at the batch's pace, and notes after each page how far it is. When it dies another goes on from there; what it had submitted
//! of its last page has its key already, and no workflow gets the command twice.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::commands::check_texts;
use crate::batch::{BatchError, BatchPreview, BatchRequest, COUNT_MAX, SAMPLE_MAX};
use crate::command::Command;
use crate::ids::NodeName;
use crate::runtime::Timestamp;
use crate::store::{BatchRow, BatchState, Head, ListFilter, NewCommand, StoreError, Submitted};

/// So many batches a node works on at once, each by a worker of its own.
pub(super) const WORKERS: u32 = 4;
/// How often a worker looks for a batch when nobody nudges it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Workflows of a page: at most those of a second, so that a batch that was stopped goes on for no longer than that.
const PAGE_MAX: u16 = 100;
/// A preview looks at so many pages at most.
const PREVIEW_PAGES_MAX: u32 = 100;
/// Workflows of a page of a preview.
const PREVIEW_PAGE: u16 = 500;

/// When the next command may be submitted.
#[derive(Default)]
struct Pace {
    batch: u64,
    next_at: Timestamp,
}

impl Pace {
    /// The next instant for a command of this batch, which is taken by it.
    fn next(&mut self, row: &BatchRow, now: Timestamp) -> Timestamp {
        let interval = Duration::from_secs(1) / row.batch.per_second.max(1);
        if self.batch != row.id {
            *self = Self {
                batch: row.id,
                next_at: now,
            };
        }
        // Time that went by unused is not made up for, and a clock that was set back makes nobody wait for long.
        let at = self.next_at.clamp(now, now.after(interval));
        self.next_at = at.after(interval);
        at
    }
}

/// A batch that this node works on, until when it may be relied on.
struct Taken {
    row: BatchRow,
    renew_at: Timestamp,
}

impl Node {
    /// Makes a batch durable.
    pub(crate) async fn start_batch(
        &self,
        request: BatchRequest,
    ) -> Result<(BatchRow, bool), BatchError> {
        check_texts(&request.key, &request.by).map_err(BatchError::Invalid)?;
        let mut batch = request.checked()?;
        batch.created_at = self.runtime.now();
        let (row, new) = self.store.submit_batch(&batch).await?;
        let known = &row.batch;
        let same = (
            &known.filter,
            &known.verb,
            &known.by.actor,
            known.per_second,
        ) == (
            &batch.filter,
            &batch.verb,
            &batch.by.actor,
            batch.per_second,
        );
        if !same {
            return Err(BatchError::KeyReused(row.id));
        }
        if new {
            self.new_batch.notify_waiters();
        }
        Ok((row, new))
    }

    /// What the batch would come to now, with what it would do to the first `sample` workflows.
    pub(crate) async fn preview_batch(
        &self,
        request: &BatchRequest,
        sample: u16,
    ) -> Result<BatchPreview, BatchError> {
        check_texts(&request.key, &request.by).map_err(BatchError::Invalid)?;
        let batch = request.clone().checked()?;
        let shown = usize::from(sample.min(SAMPLE_MAX));
        let (mut heads, mut count, mut more) = (Vec::new(), 0, true);
        let mut filter = ListFilter {
            limit: PREVIEW_PAGE,
            ..batch.filter
        };
        for _page in 0..PREVIEW_PAGES_MAX {
            let page = self.store.list(&filter).await?;
            let open: Vec<Head> = page.items.into_iter().filter(is_open).collect();
            count += open.len() as u64;
            let left = shown - heads.len();
            heads.extend(open.into_iter().take(left));
            filter.after = page.next;
            if filter.after.is_none() || count > COUNT_MAX {
                more = count > COUNT_MAX;
                break;
            }
        }
        let mut sample = Vec::with_capacity(heads.len());
        for head in heads {
            let command = Command {
                workflow: head.id,
                verb: batch.verb.clone(),
                by: batch.by.clone(),
                expected_seq: None,
                key: batch.key.clone(),
            };
            let preview = self.preview(&command).await;
            sample.push((head, preview));
        }
        Ok(BatchPreview {
            count: count.min(COUNT_MAX),
            more,
            sample,
        })
    }

    /// Works on batches, one at a time, until the node drains.
    pub(crate) async fn work_on_batches(self: Arc<Self>, worker: u32) {
        let worker = NodeName(format!("{}/{worker}", self.settings.node));
        let mut pace = Pace::default();
        while !self.is_draining() {
            let nudged = self.new_batch.notified();
            let done = self.work_on_a_batch(&worker, &mut pace).await;
            if let Err(error) = &done {
                tracing::warn!(%error, "a batch of commands is tried again");
            }
            if !matches!(done, Ok(true)) {
                let _nudged_or_time = self.runtime.within(LOOK_EVERY, nudged).await;
            }
        }
    }

    /// Submits the commands of the next page of a batch. `false`: there is none to work on.
    async fn work_on_a_batch(
        &self,
        worker: &NodeName,
        pace: &mut Pace,
    ) -> Result<bool, StoreError> {
        let Some(mut taken) = self.take(worker).await? else {
            return Ok(false);
        };
        let per_second = u16::try_from(taken.row.batch.per_second).unwrap_or(PAGE_MAX);
        let filter = ListFilter {
            after: taken.row.place.clone(),
            limit: per_second.clamp(1, PAGE_MAX),
            ..taken.row.batch.filter.clone()
        };
        let found = self.store.list(&filter).await?;
        let mut submitted = taken.row.submitted;
        for head in found.items.iter().filter(|head| is_open(head)) {
            let at = pace.next(&taken.row, self.runtime.now());
            self.runtime.sleep_until(at).await;
            if self.runtime.now() >= taken.renew_at {
                let id = taken.row.id;
                match self.take(worker).await? {
                    Some(again) if again.row.id == id => taken.renew_at = again.renew_at,
                    // It was stopped, or another node goes on.
                    _ => return Ok(true),
                }
            }
            submitted += u64::from(self.submit_one(&taken.row, head).await?);
        }
        self.inbox.nudge.notify_waiters();
        self.note_progress(worker, &taken.row, found.next, submitted)
            .await?;
        Ok(true)
    }

    async fn take(&self, worker: &NodeName) -> Result<Option<Taken>, StoreError> {
        let lease = self.settings.lease;
        let renew_at = self.runtime.now().after(lease / 3);
        let row = self.store.take_batch(worker, lease).await?;
        Ok(row.map(|row| Taken { row, renew_at }))
    }

    /// `true`: the workflow has the command of this batch.
    async fn submit_one(&self, row: &BatchRow, head: &Head) -> Result<bool, StoreError> {
        let command = NewCommand {
            workflow: head.id,
            key: format!("batch/{}", row.id),
            verb: row.batch.verb.clone(),
            by: row.batch.by.clone(),
            expected_seq: None,
            batch: Some(row.id),
            accepted_at: self.runtime.now(),
        };
        Ok(match self.store.submit(&command).await? {
            Submitted::New(_) => true,
            Submitted::Existing(known) => known.command.batch == Some(row.id),
        })
    }

    async fn note_progress(
        &self,
        worker: &NodeName,
        row: &BatchRow,
        next: Option<crate::store::ListCursor>,
        mut submitted: u64,
    ) -> Result<(), StoreError> {
        let state = match &next {
            Some(_) => BatchState::Running,
            None => BatchState::Finished,
        };
        if state == BatchState::Finished {
            // A worker that died may have submitted more than it noted.
            let progress = self.store.batch_progress(row.id).await?;
            submitted = progress.pending + progress.done + progress.refused;
        }
        let place = next.or_else(|| row.place.clone());
        let noted = self
            .store
            .advance_batch(worker, row.id, place.as_ref(), submitted, state)
            .await?;
        if noted && state == BatchState::Finished {
            tracing::info!(
                batch.id = row.id,
                submitted,
                "a batch of commands is submitted"
            );
        }
        Ok(())
    }
}

fn is_open(head: &Head) -> bool {
    !head.status.is_terminal()
}
