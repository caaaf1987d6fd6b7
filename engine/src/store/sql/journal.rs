//! One partition's journal: commits batches under the lease's epoch, and answers "did my commit happen?".
//!
//! Each time it has to connect again after an unknown outcome it *opens* the journal again, which raises a number in the
//! journal's row. A batch carries the number that it was built under. So a batch that an earlier connection sent and that
//! reaches the database late (a proxy, a slow network) is refused, and the answer of [`Journal::position`] stands.

use async_trait::async_trait;

use super::batch::{Writer, statements};
use super::database::SqlDatabase;
use super::driver::{Connection, ErrorKind, Outcome, Role};
use super::statement::Part;
use super::text::SqlText;
use super::transaction::{Failure, transact};
use crate::planted;
use crate::store::{Batch, CommitError, Journal, JournalPosition, Lease, StoreError};

const COMMITTING: &str = "committing a batch";
const OPENING: &str = "opening a journal";

/// The journal of a leased partition.
pub(crate) struct SqlJournal {
    database: SqlDatabase,
    lease: Lease,
    opened: Option<i64>,
}

/// The journal's row, as it was read with a lock.
struct JournalRow {
    position: JournalPosition,
    opened: i64,
    /// The epoch of the last batch.
    written_under: u64,
    /// The epoch under which the partition is held now.
    held_under: u64,
}

#[async_trait]
impl Journal for SqlJournal {
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        self.check(batch)?;
        let opened = match self.opened {
            Some(opened) => opened,
            None => self.open().await?.opened,
        };
        let writer = Writer {
            lease: &self.lease,
            opened,
        };
        let statements = statements(self.database.dialect(), writer, batch).map_err(|error| {
            let cause = format!(
                "a change of `{}` is malformed: {}",
                error.table, error.cause
            );
            StoreError::Corrupt {
                doing: COMMITTING,
                cause,
            }
        })?;
        let connection = self.connect(COMMITTING).await?;
        let means = self.database.means(COMMITTING);
        let result = transact(connection, means, &statements).await;
        result.map_err(|failure| self.explain(failure))
    }

    async fn position(&mut self) -> Result<JournalPosition, StoreError> {
        let row = match self.opened {
            Some(_) => self.read("reading a journal's position").await?,
            None => self.open().await?,
        };
        // Once another node has written, this row no longer tells whether a batch of ours was among its ancestors.
        if row.held_under == self.lease.epoch.0
            || row.written_under == self.lease.epoch.0
            || planted::is_on("position-of-another")
        {
            return Ok(row.position);
        }
        Err(StoreError::Unavailable {
            doing: "reading a journal's position",
            cause: format!(
                "partition {} is no longer held under epoch {}: another node has it",
                self.lease.partition, self.lease.epoch.0
            ),
        })
    }
}

impl SqlJournal {
    /// Opens the journal on the database.
    pub async fn open_new(database: SqlDatabase, lease: Lease) -> Result<Self, StoreError> {
        let mut journal = Self {
            database,
            lease,
            opened: None,
        };
        journal.open().await?;
        Ok(journal)
    }

