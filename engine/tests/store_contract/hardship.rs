//! What a busy server does to a store: dead-locks, and callers that go away in the middle of a call.

use std::sync::Arc;
use std::time::Duration;

use engine::runtime::{Entropy as _, SeededEntropy};
use engine::store::{CommitError, JournalPosition, ListFilter};
use sqlx::Connection as _;
use sqlx::mysql::MySqlConnection;
use tokio::task::JoinSet;

use crate::harness::{Fixture, LOCK_WAITS, PATIENCE, add_stock, new_stock, on_both, on_mysql};
use crate::inbox::command;
use crate::samples::{following, ids, starting};

const CALLS: usize = 400;

/// A session of somebody else.
async fn session(fixture: &Fixture) -> MySqlConnection {
    MySqlConnection::connect(&fixture.url)
        .await
        .expect("the server answers")
}

async fn run(session: &mut MySqlConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(session).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_loses_a_dead_lock_wrote_nothing_and_is_written_when_it_is_tried_again() {
    on_mysql(async |fixture: Arc<Fixture>| {
        let lease = fixture.lease("a").await;
        let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
        let mut first = starting(JournalPosition::default(), &[]);
        first.changes = vec![new_stock("p", 0), new_stock("q", 0)];
        journal.commit(&first).await.expect("committed");
        let mut batch = following(journal.position().await.expect("read"));
        batch.changes = vec![add_stock("p", 1), add_stock("q", 1)];
        // Somebody who has written more than the batch, so that the server picks the batch as the victim.
        let mut rival = session(&fixture).await;
        run(&mut rival, "CREATE TABLE bulk (n INT PRIMARY KEY)").await.expect("made");
        run(&mut rival, "BEGIN").await.expect("begun");
        run(
            &mut rival,
            "INSERT INTO bulk WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n",
        )
        .await
        .expect("written");
        run(&mut rival, "UPDATE stock SET held = held + 10 WHERE product = 'q'")
            .await
            .expect("locked");
        let mut committing = JoinSet::new();
        committing.spawn(async move {
            let outcome = journal.commit(&batch).await;
            (journal, batch, outcome)
        });
        // On a slow machine the batch may have given up waiting for the lock by then, which is the same to it.
        let mut ended = None;
        while fixture.count(LOCK_WAITS).await == 0 && ended.is_none() {
            ended = committing.try_join_next();
        }
        run(&mut rival, "UPDATE stock SET held = held + 10 WHERE product = 'p'")
            .await
            .expect("the batch is the victim, or gone");
        run(&mut rival, "COMMIT").await.expect("committed");
        if ended.is_none() {
            ended = committing.join_next().await;
        }
        let (mut journal, batch, outcome) = ended.expect("a batch").expect("no panic");
        assert!(
            matches!(outcome, Err(CommitError::Contended(_))),
            "{outcome:?}"
        );
        assert_eq!(fixture.held("p").await, Some(10));
        journal.commit(&batch).await.expect("committed");
        assert_eq!(
            (fixture.held("p").await, fixture.held("q").await),
            (Some(11), Some(11))
        );
    })
    .await;
}

on_both!(callers_that_go_away_leave_nothing_open_and_nothing_half_done);

async fn callers_that_go_away_leave_nothing_open_and_nothing_half_done(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let workflows = ids(&lease, 50);
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    journal
        .commit(&starting(JournalPosition::default(), &workflows))
        .await
        .expect("committed");
    let seed = SeededEntropy::from_system().next_u64();
    println!("seed {seed}");
    let dice = SeededEntropy::new(seed);
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (fixture, lease) = (Arc::clone(&fixture), lease.clone());
        let workflow = workflows[number % workflows.len()];
        let call = async move {
            let store = &fixture.store;
            match number % 5 {
                0 => drop(store.find(&workflow.ident()).await),
                1 => drop(store.load(&[workflow.ident()]).await),
                2 => drop(
                    store
                        .list(&ListFilter {
                            limit: 20,
                            ..ListFilter::default()
                        })
                        .await,
                ),
                3 => drop(
                    store
                        .submit(&command(workflow, &format!("key {number}")))
                        .await,
                ),
                _ => drop(
                    store
                        .renew(std::slice::from_ref(&lease), Duration::from_mins(10))
                        .await,
                ),
            }
        };
        let patience = Duration::from_micros(dice.next_u64() % 3_000);
        calls.spawn(async move { drop(tokio::time::timeout(patience, call).await) });
    }
    while calls.join_next().await.is_some() {}
    if !fixture.url.is_empty() {
        let open = "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p \
                    ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()";
        let begun = tokio::time::Instant::now();
        while fixture.count(open).await > 0 {
            assert!(begun.elapsed() < PATIENCE, "a transaction stays open");
        }
    }
    // Everything can be used as before, and a command is there whole or not at all.
    for (number, workflow) in (0..CALLS).zip(workflows.iter().cycle()) {
        let key = format!("key {number}");
        let found = fixture.store.command_of_key(*workflow, &key).await;
        if let Some(row) = found.expect("read") {
            assert_eq!(row.command, command(*workflow, &key));
        }
    }
    let position = journal.position().await.expect("read");
    journal
        .commit(&following(position))
        .await
        .expect("committed");
}
