//! Guarded changes: each kind is refused when its row says no, and then nothing at all is written.

use std::sync::Arc;

use engine::store::change::ChangeKind;
use engine::store::{Change, CommitError, JournalPosition, RefusedRows, StoreError, Value};
use futures_util::FutureExt as _;

use crate::harness::{
    Fixture, PATIENCE, add_stock, coupon, delete_stock, new_stock, on_both, set_stock,
};
use crate::samples::{ids, starting};

on_both!(
    changes_are_written_with_their_batch,
    a_guard_that_says_no_refuses_the_whole_batch,
    a_catalogue_transaction_is_all_or_nothing,
    a_transaction_goes_on_when_its_caller_goes_away,
    values_of_every_type_come_back,
    many_rows_with_a_key_of_two_columns_are_changed_at_once,
    a_malformed_change_is_a_defect_and_writes_nothing,
    a_query_tells_what_is_wrong_with_a_column,
    writers_of_the_same_hot_rows_both_succeed,
);

fn held(serial: i64) -> ChangeKind {
    ChangeKind::Insert(vec![serial.into(), "HELD".into()])
}

async fn changes_are_written_with_their_batch(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let mut batch = starting(JournalPosition::default(), &ids(&lease, 1));
    batch.changes = vec![
        new_stock("p", 10),
        new_stock("q", 3),
        coupon(1, 1, held(1)),
        add_stock("p", -7),
        delete_stock("q"),
        coupon(1, 1, ChangeKind::Set(vec![("state", "USED".into())])),
        add_stock("p", 2),
        new_stock("q", 5),
        set_stock("q", vec![("note", Value::Text("again".into()))]),
    ];
    journal.commit(&batch).await.expect("committed");
    assert_eq!(
        (fixture.held("p").await, fixture.held("q").await),
        (Some(5), Some(5))
    );
    let used = "SELECT COUNT(*) FROM coupons WHERE state = 'USED'";
    assert_eq!(fixture.count(used).await, 1);
}

async fn a_guard_that_says_no_refuses_the_whole_batch(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let rows = [new_stock("p", 1), coupon(1, 1, held(7))];
    fixture
        .database
        .transact("filling", &rows)
        .await
        .expect("committed");
    let used = || ChangeKind::Set(vec![("state", "USED".into())]);
    let refusals: Vec<(&str, &str, Change)> = vec![
        ("an insert of a key that exists", "stock", new_stock("p", 1)),
        (
            "an insert of another unique key that exists",
            "coupons",
            coupon(1, 2, held(7)),
        ),
        (
            "an insert that a check forbids",
            "stock",
            new_stock("q", 101),
        ),
        ("an addition to no row", "stock", add_stock("absent", 1)),
        (
            "an addition that a check forbids",
            "stock",
            add_stock("p", -2),
        ),
        (
            "an addition that a check forbids above",
            "stock",
            add_stock("p", 100),
        ),
        ("a setting of no row", "coupons", coupon(1, 2, used())),
        ("a setting that is too long", "coupons", {
            coupon(
                1,
                1,
                ChangeKind::Set(vec![("state", "X".repeat(17).into())]),
            )
        }),
        ("a setting to null of what may not be", "coupons", {
            coupon(1, 1, ChangeKind::Set(vec![("state", Value::Null)]))
        }),
        ("a removal of no row", "stock", delete_stock("absent")),
    ];
    for (what, table, change) in refusals {
        let mut batch = starting(JournalPosition::default(), &ids(&lease, 2));
        batch.changes = vec![
            new_stock("r", 1),
            add_stock("p", 1),
            add_stock("p", -1),
            change.clone(),
        ];
        let error = journal.commit(&batch).await.expect_err(what);
        let CommitError::RowRefused { rows, .. } = error else {
            panic!("{what}: {error}")
        };
        assert_eq!(rows, RefusedRows::Changes(table), "{what}");
        let error = fixture
            .database
            .transact("trying", &[new_stock("r", 1), change])
            .await;
        let error = error.expect_err(what);
        assert!(
            matches!(error, CommitError::RowRefused { .. }),
            "{what}: {error}"
        );
        assert_eq!(
            journal.position().await.expect("read"),
            JournalPosition::default(),
            "{what}"
        );
        assert_eq!(
            (fixture.held("p").await, fixture.held("r").await),
            (Some(1), None),
            "{what}"
        );
        assert_eq!(
            fixture.count("SELECT COUNT(*) FROM workflows").await,
            0,
            "{what}"
        );
    }
}

async fn a_catalogue_transaction_is_all_or_nothing(fixture: Arc<Fixture>) {
    let changes = [new_stock("p", 1), new_stock("q", 1), new_stock("p", 2)];
    let error = fixture
        .database
        .transact("filling", &changes)
        .await
        .expect_err("refused");
    assert!(matches!(error, CommitError::RowRefused { .. }), "{error}");
    assert_eq!(fixture.count("SELECT COUNT(*) FROM stock").await, 0);
    fixture
        .database
        .transact("filling", &changes[..2])
        .await
        .expect("committed");
    fixture
        .database
        .transact("doing nothing", &[])
        .await
        .expect("committed");
    assert_eq!(fixture.count("SELECT COUNT(*) FROM stock").await, 2);
}

