//! A partition's writer: group commit, the split of a batch that one row spoils, and the answer to "did my commit happen?".
//!
//! The writer ends when the partition is lost or when every handle to it is gone. It is the only one that writes the
//! partition's journal under its epoch, so the numbers it hands out are gapless and in commit order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::batch::{gather, published_form, rows_in, verdict};
use super::{AppendError, Entry};
use crate::metrics::Metrics;
use crate::planted;
use crate::runtime::{Runtime, Timestamp};
use crate::store::{Batch, CommitError, Journal, JournalPosition, Lease, StoreError, StoredEvent};

/// A watermark that moved is written by itself when no batch carried it for this long.
const WATERMARK_IDLE: Duration = Duration::from_secs(1);
/// The pause before a batch is tried again that lost a race for locks or found no database.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// A batch's records take at most about this many bytes of JSON, whatever the number of its entries.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What stands for the end of a lease that somebody has seen to have ended.
const LEASE_ENDED: i64 = i64::MIN;

/// What the writer shares with the rest of its partition.
pub(crate) struct Committed {
    /// The lease is good until this instant, by this node's clock (microseconds): after it the writer gives up.
    pub(crate) lease_until: AtomicI64,
    /// The last event that is durable.
    pub(crate) durable_seq: AtomicU64,
    /// The last event that the bus has acknowledged.
    pub(crate) published_seq: AtomicU64,
}

impl Committed {
    /// By this node's clock others may own the partition. Once anybody has seen that, it stays so: what stopped because of it does
    /// not go on by itself, whatever is renewed or becomes of the clock.
    pub(crate) fn lease_has_ended(&self, now: Timestamp) -> bool {
        let until = self.lease_until.load(Ordering::Acquire);
        if now.0 < until {
            return false;
        }
        if planted::is_on("lease-end-forgotten") {
            return true;
        }
        let ended = self.lease_until.compare_exchange(
            until,
            LEASE_ENDED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        ended.map_or_else(|extended| now.0 >= extended, |_| true)
    }

    /// The lease is good until `until`. `false`: it had ended before, and stays so.
    pub(crate) fn extend_lease(&self, now: Timestamp, until: Timestamp) -> bool {
        let extend = |current| (current != LEASE_ENDED).then_some(until.0);
        !self.lease_has_ended(now)
            && self
                .lease_until
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, extend)
                .is_ok()
    }
}

/// The writer.
pub(crate) struct Writer {
    pub(crate) runtime: Runtime,
    pub(crate) lease: Lease,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) position: JournalPosition,
    pub(crate) entries: mpsc::Receiver<Entry>,
    pub(crate) relay: mpsc::Sender<Vec<StoredEvent>>,
    pub(crate) committed: Arc<Committed>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) batch_entries_max: usize,
}

/// What became of a batch.
enum Written {
    /// It is durable.
    Yes,
    /// One of its rows was refused.
    Refused(crate::store::RefusedRows, String),
    /// The partition is lost, and the batch with it.
    Lost,
    /// The partition is lost, and nobody knows about the batch.
    Undecided,
}

impl Writer {
    /// Writes until the partition is lost or nobody holds a handle any more. Returns whether it was lost.
    pub(crate) async fn run(mut self) -> bool {
        loop {
            let first = match self
                .runtime
                .within(WATERMARK_IDLE, self.entries.recv())
                .await
            {
                Some(Some(entry)) => entry,
                Some(None) => {
                    return !self.write_watermark().await;
                }
                None => {
                    if !self.write_watermark().await {
                        return self.lost().await;
                    }
                    continue;
                }
            };
            let entries = self.collect(first);
            if !self.write_all(entries).await {
                return self.lost().await;
            }
        }
    }

    /// The first entry and all that wait behind it, up to the bounds of a batch.
    fn collect(&mut self, first: Entry) -> Vec<Entry> {
        let mut bytes = size_of_entry(&first);
        let mut entries = vec![first];
        while entries.len() < self.batch_entries_max && bytes < BATCH_BYTES_MAX {
            let Ok(entry) = self.entries.try_recv() else {
                break;
            };
            bytes += size_of_entry(&entry);
            entries.push(entry);
        }
        entries
    }

    /// Writes the entries, splitting where one is refused, and answers each. `false`: the partition is lost.
    async fn write_all(&mut self, entries: Vec<Entry>) -> bool {
        let mut waiting = VecDeque::from([entries]);
        while let Some(mut entries) = waiting.pop_front() {
            let batch = gather(&entries, self.position, self.published_seq());
            match self.write(&batch).await {
                Written::Yes => {
                    self.committed(batch);
                    answer(entries, &Ok(()));
                }
                Written::Refused(rows, cause)
                    if entries.len() == 1 || planted::is_on("batch-not-split") =>
                {
                    let error = verdict(&entries[0], &rows, &cause);
                    answer(entries, &Err(error));
                }
                Written::Refused(..) => {
                    self.metrics.splits.add(1);
                    let second = entries.split_off(entries.len() / 2);
                    waiting.push_front(second);
                    waiting.push_front(entries);
                }
                Written::Lost => {
                    answer(entries, &Err(AppendError::Lost));
                    answer(
                        waiting.into_iter().flatten().collect(),
                        &Err(AppendError::Lost),
                    );
                    return false;
                }
                Written::Undecided => {
                    answer(entries, &Err(AppendError::Undecided));
                    answer(
                        waiting.into_iter().flatten().collect(),
                        &Err(AppendError::Lost),
                    );
                    return false;
                }
            }
        }
        true
    }

