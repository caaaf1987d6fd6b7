//! Lists of workflows. Every call reads a bounded part of one index and the rows of its entries, and gives a page that may be
//! short; so a list costs the same in a store of ten million workflows as in one of ten.
//!
//! Each filter that has an index leads to what passes it; the other filters are looked at row by row. Where several lead
//! there, the one under which the fewest workflows stand is followed: it reaches furthest back in as many entries.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::database::SqlDatabase;
use super::reads::{heads, rows};
use super::text::SqlText;
use super::window::{
    self, BY_LABEL, BY_REASON, BY_STATUS, BY_STEP, Index, Order, Span, Window, definitions, idents,
};
use crate::ids::Ident;
use crate::store::{Head, ListCursor, ListFilter, Page, Status, StoreError, rules};

const LISTING: &str = "listing workflows";
const COUNTING: &str = "counting workflows";

const LIMIT_MAX: u16 = 500;
/// So many entries of an index are looked through in one call, when some of them may not pass the other filters.
const ENTRIES_MAX: usize = 2_000;
/// So many rows are read at a time.
const ROWS_PER_READ: usize = 500;

/// A page of the workflows that pass the filter.
pub(crate) async fn list(
    database: &SqlDatabase,
    filter: &ListFilter,
) -> Result<Page<Head>, StoreError> {
    let limit = usize::from(filter.limit.clamp(1, LIMIT_MAX));
    let ways = ways(filter);
    let each = if is_exact(filter, &ways) {
        limit + 1
    } else {
        ENTRIES_MAX
    };
    let mut windows = Vec::with_capacity(ways.len());
    for way in ways {
        windows.push(window(database, filter, way, each).await?);
    }
    let furthest = windows.into_iter().max_by(|one, other| {
        let reach = compare_reach(one, other);
        reach.then_with(|| other.entries.len().cmp(&one.entries.len()))
    });
    page(database, filter, limit, furthest.unwrap_or_default()).await
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

/// A way to everything that passes a filter.
#[derive(Debug, Clone, Copy)]
enum Way<'a> {
    /// An index with one part.
    One(Index, &'a str),
    /// The pairs of status and definition that the filter leaves open.
    Pairs,
}

/// The ways to what passes the filter. A row does not tell on which step it is parked, so that only the index of steps leads
/// there.
fn ways(filter: &ListFilter) -> Vec<Way<'_>> {
    if let Some(step) = &filter.step {
        return vec![Way::One(BY_STEP, step)];
    }
    let reason = rules::stored_reason(filter.reason.as_deref());
    let reason = reason.into_iter().map(|text| Way::One(BY_REASON, text));
    let label = filter.label.iter().map(|text| Way::One(BY_LABEL, text));
    let mut ways: Vec<_> = reason.chain(label).collect();
    if filter.status.is_some() || filter.definition.is_some() || ways.is_empty() {
        ways.push(Way::Pairs);
    }
    ways
}

/// Whether all that the one way leads to passes the filter.
fn is_exact(filter: &ListFilter, ways: &[Way<'_>]) -> bool {
    let others = [&filter.definition, &filter.reason, &filter.label];
    let only_step = filter.status.is_none() && others.iter().all(|other| other.is_none());
    ways.len() == 1 && (filter.step.is_none() || only_step)
}

/// Reads the first entries of a way, up to `each` of a part.
async fn window(
    database: &SqlDatabase,
    filter: &ListFilter,
    way: Way<'_>,
    each: usize,
) -> Result<Window, StoreError> {
    let span = Span {
        from: filter.created_from,
        before: filter.created_before,
        after: filter.after.clone(),
        order: Order::NewestFirst,
    };
    match way {
        Way::One(index, text) => {
            window::read(database, LISTING, index, &[vec![text]], &span, each).await
        }
        Way::Pairs => {
            let statuses = filter
                .status
                .map_or_else(|| Status::ALL.to_vec(), |only| vec![only]);
            let names = match &filter.definition {
                Some(only) => vec![only.clone()],
                None => definitions(database, LISTING, &statuses).await?,
            };
            let pairs = window::pairs(&statuses, &names);
            window::read(database, LISTING, BY_STATUS, &pairs, &span, each).await
        }
    }
}

/// Which of two windows onto the same list reaches further.
fn compare_reach(one: &Window, other: &Window) -> Ordering {
    match (one.more, other.more) {
        (true, true) => match (one.entries.last(), other.entries.last()) {
            (Some(one), Some(other)) => Order::NewestFirst.compare(one, other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        },
        (one, other) => other.cmp(&one),
    }
}

/// The first workflows of the window that pass the filter.
async fn page(
    database: &SqlDatabase,
    filter: &ListFilter,
    limit: usize,
    window: Window,
) -> Result<Page<Head>, StoreError> {
    let mut items: Vec<Head> = Vec::with_capacity(limit);
    let mut last: Option<&ListCursor> = None;
    let mut rest = window.entries.as_slice();
    let mut take = limit + 1;
    while !rest.is_empty() {
        let (entries, behind) = rest.split_at(take.min(rest.len()));
        let mut found: HashMap<Ident, Head> = heads(database, LISTING, &idents(entries))
            .await?
            .into_iter()
            .map(|head| (head.id.ident(), head))
            .collect();
        for entry in entries {
            let head = found.remove(&entry.ident);
            let Some(head) = head.filter(|head| passes(filter, head)) else {
                continue;
            };
            if items.len() == limit {
                let next = last.cloned();
                return Ok(Page { items, next });
            }
            items.push(head);
            last = Some(entry);
        }
        rest = behind;
        take = ROWS_PER_READ;
    }
    let next = window.entries.last().filter(|_| window.more).cloned();
    Ok(Page { items, next })
}

/// Whether the row is what the filter asks for: it may have changed since the index was read.
fn passes(filter: &ListFilter, head: &Head) -> bool {
    let is = |wanted: Option<&str>, text: Option<&str>| wanted.is_none() || wanted == text;
    let reason = rules::stored_reason(filter.reason.as_deref());
    filter.status.is_none_or(|status| head.status == status)
        && is(filter.definition.as_deref(), Some(&head.definition.name))
        && is(reason, head.reason.as_deref())
        && is(filter.label.as_deref(), head.label.as_deref())
        && (filter.step.is_none() || head.status == Status::Parked)
        && filter
            .created_from
            .is_none_or(|from| head.created_at >= from)
        && filter
            .created_before
            .is_none_or(|before| head.created_at < before)
}
