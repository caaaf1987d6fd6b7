//! What SQLite's result codes (<https://sqlite.org/rescode.html>) mean to the store.

use sqlx::error::DatabaseError;

use crate::store::sql::driver::ErrorKind;

/// What the extended result code means.
pub(super) fn classify(error: &dyn DatabaseError) -> ErrorKind {
    let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    match (code, code & 0xff) {
        // CONSTRAINT_NOTNULL
        (1299, _) => ErrorKind::NullRefused,
        // TOOBIG, CONSTRAINT of any other kind, MISMATCH
        (_, 18..=20) => ErrorKind::Refused,
        // BUSY, LOCKED
        (_, 5 | 6) => ErrorKind::Contended,
        // NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN
        (_, 7..=10 | 13 | 14) => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    }
}
