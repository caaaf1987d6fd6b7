//! A database for a benchmark alone: made, checked for durability, measured on, and dropped.

use std::path::PathBuf;
use std::sync::Arc;

use engine::Runtime;
use engine::store::{Durability, SqlDatabase, Store};

use crate::cli::{BenchStore, StoreKind};
use crate::exit::{Code, Failure};
use crate::wiring::database;

/// The database, and how it goes away.
pub struct Scratch {
    database: SqlDatabase,
    durability: Durability,
    place: Place,
}

enum Place {
    MySql { name: String },
    Sqlite { folder: PathBuf },
}

impl Scratch {
    /// Makes it, and refuses one that loses what it has confirmed: its figures would mean nothing.
    pub async fn open(arguments: &BenchStore, runtime: &Runtime) -> Result<Self, Failure> {
        let unique = format!("{:012x}", runtime.next_u64() >> 16);
        let (database, place) = match arguments.store {
            StoreKind::Mysql => {
                let url = arguments.database_url.as_ref().ok_or_else(|| {
                    Failure::new(
                        Code::Configuration,
                        "--store mysql needs a server: set DATABASE_URL",
                    )
                })?;
                let name = format!("holdfast_bench_{unique}");
                (
                    database::connect(&database::with_name(url, &name)?).await?,
                    Place::MySql { name },
                )
            }
            StoreKind::Sqlite => {
                let folder = std::env::temp_dir().join(format!("holdfast-bench-{unique}"));
                std::fs::create_dir(&folder)
                    .map_err(|error| Failure::internal("making a temporary directory", &error))?;
                (
                    database::open(&folder.join("bench.db")).await?,
                    Place::Sqlite { folder },
                )
            }
        };
        let durability = database
            .durability()
            .await
            .map_err(|error| Failure::internal("asking the database how durable it is", &error));
        let scratch = match durability {
            Ok(durability) => Self {
                database,
                durability,
                place,
            },
            Err(failure) => {
                discard(&database, &place).await?;
                return Err(failure);
            }
        };
        if let Err(failure) = scratch.prepare().await {
            scratch.discard().await?;
            return Err(failure);
        }
        Ok(scratch)
    }

    async fn prepare(&self) -> Result<(), Failure> {
        if !self.durability.survives_power_loss() {
            return Err(Failure::new(
                Code::CheckFailed,
                format!(
                    "the database may lose what it has confirmed ({}), so its figures would mean nothing: set \
                     innodb_flush_log_at_trx_commit=1 and sync_binlog=1",
                    self.durability()
                ),
            ));
        }
        database::migrate(&self.database).await.map(|_| ())
    }

    /// The engine's store in it.
    pub fn store(&self) -> Arc<dyn Store> {
        self.database.store()
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        match self.place {
            Place::MySql { .. } => "mysql",
            Place::Sqlite { .. } => "sqlite",
        }
    }

    /// The settings that keep what was confirmed.
    pub fn durability(&self) -> String {
        match &self.durability {
            Durability::MySql {
                flush_log_at_trx_commit,
                sync_binlog,
                binary_log,
            } => format!(
                "innodb_flush_log_at_trx_commit={flush_log_at_trx_commit} sync_binlog={sync_binlog} log_bin={}",
                i32::from(*binary_log)
            ),
            Durability::Sqlite {
                synchronous,
                journal_mode,
            } => {
                format!("synchronous={synchronous} journal_mode={journal_mode}")
            }
        }
    }

    /// Removes everything.
    pub async fn discard(&self) -> Result<(), Failure> {
        discard(&self.database, &self.place).await
    }
}

async fn discard(scratch: &SqlDatabase, place: &Place) -> Result<(), Failure> {
    match place {
        Place::MySql { name } => database::drop_database(scratch, name).await,
        Place::Sqlite { folder } => std::fs::remove_dir_all(folder)
            .map_err(|error| Failure::internal("removing the benchmark's directory", &error)),
    }
}
