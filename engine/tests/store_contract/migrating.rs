//! The schema's versions: applied once, in order, by one process at a time; what does not fit is told.

use std::sync::Arc;

use engine::store::{MigrateError, Migration, migrations};

use crate::harness::{Fixture, SHOP, on_both};

on_both!(
    a_schema_that_is_up_to_date_is_left_alone,
    processes_that_migrate_at_once_apply_each_version_once,
    a_schema_that_is_newer_than_the_program_is_told,
    a_migration_that_was_changed_is_told,
    a_migration_that_fails_is_told_with_its_statement,
    a_list_with_a_gap_is_told,
    the_database_says_how_durable_it_is,
);

const MORE: Migration = Migration {
    version: 3,
    name: "more",
    mysql: "-- More; with a comment.\nCREATE TABLE more (id INT NOT NULL PRIMARY KEY);\nINSERT INTO more VALUES (1);\n-- The end.\n",
    sqlite: "-- More; with a comment.\nCREATE TABLE more (id INTEGER NOT NULL PRIMARY KEY);\nINSERT INTO more VALUES (1);\n-- The end.\n",
};

fn with(more: &[Migration]) -> Vec<Migration> {
    let mut all = migrations();
    all.push(SHOP);
    all.extend_from_slice(more);
    all
}

async fn a_schema_that_is_up_to_date_is_left_alone(fixture: Arc<Fixture>) {
    let report = fixture
        .database
        .migrate(&with(&[]))
        .await
        .expect("migrated");
    assert_eq!((report.applied, report.version), (vec![], 2));
    let report = fixture
        .database
        .migrate(&with(&[MORE]))
        .await
        .expect("migrated");
    assert_eq!((report.applied, report.version), (vec![3], 3));
    assert_eq!(fixture.count("SELECT COUNT(*) FROM more").await, 1);
    let applied = "SELECT COUNT(*) FROM schema_migrations WHERE applied_at_us > 1500000000000000";
    assert_eq!(fixture.count(applied).await, 3);
}

async fn processes_that_migrate_at_once_apply_each_version_once(fixture: Arc<Fixture>) {
    let all = with(&[MORE]);
    let at_once = (0..4).map(|_| fixture.database.migrate(&all));
    let reports = futures_util::future::try_join_all(at_once)
        .await
        .expect("migrated");
    let applied: Vec<u32> = reports
        .into_iter()
        .flat_map(|report| report.applied)
        .collect();
    assert_eq!(applied, [3]);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM more").await, 1);
}

async fn a_schema_that_is_newer_than_the_program_is_told(fixture: Arc<Fixture>) {
    let error = fixture
        .database
        .migrate(&migrations())
        .await
        .expect_err("newer");
    assert!(
        matches!(error, MigrateError::NewerSchema { found: 2, known: 1 }),
        "{error}"
    );
}

async fn a_migration_that_was_changed_is_told(fixture: Arc<Fixture>) {
    let changed = Migration {
        mysql: "SELECT 1",
        sqlite: "SELECT 1",
        ..SHOP
    };
    let mut all = migrations();
    all.push(changed);
    let error = fixture.database.migrate(&all).await.expect_err("changed");
    assert!(
        matches!(error, MigrateError::ChangedChecksum { version: 2, .. }),
        "{error}"
    );
}

async fn a_migration_that_fails_is_told_with_its_statement(fixture: Arc<Fixture>) {
    let broken = Migration {
        version: 3,
        name: "broken",
        mysql: "CREATE TABLE half (id INT);\nCREATE TABLE stock (id INT)",
        sqlite: "CREATE TABLE half (id INTEGER);\nCREATE TABLE stock (id INTEGER)",
    };
    let error = fixture
        .database
        .migrate(&with(&[broken]))
        .await
        .expect_err("stock exists");
    assert!(
        matches!(
            error,
            MigrateError::Failed {
                version: 3,
                statement: 2,
                ..
            }
        ),
        "{error}"
    );
    // MySQL can't undo the first statement and says so from now on; SQLite has undone it.
    let error = fixture
        .database
        .migrate(&with(&[broken]))
        .await
        .expect_err("still broken");
    match fixture.database.dialect() {
        engine::store::Dialect::MySql => {
            assert!(
                matches!(error, MigrateError::PartiallyApplied { version: 3, .. }),
                "{error}"
            );
        }
        engine::store::Dialect::Sqlite => {
            assert!(
                matches!(error, MigrateError::Failed { version: 3, .. }),
                "{error}"
            );
            fixture
                .database
                .migrate(&with(&[MORE]))
                .await
                .expect("migrated");
        }
    }
}

async fn a_list_with_a_gap_is_told(fixture: Arc<Fixture>) {
    let gap = Migration { version: 4, ..MORE };
    let error = fixture
        .database
        .migrate(&with(&[gap]))
        .await
        .expect_err("a gap");
    assert!(
        matches!(
            error,
            MigrateError::Misnumbered {
                place: 3,
                version: 4
            }
        ),
        "{error}"
    );
}

async fn the_database_says_how_durable_it_is(fixture: Arc<Fixture>) {
    let durability = fixture.database.durability().await.expect("read");
    assert!(durability.survives_power_loss(), "{durability:?}");
}