    /// Commits one batch, as often as it takes to know what became of it, while the lease lasts.
    async fn write(&mut self, batch: &Batch) -> Written {
        let mut pause = RETRY_PAUSE;
        let mut may_be_written = false;
        loop {
            let error = if may_be_written {
                match self.was_written(batch).await {
                    Ok(true) => return Written::Yes,
                    Ok(false) => {
                        may_be_written = false;
                        continue;
                    }
                    Err(error) => CommitError::Store(error),
                }
            } else {
                match self.journal.commit(batch).await {
                    Ok(()) => return Written::Yes,
                    Err(error) => error,
                }
            };
            match error {
                CommitError::RowRefused { rows, cause } => return Written::Refused(rows, cause),
                CommitError::Store(StoreError::Corrupt { cause, .. }) if !may_be_written => {
                    return Written::Refused(crate::store::RefusedRows::Events, cause);
                }
                CommitError::Fenced { .. } => {
                    self.metrics.fenced.add(1);
                    tracing::warn!(partition.id = %self.lease.partition, "the lease is gone: writing stops");
                    return Written::Lost;
                }
                CommitError::Store(StoreError::Lost { .. }) => {
                    may_be_written = !planted::is_on("lost-commit-taken-for-failure");
                }
                CommitError::Contended(_) | CommitError::Store(_) => {}
            }
            if self.committed.lease_has_ended(self.runtime.now()) {
                return if may_be_written {
                    Written::Undecided
                } else {
                    Written::Lost
                };
            }
            self.runtime.sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn was_written(&mut self, batch: &Batch) -> Result<bool, StoreError> {
        let position = self.journal.position().await?;
        Ok(position.batch >= batch.number || planted::is_on("lost-commit-taken-for-success"))
    }

    fn committed(&mut self, batch: Batch) {
        self.position.batch = batch.number;
        self.position.published_seq = batch.published_seq;
        self.metrics.commits.add(1);
        self.metrics.rows.add(rows_in(&batch));
        if batch.events.is_empty() {
            return;
        }
        self.position.last_seq += batch.events.len() as u64;
        // A relay that is behind finds the gap and reads the table: its memory has a bound.
        let _full_or_closed = self.relay.try_send(published_form(batch));
        self.committed
            .durable_seq
            .store(self.position.last_seq, Ordering::Release);
    }

    /// Writes the relay's watermark by itself if it has moved. `false`: the partition is lost.
    async fn write_watermark(&mut self) -> bool {
        let published_seq = self.published_seq();
        if published_seq <= self.position.published_seq {
            return true;
        }
        let batch = gather(&[], self.position, published_seq);
        match self.write(&batch).await {
            Written::Yes => {
                self.committed(batch);
                true
            }
            Written::Refused(_, cause) => {
                tracing::error!(partition.id = %self.lease.partition, cause, "a watermark was refused");
                true
            }
            Written::Lost | Written::Undecided => false,
        }
    }

    /// Answers everyone who still waits, or comes before the channel closes.
    async fn lost(mut self) -> bool {
        self.entries.close();
        while let Some(entry) = self.entries.recv().await {
            answer(vec![entry], &Err(AppendError::Lost));
        }
        true
    }

    fn published_seq(&self) -> u64 {
        self.committed.published_seq.load(Ordering::Acquire)
    }
}

fn answer(entries: Vec<Entry>, result: &Result<(), AppendError>) {
    for entry in entries {
        // Who no longer listens has been told otherwise (its partition was closed).
        let _gone = entry.reply.send(result.clone());
    }
}

/// About how many bytes of JSON an entry writes.
fn size_of_entry(entry: &Entry) -> usize {
    use crate::workflow::Event;
    let payload = |staged: &super::Staged| match &staged.record.event {
        Event::Started { input, .. } => input.as_str().len(),
        Event::StepDone { output, .. } | Event::Skipped { output, .. } => output.as_str().len(),
        Event::SignalReceived(signal) => signal.payload.as_str().len(),
        _ => 0,
    };
    entry
        .staged
        .iter()
        .map(|staged| 256 + payload(staged))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_was_seen_to_have_ended_is_not_extended() {
        let committed = Committed {
            lease_until: AtomicI64::new(10),
            durable_seq: AtomicU64::new(0),
            published_seq: AtomicU64::new(0),
        };
        assert!(!committed.lease_has_ended(Timestamp(9)));
        assert!(committed.extend_lease(Timestamp(9), Timestamp(20)));
        assert!(!committed.lease_has_ended(Timestamp(19)));
        assert!(committed.lease_has_ended(Timestamp(20)));
        assert!(!committed.extend_lease(Timestamp(12), Timestamp(40)));
        // Nor by a clock that is set back.
        assert!(committed.lease_has_ended(Timestamp(5)));
    }
}
