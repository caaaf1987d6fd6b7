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
    let mut ranges = vec![Range::All];
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

/// A range of the index: each is one to the database, too, which no planner can get wrong.
#[derive(Debug)]
enum Range {
    All,
    /// The other messages of its step.
    Message(Reason),
    /// The other steps of its definition.
    Step(Reason),
    /// The other definitions of its class.
    Definition(Reason),
    /// The other classes.
    Class(Reason),
}

/// What is left to be read once a range was read up to this group: the rest of the range, then what followed it.
fn ranges_behind(mut later: Vec<Range>, range: &Range, group: &ErrorGroup) -> Vec<Range> {
    let all = [
        Range::Class as fn(Reason) -> Range,
        Range::Definition,
        Range::Step,
        Range::Message,
    ];
    // Only those ranges that lie within the one that was being read.
    let within = match range {
        Range::All => 0,
        Range::Class(_) => 0,
        Range::Definition(_) => 1,
        Range::Step(_) => 2,
        Range::Message(_) => 3,
    };
    later.extend(all[within..].iter().map(|range| range(Reason::of(group))));
    later
}

impl Range {
    fn write(&self, text: &mut SqlText) {
        let (reason, held) = match self {
            Self::All => {
                text.sql(" WHERE class >= ").text("");
                return;
            }
            Self::Class(reason) => (reason, 0),
            Self::Definition(reason) => (reason, 1),
            Self::Step(reason) => (reason, 2),
            Self::Message(reason) => (reason, 3),
        };
        condition(text, reason, held);
        let (column, value) = columns(reason)[held];
        text.sql(if held > 0 { " AND " } else { " WHERE " });
        text.sql(column).sql(" > ").text(value);
    }
}

const fn columns(reason: &Reason) -> [(&'static str, &String); 4] {
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
    by_index(&mut text, "parked_by_error");
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
    text.sql("SELECT COUNT(*), (SELECT MAX(since_us) FROM parked");
    by_index(&mut text, "parked_by_error");
    condition(&mut text, &reason, 4);
    text.sql(") FROM (SELECT since_us FROM parked");
    by_index(&mut text, "parked_by_error");
    condition(&mut text, &reason, 4);
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
