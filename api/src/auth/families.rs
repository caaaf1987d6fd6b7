//! Refresh tokens, each good once. Those that come from one sign-in are a family, and one row of the database, which all
//! nodes share, says which of them is good now. One that comes a second time was stolen, or its thief has used it before its
//! owner: either way the whole family ends (RFC 9700, section 4.14.2).

use std::sync::Arc;

use engine::planted;
use engine::store::change::ChangeKind;
use engine::store::{Change, CommitError, SqlDatabase, StoreError, Value};
use engine::workflow::Refusal;
use tokio::sync::oneshot;
use workflows::tables::{GOOD_TOKENS, TOKEN_FAMILIES};

use super::tokens::{Grant, Refresh, TokenError, Tokens};

/// Times that a change is tried when others write the same row.
const ATTEMPTS_MAX: u32 = 5;
/// The generation of a family that has ended: no token has it.
const NO_GENERATION: i64 = 0;

const REFRESHING: &str = "refreshing a token";

/// Why there is no new grant.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It was used before, or its family has ended.
    #[error(
        "the refresh token was used before, or revoked, and so is every token that came of it: sign in again"
    )]
    Revoked,
    /// Many wrote the same row at once; nothing happened.
    #[error("the refresh token's row is contended")]
    Contended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The families. Cheap to clone.
#[derive(Clone)]
pub struct Families(Arc<Inner>);

struct Inner {
    tokens: Tokens,
    database: SqlDatabase,
}

/// What became of an attempt to make the next token the good one.
enum Moved {
    Done,
    /// This token is not the good one, or no longer.
    Refused,
    /// Nothing happened: it may be tried again.
    NotYet,
}

/// A family's row.
struct Stored {
    generation: i64,
    revoked: bool,
}

impl Families {
    /// The families in `database`, whose tables are there.
    pub fn new(tokens: Tokens, database: SqlDatabase) -> Self {
        Self(Arc::new(Inner { tokens, database }))
    }

    /// The database with the families.
    pub(super) fn database(&self) -> &SqlDatabase {
        &self.0.database
    }

    /// The next grant for a refresh token that was not used before. Of several calls with one token one succeeds; the others
    /// end the family, and with it what the one was given. Runs to its end also when the caller goes away.
    pub async fn refresh(&self, token: &str) -> Result<Grant, RefreshError> {
        let used = self.0.tokens.refresh(token)?;
        let families = self.clone();
        let (reply, answer) = oneshot::channel();
        self.0.tokens.runtime().spawn(async move {
            // The caller may have gone away.
            let _ = reply.send(families.use_up(&used).await);
        });
        answer.await.unwrap_or_else(|_| {
            let (doing, cause) = (REFRESHING, "its task ended early".to_owned());
            Err(StoreError::Lost { doing, cause }.into())
        })
    }

    async fn use_up(&self, used: &Refresh) -> Result<Grant, RefreshError> {
        let next = Refresh {
            generation: used.generation.saturating_add(1),
            ..used.clone()
        };
        // Signed first: what can't be signed uses nothing up.
        let grant = self.0.tokens.grant(&next)?;
        for _ in 0..ATTEMPTS_MAX {
            match self.advance(used, &grant).await? {
                Moved::Done => return Ok(grant),
                Moved::Refused => {
                    self.revoke(used).await?;
                    return Err(RefreshError::Revoked);
                }
                Moved::NotYet => {}
            }
        }
        Err(RefreshError::Contended)
    }

    async fn advance(&self, used: &Refresh, grant: &Grant) -> Result<Moved, StoreError> {
        match self.transact(advance(used, grant)).await {
            Ok(()) => Ok(Moved::Done),
            Err(CommitError::RowRefused { .. }) if planted::is_on("refresh-token-used-twice") => {
                Ok(Moved::Done)
            }
            Err(CommitError::RowRefused { .. }) => Ok(Moved::Refused),
            Err(CommitError::Contended(_)) => Ok(Moved::NotYet),
            Err(CommitError::Store(StoreError::Lost { .. })) => self.look_after_loss(used).await,
            Err(error) => Err(unforeseen(error)),
        }
    }

