//! The pass over the index of open workflows, by which a partition is recovered, woken and audited: no row of a workflow is
//! touched, and every page begins where the last one ended.

use super::database::SqlDatabase;
use super::reads::{fixed, rows, status, unsigned};
use super::row::Row;
use super::text::SqlText;
use crate::ids::PartitionId;
use crate::runtime::Timestamp;
use crate::store::{OpenCursor, OpenRow, Status, StoreError};

const READING_OPEN: &str = "reading open workflows";

/// The open workflows of a partition, from the index alone and in its order.
pub(crate) async fn open_workflows(
    database: &SqlDatabase,
    partition: PartitionId,
    after: Option<OpenCursor>,
    limit: u32,
) -> Result<Vec<OpenRow>, StoreError> {
    let open = open_anywhere(database, Some(partition), after, limit).await?;
    Ok(open.into_iter().map(|(_, row)| row).collect())
}

/// The open workflows of a partition, or of all, each with its partition. Each page begins at its cursor: first what is left of
/// the cursor's status, then the statuses after it. Every part is one range of the index, which no planner can get wrong, cut
/// off at the page's length.
pub(crate) async fn open_anywhere(
    database: &SqlDatabase,
    partition: Option<PartitionId>,
    after: Option<OpenCursor>,
    limit: u32,
) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut open = Vec::new();
    if let Some(after) = &after {
        let ranges = [
            Range::Ident(after),
            Range::Instant(after),
            Range::Name(after),
        ];
        open = open_ranges(database, partition, &ranges, most).await?;
    }
    if open.len() < most {
        let later = open_statuses()
            .into_iter()
            .filter(|status| {
                let passed = after.as_ref().map(|after| after.status.as_str());
                passed.is_none_or(|passed| status.as_str() > passed)
            })
            .map(Range::Status);
        let ranges: Vec<_> = later.collect();
        let left = most - open.len();
        open.extend(open_ranges(database, partition, &ranges, left).await?);
    }
    Ok(open)
}

/// The statuses of open workflows, as the index orders them.
fn open_statuses() -> Vec<Status> {
    let open = Status::ALL
        .into_iter()
        .filter(|status| !status.is_terminal());
    let mut open: Vec<Status> = open.collect();
    open.sort_by_key(|status| status.as_str());
    open
}

/// A part of the index of open workflows.
enum Range<'a> {
    /// The rest of the cursor's instant.
    Ident(&'a OpenCursor),
    /// The rest of its definition.
    Instant(&'a OpenCursor),
    /// The rest of its status.
    Name(&'a OpenCursor),
    /// A whole status.
    Status(Status),
}

impl Range<'_> {
    fn write(&self, text: &mut SqlText) {
        let status = match self {
            Self::Ident(after) | Self::Instant(after) | Self::Name(after) => after.status,
            Self::Status(status) => *status,
        };
        text.sql("status = ").text(status.as_str());
        match self {
            Self::Ident(after) => {
                text.sql(" AND definition = ").text(&after.definition);
                text.sql(" AND created_us = ").number(after.created_at.0);
                text.sql(" AND ident > ").bytes(&after.ident);
            }
            Self::Instant(after) => {
                text.sql(" AND definition = ").text(&after.definition);
                text.sql(" AND created_us > ").number(after.created_at.0);
            }
            Self::Name(after) => {
                text.sql(" AND definition > ").text(&after.definition);
            }
            Self::Status(_) => {}
        }
    }
}

/// The first `most` entries of these ranges together, in one round trip.
async fn open_ranges(
    database: &SqlDatabase,
    partition: Option<PartitionId>,
    ranges: &[Range<'_>],
    most: usize,
) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = SqlText::new(database.dialect());
    for (index, range) in ranges.iter().enumerate() {
        text.sql(if index > 0 { ";\n" } else { "" });
        text.sql(
            "SELECT status, definition, created_us, ident, wake_us, partition_id, version FROM workflows",
        );
        text.sql(database.dialect().by_status_index())
            .sql(" WHERE ");
        range.write(&mut text);
        if let Some(partition) = partition {
            text.sql(" AND partition_id = ").number(partition.0);
        }
        text.sql(" ORDER BY definition, created_us, ident LIMIT ")
            .number(most as u64);
    }
    let rows = rows(database, READING_OPEN, text).await?;
    rows.iter().take(most).map(open_row).collect()
}

fn open_row(row: &Row) -> Result<(PartitionId, OpenRow), StoreError> {
    let cursor = OpenCursor {
        status: status(row, 0)?,
        definition: row.text(1)?.to_owned(),
        created_at: Timestamp(row.integer(2)?),
        ident: fixed(row, 3)?,
    };
    let open = OpenRow {
        ident: cursor.ident,
        status: cursor.status,
        version: unsigned(row, 6)?,
        wake_at: row.optional_integer(4)?.map(Timestamp),
        cursor,
    };
    Ok((PartitionId(unsigned(row, 5)?), open))
}
