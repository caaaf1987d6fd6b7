//! What a workflow's row changes come to, added up.

use std::collections::BTreeMap;

use crate::store::change::ChangeKind;
use crate::store::{Change, Key, Value};

/// What became of one row.
#[derive(Clone, Debug, Default)]
struct Net {
    /// It is new, with these values.
    inserted: Option<BTreeMap<&'static str, Value>>,
    /// It was there before, and is no more.
    deleted: bool,
    /// What was added to a row that was there before.
    added: BTreeMap<&'static str, i64>,
}

/// What a workflow's row changes come to: an insert and a delete of one row are nothing, two additions are one.
#[derive(Clone, Debug, Default)]
pub struct Rows(BTreeMap<(&'static str, Key), Net>);

impl Rows {
    pub(super) fn of(changes: &[Change]) -> Self {
        let mut rows = Self::default();
        for change in changes {
            let net = rows
                .0
                .entry((change.table.name, change.key.clone()))
                .or_default();
            net.add(change);
        }
        rows
    }

    /// How many rows of this table there are that were not there before.
    #[must_use]
    pub fn inserted(&self, table: &str) -> usize {
        let nets = self.of_table(table);
        nets.filter(|net| net.inserted.is_some()).count()
    }

    /// What was added to this column of the table's rows, all in all: of those that were there before what changed, of those
    /// that are new the whole.
    #[must_use]
    pub fn added(&self, table: &str, column: &str) -> i64 {
        let of_row = |net: &Net| match &net.inserted {
            Some(values) => match values.get(column) {
                Some(Value::Integer(value)) => *value,
                _ => 0,
            },
            None => net.added.get(column).copied().unwrap_or_default(),
        };
        self.of_table(table).map(of_row).sum()
    }

    /// What is not as it was before, except in these tables. Columns that were set in a row that was there before can't be
    /// judged: nobody knows what they held.
    pub(super) fn left(&self, except: &[&str]) -> Vec<String> {
        let mut left = Vec::new();
        for ((table, key), net) in &self.0 {
            if except.contains(table) {
                continue;
            }
            let row = format!("row {} of `{table}`", words(key));
            if net.inserted.is_some() {
                left.push(format!("{row} is there"));
            } else if net.deleted {
                left.push(format!("{row} is gone"));
            }
            let sums = net.added.iter().filter(|(_, sum)| **sum != 0);
            left.extend(sums.map(|(column, sum)| format!("{row} has {sum:+} in `{column}`")));
        }
        left
    }

    fn of_table(&self, name: &str) -> impl Iterator<Item = &Net> {
        self.0
            .iter()
            .filter_map(move |((table, _), net)| (*table == name).then_some(net))
    }
}

impl Net {
    fn add(&mut self, change: &Change) {
        match &change.kind {
            ChangeKind::Insert(values) => {
                let columns = change.table.columns.iter().copied();
                self.inserted = Some(columns.zip(values.iter().cloned()).collect());
            }
            ChangeKind::Delete => match self.inserted.take() {
                Some(_) => {}
                None => self.deleted = true,
            },
            ChangeKind::Add(sums) => {
                for (column, sum) in sums {
                    self.add_to(column, *sum);
                }
            }
            ChangeKind::Set(values) => {
                if let Some(inserted) = &mut self.inserted {
                    inserted.extend(values.iter().cloned());
                }
            }
        }
    }

    fn add_to(&mut self, column: &'static str, sum: i64) {
        match &mut self.inserted {
            Some(values) => {
                if let Some(Value::Integer(value)) = values.get_mut(column) {
                    *value += sum;
                }
            }
            None => *self.added.entry(column).or_default() += sum,
        }
    }
}

fn words(key: &Key) -> String {
    let word = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    };
    let words: Vec<String> = key.iter().map(word).collect();
    words.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;
    use crate::workflow::Refusal;

    static SEATS: Table = Table {
        name: "seats",
        key: &["flight"],
        columns: &["held", "who"],
    };

    fn change(key: &str, kind: ChangeKind) -> Change {
        Change {
            table: &SEATS,
            key: vec![key.into()],
            kind,
            refusal: Refusal::new("no", "no"),
        }
    }

    #[test]
    fn what_was_done_and_undone_is_nothing() {
        let rows = Rows::of(&[
            change("a", ChangeKind::Add(vec![("held", 2)])),
            change("b", ChangeKind::Insert(vec![1.into(), "ann".into()])),
            change("a", ChangeKind::Add(vec![("held", -2)])),
            change("b", ChangeKind::Delete),
        ]);
        assert!(rows.left(&[]).is_empty(), "{:?}", rows.left(&[]));
        assert_eq!(rows.inserted("seats"), 0);
    }

    #[test]
    fn what_was_not_undone_is_named() {
        let rows = Rows::of(&[
            change("a", ChangeKind::Add(vec![("held", 2)])),
            change("b", ChangeKind::Insert(vec![1.into(), "ann".into()])),
            change("b", ChangeKind::Add(vec![("held", 3)])),
            change("c", ChangeKind::Delete),
        ]);
        let left = rows.left(&[]);
        let expected = [
            "row a of `seats` has +2 in `held`",
            "row b of `seats` is there",
            "row c of `seats` is gone",
        ];
        assert_eq!(left, expected);
        assert!(rows.left(&["seats"]).is_empty());
        assert_eq!(
            (rows.inserted("seats"), rows.added("seats", "held")),
            (1, 6)
        );
    }
}
