//! The SQLite store: one file, one process, one writer at a time.

mod driver;
mod errors;

use std::fs::{File, TryLockError};
use std::path::Path;

use self::driver::SqliteDriver;
use super::sql::connect::{ConnectError, ConnectOptions};
use super::sql::database::SqlDatabase;
use super::sql::driver::{Driver as _, Role};

/// Opens the file, which is made if it is not there, in a folder that must be. A second process (or a second call while
/// the first one's database is in use) is told [`ConnectError::InUse`]: beside the file lies `*.lock`, locked as long as
/// this database, its store or one of its journals lives.
pub async fn open(
    path: impl AsRef<Path>,
    options: &ConnectOptions,
) -> Result<SqlDatabase, ConnectError> {
    let path = path.as_ref();
    let lock = lock(path)?;
    let driver = SqliteDriver::new(path, lock, options);
    match driver.connection(Role::Write).await {
        Ok(connection) => connection.release(),
        Err(error) => {
            return Err(ConnectError::File {
                path: path.to_owned(),
                cause: error.cause,
            });
        }
    }
    Ok(SqlDatabase::new(driver))
}

fn lock(path: &Path) -> Result<File, ConnectError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |error: std::io::Error| ConnectError::File {
        path: Path::new(&name).to_owned(),
        cause: error.to_string(),
    };
    let mut open = File::options();
    let file = open.create(true).append(true).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ConnectError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
