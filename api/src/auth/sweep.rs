//! Removes the families whose every token has expired: slowly, a bounded page of the table at a time, on every node.

use std::time::Duration;

use engine::store::change::ChangeKind;
use engine::store::{Change, CommitError, StoreError, Value};
use engine::workflow::Refusal;
use engine::{Runtime, Timestamp};
use tokio::sync::watch;
use workflows::tables::TOKEN_FAMILIES;

use super::families::Families;
use crate::http::stopped;

/// Rows that are looked at in one go.
const PAGE: i64 = 500;
/// Between two pages.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two walks through the table.
const REST: Duration = Duration::from_mins(10);
/// A family is kept so much longer than its last token: no clock is that wrong.
const GRACE: Duration = Duration::from_hours(1);

const SWEEPING: &str = "removing expired sign-ins";

/// One page, as it was found.
struct Page {
    expired: Vec<Vec<u8>>,
    /// Where the next one begins; `None` after the last one.
    next: Option<Vec<u8>>,
}

impl Families {
    /// Walks through the table, and rests, until `stop` turns true.
    pub async fn sweep(self, runtime: Runtime, mut stop: watch::Receiver<bool>) {
        let mut after = Vec::new();
        loop {
            let swept = self.sweep_page(runtime.now(), &after).await;
            let next = swept.unwrap_or_else(|error| {
                tracing::debug!(%error, "expired sign-ins stay until the next round");
                None
            });
            let pause = if next.is_some() { PAUSE } else { REST };
            after = next.unwrap_or_default();
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = runtime.sleep(pause) => {}
            }
        }
    }

    /// Looks at one page after this family, removes what has expired, and says where to go on.
    async fn sweep_page(
        &self,
        now: Timestamp,
        after: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.page(now, after).await?;
        if page.expired.is_empty() {
            return Ok(page.next);
        }
        let removals: Vec<Change> = page.expired.into_iter().map(removal).collect();
        match self.database().transact(SWEEPING, &removals).await {
            // Another node was faster: the rest is left for the next round.
            Ok(()) | Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => {}
            Err(CommitError::Store(error)) => return Err(error),
            Err(error @ CommitError::Fenced { .. }) => {
                return Err(StoreError::Corrupt {
                    doing: SWEEPING,
                    cause: error.to_string(),
                });
            }
        }
        Ok(page.next)
    }

    async fn page(&self, now: Timestamp, after: &[u8]) -> Result<Page, StoreError> {
        let sql = "SELECT family, expires_us FROM token_families WHERE family > ? ORDER BY family LIMIT ?";
        let parameters = [Value::from(after), PAGE.into()];
        let rows = self.database().query(SWEEPING, sql, &parameters).await?;
        let mut expired = Vec::new();
        for row in &rows {
            if Timestamp(row.integer(1)?).after(GRACE) < now {
                expired.push(row.bytes(0)?.to_vec());
            }
        }
        let is_full = i64::try_from(rows.len()) == Ok(PAGE);
        let last = rows.last().filter(|_| is_full);
        let next = last
            .map(|row| row.bytes(0).map(<[u8]>::to_vec))
            .transpose()?;
        Ok(Page { expired, next })
    }
}

fn removal(family: Vec<u8>) -> Change {
    Change {
        table: &TOKEN_FAMILIES,
        key: vec![Value::Bytes(family)],
        kind: ChangeKind::Delete,
        refusal: Refusal::new("family-gone", "The family is gone."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::on_sqlite;

    async fn rows(families: &Families) -> usize {
        let sql = "SELECT family FROM token_families";
        families
            .database()
            .query("counting families", sql, &[])
            .await
            .unwrap()
            .len()
    }

    #[tokio::test]
    async fn families_are_removed_once_their_last_token_has_expired() {
        let folder = tempfile::tempdir().unwrap();
        let (tokens, families) = on_sqlite(folder.path()).await;
        let mut last = Timestamp::default();
        for _ in 0..3 {
            let first = tokens.sign_in_anonymously().unwrap().refresh_token;
            let second = families.refresh(&first).await.unwrap();
            last = last.max(second.refresh_expires_at);
            // The second has ended, which must be remembered as long.
            families.refresh(&first).await.err().unwrap();
        }
        let next = families.sweep_page(last, &[]).await.unwrap();
        assert_eq!((next, rows(&families).await), (None, 3));
        let later = last.after(GRACE).after(Duration::from_secs(1));
        families.sweep_page(later, &[]).await.unwrap();
        assert_eq!(rows(&families).await, 0);
        families.sweep_page(later, &[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_walk_takes_a_page_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (_, families) = on_sqlite(folder.path()).await;
        let row = |number: i64| Change {
            kind: ChangeKind::Insert(vec![2.into(), "anon".into(), 0.into(), 0.into()]),
            ..removal(i128::from(number).to_be_bytes().to_vec())
        };
        let all: Vec<Change> = (0..=PAGE).map(row).collect();
        families.database().transact("a test", &all).await.unwrap();
        let now = Timestamp::default().after(2 * GRACE);
        let next = families.sweep_page(now, &[]).await.unwrap();
        assert_eq!(rows(&families).await, 1);
        let next = families.sweep_page(now, &next.expect("a page more")).await;
        assert_eq!((next.unwrap(), rows(&families).await), (None, 0));
    }
}
