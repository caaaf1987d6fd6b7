//! The MySQL (and MariaDB) store: connecting, and saying what to do when that fails.

mod driver;
mod errors;

use std::str::FromStr as _;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use self::driver::{Limits, MySqlDriver, MySqlSession};
use super::sql::connect::{ConnectError, ConnectOptions};
use super::sql::database::SqlDatabase;
use super::sql::driver::{CONNECT_TIMEOUT, Connection as _, DriverError, STATEMENT_TIMEOUT};

/// What is asked of a server.
const NEEDED: &str =
    "use MySQL 8.0.16 or later, or MariaDB 10.6 or later, with row-based or mixed binary logging";

/// Connects to the database of this URL, `mysql://user:password@host:port/database`, and makes the database if it is not
/// there and the user may.
pub async fn connect(url: &str, options: &ConnectOptions) -> Result<SqlDatabase, ConnectError> {
    let server = Server::parse(url)?;
    let session = match server.open(&server.options).await {
        Err(Opening::Database(1049, cause)) => server.create_database(cause).await?,
        other => other.map_err(|error| server.explain(error))?,
    };
    let limits = server.inspect(session).await?;
    Ok(SqlDatabase::new(MySqlDriver::new(
        server.options,
        limits,
        options,
    )))
}

/// A server and the database on it that a URL names.
struct Server {
    options: MySqlConnectOptions,
    address: String,
    database: String,
}

/// Why a connection could not be opened.
enum Opening {
    /// The server said no, with this error number.
    Database(u16, String),
    /// The server did not say anything that could be understood.
    Network(String),
}

impl Server {
    fn parse(url: &str) -> Result<Self, ConnectError> {
        let bad = |cause: String| ConnectError::BadUrl { cause };
        if !(url.starts_with("mysql://") || url.starts_with("mariadb://")) {
            return Err(bad("it does not begin with mysql://".to_owned()));
        }
        let options = MySqlConnectOptions::from_str(url).map_err(|error| bad(error.to_string()))?;
        let database = options.get_database().unwrap_or_default().to_owned();
        if !is_plain(&database) {
            let cause =
                "the database's name after the last / must be 1 to 64 letters, digits, - or _";
            return Err(bad(cause.to_owned()));
        }
        let address = format!("{}:{}", options.get_host(), options.get_port());
        let options = options
            .charset("utf8mb4")
            .collation("utf8mb4_bin")
            .timezone("+00:00".to_owned())
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .statement_cache_capacity(0)
            .disable_statement_logging();
        Ok(Self {
            options,
            address,
            database,
        })
    }

    async fn open(&self, options: &MySqlConnectOptions) -> Result<MySqlConnection, Opening> {
        match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(sqlx::Error::Database(error))) => Err(Opening::Database(
                errors::number(error.as_ref()),
                error.to_string(),
            )),
            Ok(Err(error)) => Err(Opening::Network(error.to_string())),
            Err(_elapsed) => Err(Opening::Network(
                DriverError::timed_out(CONNECT_TIMEOUT).cause,
            )),
        }
    }

    /// Connects without a database, makes it, and connects to it.
    async fn create_database(&self, missing: String) -> Result<MySqlConnection, ConnectError> {
        let unknown = |cause: String| ConnectError::UnknownDatabase {
            database: self.database.clone(),
            cause,
        };
        let server = self.options.clone().database("");
        let mut session = self.open(&server).await.map_err(|_| unknown(missing))?;
        // The name is plain: `parse` has looked.
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS `{}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            self.database
        );
        let create = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut session);
        match tokio::time::timeout(STATEMENT_TIMEOUT, create).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(unknown(error.to_string())),
            Err(_) => return Err(unknown(DriverError::timed_out(STATEMENT_TIMEOUT).cause)),
        }
        // The server closes it if this fails.
        let _ = session.close().await;
        self.open(&self.options)
            .await
            .map_err(|error| self.explain(error))
    }

    fn explain(&self, error: Opening) -> ConnectError {
        let address = self.address.clone();
        match error {
            Opening::Network(cause) => ConnectError::Unreachable { address, cause },
            Opening::Database(1045 | 1698, cause) => {
                let user = self.options.get_username().to_owned();
                ConnectError::AccessDenied {
                    address,
                    user,
                    cause,
                }
            }
            Opening::Database(1044 | 1049, cause) => ConnectError::UnknownDatabase {
                database: self.database.clone(),
                cause,
            },
            Opening::Database(_, cause) => ConnectError::Refused { address, cause },
        }
    }

    /// Checks that this server can do what is asked of it.
    async fn inspect(&self, session: MySqlConnection) -> Result<Limits, ConnectError> {
        let refused = |cause: String| ConnectError::Refused {
            address: self.address.clone(),
            cause,
        };
        let mut session = MySqlSession::alone(session);
        let sql = "SELECT VERSION(), @@max_allowed_packet, COALESCE(@@log_bin, 0), @@binlog_format";
        let outcomes = session
            .run("reading the server's version", sql.to_owned())
            .await
            .map_err(|error| refused(error.error.cause))?;
        let row = outcomes.iter().find_map(|outcome| outcome.rows.first());
        let row = row.ok_or_else(|| refused("the server told no version".to_owned()))?;
        let version = row.text(0).map_err(|error| refused(error.to_string()))?;
        let packet = row.integer(1).map_err(|error| refused(error.to_string()))?;
        let logs = row.integer(2).map_err(|error| refused(error.to_string()))? != 0;
        let format = row.text(3).map_err(|error| refused(error.to_string()))?;
        if !is_supported(version) {
            let what = format!("it is version {version}");
            return Err(ConnectError::Unsupported {
                what,
                needed: NEEDED,
            });
        }
        if logs && format.eq_ignore_ascii_case("STATEMENT") {
            let what = "its binlog_format is STATEMENT".to_owned();
            return Err(ConnectError::Unsupported {
                what,
                needed: NEEDED,
            });
        }
        Ok(Limits {
            packet_bytes_max: usize::try_from(packet).unwrap_or(1 << 20),
        })
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// CHECK constraints are enforced, and dead-locks, upserts and locking reads behave as tested.
fn is_supported(version: &str) -> bool {
    let maria = version.contains("MariaDB");
    // Old MariaDB servers put a `5.5.5-` for replication in front.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version
        .split(|separator: char| !separator.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    version >= if maria { (10, 6, 0) } else { (8, 0, 16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_told_from_new_ones() {
        for version in [
            "9.7.4-2",
            "8.0.16",
            "8.4.3-cloud",
            "10.11.18-MariaDB-0+deb12u1-log",
            "5.5.5-10.6.1-MariaDB",
        ] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["5.7.44-log", "8.0.15", "10.5.9-MariaDB", "nonsense"] {
            assert!(!is_supported(version), "{version}");
        }
    }

    #[test]
    fn a_bad_url_is_told_without_its_password() {
        for url in [
            "postgres://u:secret@h/d",
            "mysql://u:secret@h:3306",
            "mysql://u:secret@h/a`b",
            "mysql://u:secret@h:x/d",
        ] {
            let Err(error) = Server::parse(url) else {
                panic!("{url} was taken")
            };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
