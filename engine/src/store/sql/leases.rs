//! Who owns which partition: each change of hands is one guarded UPDATE by the database's clock that raises the epoch.

use std::time::Duration;

use super::database::SqlDatabase;
use super::driver::{ErrorKind, Role};
use super::statement::{Part, Statement};
use super::text::SqlText;
use super::transaction::{Failure, transact};
use crate::ids::{Epoch, NodeName, PartitionId};
use crate::store::{CommitError, Lease, StoreError};

const ACQUIRING: &str = "acquiring partitions";
const ADOPTING: &str = "adopting partitions";
const RENEWING: &str = "renewing leases";
const RELEASING: &str = "releasing leases";

/// So many other nodes may make partitions at the very moment.
const CREATE_ATTEMPTS_MAX: u32 = 32;

/// A partition as it was read.
struct Partition {
    id: PartitionId,
    epoch: Epoch,
    own: bool,
    expired: bool,
}

/// Own partitions, then expired ones, then new ones.
pub(crate) async fn acquire(
    database: &SqlDatabase,
    node: &NodeName,
    wanted: u16,
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    database.end_former_leases(ACQUIRING).await?;
    let mut held = Vec::new();
    let (own, others): (Vec<_>, Vec<_>) = partitions(database, ACQUIRING, node)
        .await?
        .into_iter()
        .partition(|found| found.own);
    for partition in own {
        held.extend(take(database, ACQUIRING, node, &partition, lease).await?);
    }
    for partition in others.iter().filter(|partition| partition.expired) {
        if held.len() >= usize::from(wanted) {
            break;
        }
        held.extend(take(database, ACQUIRING, node, partition, lease).await?);
    }
    while held.len() < usize::from(wanted) {
        held.push(create(database, node, lease).await?);
    }
    Ok(held)
}

/// Every partition whose lease has run out.
pub(crate) async fn adopt_expired(
    database: &SqlDatabase,
    node: &NodeName,
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    database.end_former_leases(ADOPTING).await?;
    let mut adopted = Vec::new();
    for partition in partitions(database, ADOPTING, node).await? {
        if partition.expired {
            adopted.extend(take(database, ADOPTING, node, &partition, lease).await?);
        }
    }
    Ok(adopted)
}

/// Extends leases; returns the partitions that another has.
pub(crate) async fn renew(
    database: &SqlDatabase,
    leases: &[Lease],
    lease: Duration,
) -> Result<Vec<PartitionId>, StoreError> {
    let until = |text: &mut SqlText| lease_until(text, lease);
    let matched = set_lease(database, RENEWING, leases, until).await?;
    let lost = leases
        .iter()
        .zip(matched)
        .filter(|(_, matched)| *matched == 0);
    Ok(lost.map(|(lease, _)| lease.partition).collect())
}

/// Ends leases.
pub(crate) async fn release(database: &SqlDatabase, leases: &[Lease]) -> Result<(), StoreError> {
    let now = |text: &mut SqlText| {
        text.sql("0");
    };
    // A lease that another node has taken meanwhile needs no ending.
    set_lease(database, RELEASING, leases, now)
        .await
        .map(|_matched| ())
}

async fn partitions(
    database: &SqlDatabase,
    doing: &'static str,
    node: &NodeName,
) -> Result<Vec<Partition>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT id, epoch, CASE WHEN owner = ")
        .text(&node.0);
    text.sql(" THEN 1 ELSE 0 END AS own, CASE WHEN lease_until_us <= ");
    text.sql(database.dialect().now_us());
    text.sql(" THEN 1 ELSE 0 END AS expired FROM partitions ORDER BY id");
    let outcomes = database.write(doing, text.finish()).await;
    let outcomes = outcomes.map_err(|error| error.without_effect(doing))?;
    let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
    rows.map(|row| {
        let unsigned = |column| {
            let number = row.integer(column)?;
            u64::try_from(number).map_err(|_| row.wrong(column, "is negative"))
        };
        let id = u32::try_from(unsigned(0)?).map_err(|_| row.wrong(0, "is no partition"))?;
        Ok(Partition {
            id: PartitionId(id),
            epoch: Epoch(unsigned(1)?),
            own: row.integer(2)? == 1,
            expired: row.integer(3)? == 1,
        })
    })
    .collect()
}

