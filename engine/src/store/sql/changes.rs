//! The statements of a batch's changes: the one code for the journal's transactional effects and for the catalogue's
//! own transactions.

use std::collections::BTreeMap;

use super::dialect::Dialect;
use super::grouping::{Group, Malformed, Work, group};
use super::statement::{Part, Statement, insert_rows};
use super::text::SqlText;
use crate::store::change::{Change, Column, Key, Table, Value};

/// At most so many keys in one `IN`: the range optimiser's memory is bounded.
const KEYS_MAX: usize = 128;

/// Appends what carries out `changes`.
pub(crate) fn append(
    statements: &mut Vec<Statement>,
    dialect: Dialect,
    changes: &[Change],
) -> Result<(), Malformed> {
    for Group { table, work, .. } in group(changes)? {
        match work {
            Work::Insert(rows) => insert(statements, dialect, table, rows),
            Work::Add(rows) => statements.extend(
                rows.into_iter()
                    .map(|(key, sums)| add(dialect, table, key, &sums)),
            ),
            Work::Set { values, keys } => {
                let keys: Vec<_> = keys.into_iter().collect();
                statements.extend(
                    keys.chunks(KEYS_MAX)
                        .map(|keys| set(dialect, table, values, keys)),
                );
            }
            Work::Delete(keys) => {
                statements.extend(
                    keys.chunks(KEYS_MAX)
                        .map(|keys| delete(dialect, table, keys)),
                );
            }
        }
    }
    Ok(())
}

fn insert(
    statements: &mut Vec<Statement>,
    dialect: Dialect,
    table: &'static Table,
    rows: Vec<(&Key, &[Value])>,
) {
    let head = |text: &mut SqlText| {
        text.sql("INSERT INTO ").name(table.name).sql(" (");
        text.list(table.key.iter().chain(table.columns), |text, column| {
            text.name(column);
        });
        text.sql(")");
    };
    insert_rows(
        statements,
        dialect,
        Part::Changes(table.name),
        head,
        rows,
        |text, (key, values)| {
            text.list(key.iter().chain(values), |text, value| {
                text.value(value);
            });
        },
    );
}

fn add(
    dialect: Dialect,
    table: &'static Table,
    key: &Key,
    sums: &BTreeMap<Column, i64>,
) -> Statement {
    update(dialect, table, &[key], |text| {
        text.list(sums, |text, (column, sum)| {
            text.name(column)
                .sql(" = ")
                .name(column)
                .sql(" + ")
                .number(*sum);
        });
    })
}

fn set(
    dialect: Dialect,
    table: &'static Table,
    values: &[(Column, Value)],
    keys: &[&Key],
) -> Statement {
    update(dialect, table, keys, |text| {
        text.list(values, |text, (column, value)| {
            text.name(column).sql(" = ").value(value);
        });
    })
}

fn update(
    dialect: Dialect,
    table: &'static Table,
    keys: &[&Key],
    assignments: impl FnOnce(&mut SqlText),
) -> Statement {
    let mut text = SqlText::new(dialect);
    text.sql("UPDATE ").name(table.name).sql(" SET ");
    assignments(&mut text);
    guarded(text, table, keys)
}

fn delete(dialect: Dialect, table: &'static Table, keys: &[&Key]) -> Statement {
    let mut text = SqlText::new(dialect);
    text.sql("DELETE FROM ").name(table.name);
    guarded(text, table, keys)
}

/// Ends the statement with `WHERE` these keys; each of them must be there.
fn guarded(mut text: SqlText, table: &'static Table, keys: &[&Key]) -> Statement {
    text.sql(" WHERE ");
    match (table.key, keys) {
        (columns, [key]) => {
            for (index, (column, value)) in columns.iter().zip(*key).enumerate() {
                text.sql(if index > 0 { " AND " } else { "" });
                text.name(column).sql(" = ").value(value);
            }
        }
        ([column], keys) => {
            text.name(column).sql(" IN (");
            text.list(keys.iter().copied().flatten(), |text, value| {
                text.value(value);
            });
            text.sql(")");
        }
        (columns, keys) => {
            let rows = text.dialect().in_rows();
            text.sql("(").list(columns, |text, column| {
                text.name(column);
            });
            text.sql(")").sql(rows).list(keys, |text, key| {
                text.sql("(").list(*key, |text, value| {
                    text.value(value);
                });
                text.sql(")");
            });
            text.sql(")");
        }
    }
    Statement {
        text: text.finish(),
        part: Part::Changes(table.name),
        matched: Some(keys.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::change::ChangeKind;
    use crate::workflow::Refusal;

    const COUPONS: Table = Table {
        name: "coupons",
        key: &["campaign", "buyer"],
        columns: &["state"],
    };

    fn texts(dialect: Dialect, changes: &[(i64, ChangeKind)]) -> Vec<String> {
        let changes: Vec<_> = changes
            .iter()
            .map(|(buyer, kind)| Change {
                table: &COUPONS,
                key: vec![Value::Integer(9), Value::Integer(*buyer)],
                kind: kind.clone(),
                refusal: Refusal::new("no", "No."),
            })
            .collect();
        let mut statements = Vec::new();
        append(&mut statements, dialect, &changes).expect("well formed");
        statements
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    #[test]
    fn keys_of_several_columns_are_named_together() {
        let both = [(1, ChangeKind::Delete), (2, ChangeKind::Delete)];
        assert_eq!(
            texts(Dialect::MySql, &both),
            ["DELETE FROM `coupons` WHERE (`campaign`, `buyer`) IN ((9, 1), (9, 2))"]
        );
        assert_eq!(
            texts(Dialect::Sqlite, &both),
            ["DELETE FROM `coupons` WHERE (`campaign`, `buyer`) IN (VALUES (9, 1), (9, 2))"]
        );
    }

    #[test]
    fn one_row_is_named_by_its_columns() {
        let used = ChangeKind::Set(vec![("state", Value::Integer(2))]);
        assert_eq!(
            texts(Dialect::MySql, &[(1, used)]),
            ["UPDATE `coupons` SET `state` = 2 WHERE `campaign` = 9 AND `buyer` = 1"]
        );
    }
}
