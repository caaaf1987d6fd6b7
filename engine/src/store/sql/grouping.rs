//! Groups the changes of a whole batch into few statements without changing what they come to: pure, and checked against
//! a one-by-one model.
//!
//! Tables don't depend on each other, so each has its own sequence of groups. A change joins an earlier group of its kind
//! unless a group in between could matter to it:
//!
//! - it touches the same row;
//! - it frees a value of another unique key that the change may need (a DELETE or SET, before an INSERT or SET).
//!
//! Otherwise it begins a group of its own. So whatever one-by-one order accepts, the groups accept, with the same rows in
//! the end; that a guard may say yes where an intermediate state would have broken it is intended (five added and five
//! taken is nothing taken). Counters are taken not to be part of a unique key.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::store::change::{Change, ChangeKind, Column, Key, Table, Value};

/// Changes of one table that become one statement (or one a row, for additions).
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The table.
    pub table: &'static Table,
    /// What is done.
    pub work: Work<'a>,
    touched: HashSet<&'a Key>,
}

/// What a group does.
#[derive(Debug)]
pub(crate) enum Work<'a> {
    /// New rows: the key's values and the others.
    Insert(Vec<(&'a Key, &'a [Value])>),
    /// Sums of additions by row, in the order of the keys, in which all writers lock hot rows.
    Add(BTreeMap<&'a Key, BTreeMap<Column, i64>>),
    /// Rows that get the same values.
    Set {
        values: &'a [(Column, Value)],
        keys: BTreeSet<&'a Key>,
    },
    /// Rows that go. A key that is there twice is refused, as it would be one by one.
    Delete(Vec<&'a Key>),
}

/// A change that fits no table: a defect of the definition that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The table.
    pub table: &'static str,
    /// What is wrong.
    pub cause: String,
}

/// The groups, in an order in which they may be applied. Tables come sorted by name, those with counters last: all writers
/// lock in the same order, and hot rows for the shortest time.
pub(crate) fn group(changes: &[Change]) -> Result<Vec<Group<'_>>, Malformed> {
    let mut tables: HashMap<&'static str, Vec<Group<'_>>> = HashMap::new();
    for change in changes {
        check(change)?;
        let groups = tables.entry(change.table.name).or_default();
        match place(groups, change) {
            Some(index) => groups[index].join(change)?,
            None => groups.push(Group::of(change)),
        }
    }
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.sort_by_key(|(name, groups)| (groups.iter().any(Group::is_hot), *name));
    let mut groups: Vec<_> = tables.into_iter().flat_map(|(_, groups)| groups).collect();
    for group in &mut groups {
        group.sort();
    }
    Ok(groups)
}

