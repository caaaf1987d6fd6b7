//! A database, as the constructors give it: the store of the engine, the schema's migrations, and plain reads and guarded
//! writes for the domain's own tables.

use std::sync::Arc;

use tokio::sync::{OnceCell, oneshot};

use super::changes;
use super::connect::Durability;
use super::dialect::Dialect;
use super::driver::{Driver, DriverError, Outcome, Role, RunError};
use super::migrate;
use super::migration::{MigrateError, Migration, MigrationReport};
use super::row::Row;
use super::store::SqlStore;
use super::text::bind;
use super::transaction::{Means, transact};
use crate::runtime::{Spawner as _, TokioSpawner};
use crate::store::{Change, CommitError, Store, StoreError, Value};

/// A connected database. Cheap to clone; connections close when the last clone and all journals are gone.
#[derive(Clone)]
pub struct SqlDatabase {
    driver: Arc<dyn Driver>,
    former_leases_ended: Arc<OnceCell<()>>,
}

impl SqlDatabase {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Self {
        Self {
            driver,
            former_leases_ended: Arc::default(),
        }
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        self.driver.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn shared_driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver)
    }

    pub(crate) fn means(&self, doing: &'static str) -> Means {
        Means {
            dialect: self.driver.dialect(),
            round_trip_bytes_max: self.driver.round_trip_bytes_max(),
            doing,
        }
    }

    /// Which SQL it speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.driver.dialect()
    }

    /// The engine's store in this database. Its tables are made by [`SqlDatabase::migrate`].
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(SqlStore::new(self.clone()))
    }

    /// Brings the schema up to date. The list holds the engine's own migrations ([`crate::store::migrations`]) and the
    /// caller's, in order. Safe to call from several processes at once.
    pub async fn migrate(&self, migrations: &[Migration]) -> Result<MigrationReport, MigrateError> {
        migrate::migrate(self, migrations).await
    }

    /// Reads. Each `?` outside of quotes stands for the next parameter; to read a sum or a decimal, cast it to a whole
    /// number. `doing` is told in errors, such as `reading the sale`.
    pub async fn query(
        &self,
        doing: &'static str,
        sql: &'static str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let text = bind(self.dialect(), sql, parameters)
            .map_err(|cause| StoreError::Corrupt { doing, cause })?;
        let outcomes = self.read(doing, text).await?;
        Ok(outcomes
            .into_iter()
            .next()
            .map(|outcome| outcome.rows)
            .unwrap_or_default())
    }

    /// Makes all the changes, or none, in one transaction of its own, by the same code as a journal's batch. Runs to its end
    /// also when the caller goes away. On [`StoreError::Lost`] it may have happened.
    pub async fn transact(
        &self,
        doing: &'static str,
        changes: &[Change],
    ) -> Result<(), CommitError> {
        let mut statements = Vec::new();
        changes::append(&mut statements, self.dialect(), changes).map_err(|error| {
            let cause = format!(
                "a change of `{}` is malformed: {}",
                error.table, error.cause
            );
            StoreError::Corrupt { doing, cause }
        })?;
        let database = self.clone();
        let (reply, outcome) = oneshot::channel();
        TokioSpawner.spawn(Box::pin(async move {
            let result = match database.driver.connection(Role::Write).await {
                Ok(connection) => transact(connection, database.means(doing), &statements)
                    .await
                    .map_err(|failure| failure.into_commit_error(doing)),
                Err(error) => Err(error.without_effect(doing).into()),
            };
            // The caller may have gone away.
            let _ = reply.send(result);
        }));
        outcome.await.unwrap_or_else(|_| {
            let cause = "its task ended early".to_owned();
            Err(StoreError::Lost { doing, cause }.into())
        })
    }

    /// What the database does to keep what it has confirmed.
    pub async fn durability(&self) -> Result<Durability, StoreError> {
        let doing = "reading the database's settings";
        let sql = match self.dialect() {
            Dialect::MySql => {
                "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog, @@GLOBAL.log_bin"
            }
            Dialect::Sqlite => "PRAGMA synchronous; PRAGMA journal_mode",
        };
        let outcomes = self.on(Role::Write, doing, sql.to_owned()).await;
        let outcomes = outcomes.map_err(|error| error.without_effect(doing))?;
        let mut rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
        let missing = || StoreError::Corrupt {
            doing,
            cause: "the database gave no value".to_owned(),
        };
        let first = rows.next().ok_or_else(missing)?;
        Ok(match self.dialect() {
            Dialect::MySql => Durability::MySql {
                flush_log_at_trx_commit: first.integer(0)?,
                sync_binlog: first.integer(1)?,
                binary_log: first.integer(2)? != 0,
            },
            Dialect::Sqlite => Durability::Sqlite {
                synchronous: first.integer(0)?,
                journal_mode: rows.next().ok_or_else(missing)?.text(0)?.to_owned(),
            },
        })
    }

    /// Ends the leases that earlier processes left, once, where only one process at a time can use the database: that this
    /// one does shows that they have gone.
    pub(crate) async fn end_former_leases(&self, doing: &'static str) -> Result<(), StoreError> {
        if self.dialect() != Dialect::Sqlite {
            return Ok(());
        }
        let end = || async {
            let text = "UPDATE partitions SET lease_until_us = 0".to_owned();
            self.write(doing, text)
                .await
                .map(|_| ())
                .map_err(|error| error.with_effect(doing))
        };
        self.former_leases_ended.get_or_try_init(end).await.copied()
    }

    /// Runs reads on a connection for reads.
    pub(crate) async fn read(
        &self,
        doing: &'static str,
        text: String,
    ) -> Result<Vec<Outcome>, StoreError> {
        self.on(Role::Read, doing, text)
            .await
            .map_err(|error| error.without_effect(doing))
    }

    /// Runs writes, each of which stands for itself.
    pub(crate) async fn write(
        &self,
        doing: &'static str,
        text: String,
    ) -> Result<Vec<Outcome>, DriverError> {
        self.on(Role::Write, doing, text).await
    }

    async fn on(
        &self,
        role: Role,
        doing: &'static str,
        text: String,
    ) -> Result<Vec<Outcome>, DriverError> {
        let mut connection = self.driver.connection(role).await?;
        match connection.run(doing, text).await {
            Ok(outcomes) => {
                connection.release();
                Ok(outcomes)
            }
            Err(RunError { error, .. }) => Err(error),
        }
    }
}