async fn a_transaction_goes_on_when_its_caller_goes_away(fixture: Arc<Fixture>) {
    for product in ["p", "q", "r", "s"] {
        let changes = [new_stock(product, 0), add_stock(product, 1)];
        // Polled once, so that it is under way, and dropped.
        let outcome = fixture
            .database
            .transact("filling", &changes)
            .now_or_never();
        assert!(outcome.is_none(), "a transaction takes more than one poll");
    }
    // Each is written completely, and no connection was left in the middle of it.
    let begun = tokio::time::Instant::now();
    while fixture
        .count("SELECT CAST(COALESCE(SUM(held), 0) AS CHAR) + 0 >= 4 FROM stock")
        .await
        == 0
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "the transactions never came to an end"
        );
        tokio::task::yield_now().await;
    }
    fixture
        .database
        .transact("going on", &[add_stock("p", 1)])
        .await
        .expect("committed");
    assert_eq!(fixture.held("p").await, Some(2));
}

async fn values_of_every_type_come_back(fixture: Arc<Fixture>) {
    let note = "'; DROP TABLE stock; -- \u{1F600} \\";
    let bytes = [0, 255, b'\'', b'\\', 0];
    let changes = [
        new_stock(note, 7),
        set_stock(note, vec![("note", Value::Text(note.into()))]),
        Change {
            key: vec![Value::Integer(i64::MIN), Value::Bytes(bytes.to_vec())],
            ..coupon(0, 0, ChangeKind::Insert(vec![Value::Null, "".into()]))
        },
    ];
    fixture
        .database
        .transact("filling", &changes)
        .await
        .expect("committed");
    let sql = "SELECT product, held, note, '?' FROM stock WHERE product = ?";
    let rows = fixture
        .database
        .query("reading", sql, &[note.into()])
        .await
        .expect("read");
    assert_eq!(rows[0].text(0).expect("text"), note);
    assert_eq!(rows[0].integer(1).expect("number"), 7);
    assert_eq!(rows[0].optional_text(2).expect("text"), Some(note));
    assert_eq!(rows[0].text(3).expect("text"), "?");
    let sql = "SELECT campaign, buyer, serial, state FROM coupons WHERE buyer = ?";
    let parameters = [Value::Bytes(bytes.to_vec())];
    let rows = fixture
        .database
        .query("reading", sql, &parameters)
        .await
        .expect("read");
    assert_eq!(rows[0].integer(0).expect("number"), i64::MIN);
    assert_eq!(rows[0].bytes(1).expect("bytes"), bytes);
    assert_eq!(rows[0].optional_integer(2).expect("number"), None);
    assert_eq!(rows[0].text(3).expect("text"), "");
}

async fn many_rows_with_a_key_of_two_columns_are_changed_at_once(fixture: Arc<Fixture>) {
    let each = |kind: fn(i64) -> ChangeKind| -> Vec<Change> {
        (0..200_i64)
            .map(|n| coupon(n % 3, u8::try_from(n).expect("small"), kind(n)))
            .collect()
    };
    fixture
        .database
        .transact("claiming", &each(held))
        .await
        .expect("committed");
    let used = each(|_| ChangeKind::Set(vec![("state", "USED".into())]));
    fixture
        .database
        .transact("using", &used)
        .await
        .expect("committed");
    let count = "SELECT COUNT(*) FROM coupons WHERE state = 'USED'";
    assert_eq!(fixture.count(count).await, 200);
    fixture
        .database
        .transact("deleting", &each(|_| ChangeKind::Delete))
        .await
        .expect("committed");
    assert_eq!(fixture.count(count).await, 0);
}

async fn a_malformed_change_is_a_defect_and_writes_nothing(fixture: Arc<Fixture>) {
    let short = coupon(1, 1, ChangeKind::Insert(vec![Value::Null]));
    let error = fixture
        .database
        .transact("filling", &[new_stock("p", 1), short])
        .await;
    let error = error.expect_err("refused");
    assert!(
        matches!(error, CommitError::Store(StoreError::Corrupt { .. })),
        "{error}"
    );
    assert_eq!(fixture.held("p").await, None);
}

async fn a_query_tells_what_is_wrong_with_a_column(fixture: Arc<Fixture>) {
    fixture
        .database
        .transact("filling", &[new_stock("p", 1)])
        .await
        .expect("committed");
    let sql = "SELECT product, note, held FROM stock";
    let rows = fixture
        .database
        .query("reading", sql, &[])
        .await
        .expect("read");
    for error in [rows[0].integer(0), rows[0].integer(1), rows[0].integer(9)] {
        let error = error.expect_err("not a number").to_string();
        assert!(
            error.contains("reading") && error.contains("column"),
            "{error}"
        );
    }
    assert!(
        rows[0]
            .text(2)
            .expect_err("not text")
            .to_string()
            .contains("`held`")
    );
    let error = fixture
        .database
        .query("reading", "SELECT nothing FROM nowhere", &[])
        .await;
    let error = error.expect_err("no such table");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    fixture
        .store
        .ping()
        .await
        .expect("a refused query breaks nothing");
}

async fn writers_of_the_same_hot_rows_both_succeed(fixture: Arc<Fixture>) {
    let products: Vec<String> = (0..5).map(|number| format!("p{number}")).collect();
    let rows: Vec<_> = products
        .iter()
        .map(|product| new_stock(product, 0))
        .collect();
    fixture
        .database
        .transact("filling", &rows)
        .await
        .expect("committed");
    let writers = ["a", "b"].map(|node| {
        let (fixture, mut products) = (Arc::clone(&fixture), products.clone());
        async move {
            let lease = fixture.lease(node).await;
            let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
            for _ in 0..20 {
                // The order within a batch does not matter.
                products.rotate_left(1);
                let position = journal.position().await.expect("read");
                let mut batch = starting(position, &[]);
                batch.changes = products
                    .iter()
                    .map(|product| add_stock(product, 1))
                    .collect();
                journal
                    .commit(&batch)
                    .await
                    .expect("committed without a dead-lock");
            }
        }
    });
    futures_util::future::join_all(writers).await;
    for product in &products {
        assert_eq!(fixture.held(product).await, Some(40));
    }
}
