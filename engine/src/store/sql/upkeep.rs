//! The store's side of retention: what may be removed, and its removal. A workflow may go once it is terminal and the event
//! bus has acknowledged all of its events; both stay true for good, so what was found once can be removed later.

use std::collections::{BTreeSet, HashMap};

use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::driver::{Connection, Outcome, Role, RunError};
pub(crate) use super::groups::error_groups;
use super::reads::{fixed, heads, load, unsigned};
use super::row::Row;
use super::text::SqlText;
use super::window::{
    self, BY_STATUS, Order, PRIMARY, Span, Window, by_index, definitions, idents, pairs,
};
use crate::definition::mix;
use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::{Head, Purged, Status, StoreError};
use crate::workflow::Record;

const LOOKING: &str = "looking for workflows to remove";
const REMOVING: &str = "removing workflows";

const TERMINAL: [Status; 3] = [Status::Completed, Status::Compensated, Status::Abandoned];
const EVENTS_INDEX: &str = "events_by_workflow";
/// So many workflows are removed in one transaction at most.
const IDENTS_MAX: u16 = 500;
/// So many old workflows are looked at from one place of the index on.
const ENTRIES_MAX: usize = 1_000;
/// The oldest ones, then those from this number of other places on.
const OTHER_PLACES: u64 = 3;
/// The records of one call are at most so many, unless those of its first workflow are more.
const RECORDS_MAX: u64 = 20_000;
/// The events of so many workflows are removed by one statement, each of which has its own time limit.
const WORKFLOWS_PER_DELETE: usize = 64;

/// Workflows that may be removed, with their records.
///
/// The oldest ones are looked at first. Where too few of them can go (they ended late, or the bus does not take their
/// events), it goes on from places between the oldest one and `before` that differ with `before`: so nothing that stays can
/// be in the way for ever of what can go, though no call remembers another.
pub(crate) async fn purgeable(
    database: &SqlDatabase,
    before: Timestamp,
    limit: u16,
) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
    let names = definitions(database, LOOKING, &TERMINAL).await?;
    let pairs = pairs(&TERMINAL, &names);
    let mut found = Found::new(usize::from(limit.clamp(1, IDENTS_MAX)));
    let oldest_first = |from| Span {
        from,
        before: Some(before),
        after: None,
        order: Order::OldestFirst,
    };
    let read = async |from| {
        let span = oldest_first(from);
        let each = ENTRIES_MAX;
        window::read(database, LOOKING, BY_STATUS, &pairs, &span, each).await
    };
    let oldest = read(None).await?;
    found.look(database, &oldest, before).await?;
    if let Some(first) = oldest.entries.first().filter(|_| oldest.more) {
        for nth in 0..OTHER_PLACES {
            if found.is_full() {
                break;
            }
            let further = read(Some(place(first.created_at, before, nth))).await?;
            found.look(database, &further, before).await?;
        }
    }
    let mut old = load(database, &found.idents).await?;
    // What can't be read can't be archived: it stays.
    old.retain(|(_, records)| !records.is_empty());
    Ok(old)
}

/// An instant between the two, another one for each number and each `before`.
fn place(oldest: Timestamp, before: Timestamp, nth: u64) -> Timestamp {
    let width = u64::try_from(before.0.saturating_sub(oldest.0))
        .unwrap_or(0)
        .max(1);
    let noise = mix(before.0.cast_unsigned() ^ mix(nth));
    Timestamp(oldest.0.saturating_add_unsigned(noise % width))
}

/// What has been found to be removable.
struct Found {
    limit: usize,
    records: u64,
    idents: Vec<Ident>,
    full: bool,
}

impl Found {
    const fn new(limit: usize) -> Self {
        Self {
            limit,
            records: 0,
            idents: Vec::new(),
            full: false,
        }
    }

    const fn is_full(&self) -> bool {
        self.full
    }