/// Takes the partition if it is still as it was read. Not while a batch of its last owner is being committed: its turn
/// comes at the next call.
async fn take(
    database: &SqlDatabase,
    doing: &'static str,
    node: &NodeName,
    partition: &Partition,
    lease: Duration,
) -> Result<Option<Lease>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("UPDATE partitions SET epoch = epoch + 1, owner = ")
        .text(&node.0);
    text.sql(", lease_until_us = ");
    lease_until(&mut text, lease);
    text.sql(" WHERE id = ")
        .number(partition.id.0)
        .sql(" AND epoch = ")
        .number(partition.epoch.0);
    if !partition.own {
        text.sql(" AND lease_until_us <= ")
            .sql(database.dialect().now_us());
    }
    match database.write(doing, text.finish()).await {
        Ok(outcomes) => {
            let taken = outcomes.first().is_some_and(|outcome| outcome.matched == 1);
            let epoch = Epoch(partition.epoch.0 + 1);
            Ok(taken.then_some(Lease {
                partition: partition.id,
                epoch,
            }))
        }
        Err(error) if error.kind == ErrorKind::Contended => Ok(None),
        Err(error) => Err(error.with_effect(doing)),
    }
}

/// Makes a partition with the next free id.
async fn create(
    database: &SqlDatabase,
    node: &NodeName,
    lease: Duration,
) -> Result<Lease, StoreError> {
    for _attempt in 0..CREATE_ATTEMPTS_MAX {
        let known = partitions(database, ACQUIRING, node).await?;
        let id = known.last().map_or(1, |last| last.id.0 + 1);
        match insert(database, node, lease, id).await {
            Ok(()) => {
                return Ok(Lease {
                    partition: PartitionId(id),
                    epoch: Epoch(1),
                });
            }
            // Another node was faster.
            Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => {}
            Err(CommitError::Store(error)) => return Err(error),
            Err(error @ CommitError::Fenced { .. }) => {
                return Err(StoreError::Corrupt {
                    doing: ACQUIRING,
                    cause: error.to_string(),
                });
            }
        }
    }
    let cause = format!("{CREATE_ATTEMPTS_MAX} other nodes made partitions at the same time");
    Err(StoreError::Unavailable {
        doing: ACQUIRING,
        cause,
    })
}

async fn insert(
    database: &SqlDatabase,
    node: &NodeName,
    lease: Duration,
    id: u32,
) -> Result<(), CommitError> {
    let mut partition = SqlText::new(database.dialect());
    partition.sql("INSERT INTO partitions (id, owner, epoch, lease_until_us) VALUES (");
    partition.number(id).sql(", ").text(&node.0).sql(", 1, ");
    lease_until(&mut partition, lease);
    partition.sql(")");
    let mut journal = SqlText::new(database.dialect());
    journal.sql(
        "INSERT INTO journals (partition_id, epoch, opened, batch_no, last_seq, published_seq) VALUES (",
    );
    journal.number(id).sql(", 1, 0, 0, 0, 0)");
    let part = Part::Changes("partitions");
    let statements = [partition, journal].map(|text| Statement {
        text: text.finish(),
        part,
        matched: None,
    });
    let connection = database.driver().connection(Role::Write).await;
    let connection = connection.map_err(|error| error.without_effect(ACQUIRING))?;
    transact(connection, database.means(ACQUIRING), &statements)
        .await
        .map_err(|failure: Failure| failure.into_commit_error(ACQUIRING))
}

/// Sets the end of each lease in a statement of its own, in one round trip; how many rows each matched.
async fn set_lease(
    database: &SqlDatabase,
    doing: &'static str,
    leases: &[Lease],
    until: impl Fn(&mut SqlText),
) -> Result<Vec<u64>, StoreError> {
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = SqlText::new(database.dialect());
    for (index, lease) in leases.iter().enumerate() {
        text.sql(if index > 0 { ";\n" } else { "" });
        text.sql("UPDATE partitions SET lease_until_us = ");
        until(&mut text);
        text.sql(" WHERE id = ")
            .number(lease.partition.0)
            .sql(" AND epoch = ")
            .number(lease.epoch.0);
    }
    let outcomes = database.write(doing, text.finish()).await;
    let outcomes = outcomes.map_err(|error| error.with_effect(doing))?;
    Ok(outcomes.iter().map(|outcome| outcome.matched).collect())
}

fn lease_until(text: &mut SqlText, lease: Duration) {
    let now = text.dialect().now_us();
    text.sql(now)
        .sql(" + ")
        .number(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 2));
}
