//! Bounded reads of an index: the entries next to a place in it, never more than asked for, whatever the data and whatever
//! the optimiser thinks of them. Lists and retention go by these.

use std::cmp::Ordering;

use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::reads::{fixed, rows};
use super::text::SqlText;
use crate::ids::Ident;
use crate::runtime::Timestamp;
use crate::store::{ListCursor, Status, StoreError};

/// A store knows at most so many definitions; to find one more costs a round trip.
const DEFINITIONS_MAX: usize = 1_000;
/// So many entries are read of all parts together, or one of each.
const ENTRIES_MAX: usize = 20_000;
/// So many parts are read in one statement.
const PARTS_PER_STATEMENT: usize = 32 * Status::ALL.len();

/// Stands for a table's primary key where the name of an index is asked for.
pub(crate) const PRIMARY: &str = "PRIMARY";

/// Follows the name of a table: read it by this index. SQLite needs not be told to use a primary key, and has no name for it.
pub(crate) fn by_index(text: &mut SqlText, index: &'static str) {
    if text.dialect() == Dialect::Sqlite && index == PRIMARY {
        return;
    }
    let (before, behind) = text.dialect().index_hint();
    text.sql(before).name(index).sql(behind);
}

/// An index of workflows: columns that are held fast, then `created_us`, then the ident.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Index {
    table: &'static str,
    name: &'static str,
    fixed: &'static [&'static str],
}

/// By status and definition.
pub(crate) const BY_STATUS: Index = Index {
    table: "workflows",
    name: "workflows_by_status",
    fixed: &["status", "definition"],
};
/// By label.
pub(crate) const BY_LABEL: Index = Index {
    table: "workflows",
    name: "workflows_by_label",
    fixed: &["label"],
};
/// By reason.
pub(crate) const BY_REASON: Index = Index {
    table: "workflows",
    name: "workflows_by_reason",
    fixed: &["reason"],
};
/// What is parked, by step.
pub(crate) const BY_STEP: Index = Index {
    table: "parked",
    name: "parked_by_step",
    fixed: &["step"],
};

/// Which way an index is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

impl Order {
    /// Which of two entries comes first.
    pub fn compare(self, one: &ListCursor, other: &ListCursor) -> Ordering {
        let by_age = (one.created_at, one.ident).cmp(&(other.created_at, other.ident));
        match self {
            Self::OldestFirst => by_age,
            Self::NewestFirst => by_age.reverse(),
        }
    }
}

/// Which part of an index is wanted, and which way.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Not before this instant.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub before: Option<Timestamp>,
    /// Behind this entry, newest first.
    pub after: Option<ListCursor>,
    /// Which way.
    pub order: Order,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The entries, in order, without a gap.
    pub entries: Vec<ListCursor>,
    /// There may be more behind the last of them.
    pub more: bool,
}

/// Reads the first entries of the span in each part of the index, a part being what its fixed columns hold, and merges
/// them: at most `each` are read of a part, and fewer where there are many parts.
///
/// A statement is one snapshot: a workflow whose status changes while the parts of all its statuses are read is seen in one
/// of them, because they stand in one statement.
pub(crate) async fn read(
    database: &SqlDatabase,
    doing: &'static str,
    index: Index,
    parts: &[Vec<&str>],
    span: &Span,
    each: usize,
) -> Result<Window, StoreError> {
    let each = each.min((ENTRIES_MAX / parts.len().max(1)).max(1));
    let mut merged = Merged::new(span.order);
    for parts in parts.chunks(PARTS_PER_STATEMENT) {
        let ranges: Vec<Range<'_>> = parts.iter().flat_map(|part| ranges(part, span)).collect();
        let mut text = SqlText::new(database.dialect());
        for (number, range) in (0_u32..).zip(&ranges) {
            text.sql(if number > 0 { "\nUNION ALL " } else { "" });
            range.write(&mut text, number, index, span.order, each);
        }
        let mut read = vec![Vec::new(); ranges.len()];
        for row in rows(database, doing, text).await? {
            let number = usize::try_from(row.integer(0)?).unwrap_or(usize::MAX);
            let entries = read
                .get_mut(number)
                .ok_or_else(|| row.wrong(0, "is the number of no range"))?;
            entries.push(ListCursor {
                created_at: Timestamp(row.integer(1)?),
                ident: fixed(&row, 2)?,
            });
        }
        for entries in read {
            merged.add(entries, each);
        }
    }
    Ok(merged.finish())
}

