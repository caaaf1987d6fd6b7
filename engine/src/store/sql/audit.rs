//! What the auditor does about partitions that nobody takes care of.

use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::text::SqlText;
use crate::ids::PartitionId;
use crate::store::StoreError;

const REOPENING: &str = "making a partition free";

/// Makes a partition free that is retired or not known. What is lost of its row and its journal's is made up from what is
/// left: an epoch that no former owner can have, and the highest number of its events, which are published again.
pub(crate) async fn reopen(
    database: &SqlDatabase,
    partition: PartitionId,
) -> Result<bool, StoreError> {
    let id = partition.0;
    let mut text = SqlText::new(database.dialect());
    let unless_known = match text.dialect() {
        Dialect::MySql => " ON DUPLICATE KEY UPDATE ",
        Dialect::Sqlite => " ON CONFLICT DO UPDATE SET ",
    };
    text.sql(
        "INSERT INTO journals (partition_id, epoch, opened, batch_no, last_seq, published_seq) \
         SELECT ",
    );
    text.number(id)
        .sql(", 0, 0, 0, COALESCE(MAX(partition_seq), 0), 0 FROM events WHERE partition_id = ")
        .number(id)
        .sql(unless_known)
        .sql("opened = opened");
    text.sql(";\nINSERT INTO partitions (id, owner, epoch, lease_until_us, retired) SELECT ");
    text.number(id)
        .sql(", '', epoch + 1000000, 0, 0 FROM journals WHERE partition_id = ")
        .number(id)
        .sql(unless_known)
        .sql("retired = 0");
    let done = database.write(REOPENING, text.finish()).await;
    let done = done.map_err(|error| error.with_effect(REOPENING))?;
    Ok(done.last().is_some_and(|outcome| outcome.matched > 0))
}
