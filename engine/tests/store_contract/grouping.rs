//! Grouped changes come to what the same changes, made one by one, come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::store::change::ChangeKind;
use engine::store::{Change, CommitError, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::harness::{Fixture, coupon, on_sqlite};

const CASES: u32 = 400;

/// What a change does to the model: `(campaign, buyer)` to `(serial, state)`, with a unique serial.
type Rows = BTreeMap<(i64, Vec<u8>), (Option<i64>, String)>;

/// Applies one change; `None` when its row is there and should not be, or the other way round.
fn apply(rows: &mut Rows, change: &Change) -> Option<()> {
    let (Value::Integer(campaign), Value::Bytes(buyer)) = (&change.key[0], &change.key[1]) else {
        unreachable!("keys are made below")
    };
    let key = (*campaign, buyer.clone());
    match &change.kind {
        ChangeKind::Insert(values) => {
            let (serial, state) = (number(&values[0]), text(&values[1]));
            rows.insert(key, (serial, state)).is_none().then_some(())
        }
        ChangeKind::Add(deltas) => {
            let row = rows.get_mut(&key)?;
            row.0 = row
                .0
                .map(|serial| serial + deltas.iter().map(|(_, delta)| delta).sum::<i64>());
            Some(())
        }
        ChangeKind::Set(values) => {
            let row = rows.get_mut(&key)?;
            for (column, value) in values {
                match *column {
                    "serial" => row.0 = number(value),
                    _ => row.1 = text(value),
                }
            }
            Some(())
        }
        ChangeKind::Delete => rows.remove(&key).map(|_| ()),
    }
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value {
        Some(*number)
    } else {
        None
    }
}

fn text(value: &Value) -> String {
    if let Value::Text(text) = value {
        text.clone()
    } else {
        String::new()
    }
}

fn serials_are_unique(rows: &Rows) -> bool {
    let mut serials: Vec<_> = rows.values().filter_map(|(serial, _)| *serial).collect();
    serials.sort_unstable();
    serials.windows(2).all(|two| two[0] != two[1])
}

fn any_change() -> impl Strategy<Value = Change> {
    let serial = prop_oneof![2 => Just(Value::Null), 3 => (0..6_i64).prop_map(Value::Integer)];
    let state = prop_oneof![Just("HELD"), Just("USED")].prop_map(Value::from);
    let kind = prop_oneof![
        4 => (serial.clone(), state.clone()).prop_map(|(one, two)| ChangeKind::Insert(vec![one, two])),
        2 => state.prop_map(|state| ChangeKind::Set(vec![("state", state)])),
        2 => serial.prop_map(|serial| ChangeKind::Set(vec![("serial", serial)])),
        3 => Just(ChangeKind::Delete),
    ];
    ((0..3_i64), (0..2_u8), kind).prop_map(|(campaign, buyer, kind)| coupon(campaign, buyer, kind))
}

/// `strict`: one by one, with every guard asked at each step. `relaxed`: whether rows are there is asked at each step, and
/// the unique key at the end. What is accepted strictly must be accepted, what is accepted must be so relaxed; and the
/// rows are the same.
async fn check(fixture: &Fixture, changes: &[Change]) {
    let mut rows = Rows::new();
    let (mut strict, mut relaxed) = (true, true);
    for change in changes {
        relaxed &= apply(&mut rows, change).is_some();
        strict &= relaxed && serials_are_unique(&rows);
    }
    relaxed &= serials_are_unique(&rows);
    match fixture.database.transact("changing coupons", changes).await {
        Ok(()) => {
            assert!(relaxed, "accepted what breaks a guard: {changes:?}");
            assert_eq!(stored(fixture).await, rows, "{changes:?}");
        }
        Err(CommitError::RowRefused { cause, .. }) => {
            assert!(
                !strict,
                "refused what one by one is accepted: {cause}: {changes:?}"
            );
            assert_eq!(stored(fixture).await, Rows::new(), "{changes:?}");
        }
        Err(error) => panic!("{error}: {changes:?}"),
    }
    let all: Vec<_> = stored(fixture)
        .await
        .into_keys()
        .map(|(campaign, buyer)| coupon(campaign, buyer[0], ChangeKind::Delete))
        .collect();
    fixture
        .database
        .transact("clearing", &all)
        .await
        .expect("cleared");
}

async fn stored(fixture: &Fixture) -> Rows {
    let sql = "SELECT campaign, buyer, serial, state FROM coupons";
    let rows = fixture
        .database
        .query("reading coupons", sql, &[])
        .await
        .expect("read");
    rows.iter()
        .map(|row| {
            let key = (
                row.integer(0).expect("number"),
                row.bytes(1).expect("bytes").to_vec(),
            );
            let serial = row.optional_integer(2).expect("number");
            (key, (serial, row.text(3).expect("text").to_owned()))
        })
        .collect()
}

#[test]
fn grouped_changes_come_to_what_one_by_one_comes_to() {
    let seed: u64 = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_260_611);
    println!("TEST_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(on_sqlite(async |fixture: Arc<Fixture>| {
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        };
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            let changes = proptest::collection::vec(any_change(), 1..12);
            TestRunner::new(config)
                .run(&changes, |changes| {
                    handle.block_on(check(&fixture, &changes));
                    Ok(())
                })
                .unwrap_or_else(|error| panic!("{error}"));
        });
    }));
}