/// A range of the index: one to the database, too, and in its order, so that no planner can do anything but begin at its one
/// end.
struct Range<'a> {
    part: &'a [&'a str],
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    /// What is left of this entry's instant, instead of these two.
    instant_of: Option<&'a ListCursor>,
}

/// The ranges of a part that make up the span.
fn ranges<'a>(part: &'a [&'a str], span: &'a Span) -> Vec<Range<'a>> {
    let rest = Range {
        part,
        from: span.from,
        before: span.before,
        instant_of: None,
    };
    let Some(after) = &span.after else {
        return vec![rest];
    };
    let at = after.created_at;
    let rest = Range {
        before: Some(span.before.map_or(at, |before| before.min(at))),
        ..rest
    };
    let is_inside =
        span.from.is_none_or(|from| at >= from) && span.before.is_none_or(|before| at < before);
    let instant = is_inside.then_some(Range {
        instant_of: Some(after),
        ..rest
    });
    instant.into_iter().chain([rest]).collect()
}

impl Range<'_> {
    fn write(&self, text: &mut SqlText, number: u32, index: Index, order: Order, limit: usize) {
        let limited = text.dialect().limited();
        text.sql(limited).sql("SELECT ").number(number);
        text.sql(" AS part, created_us, ident FROM ")
            .sql(index.table);
        by_index(text, index.name);
        for (nth, (column, value)) in index.fixed.iter().zip(self.part).enumerate() {
            text.sql(if nth > 0 { " AND " } else { " WHERE " });
            text.sql(column).sql(" = ").text(value);
        }
        if let Some(ListCursor { created_at, ident }) = self.instant_of {
            text.sql(" AND created_us = ").number(created_at.0);
            text.sql(" AND ident < ").bytes(ident);
        } else {
            if let Some(from) = self.from {
                text.sql(" AND created_us >= ").number(from.0);
            }
            if let Some(before) = self.before {
                text.sql(" AND created_us < ").number(before.0);
            }
        }
        let direction = match order {
            Order::NewestFirst => " DESC",
            Order::OldestFirst => "",
        };
        text.sql(" ORDER BY created_us").sql(direction);
        text.sql(", ident").sql(direction).sql(" LIMIT ");
        text.number(limit as u64).sql(")");
    }
}

/// Entries of several ranges on their way to one window.
struct Merged {
    order: Order,
    entries: Vec<ListCursor>,
    /// Up to here every range was read.
    end: Option<ListCursor>,
}

impl Merged {
    const fn new(order: Order) -> Self {
        Self {
            order,
            entries: Vec::new(),
            end: None,
        }
    }

    /// The entries of a range, of which `limit` were asked for.
    fn add(&mut self, mut entries: Vec<ListCursor>, limit: usize) {
        entries.sort_by(|one, other| self.order.compare(one, other));
        if entries.len() >= limit
            && let Some(last) = entries.last()
            && self
                .end
                .as_ref()
                .is_none_or(|end| self.order.compare(last, end).is_lt())
        {
            self.end = Some(last.clone());
        }
        self.entries.append(&mut entries);
    }

    fn finish(mut self) -> Window {
        if let Some(end) = &self.end {
            self.entries
                .retain(|entry| self.order.compare(entry, end).is_le());
        }
        self.entries
            .sort_by(|one, other| self.order.compare(one, other));
        Window {
            entries: self.entries,
            more: self.end.is_some(),
        }
    }
}

