//! Lists of workflows, newest first. The one index leads with status and definition, so a list is merged from one short
//! read for each pair that the filter leaves open; nothing is ever sorted that is longer than a page a pair.

use super::database::SqlDatabase;
use super::reads::{fixed, heads, rows};
use super::text::SqlText;
use crate::ids::Ident;
use crate::runtime::Timestamp;
use crate::store::{Head, ListCursor, ListFilter, Page, Status, StoreError};

const LISTING: &str = "listing workflows";
const COUNTING: &str = "counting workflows";

const LIMIT_MAX: u16 = 500;
/// A store knows at most so many definitions under one status.
const DEFINITIONS_MAX: usize = 64;

/// A page of the workflows that pass the filter.
pub(crate) async fn list(
    database: &SqlDatabase,
    filter: &ListFilter,
) -> Result<Page<Head>, StoreError> {
    let limit = usize::from(filter.limit.clamp(1, LIMIT_MAX));
    let pairs = pairs(database, filter).await?;
    let mut cursors = cursors(database, &pairs, filter.after.as_ref(), limit + 1).await?;
    let more = cursors.len() > limit;
    cursors.truncate(limit);
    let next = if more { cursors.last().cloned() } else { None };
    let idents: Vec<Ident> = cursors.iter().map(|cursor| cursor.ident).collect();
    let mut items = heads(database, LISTING, &idents).await?;
    // A workflow may have moved on between the two reads.
    items.retain(|head| filter.status.is_none_or(|status| status == head.status));
    items.sort_by_key(|head| std::cmp::Reverse((head.created_at, head.id.ident())));
    Ok(Page { items, next })
}

/// How many workflows have each status.
pub(crate) async fn count_by_status(
    database: &SqlDatabase,
) -> Result<Vec<(Status, u64)>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT status, COUNT(*) FROM workflows GROUP BY status");
    let rows = rows(database, COUNTING, text).await?;
    rows.iter()
        .map(|row| {
            let status = Status::parse(row.text(0)?).ok_or_else(|| row.wrong(0, "is no status"))?;
            let count = u64::try_from(row.integer(1)?).map_err(|_| row.wrong(1, "is negative"))?;
            Ok((status, count))
        })
        .collect()
}

/// The pairs of status and definition that the filter lets through and that have workflows.
async fn pairs(
    database: &SqlDatabase,
    filter: &ListFilter,
) -> Result<Vec<(Status, String)>, StoreError> {
    let statuses: Vec<Status> = Status::ALL
        .into_iter()
        .filter(|one| filter.status.is_none_or(|only| only == *one))
        .collect();
    if let Some(definition) = &filter.definition {
        return Ok(statuses
            .into_iter()
            .map(|status| (status, definition.clone()))
            .collect());
    }
    let mut pairs = Vec::new();
    let mut open: Vec<(Status, Option<String>)> =
        statuses.into_iter().map(|status| (status, None)).collect();
    for _ in 0..DEFINITIONS_MAX {
        open = next_definitions(database, &open).await?;
        if open.is_empty() {
            return Ok(pairs);
        }
        let found = open
            .iter()
            .filter_map(|(status, name)| Some((*status, name.clone()?)));
        pairs.extend(found);
    }
    let cause = format!("there are more than {DEFINITIONS_MAX} definitions: filter by one");
    Err(StoreError::Corrupt {
        doing: LISTING,
        cause,
    })
}

/// For each status the first definition after the given one: one step in the index each.
async fn next_definitions(
    database: &SqlDatabase,
    after: &[(Status, Option<String>)],
) -> Result<Vec<(Status, Option<String>)>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    for (index, (status, definition)) in after.iter().enumerate() {
        text.sql(if index > 0 { ";\n" } else { "" });
        text.sql("SELECT MIN(definition) FROM workflows WHERE status = ")
            .text(status.as_str());
        if let Some(definition) = definition {
            text.sql(" AND definition > ").text(definition);
        }
    }
    let rows = rows(database, LISTING, text).await?;
    let mut found = Vec::new();
    for (row, (status, _)) in rows.iter().zip(after) {
        if let Some(definition) = row.optional_text(0)? {
            found.push((*status, Some(definition.to_owned())));
        }
    }
    Ok(found)
}

/// The newest workflows of all the pairs, in one statement and so in one snapshot.
async fn cursors(
    database: &SqlDatabase,
    pairs: &[(Status, String)],
    after: Option<&ListCursor>,
    limit: usize,
) -> Result<Vec<ListCursor>, StoreError> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = SqlText::new(database.dialect());
    for (index, (status, definition)) in pairs.iter().enumerate() {
        text.sql(if index > 0 { "\nUNION ALL " } else { "" });
        newest(&mut text, *status, definition, after, limit);
    }
    text.sql("\nORDER BY created_us DESC, ident DESC LIMIT ")
        .number(limit as u64);
    let rows = rows(database, LISTING, text).await?;
    rows.iter()
        .map(|row| {
            Ok(ListCursor {
                created_at: Timestamp(row.integer(0)?),
                ident: fixed(row, 1)?,
            })
        })
        .collect()
}

fn newest(
    text: &mut SqlText,
    status: Status,
    definition: &str,
    after: Option<&ListCursor>,
    limit: usize,
) {
    let by_status_index = text.dialect().by_status_index();
    text.sql("SELECT created_us, ident FROM (SELECT created_us, ident FROM workflows");
    text.sql(by_status_index)
        .sql(" WHERE status = ")
        .text(status.as_str());
    text.sql(" AND definition = ").text(definition);
    if let Some(ListCursor { created_at, ident }) = after {
        // Not as a comparison of rows: MySQL would not begin at the cursor.
        text.sql(" AND created_us <= ").number(created_at.0);
        text.sql(" AND (created_us < ").number(created_at.0);
        text.sql(" OR ident < ").bytes(ident).sql(")");
    }
    text.sql(" ORDER BY created_us DESC, ident DESC LIMIT ")
        .number(limit as u64);
    text.sql(") AS newest");
}
