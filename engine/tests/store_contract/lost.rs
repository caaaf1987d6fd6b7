//! A connection that breaks: what is known about the batch is said, and the journal's position tells the rest.

use std::sync::Arc;
use std::time::Duration;

use engine::store::{
    Batch, CommitError, ConnectOptions, Journal, JournalPosition, Lease, Store, StoreError,
    Submitted, mysql,
};
use sqlx::Connection as _;
use sqlx::mysql::MySqlConnection;
use tokio::task::JoinSet;

use crate::harness::{Fixture, LOCK_WAITS, LONG, admin, new_stock, on_mysql};
use crate::inbox::command;
use crate::proxy::Proxy;
use crate::samples::{following, id, ids, starting};

/// The journal of a lease, over a network that can fail where `word` is sent.
struct Shaky {
    proxy: Proxy,
    store: Arc<dyn Store>,
    lease: Lease,
    journal: Box<dyn Journal>,
}

impl Shaky {
    async fn new(fixture: &Fixture, node: &str, word: &'static str) -> Self {
        let (front, database) = fixture.url.rsplit_once('/').expect("ends with a database");
        let (user, server) = front.rsplit_once('@').expect("names a user");
        let proxy = Proxy::start(server.to_owned(), word).await;
        let url = format!("{user}@{}/{database}", proxy.address());
        let through = mysql::connect(&url, &ConnectOptions::default())
            .await
            .expect("connected");
        let store = through.store();
        let lease = fixture.lease(node).await;
        let journal = store.open_journal(&lease).await.expect("opened");
        Self {
            proxy,
            store,
            lease,
            journal,
        }
    }

    fn batch(&self) -> Batch {
        starting(JournalPosition::default(), &ids(&self.lease, 3))
    }
}