/// The pairs of status and definition that may hold workflows, those of one definition next to each other, as parts of
/// [`BY_STATUS`].
pub(crate) fn pairs<'a>(statuses: &[Status], definitions: &'a [String]) -> Vec<Vec<&'a str>> {
    let pairs_of = |definition: &'a String| {
        let pair = |status: &Status| vec![status.as_str(), definition.as_str()];
        statuses.iter().map(pair).collect::<Vec<_>>()
    };
    definitions.iter().flat_map(pairs_of).collect()
}

/// The names of the definitions of which there are workflows with one of these statuses. Each is the next one after the one
/// before it in all statuses at once, so that a workflow whose status changes meanwhile hides no name.
pub(crate) async fn definitions(
    database: &SqlDatabase,
    doing: &'static str,
    statuses: &[Status],
) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> = Vec::new();
    while let Some(name) = next_definition(database, doing, statuses, names.last()).await? {
        if names.len() == DEFINITIONS_MAX {
            let cause = format!("there are more than {DEFINITIONS_MAX} definitions");
            return Err(StoreError::Corrupt { doing, cause });
        }
        names.push(name);
    }
    Ok(names)
}

/// The first definition after this one: the next entry of the index for each status. Not by MIN, for which an optimiser may
/// read them all.
async fn next_definition(
    database: &SqlDatabase,
    doing: &'static str,
    statuses: &[Status],
    after: Option<&String>,
) -> Result<Option<String>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    for (index, status) in statuses.iter().enumerate() {
        text.sql(if index > 0 { "\nUNION ALL " } else { "" });
        let limited = text.dialect().limited();
        text.sql(limited).sql("SELECT definition FROM workflows");
        by_index(&mut text, BY_STATUS.name);
        text.sql(" WHERE status = ").text(status.as_str());
        if let Some(after) = after {
            text.sql(" AND definition > ").text(after);
        }
        text.sql(" ORDER BY definition LIMIT 1)");
    }
    let mut next: Option<String> = None;
    for row in rows(database, doing, text).await? {
        let name = row.text(0)?;
        if next.as_deref().is_none_or(|next| name < next) {
            next = Some(name.to_owned());
        }
    }
    Ok(next)
}

/// The idents of these entries.
pub(crate) fn idents(entries: &[ListCursor]) -> Vec<Ident> {
    entries.iter().map(|entry| entry.ident).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created_us: i64) -> ListCursor {
        ListCursor {
            created_at: Timestamp(created_us),
            ident: [7; 12],
        }
    }

    fn instants(window: &Window) -> Vec<i64> {
        let instants = window.entries.iter().map(|entry| entry.created_at.0);
        instants.collect()
    }

    #[test]
    fn parts_are_merged_as_far_as_each_of_them_was_read() {
        for (order, expected) in [
            (Order::NewestFirst, [9, 8, 5]),
            (Order::OldestFirst, [-9, -8, -5]),
        ] {
            let sign = if order == Order::NewestFirst { 1 } else { -1 };
            let part = |instants: [i64; 2]| instants.map(|at| entry(sign * at)).to_vec();
            let mut merged = Merged::new(order);
            // Of both parts two were asked for; what the second has behind 5 is not known.
            merged.add(part([8, 3]), 2);
            merged.add(part([9, 5]), 2);
            let window = merged.finish();
            assert_eq!(
                (instants(&window).as_slice(), window.more),
                (&expected[..], true)
            );
        }
    }

    #[test]
    fn parts_that_were_read_to_their_end_cut_nothing_off() {
        let mut merged = Merged::new(Order::NewestFirst);
        merged.add(vec![entry(1)], 2);
        merged.add(Vec::new(), 2);
        merged.add(vec![entry(4)], 2);
        let window = merged.finish();
        assert_eq!((instants(&window), window.more), (vec![4, 1], false));
    }
}
