//! Who owns which partition: each change of hands is one guarded UPDATE by the database's clock that raises the epoch.

use std::time::Duration;

use super::database::SqlDatabase;
use super::driver::{ErrorKind, Outcome, Role};
use super::reads::unsigned;
use super::statement::{Part, Statement};
use super::text::SqlText;
use super::transaction::{Failure, transact};
use crate::ids::{Epoch, NodeName, PartitionId};
use crate::planted;
use crate::store::rules::share;
use crate::store::{CommitError, Lease, Status, StoreError};

const ACQUIRING: &str = "acquiring partitions";
const ADOPTING: &str = "adopting partitions";
const RENEWING: &str = "renewing leases";
const RELEASING: &str = "releasing leases";
const RETIRING: &str = "retiring a partition";

/// So many other nodes may make partitions at the very moment.
const CREATE_ATTEMPTS_MAX: u32 = 32;

/// A partition as it was read.
struct Partition {
    id: PartitionId,
    epoch: Epoch,
    owner: String,
    expired: bool,
    retired: bool,
}

/// Own partitions that are not held, then expired ones, then retired ones, then new ones.
pub(crate) async fn acquire(
    database: &SqlDatabase,
    node: &NodeName,
    wanted: u16,
    held: &[PartitionId],
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    database.end_former_leases(ACQUIRING).await?;
    let mut known = partitions(database, ACQUIRING).await?;
    known.retain(|found| !held.contains(&found.id));
    let missing = usize::from(wanted).saturating_sub(held.len());
    let (retired, in_use): (Vec<_>, Vec<_>) = known.into_iter().partition(|found| found.retired);
    let (own, others): (Vec<_>, Vec<_>) =
        in_use.into_iter().partition(|found| found.owner == node.0);
    let mut taken = Vec::new();
    for partition in own {
        taken.extend(take(database, ACQUIRING, node, &partition, lease).await?);
    }
    let free = others
        .iter()
        .filter(|partition| partition.expired)
        .chain(&retired);
    for partition in free {
        if taken.len() >= missing {
            break;
        }
        taken.extend(take(database, ACQUIRING, node, partition, lease).await?);
    }
    while taken.len() < missing {
        taken.push(create(database, node, lease).await?);
    }
    Ok(taken)
}