/// The group that the change may join, if there is one.
fn place(groups: &[Group<'_>], change: &Change) -> Option<usize> {
    for (index, group) in groups.iter().enumerate().rev() {
        if group.takes(change) {
            return Some(index);
        }
        if group.matters_to(change) {
            return None;
        }
    }
    None
}

impl<'a> Group<'a> {
    fn of(change: &'a Change) -> Self {
        let key = &change.key;
        let work = match &change.kind {
            ChangeKind::Insert(values) => Work::Insert(vec![(key, values)]),
            ChangeKind::Add(deltas) => {
                let mut sums = BTreeMap::new();
                for (column, delta) in deltas {
                    let sum: &mut i64 = sums.entry(*column).or_default();
                    *sum = sum.saturating_add(*delta);
                }
                Work::Add(BTreeMap::from([(key, sums)]))
            }
            ChangeKind::Set(values) => Work::Set {
                values,
                keys: BTreeSet::from([key]),
            },
            ChangeKind::Delete => Work::Delete(vec![key]),
        };
        Self {
            table: change.table,
            work,
            touched: HashSet::from([key]),
        }
    }

    /// The change can be done by this group's statement.
    fn takes(&self, change: &Change) -> bool {
        self.table == change.table
            && match (&self.work, &change.kind) {
                (Work::Insert(_), ChangeKind::Insert(_))
                | (Work::Add(_), ChangeKind::Add(_))
                | (Work::Delete(_), ChangeKind::Delete) => true,
                (Work::Set { values, .. }, ChangeKind::Set(others)) => {
                    *values == others.as_slice() && !moves_rows(self.table, others)
                }
                _ => false,
            }
    }

    /// The change may come out differently when it is done before this group instead of after it.
    fn matters_to(&self, change: &Change) -> bool {
        let moves = match (&self.work, &change.kind) {
            (Work::Set { values, .. }, _) if moves_rows(self.table, values) => true,
            (_, ChangeKind::Set(values)) => moves_rows(self.table, values),
            _ => false,
        };
        let frees = matches!(self.work, Work::Set { .. } | Work::Delete(_))
            && matches!(change.kind, ChangeKind::Insert(_) | ChangeKind::Set(_));
        moves || frees || self.table.key != change.table.key || self.touched.contains(&change.key)
    }

    fn join(&mut self, change: &'a Change) -> Result<(), Malformed> {
        let key = &change.key;
        self.touched.insert(key);
        match (&mut self.work, &change.kind) {
            (Work::Insert(rows), ChangeKind::Insert(values)) => rows.push((key, values)),
            (Work::Set { keys, .. }, ChangeKind::Set(_)) => {
                keys.insert(key);
            }
            (Work::Delete(keys), ChangeKind::Delete) => keys.push(key),
            (Work::Add(rows), ChangeKind::Add(deltas)) => {
                let sums = rows.entry(key).or_default();
                for (column, delta) in deltas {
                    let sum = sums.entry(column).or_default();
                    *sum = sum.checked_add(*delta).ok_or_else(|| Malformed {
                        table: change.table.name,
                        cause: format!("the additions to `{column}` overflow"),
                    })?;
                }
            }
            _ => unreachable!("`takes` lets only changes of the group's kind join"),
        }
        Ok(())
    }

    const fn is_hot(&self) -> bool {
        matches!(self.work, Work::Add(_))
    }

    fn sort(&mut self) {
        match &mut self.work {
            Work::Insert(rows) => rows.sort_by_key(|(key, _)| *key),
            Work::Delete(keys) => keys.sort(),
            Work::Add(_) | Work::Set { .. } => {}
        }
    }
}

/// These values give rows another key.
fn moves_rows(table: &Table, values: &[(Column, Value)]) -> bool {
    values.iter().any(|(column, _)| table.key.contains(column))
}

fn check(change: &Change) -> Result<(), Malformed> {
    let malformed = |cause: String| {
        Err(Malformed {
            table: change.table.name,
            cause,
        })
    };
    let key_columns = change.table.key.len();
    if change.key.len() != key_columns || key_columns == 0 {
        return malformed(format!(
            "a key of {} values for {key_columns}",
            change.key.len()
        ));
    }
    match &change.kind {
        ChangeKind::Insert(values) if values.len() != change.table.columns.len() => {
            malformed(format!(
                "a row of {} values for {} columns",
                values.len(),
                change.table.columns.len()
            ))
        }
        ChangeKind::Add(deltas) if deltas.is_empty() => {
            malformed("an addition to no column".into())
        }
        ChangeKind::Set(values) if values.is_empty() => malformed("a setting of no column".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Refusal;

    const STOCK: Table = Table {
        name: "stock",
        key: &["product"],
        columns: &["held"],
    };
    const COUPONS: Table = Table {
        name: "coupons",
        key: &["id"],
        columns: &["buyer"],
    };

    fn change(table: &'static Table, key: i64, kind: ChangeKind) -> Change {
        Change {
            table,
            key: vec![key.into()],
            kind,
            refusal: Refusal::new("no", "No."),
        }
    }

    fn insert(key: i64) -> Change {
        change(&COUPONS, key, ChangeKind::Insert(vec![Value::Integer(key)]))
    }

    fn shape(changes: &[Change]) -> Vec<String> {
        let describe = |group: Group<'_>| match group.work {
            Work::Insert(rows) => format!("{} insert {}", group.table.name, rows.len()),
            Work::Add(rows) => {
                let sums: Vec<_> = rows.values().map(|sums| sums["held"]).collect();
                format!("{} add {sums:?}", group.table.name)
            }
            Work::Set { keys, .. } => format!("{} set {}", group.table.name, keys.len()),
            Work::Delete(keys) => format!("{} delete {}", group.table.name, keys.len()),
        };
        group(changes)
            .expect("well formed")
            .into_iter()
            .map(describe)
            .collect()
    }

    #[test]
    fn a_batch_of_purchases_becomes_one_statement_a_table_and_one_a_hot_row() {
        let purchases: Vec<_> = (0..6)
            .flat_map(|number| {
                let held = ChangeKind::Add(vec![("held", 1)]);
                [change(&STOCK, number % 2, held), insert(number)]
            })
            .collect();
        assert_eq!(shape(&purchases), ["coupons insert 6", "stock add [3, 3]"]);
    }

    #[test]
    fn what_touches_a_row_again_comes_after() {
        let delete = change(&COUPONS, 1, ChangeKind::Delete);
        let changes = [insert(1), delete, insert(1), insert(2)];
        assert_eq!(
            shape(&changes),
            ["coupons insert 1", "coupons delete 1", "coupons insert 2"]
        );
    }

    #[test]
    fn an_insert_does_not_overtake_the_delete_that_may_make_room_for_it() {
        let changes = [
            insert(1),
            change(&COUPONS, 7, ChangeKind::Delete),
            insert(2),
        ];
        assert_eq!(
            shape(&changes),
            ["coupons insert 1", "coupons delete 1", "coupons insert 1"]
        );
    }

    #[test]
    fn a_change_that_fits_no_table_is_told() {
        let short = change(&COUPONS, 1, ChangeKind::Insert(vec![]));
        assert_eq!(
            group(&[short]).map(|_| ()).map_err(|error| error.table),
            Err("coupons")
        );
        let huge = |n| change(&STOCK, 1, ChangeKind::Add(vec![("held", n)]));
        assert!(group(&[huge(i64::MAX), huge(1)]).is_err());
    }
}
