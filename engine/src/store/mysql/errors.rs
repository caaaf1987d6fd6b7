//! What MySQL's and MariaDB's error numbers mean to the store.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::store::sql::driver::ErrorKind;

/// The server's error number; 0 when it is not an error of a server.
pub(super) fn number(error: &dyn DatabaseError) -> u16 {
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .map_or(0, MySqlDatabaseError::number)
}

/// What the number means.
pub(super) fn classify(error: &dyn DatabaseError) -> ErrorKind {
    match number(error) {
        1048 => ErrorKind::NullRefused,
        // Duplicate key; CHECK (MySQL, then MariaDB); wrong or too long values; out of range; too few rows matched (see
        // `Dialect::must_have_matched`).
        1242 | 1022 | 1062 | 1169 | 1586 | 3819 | 4025 | 1264 | 1265 | 1292 | 1366 | 1367
        | 1406 | 1690 | 3140 => ErrorKind::Refused,
        // Lock time-out, dead-lock, a read that meets a newer row (MariaDB), NOWAIT.
        1205 | 1213 | 1020 | 3572 => ErrorKind::Contended,
        // Shutdown, killed, interrupted, too many connections, broken network, idle for too long, read-only after a
        // fail-over, group replication without a majority, disk full.
        1021
        | 1040
        | 1053
        | 1077..=1079
        | 1152
        | 1153
        | 1158..=1161
        | 1203
        | 1290
        | 1317
        | 1836
        | 1927
        | 1969
        | 3024
        | 3100
        | 3101
        | 3168
        | 3169
        | 3796
        | 3797
        | 4031 => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    }
}