    /// Takes what can go of the first entries of this window.
    async fn look(
        &mut self,
        database: &SqlDatabase,
        window: &Window,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let entries = &window.entries[..window.entries.len().min(ENTRIES_MAX)];
        for entries in entries.chunks(usize::from(IDENTS_MAX)) {
            if self.full {
                break;
            }
            let mut old: HashMap<Ident, WorkflowId> = heads(database, LOOKING, &idents(entries))
                .await?
                .into_iter()
                .filter(|head| head.status.is_terminal() && head.updated_at < before)
                .map(|head| (head.id.ident(), head.id))
                .collect();
            // In the order of the window.
            let old: Vec<WorkflowId> = idents(entries)
                .iter()
                .filter_map(|ident| old.remove(ident))
                .collect();
            if old.is_empty() {
                continue;
            }
            let outcomes = database
                .read(LOOKING, events_of(database.dialect(), &old))
                .await?;
            let published = published(&outcomes)?;
            for id in &old {
                if let Some(records) = published.records(id) {
                    self.add(id.ident(), records);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, ident: Ident, records: u64) {
        let fits = self.idents.is_empty() || self.records + records <= RECORDS_MAX;
        self.full |= !fits || self.idents.len() == self.limit;
        if !self.full && !self.idents.contains(&ident) {
            self.records += records;
            self.idents.push(ident);
        }
    }
}

/// Two statements: how many events each of these workflows has and up to where in its partition, and up to where the
/// partitions are published.
fn events_of(dialect: Dialect, ids: &[WorkflowId]) -> String {
    let mut text = SqlText::new(dialect);
    text.sql("SELECT workflow_id, COUNT(*), MAX(partition_seq) FROM events");
    by_index(&mut text, EVENTS_INDEX);
    text.sql(" WHERE workflow_id IN (").list(ids, write_id);
    text.sql(") GROUP BY workflow_id");
    let partitions: BTreeSet<PartitionId> = ids.iter().map(WorkflowId::partition).collect();
    text.sql(";\nSELECT partition_id, published_seq FROM journals WHERE partition_id IN (");
    text.list(partitions, |text, partition| {
        text.number(partition.0);
    });
    text.sql(")");
    text.finish()
}

fn write_id(text: &mut SqlText, id: &WorkflowId) {
    text.bytes(id.bytes());
}

/// What the statements of [`events_of`] told.
struct Published {
    /// How many events a workflow has, and the last one's place in its partition.
    events: HashMap<WorkflowId, (u64, u64)>,
    partitions: HashMap<PartitionId, u64>,
}

impl Published {
    /// How many records the workflow has, if all of them are published.
    fn records(&self, id: &WorkflowId) -> Option<u64> {
        let (count, last) = self.events.get(id).copied().unwrap_or_default();
        let published = self.partitions.get(&id.partition()).copied();
        let all = last <= published.unwrap_or(0) || planted::is_on("unpublished-events-removed");
        all.then_some(count)
    }
}

fn published(outcomes: &[Outcome]) -> Result<Published, StoreError> {
    let rows = |statement: usize| {
        let outcome = outcomes.get(statement);
        outcome.map_or(&[][..], |outcome| outcome.rows.as_slice())
    };
    let event = |row: &Row| {
        let id = WorkflowId::from_bytes(fixed(row, 0)?);
        Ok((id, (unsigned(row, 1)?, unsigned(row, 2)?)))
    };
    let partition = |row: &Row| Ok((PartitionId(unsigned(row, 0)?), unsigned(row, 1)?));
    Ok(Published {
        events: rows(0).iter().map(event).collect::<Result<_, _>>()?,
        partitions: rows(1).iter().map(partition).collect::<Result<_, _>>()?,
    })
}

/// Removes those of the workflows that are terminal and published, in one transaction.
///
/// At most 500. [`StoreError::Unavailable`] (a dead-lock, for example): nothing was removed; [`StoreError::Lost`]: it may have
/// been.
pub(crate) async fn purge(database: &SqlDatabase, idents: &[Ident]) -> Result<Purged, StoreError> {
    if idents.len() > usize::from(IDENTS_MAX) {
        let cause = format!("{} workflows at once: at most {IDENTS_MAX}", idents.len());
        let doing = REMOVING;
        return Err(StoreError::Corrupt { doing, cause });
    }
    if idents.is_empty() {
        return Ok(Purged::default());
    }
    let connection = database.driver().connection(Role::Write).await;
    let mut removal = Removal {
        connection: connection.map_err(|error| error.without_effect(REMOVING))?,
        dialect: database.dialect(),
    };
    match removal.remove(idents).await {
        Ok(purged) => removal.commit().await.map(|()| purged),
        Err(error) => {
            removal.roll_back().await;
            Err(error)
        }
    }
}

/// A transaction that removes. Dropped in the middle it closes its connection, and nothing was removed.
struct Removal {
    connection: Box<dyn Connection>,
    dialect: Dialect,
}

impl Removal {
    async fn remove(&mut self, idents: &[Ident]) -> Result<Purged, StoreError> {
        let ids = self.removable(idents).await?;
        let mut purged = Purged::default();
        // Locked in this order by everyone who removes: two of them wait for each other only here, one behind the other.
        for ids in ids.chunks(WORKFLOWS_PER_DELETE) {
            let of_workflows = |text: &mut SqlText| {
                text.sql(" WHERE workflow_id IN (").list(ids, write_id);
            };
            purged.events += self.delete("events", EVENTS_INDEX, of_workflows).await?;
            self.delete("commands", "commands_by_name", of_workflows)
                .await?;
            let of_idents = |text: &mut SqlText| {
                text.sql(" WHERE ident IN (").list(ids, |text, id| {
                    text.bytes(&id.ident());
                });
            };
            self.delete("parked", PRIMARY, of_idents).await?;
            purged.workflows += self.delete("workflows", PRIMARY, of_idents).await?;
        }
        Ok(purged)
    }

    /// Begins, and locks those of the workflows that may go.
    async fn removable(&mut self, idents: &[Ident]) -> Result<Vec<WorkflowId>, StoreError> {
        let mut text = SqlText::new(self.dialect);
        let (begin, lock) = (self.dialect.begin(), self.dialect.update_lock());
        text.sql(begin)
            .sql(";\nSELECT ident, partition_id FROM workflows");
        by_index(&mut text, PRIMARY);
        text.sql(" WHERE ident IN (").list(idents, |text, ident| {
            text.bytes(ident);
        });
        // Not by the plain column: SQLite would go by the index of all that have ended.
        text.sql(") AND COALESCE(status, '') IN (")
            .list(TERMINAL, |text, status| {
                text.text(status.as_str());
            });
        text.sql(") ORDER BY ident").sql(lock);
        let outcomes = self.run(text.finish()).await?;
        let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
        let ids = rows.map(|row| {
            let partition = PartitionId(unsigned(row, 1)?);
            Ok(WorkflowId::new(partition, fixed(row, 0)?))
        });
        let mut ids = ids.collect::<Result<Vec<_>, StoreError>>()?;
        if !ids.is_empty() {
            let published = published(&self.run(events_of(self.dialect, &ids)).await?)?;
            ids.retain(|id| published.records(id).is_some());
        }
        Ok(ids)
    }

    /// Removes the rows of a table under this condition, which an index answers; how many.
    async fn delete(
        &mut self,
        table: &'static str,
        index: &'static str,
        condition: impl Fn(&mut SqlText),
    ) -> Result<u64, StoreError> {
        let mut text = SqlText::new(self.dialect);
        text.sql("DELETE FROM ").sql(table);
        // Without a hint a small table would be read, and locked, as a whole.
        if self.dialect == Dialect::MySql {
            text.sql(" USING ").sql(table);
        }
        by_index(&mut text, index);
        condition(&mut text);
        text.sql(")");
        let outcomes = self.run(text.finish()).await?;
        Ok(outcomes.iter().map(|outcome| outcome.matched).sum())
    }

    async fn run(&mut self, text: String) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.connection.run(REMOVING, text).await;
        outcomes.map_err(|error| error.error.without_effect(REMOVING))
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        match self.connection.run(REMOVING, "COMMIT".to_owned()).await {
            Ok(_) => {
                self.connection.release();
                Ok(())
            }
            Err(RunError { error, .. }) => Err(StoreError::Lost {
                doing: REMOVING,
                cause: error.cause,
            }),
        }
    }

    async fn roll_back(mut self) {
        let ended = self.connection.run(REMOVING, "ROLLBACK".to_owned()).await;
        if ended.is_ok() {
            self.connection.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_places_lie_between_the_oldest_and_the_last() {
        let (oldest, before) = (Timestamp(1_000), Timestamp(2_000));
        let mut places: Vec<i64> = (0..100).map(|nth| place(oldest, before, nth).0).collect();
        places.sort_unstable();
        assert!(places[0] < 1_100 && places[0] >= 1_000, "{places:?}");
        assert!(places[99] >= 1_900 && places[99] < 2_000, "{places:?}");
        assert_eq!(place(before, oldest, 0), before);
    }
}