/// This node's share of the partitions whose lease has run out. Nodes that ask at once begin at different places, so that
/// they do not run after the same ones; where they do, one of them gets it.
pub(crate) async fn adopt_expired(
    database: &SqlDatabase,
    node: &NodeName,
    but: &[PartitionId],
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    database.end_former_leases(ADOPTING).await?;
    let known = partitions(database, ADOPTING).await?;
    let in_use = || known.iter().filter(|partition| !partition.retired);
    let live = in_use().filter(|partition| !partition.expired);
    let live = live.map(|partition| partition.owner.as_str());
    let expired = in_use().filter(|partition| partition.expired && !but.contains(&partition.id));
    let mut adopted = Vec::new();
    for partition in share(node, live, expired.collect()) {
        adopted.extend(take(database, ADOPTING, node, partition, lease).await?);
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

/// Retires a partition that is held under this epoch and has nothing left to do: all its workflows have ended, all its events
/// are published, and all commands to it are answered. It is retired on trial, which waits for a batch on its way and shuts
/// out every later one; then it is looked at, and the trial stands or is rolled back.
pub(crate) async fn retire(database: &SqlDatabase, lease: &Lease) -> Result<bool, StoreError> {
    let connection = database.driver().connection(Role::Write).await;
    let mut connection = connection.map_err(|error| error.without_effect(RETIRING))?;
    let trial = connection.run(RETIRING, trial(database, lease)).await;
    let outcomes = match trial {
        Ok(outcomes) => outcomes,
        // To drop the connection is to roll back.
        Err(error) => return Err(error.error.without_effect(RETIRING)),
    };
    let stands = is_empty(&outcomes)?;
    let end = if stands { "COMMIT" } else { "ROLLBACK" };
    match connection.run(RETIRING, end.to_owned()).await {
        Ok(_) => {
            connection.release();
            Ok(stands)
        }
        Err(error) if stands => Err(error.error.with_effect(RETIRING)),
        // The connection is closed, and so the trial is rolled back.
        Err(_) => Ok(false),
    }
}

fn trial(database: &SqlDatabase, Lease { partition, epoch }: &Lease) -> String {
    let mut text = SqlText::new(database.dialect());
    let begin = text.dialect().begin();
    let by_status_index = text.dialect().by_status_index();
    text.sql(begin)
        .sql(";\nUPDATE partitions SET retired = 1, epoch = epoch + 1, lease_until_us = 0 WHERE id = ")
        .number(partition.0)
        .sql(" AND retired = 0 AND epoch = ")
        .number(epoch.0);
    text.sql(";\nSELECT 1 FROM workflows")
        .sql(by_status_index)
        .sql(" WHERE status IN (");
    let open = Status::ALL.into_iter().filter(|one| !one.is_terminal());
    text.list(open, |text, status| {
        text.text(status.as_str());
    });
    text.sql(") AND partition_id = ")
        .number(partition.0)
        .sql(" LIMIT 1");
    text.sql(";\nSELECT 1 FROM journals WHERE published_seq < last_seq AND partition_id = ")
        .number(partition.0);
    text.sql(";\nSELECT 1 FROM commands WHERE state = 0 AND partition_id = ")
        .number(partition.0)
        .sql(" LIMIT 1");
    text.finish()
}

/// Whether the trial matched the partition and found nothing in it.
fn is_empty(outcomes: &[Outcome]) -> Result<bool, StoreError> {
    match outcomes {
        [_begin, trial, found @ ..] if found.len() == 3 => {
            let is_empty = found.iter().all(|found| found.rows.is_empty());
            Ok(trial.matched == 1 && (is_empty || planted::is_on("retired-while-in-use")))
        }
        _ => Err(StoreError::Unavailable {
            doing: RETIRING,
            cause: "a reply is missing".to_owned(),
        }),
    }
}

async fn partitions(
    database: &SqlDatabase,
    doing: &'static str,
) -> Result<Vec<Partition>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT id, epoch, owner, CASE WHEN lease_until_us <= ");
    text.sql(database.dialect().now_us());
    text.sql(" THEN 1 ELSE 0 END AS expired, retired FROM partitions ORDER BY id");
    let outcomes = database.write(doing, text.finish()).await;
    let outcomes = outcomes.map_err(|error| error.without_effect(doing))?;
    let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
    rows.map(|row| {
        Ok(Partition {
            id: PartitionId(unsigned(row, 0)?),
            epoch: Epoch(unsigned(row, 1)?),
            owner: row.text(2)?.to_owned(),
            expired: row.integer(3)? == 1,
            retired: row.integer(4)? == 1,
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
    let epoch = Epoch(partition.epoch.0 + planted::either("epoch-kept-at-take-over", 1, 0));
    text.sql("UPDATE partitions SET retired = 0, epoch = ")
        .number(epoch.0)
        .sql(", owner = ")
        .text(&node.0);
    text.sql(", lease_until_us = ");
    lease_until(&mut text, lease);
    text.sql(" WHERE id = ")
        .number(partition.id.0)
        .sql(" AND epoch = ")
        .number(partition.epoch.0);
    if partition.owner != node.0 && !planted::is_on("running-lease-taken") {
        text.sql(" AND lease_until_us <= ")
            .sql(database.dialect().now_us());
    }
    match database.write(doing, text.finish()).await {
        Ok(outcomes) => {
            let taken = outcomes.first().is_some_and(|outcome| outcome.matched == 1);
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
        let known = partitions(database, ACQUIRING).await?;
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
    partition.sql("INSERT INTO partitions (id, owner, epoch, lease_until_us, retired) VALUES (");
    partition.number(id).sql(", ").text(&node.0).sql(", 1, ");
    lease_until(&mut partition, lease);
    partition.sql(", 0)");
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
            .sql(" AND epoch")
            .sql(planted::either("lease-of-another-set", " = ", " >= "))
            .number(lease.epoch.0);
    }
    let outcomes = database.write(doing, text.finish()).await;
    let outcomes = outcomes.map_err(|error| error.with_effect(doing))?;
    Ok(outcomes.iter().map(|outcome| outcome.matched).collect())
}

/// When a lease ends that begins now, by the database's clock.
pub(crate) fn lease_until(text: &mut SqlText, lease: Duration) {
    let now = text.dialect().now_us();
    text.sql(now)
        .sql(" + ")
        .number(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 2));
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::store::sql::connect::ConnectOptions;
    use crate::store::{migrations, sqlite};

    const LONG: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn a_lease_that_was_renewed_since_it_was_seen_to_have_ended_is_not_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("holdfast.db");
        let database = sqlite::open(&path, &ConnectOptions::default()).await;
        let database = database.expect("opened");
        database.migrate(&migrations()).await.expect("migrated");
        let (owner, other) = (NodeName("owner".into()), NodeName("other".into()));
        let held = acquire(&database, &owner, 1, &[], Duration::ZERO).await;
        let held = held.expect("acquired");
        let seen = partitions(&database, ADOPTING).await.expect("read");
        assert!(seen[0].expired);
        renew(&database, &held, LONG).await.expect("renewed");
        let taken = take(&database, ADOPTING, &other, &seen[0], LONG).await;
        assert_eq!(taken.expect("looked"), None);
    }
}
