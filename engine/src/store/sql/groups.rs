//! The reasons for which workflows are parked, from one index alone. It is read a stretch at a time and not to its end, and
//! what is left of a large group is skipped: one cause that parked a million workflows hides none of the others.

use super::database::SqlDatabase;
use super::reads::{rows, unsigned};
use super::row::Row;
use super::text::SqlText;
use super::window::by_index;
use crate::runtime::Timestamp;
use crate::store::{ErrorGroup, StoreError};

const GROUPING: &str = "grouping what is parked";

const INDEX: &str = "parked_by_error";
/// Its columns before the instant: what a group has in common.
const COLUMNS: usize = 4;
/// So many entries are read in one stretch.
const STRETCH: u64 = 5_000;
/// A group is counted up to this number.
const COUNT_MAX: u64 = 50_000;
/// No stretch begins once so many entries have been read.
const ENTRIES_MAX: u64 = 200_000;

/// The groups with most workflows, the largest first.
pub(crate) async fn error_groups(
    database: &SqlDatabase,
    limit: u16,
) -> Result<Vec<ErrorGroup>, StoreError> {
    let mut groups = Vec::new();
    let mut read = 0;
    // Ranges of the index that follow each other, the next one last.
    let mut ranges = vec![Range::default()];
    while let Some(range) = ranges.pop()
        && read < ENTRIES_MAX
    {
        let mut stretch = stretch(database, &range).await?;
        let entries: u64 = stretch.iter().map(|group| group.count).sum();
        read += entries;
        if entries >= STRETCH
            && let Some(last) = stretch.last_mut()
        {
            let known = last.count;
            complete(database, last).await?;
            read += last.count - known;
            ranges = ranges_behind(ranges, &range, last);
        }
        groups.append(&mut stretch);
    }
    groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.last_since)));
    groups.truncate(usize::from(limit.max(1)));
    Ok(groups)
}

/// What a group has in common, as it is stored.
#[derive(Debug, Clone)]
struct Reason {
    class: String,
    definition: String,
    step: String,
    message: String,
}

impl Reason {
    fn of(group: &ErrorGroup) -> Self {
        Self {
            class: group.class.clone(),
            definition: group.definition.clone(),
            step: group.step.clone().unwrap_or_default(),
            message: group.message.clone(),
        }
    }
}

/// A range of the index: to the database, too, so that no planner can get it wrong.
#[derive(Debug, Default)]
struct Range {
    /// Behind this reason: the first `held` columns are the same, and the next one is greater. Everything, if it is absent.
    behind: Option<Reason>,
    held: usize,
}

/// What is left to be read once a range was read up to this group: the rest of the range, then what followed it.
fn ranges_behind(mut later: Vec<Range>, range: &Range, group: &ErrorGroup) -> Vec<Range> {
    let rest = (range.held..COLUMNS).map(|held| Range {
        behind: Some(Reason::of(group)),
        held,
    });
    later.extend(rest);
    later
}

impl Range {
    fn write(&self, text: &mut SqlText) {
        let Some(reason) = &self.behind else {
            return;
        };
        condition(text, reason, self.held);
        let (column, value) = columns(reason)[self.held];
        text.sql(if self.held > 0 { " AND " } else { " WHERE " });
        text.sql(column).sql(" > ").text(value);
    }
}

const fn columns(reason: &Reason) -> [(&'static str, &String); COLUMNS] {
    [
        ("class", &reason.class),
        ("definition", &reason.definition),
        ("step", &reason.step),
        ("message", &reason.message),
    ]
}

/// The condition that so many of the columns are the reason's.
fn condition(text: &mut SqlText, reason: &Reason, columns_held: usize) {
    for (nth, (column, value)) in columns(reason)[..columns_held].iter().enumerate() {
        text.sql(if nth > 0 { " AND " } else { " WHERE " });
        text.sql(column).sql(" = ").text(value);
    }
}

/// The groups in the first [`STRETCH`] entries of a range, in the order of the index. The last one may go on behind it.
async fn stretch(database: &SqlDatabase, range: &Range) -> Result<Vec<ErrorGroup>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(
        "SELECT class, definition, step, message, COUNT(*), MIN(since_us), MAX(since_us) FROM (",
    );
    text.sql("SELECT class, definition, step, message, since_us FROM parked");
    by_index(&mut text, INDEX);
    range.write(&mut text);
    text.sql(" ORDER BY class, definition, step, message, since_us LIMIT ");
    text.number(STRETCH).sql(") AS stretch");
    text.sql(
        " GROUP BY class, definition, step, message ORDER BY class, definition, step, message",
    );
    let rows = rows(database, GROUPING, text).await?;
    rows.iter().map(group).collect()
}

fn group(row: &Row) -> Result<ErrorGroup, StoreError> {
    let step = row.text(2)?;
    Ok(ErrorGroup {
        class: row.text(0)?.to_owned(),
        definition: row.text(1)?.to_owned(),
        step: (!step.is_empty()).then(|| step.to_owned()),
        message: row.text(3)?.to_owned(),
        count: unsigned(row, 4)?,
        first_since: Timestamp(row.integer(5)?),
        last_since: Timestamp(row.integer(6)?),
    })
}

/// Counts all of a group of which only the beginning was read.
async fn complete(database: &SqlDatabase, group: &mut ErrorGroup) -> Result<(), StoreError> {
    let reason = Reason::of(group);
    let mut text = SqlText::new(database.dialect());
    // Not by MAX, for which an optimiser may read them all.
    text.sql("SELECT COUNT(*), (SELECT since_us FROM parked");
    by_index(&mut text, INDEX);
    condition(&mut text, &reason, COLUMNS);
    text.sql(" ORDER BY since_us DESC LIMIT 1");
    text.sql(") FROM (SELECT since_us FROM parked");
    by_index(&mut text, INDEX);
    condition(&mut text, &reason, COLUMNS);
    text.sql(" ORDER BY since_us LIMIT ").number(COUNT_MAX);
    text.sql(") AS counted");
    for row in rows(database, GROUPING, text).await? {
        // It may have become smaller since its beginning was read.
        group.count = group.count.max(unsigned(&row, 0)?);
        if let Some(last) = row.optional_integer(1)? {
            group.last_since = Timestamp(last);
        }
    }
    Ok(())
}