/// A batch with a row that must be there, which is counted as it is matched.
fn counted(mut batch: Batch) -> Batch {
    batch.changes = vec![new_stock("p", 1), crate::harness::add_stock("p", 1)];
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_reply_is_lost_is_found_by_its_position() {
    on_mysql(async |fixture: Arc<Fixture>| {
        for (node, counts) in [("a", false), ("b", true)] {
            let mut shaky = Shaky::new(&fixture, node, "COMMIT").await;
            let mut batch = shaky.batch();
            if counts {
                batch = counted(batch);
            }
            shaky.proxy.lose_reply();
            let error = shaky
                .journal
                .commit(&batch)
                .await
                .expect_err("the reply is lost");
            assert!(
                matches!(error, CommitError::Store(StoreError::Lost { .. })),
                "{error}"
            );
            assert!(shaky.proxy.has_struck());
            let position = shaky
                .journal
                .position()
                .await
                .expect("read on a new connection");
            assert_eq!((position.batch, position.last_seq), (1, 3));
            shaky
                .journal
                .commit(&following(position))
                .await
                .expect("goes on");
            // The next round makes the same workflows.
            admin(&fixture.url, "DELETE FROM workflows").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_found_missing() {
    on_mysql(async |fixture: Arc<Fixture>| {
        for (node, counts) in [("a", false), ("b", true)] {
            let mut shaky = Shaky::new(&fixture, node, "COMMIT").await;
            let mut batch = shaky.batch();
            if counts {
                batch = counted(batch);
            }
            shaky.proxy.lose_request();
            let error = shaky
                .journal
                .commit(&batch)
                .await
                .expect_err("the request is lost");
            assert!(
                matches!(error, CommitError::Store(StoreError::Lost { .. })),
                "{error}"
            );
            let position = shaky
                .journal
                .position()
                .await
                .expect("read on a new connection");
            assert_eq!(position, JournalPosition::default());
            shaky
                .journal
                .commit(&batch)
                .await
                .expect("the same batch may be written now");
            assert_eq!(shaky.journal.position().await.expect("read").last_seq, 3);
            admin(&fixture.url, "DELETE FROM workflows").await;
            admin(&fixture.url, "DELETE FROM stock").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_rows_are_counted_is_found_or_not_when_its_connection_breaks() {
    on_mysql(async |fixture: Arc<Fixture>| {
        // It goes in one round trip: the server counts.
        let mut shaky = Shaky::new(&fixture, "a", "START TRANSACTION").await;
        let batch = counted(shaky.batch());
        for (lose, written) in [
            (Proxy::lose_request as fn(&Proxy), 0),
            (Proxy::lose_reply, 1),
        ] {
            lose(&shaky.proxy);
            let error = shaky
                .journal
                .commit(&batch)
                .await
                .expect_err("the connection is lost");
            assert!(
                matches!(error, CommitError::Store(StoreError::Lost { .. })),
                "{error}"
            );
            let position = shaky.journal.position().await.expect("read");
            assert_eq!(position.batch, written);
        }
        assert_eq!(fixture.held("p").await, Some(2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_whose_reply_is_lost_finds_itself() {
    on_mysql(async |fixture: Arc<Fixture>| {
        let shaky = Shaky::new(&fixture, "a", "INSERT INTO commands").await;
        let command = command(id(shaky.lease.partition, 1), "key");
        for lost in [Proxy::lose_request, Proxy::lose_reply] {
            lost(&shaky.proxy);
            let error = shaky.store.submit(&command).await.expect_err("lost");
            assert!(matches!(error, StoreError::Lost { .. }), "{error}");
        }
        // The request got lost once and the reply once: it is there, and once.
        let repeated = shaky.store.submit(&command).await.expect("submitted");
        assert!(matches!(repeated, Submitted::Existing(_)), "{repeated:?}");
        let all = shaky.store.commands(None, None, None, 10).await;
        assert_eq!(all.expect("read").len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retirement_whose_reply_is_lost_is_done_or_not_but_never_halfway() {
    on_mysql(async |fixture: Arc<Fixture>| {
        for (node, word, reply_is_lost, happens) in [
            ("a", "SET retired = 1", true, false),
            ("b", "SET retired = 1", false, false),
            ("c", "COMMIT", false, false),
            ("d", "COMMIT", true, true),
        ] {
            let mut shaky = Shaky::new(&fixture, node, word).await;
            // A connection for writes is there before anything gets lost.
            let held = std::slice::from_ref(&shaky.lease);
            shaky.store.renew(held, LONG).await.expect("renewed");
            if reply_is_lost {
                shaky.proxy.lose_reply();
            } else {
                shaky.proxy.lose_request();
            }
            let error = shaky.store.retire(&shaky.lease).await.expect_err("lost");
            let may_have_happened = matches!(error, StoreError::Lost { .. });
            assert_eq!(may_have_happened, word == "COMMIT", "{error}");
            let rows = fixture.store.partitions().await.expect("read");
            let row = rows.iter().find(|row| row.id == shaky.lease.partition);
            assert_eq!(row.expect("there").retired, happens, "{node}");
            let committed = shaky
                .journal
                .commit(&following(JournalPosition::default()))
                .await;
            assert_eq!(committed.is_ok(), !happens, "{committed:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_replaced() {
    on_mysql(async |fixture: Arc<Fixture>| {
        let lease = fixture.lease("a").await;
        let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
        kill_all(&fixture).await;
        let batch = counted(starting(JournalPosition::default(), &ids(&lease, 1)));
        let error = journal
            .commit(&batch)
            .await
            .expect_err("its connection was killed");
        assert!(
            matches!(error, CommitError::Store(StoreError::Lost { .. })),
            "{error}"
        );
        journal
            .commit(&batch)
            .await
            .expect("committed on a new connection");
        kill_all(&fixture).await;
        let error = journal
            .position()
            .await
            .expect_err("its connection was killed");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert_eq!(journal.position().await.expect("read").batch, 1);
    })
    .await;
}

async fn kill_all(fixture: &Fixture) {
    let sql = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    let rows = fixture
        .database
        .query("listing connections", sql, &[])
        .await
        .expect("read");
    for row in rows {
        admin(
            &fixture.url,
            &format!("KILL CONNECTION {}", row.integer(0).expect("an id")),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_arrives_after_its_journal_was_opened_again_is_refused() {
    on_mysql(async |fixture: Arc<Fixture>| {
        let mut shaky = Shaky::new(&fixture, "a", "COMMIT").await;
        let late = shaky.batch();
        // As if the network had kept `late` back: the writer has found it missing and has opened its journal again.
        let mut reopened = shaky
            .store
            .open_journal(&shaky.lease)
            .await
            .expect("opened");
        assert_eq!(
            reopened.position().await.expect("read"),
            JournalPosition::default()
        );
        shaky
            .journal
            .commit(&late)
            .await
            .expect_err("it is too late");
        reopened.commit(&late).await.expect("committed");
        assert_eq!(fixture.count("SELECT COUNT(*) FROM events").await, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_waits_for_a_batch_on_its_way_and_then_succeeds() {
    on_mysql(async |fixture: Arc<Fixture>| {
        let lease = fixture.lease("a").await;
        let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
        journal
            .commit(&following(JournalPosition::default()))
            .await
            .expect("committed");
        let ended = std::slice::from_ref(&lease);
        let renewed = fixture.store.renew(ended, Duration::ZERO).await;
        assert_eq!(renewed.expect("it ends at once"), []);
        // A batch that is on its way has the partition's row until it is written.
        let mut batch = MySqlConnection::connect(&fixture.url)
            .await
            .expect("the server answers");
        let lock = "START TRANSACTION; SELECT id FROM partitions FOR UPDATE";
        sqlx::raw_sql(lock)
            .execute(&mut batch)
            .await
            .expect("locked");
        let adopt = |store: Arc<dyn Store>| async move {
            let node = engine::NodeName("b".into());
            store.adopt_expired(&node, &[], LONG).await.expect("looked")
        };
        let mut taking = JoinSet::new();
        taking.spawn(adopt(Arc::clone(&fixture.store)));
        // On a slow machine it may have waited in vain by then: its turn comes at its next look.
        let mut taken = None;
        while fixture.count(LOCK_WAITS).await == 0 && taken.is_none() {
            taken = taking.try_join_next();
        }
        if let Some(taken) = &taken {
            let taken = taken.as_ref().expect("no panic");
            assert_eq!(*taken, [], "it did not wait");
        }
        sqlx::raw_sql("COMMIT")
            .execute(&mut batch)
            .await
            .expect("written");
        while let Some(waited) = taking.join_next().await {
            taken = Some(waited);
        }
        let mut adopted = taken.expect("it looked").expect("no panic");
        if adopted.is_empty() {
            adopted = adopt(Arc::clone(&fixture.store)).await;
        }
        assert_eq!(adopted[0].epoch.0, 2);
        let position = journal
            .position()
            .await
            .expect("the last batch was its own");
        let error = journal
            .commit(&following(position))
            .await
            .expect_err("fenced");
        assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    })
    .await;
}
