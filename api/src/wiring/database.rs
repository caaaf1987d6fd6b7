//! The database: connected to, its schema up to date, or one sentence that says what to do.

use std::path::Path;

use engine::store::{
    ConnectError, ConnectOptions, MigrateError, MigrationReport, SqlDatabase, mysql, sqlite,
};
use reqwest::Url;
use workflows::tables::migrations;

use crate::config::Secret;
use crate::exit::{Code, Failure, with_causes};

/// MySQL or MariaDB by its URL.
pub async fn connect(url: &Secret) -> Result<SqlDatabase, Failure> {
    mysql::connect(url.expose(), &ConnectOptions::default())
        .await
        .map_err(|error| failed(&error))
}

/// A SQLite file, made where it is missing.
pub async fn open(path: &Path) -> Result<SqlDatabase, Failure> {
    sqlite::open(path, &ConnectOptions::default())
        .await
        .map_err(|error| failed(&error))
}

/// The same server, another database on it.
pub fn with_name(url: &Secret, name: &str) -> Result<Secret, Failure> {
    let bad = || {
        Failure::new(
            Code::Configuration,
            "DATABASE_URL is not of the form mysql://user:password@host:3306/database",
        )
    };
    let mut url = Url::parse(url.expose()).map_err(|_| bad())?;
    url.set_path(name);
    String::from(url).parse().map_err(|_| bad())
}

/// Drops the MySQL database `name`, one that we made.
pub async fn drop_database(database: &SqlDatabase, name: &str) -> Result<(), Failure> {
    // Once a process, of a name that we made: the text may as well live as long as the process.
    let sql: &'static str = Box::leak(format!("DROP DATABASE IF EXISTS `{name}`").into_boxed_str());
    let dropped = database
        .query("dropping a database of our own", sql, &[])
        .await;
    dropped
        .map(|_| ())
        .map_err(|error| Failure::internal("cleaning up", &error))
}

/// Brings the schema up to date, under a lock.
pub async fn migrate(database: &SqlDatabase) -> Result<MigrationReport, Failure> {
    database.migrate(&migrations()).await.map_err(|error| {
        let code = match &error {
            MigrateError::NewerSchema { .. }
            | MigrateError::ChangedChecksum { .. }
            | MigrateError::PartiallyApplied { .. }
            | MigrateError::Failed { .. } => Code::Schema,
            MigrateError::Locked | MigrateError::Store(_) => Code::Server,
            MigrateError::Misnumbered { .. } => Code::Internal,
        };
        Failure::new(code, with_causes(&error))
    })
}

fn failed(error: &ConnectError) -> Failure {
    let code = match error {
        ConnectError::BadUrl { .. } | ConnectError::File { .. } => Code::Configuration,
        ConnectError::InUse { .. } => Code::InUse,
        ConnectError::Unreachable { .. }
        | ConnectError::AccessDenied { .. }
        | ConnectError::UnknownDatabase { .. }
        | ConnectError::Unsupported { .. }
        | ConnectError::Refused { .. } => Code::Server,
    };
    Failure::new(code, with_causes(error))
}