    /// The answer was lost: the row says what happened. Should another have moved it in this very moment, then both have the
    /// next token, and whoever uses it second ends the family.
    async fn look_after_loss(&self, used: &Refresh) -> Result<Moved, StoreError> {
        Ok(match self.stored(used).await? {
            None if used.generation == 1 => Moved::NotYet,
            Some(row) if !row.revoked && row.generation == used.generation => Moved::NotYet,
            Some(row) if !row.revoked && row.generation == used.generation.saturating_add(1) => {
                Moved::Done
            }
            _ => Moved::Refused,
        })
    }

    async fn revoke(&self, used: &Refresh) -> Result<(), RefreshError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.transact(revoke(used)).await {
                Ok(()) => {
                    tracing::warn!(buyer = %used.buyer, "a refresh token was used twice: its family is revoked");
                    return Ok(());
                }
                // The row is gone: so is the time of every token in it.
                Err(CommitError::RowRefused { .. }) => return Ok(()),
                Err(CommitError::Contended(_) | CommitError::Store(StoreError::Lost { .. })) => {}
                Err(error) => return Err(unforeseen(error).into()),
            }
        }
        Err(RefreshError::Contended)
    }

    async fn transact(&self, change: Change) -> Result<(), CommitError> {
        self.0.database.transact(REFRESHING, &[change]).await
    }

    async fn stored(&self, used: &Refresh) -> Result<Option<Stored>, StoreError> {
        let sql = "SELECT generation, revoked FROM token_families WHERE family = ?";
        let key = [family(used)];
        let rows = self.0.database.query(REFRESHING, sql, &key).await?;
        let stored = rows.first().map(|row| {
            Ok(Stored {
                generation: row.integer(0)?,
                revoked: row.integer(1)? != 0,
            })
        });
        stored.transpose()
    }
}

/// The first refresh of a family makes its row; each one after it is refused unless its token is the good one.
fn advance(used: &Refresh, grant: &Grant) -> Change {
    let next = Value::Integer(used.generation.saturating_add(1));
    let expires = Value::Integer(grant.refresh_expires_at.0);
    let refusal = Refusal::new("token-used", "The refresh token was used before.");
    if used.generation == 1 {
        let subject = used.buyer.as_str().into();
        return Change {
            table: &TOKEN_FAMILIES,
            key: vec![family(used)],
            kind: ChangeKind::Insert(vec![next, subject, Value::Integer(0), expires]),
            refusal,
        };
    }
    Change {
        table: &GOOD_TOKENS,
        key: vec![family(used), Value::Integer(used.generation)],
        kind: ChangeKind::Set(vec![("generation", next), ("expires_us", expires)]),
        refusal,
    }
}

fn revoke(used: &Refresh) -> Change {
    Change {
        table: &TOKEN_FAMILIES,
        key: vec![family(used)],
        kind: ChangeKind::Set(vec![
            ("generation", Value::Integer(NO_GENERATION)),
            ("revoked", Value::Integer(1)),
        ]),
        refusal: Refusal::new("family-gone", "The family is gone."),
    }
}

fn family(of: &Refresh) -> Value {
    Value::from(of.family.to_be_bytes().as_slice())
}

fn unforeseen(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        error => StoreError::Corrupt {
            doing: REFRESHING,
            cause: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::tests::on_sqlite;
    use super::*;

    #[tokio::test]
    async fn who_goes_away_in_the_middle_of_a_second_use_ends_the_family_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (tokens, families) = on_sqlite(folder.path()).await;
        // On a machine that is busy the database may have answered by the time that somebody would go away.
        for _ in 0..100 {
            let first = tokens.sign_in_anonymously().unwrap().refresh_token;
            let second = families.refresh(&first).await.unwrap().refresh_token;
            let went_away = timeout(Duration::ZERO, families.refresh(&first)).await;
            let used = tokens.refresh(&first).unwrap();
            let revoked = async {
                while !families.stored(&used).await.unwrap().unwrap().revoked {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(30), revoked).await.unwrap();
            let second = families.refresh(&second).await;
            assert!(matches!(second, Err(RefreshError::Revoked)));
            if went_away.is_err() {
                return;
            }
        }
        panic!("nobody went away in the middle");
    }
}
