//! Applies the schema's versions in order, under a lock, and records each with the checksum of what was run.

use std::collections::BTreeMap;

use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::driver::{Connection, DriverError, ErrorKind, Outcome, Role};
use super::migration::{LOCK_SECONDS, MigrateError, Migration, MigrationReport};
use super::text::SqlText;

const MIGRATING: &str = "migrating the schema";

impl From<DriverError> for MigrateError {
    fn from(error: DriverError) -> Self {
        error.with_effect(MIGRATING).into()
    }
}

struct Applied {
    name: String,
    checksum: String,
    finished: bool,
}

pub(crate) async fn migrate(
    database: &SqlDatabase,
    migrations: &[Migration],
) -> Result<MigrationReport, MigrateError> {
    for (index, migration) in migrations.iter().enumerate() {
        if usize::try_from(migration.version) != Ok(index + 1) {
            return Err(MigrateError::Misnumbered {
                place: index + 1,
                version: migration.version,
            });
        }
    }
    let dialect = database.dialect();
    let connection = database.driver().connection(Role::Migration).await?;
    let mut session = Session {
        connection,
        dialect,
    };
    session.lock().await?;
    let report = session.migrate(migrations).await?;
    session.unlock().await?;
    Ok(report)
}

/// The one connection that holds the lock. When it is dropped, the lock and an open transaction go with it.
struct Session {
    connection: Box<dyn Connection>,
    dialect: Dialect,
}

impl Session {
    async fn run(&mut self, text: impl Into<String>) -> Result<Vec<Outcome>, DriverError> {
        self.connection
            .run(MIGRATING, text.into())
            .await
            .map_err(|error| error.error)
    }

    /// A SQLite file has one process and its writers take turns; a MySQL server has a named lock for each database.
    async fn lock(&mut self) -> Result<(), MigrateError> {
        if self.dialect == Dialect::MySql {
            let mut text = SqlText::new(self.dialect);
            text.sql("SELECT GET_LOCK(CONCAT('holdfast-', LEFT(SHA2(DATABASE(), 256), 32)), ");
            text.number(LOCK_SECONDS).sql(")");
            let outcomes = self.run(text.finish()).await?;
            let row = outcomes.first().and_then(|outcome| outcome.rows.first());
            if row
                .map(|row| row.optional_integer(0))
                .transpose()?
                .flatten()
                != Some(1)
            {
                return Err(MigrateError::Locked);
            }
        }
        Ok(())
    }

    async fn unlock(mut self) -> Result<(), MigrateError> {
        if self.dialect == Dialect::MySql {
            self.run("DO RELEASE_ALL_LOCKS()").await?;
        }
        self.connection.release();
        Ok(())
    }

    async fn migrate(&mut self, migrations: &[Migration]) -> Result<MigrationReport, MigrateError> {
        self.run(match self.dialect {
            Dialect::MySql => {
                "CREATE TABLE IF NOT EXISTS schema_migrations (version INT UNSIGNED NOT NULL PRIMARY KEY, \
                 name VARCHAR(64) NOT NULL, checksum CHAR(64) NOT NULL, applied_at_us BIGINT NULL) \
                 ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin"
            }
            Dialect::Sqlite => {
                "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER NOT NULL PRIMARY KEY, \
                 name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_us INTEGER) STRICT"
            }
        })
        .await?;
        let applied = self.applied().await?;
        self.check(migrations, &applied)?;
        let mut report = MigrationReport {
            applied: Vec::new(),
            version: 0,
        };
        for migration in migrations {
            if !applied.contains_key(&migration.version) {
                self.apply(migration).await?;
                report.applied.push(migration.version);
            }
            report.version = migration.version;
        }
        Ok(report)
    }

    async fn applied(&mut self) -> Result<BTreeMap<u32, Applied>, MigrateError> {
        let sql =
            "SELECT version, name, checksum, applied_at_us FROM schema_migrations ORDER BY version";
        let outcomes = self.run(sql).await?;
        let mut applied = BTreeMap::new();
        for row in outcomes.iter().flat_map(|outcome| &outcome.rows) {
            let version = row.integer(0)?;
            let version = u32::try_from(version).map_err(|_| row.wrong(0, "is no version"))?;
            let entry = Applied {
                name: row.text(1)?.to_owned(),
                checksum: row.text(2)?.to_owned(),
                finished: row.optional_integer(3)?.is_some(),
            };
            applied.insert(version, entry);
        }
        Ok(applied)
    }

    fn check(
        &self,
        migrations: &[Migration],
        applied: &BTreeMap<u32, Applied>,
    ) -> Result<(), MigrateError> {
        let known = migrations.last().map_or(0, |migration| migration.version);
        for (
            &version,
            Applied {
                name,
                checksum,
                finished,
            },
        ) in applied
        {
            let name = name.clone();
            let Some(migration) = migrations.iter().find(|known| known.version == version) else {
                return Err(MigrateError::NewerSchema {
                    found: version.max(known),
                    known,
                });
            };
            if !finished {
                return Err(MigrateError::PartiallyApplied { version, name });
            }
            if *checksum != migration.checksum(self.dialect) {
                return Err(MigrateError::ChangedChecksum { version, name });
            }
        }
        Ok(())
    }

    /// MySQL commits before each change of the schema, so there the row is written before and completed after; SQLite
    /// does all of it or nothing.
    async fn apply(&mut self, migration: &Migration) -> Result<(), MigrateError> {
        let Migration { version, name, .. } = *migration;
        if self.dialect == Dialect::Sqlite {
            self.run(self.dialect.begin()).await?;
        }
        let mut begun = SqlText::new(self.dialect);
        begun
            .sql("INSERT INTO schema_migrations (version, name, checksum) VALUES (")
            .number(version);
        begun
            .sql(", ")
            .text(name)
            .sql(", ")
            .text(&migration.checksum(self.dialect))
            .sql(")");
        self.run(begun.finish()).await?;
        let text = statements(migration.text(self.dialect));
        if let Err(error) = self.connection.run(MIGRATING, text).await {
            let statement = error.completed + 1;
            return Err(match error.error {
                DriverError {
                    kind: ErrorKind::Unavailable,
                    ..
                } => error.error.into(),
                DriverError { cause, .. } => MigrateError::Failed {
                    version,
                    name,
                    statement,
                    cause,
                },
            });
        }
        let mut finished = SqlText::new(self.dialect);
        finished
            .sql("UPDATE schema_migrations SET applied_at_us = ")
            .sql(self.dialect.now_us());
        finished.sql(" WHERE version = ").number(version);
        self.run(finished.finish()).await?;
        if self.dialect == Dialect::Sqlite {
            self.run("COMMIT").await?;
        }
        Ok(())
    }
}

/// The text without its comment lines, which must not stand alone at the end for MySQL.
fn statements(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