    /// A batch of this partition, numbered without a gap: what the statements rely on.
    fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        let partition = self.lease.partition;
        let events = batch.events.iter().map(|event| event.workflow);
        let foreign = events
            .chain(batch.workflows.iter().map(|head| head.id))
            .chain(batch.heads.iter().map(|head| head.id))
            .chain(batch.parked.iter().map(|row| row.id))
            .chain(batch.unparked.iter().copied())
            .any(|id| id.partition() != partition);
        let gap = batch
            .events
            .windows(2)
            .any(|two| two[0].partition_seq + 1 != two[1].partition_seq);
        let what = match (foreign, gap) {
            (true, _) => "holds rows of another partition",
            (_, true) => "has a gap between its events",
            (false, false) => return Ok(()),
        };
        let cause = format!("batch {} of partition {partition} {what}", batch.number);
        Err(StoreError::Corrupt {
            doing: COMMITTING,
            cause,
        })
    }

    fn explain(&mut self, failure: Failure) -> CommitError {
        match failure {
            Failure::Refused {
                part: Part::Fence,
                error,
            } if error.kind == ErrorKind::NullRefused => {
                if error.cause.contains("epoch") {
                    let Lease { partition, epoch } = self.lease;
                    return CommitError::Fenced { partition, epoch };
                }
                self.opened = None;
                let cause = format!(
                    "the batch does not continue the journal of partition {}, or the journal was opened again ({})",
                    self.lease.partition, error.cause
                );
                StoreError::Corrupt {
                    doing: COMMITTING,
                    cause,
                }
                .into()
            }
            Failure::Lost(_) => {
                self.opened = None;
                failure.into_commit_error(COMMITTING)
            }
            Failure::Refused { .. } | Failure::Unavailable(_) => {
                failure.into_commit_error(COMMITTING)
            }
        }
    }

    async fn connect(&self, doing: &'static str) -> Result<Box<dyn Connection>, StoreError> {
        let connection = self.database.driver().connection(Role::Journal).await;
        connection.map_err(|error| error.without_effect(doing))
    }

    /// Opens the journal (again): from now on nothing that was sent before can be written, not even an opening that comes late.
    async fn open(&mut self) -> Result<JournalRow, StoreError> {
        let before = self.read(OPENING).await?.opened;
        let opening = self.opening(before)?;
        let mut connection = self.connect(OPENING).await?;
        let opened = connection.run(OPENING, opening).await;
        opened.map_err(|error| error.error.without_effect(OPENING))?;
        connection.release();
        let row = self.read(OPENING).await?;
        self.opened = Some(row.opened);
        Ok(row)
    }

    /// The statement that opens the journal for the next time after `before`: where it arrives late, it does nothing.
    fn opening(&self, before: i64) -> Result<String, StoreError> {
        let next = before.checked_add(1).ok_or_else(|| StoreError::Corrupt {
            doing: OPENING,
            cause: format!(
                "the journal of partition {} was opened {before} times",
                self.lease.partition
            ),
        })?;
        let mut text = SqlText::new(self.database.dialect());
        let partition = self.lease.partition.0;
        // A zombie must not close the journal of the partition's new owner. The lock waits for a batch on its way.
        text.sql("UPDATE journals SET opened = ")
            .number(next)
            .sql(" WHERE opened")
            .sql(planted::either("late-opening-counts", " = ", " >= "))
            .number(before)
            .sql(" AND partition_id = ")
            .number(partition)
            .sql(" AND EXISTS (SELECT 1 FROM partitions WHERE id = ")
            .number(partition)
            .sql(" AND epoch")
            .sql(planted::either("zombie-opens-journal", " = ", " >= "))
            .number(self.lease.epoch.0)
            .sql(self.database.dialect().share_lock())
            .sql(")");
        Ok(text.finish())
    }

    /// Reads the row with a lock, so that a batch that is just being committed is waited for.
    async fn read(&self, doing: &'static str) -> Result<JournalRow, StoreError> {
        let mut text = SqlText::new(self.database.dialect());
        text.sql(
            "SELECT j.batch_no, j.last_seq, j.published_seq, j.opened, j.epoch, p.epoch FROM journals j \
             JOIN partitions p ON p.id = j.partition_id WHERE j.partition_id = ",
        );
        text.number(self.lease.partition.0);
        let share_lock = text.dialect().share_lock();
        text.sql(share_lock);
        let mut connection = self.connect(doing).await?;
        let read = connection.run(doing, text.finish()).await;
        let outcomes = read.map_err(|error| error.error.without_effect(doing))?;
        connection.release();
        let row = outcomes
            .first()
            .and_then(|Outcome { rows, .. }| rows.first());
        let row = row.ok_or_else(|| StoreError::Corrupt {
            doing,
            cause: format!(
                "`journals` has no row for partition {}",
                self.lease.partition
            ),
        })?;
        let number = |column| {
            row.integer(column)
                .map(|number| number.try_into().unwrap_or_default())
        };
        let position = JournalPosition {
            batch: number(0)?,
            last_seq: number(1)?,
            published_seq: number(2)?,
        };
        let opened = row.integer(3)?;
        Ok(JournalRow {
            position,
            opened,
            written_under: number(4)?,
            held_under: number(5)?,
        })
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::NodeName;
    use crate::store::sql::connect::ConnectOptions;
    use crate::store::{migrations, sqlite};

    #[tokio::test]
    async fn an_opening_that_arrives_late_shuts_nobody_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("holdfast.db");
        let database = sqlite::open(&path, &ConnectOptions::default()).await;
        let database = database.expect("opened");
        database.migrate(&migrations()).await.expect("migrated");
        let (store, node) = (database.store(), NodeName("a".into()));
        let leases = store.acquire(&node, 1, &[], Duration::from_mins(10)).await;
        let lease = leases.expect("acquired").remove(0);
        let opened = SqlJournal::open_new(database.clone(), lease).await;
        let mut journal = opened.expect("opened");
        // What was sent is given up, and arrives when the journal has been opened again and again.
        let before = journal.read(OPENING).await.expect("read").opened;
        let late = journal.opening(before).expect("a statement");
        for _ in 0..2 {
            journal.open().await.expect("opened again");
        }
        database
            .write(OPENING, late)
            .await
            .expect("it does nothing");
        let batch = Batch {
            number: 1,
            ..Batch::default()
        };
        journal.commit(&batch).await.expect("it was not shut out");
    }
}
