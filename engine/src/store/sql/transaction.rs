//! One transaction from BEGIN to COMMIT: in one round trip where the database refuses by itself whatever must be refused,
//! in two where matched rows are to be counted first. Says for every failure whether it may have happened.

use super::dialect::Dialect;
use super::driver::{Connection, DriverError, ErrorKind, Outcome, RunError};
use super::statement::{Part, Statement};
use crate::store::{CommitError, RefusedRows, StoreError};

/// What a transaction is carried out with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    /// Which SQL.
    pub dialect: Dialect,
    /// The most text in one round trip.
    pub round_trip_bytes_max: usize,
    /// What is being done, for errors.
    pub doing: &'static str,
}

/// A transaction did not, or perhaps did not, take place.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This part was refused: nothing was written.
    Refused { part: Part, error: DriverError },
    /// The connection broke before COMMIT was sent: nothing was written.
    Unavailable(DriverError),
    /// The connection broke when COMMIT was under way: it may have happened.
    Lost(DriverError),
}

impl Failure {
    /// The error of the store; a refused fence is the journal's own affair.
    pub fn into_commit_error(self, doing: &'static str) -> CommitError {
        let (part, error) = match self {
            Self::Refused { part, error } => (part, error),
            Self::Unavailable(error) => return error.without_effect(doing).into(),
            Self::Lost(DriverError { cause, .. }) => {
                return StoreError::Lost { doing, cause }.into();
            }
        };
        let rows = match (error.kind, part) {
            (ErrorKind::Contended, _) => return CommitError::Contended(error.cause),
            (ErrorKind::Refused | ErrorKind::NullRefused, Part::Workflows) => {
                RefusedRows::Workflows
            }
            (ErrorKind::Refused | ErrorKind::NullRefused, Part::Events) => RefusedRows::Events,
            (ErrorKind::Refused | ErrorKind::NullRefused, Part::Changes(table)) => {
                RefusedRows::Changes(table)
            }
            _ => return error.without_effect(doing).into(),
        };
        CommitError::RowRefused {
            rows,
            cause: error.cause,
        }
    }
}

/// Carries out the statements in one transaction. The connection goes back to where it came from if its state is known
/// afterwards, and is closed if not.
pub(crate) async fn transact(
    connection: Box<dyn Connection>,
    means: Means,
    statements: &[Statement],
) -> Result<(), Failure> {
    if let Some(statement) = statements
        .iter()
        .find(|statement| statement.text.len() > means.round_trip_bytes_max / 2)
    {
        connection.release();
        let cause = format!(
            "a row takes {} bytes of SQL, too many",
            statement.text.len()
        );
        let error = DriverError::new(ErrorKind::Refused, cause);
        return Err(Failure::Refused {
            part: statement.part,
            error,
        });
    }
    Transaction { connection, means }.run(statements).await
}

struct Transaction {
    connection: Box<dyn Connection>,
    means: Means,
}

impl Transaction {
    async fn run(mut self, statements: &[Statement]) -> Result<(), Failure> {
        let counts = statements
            .iter()
            .any(|statement| statement.matched.is_some());
        let mut sent = 0;
        loop {
            let first = sent == 0;
            let take = self.fitting(&statements[sent..]);
            let trip = &statements[sent..sent + take];
            sent += take;
            let commits = sent == statements.len() && !counts;
            let text = self.text(first, trip, commits);
            let outcomes = match self.connection.run(self.means.doing, text).await {
                Ok(outcomes) => outcomes,
                Err(error) => return Err(self.failed(error, first, trip, commits).await),
            };
            let of_ours = outcomes.get(usize::from(first)..).unwrap_or_default();
            if of_ours.len() != trip.len() + usize::from(commits) {
                let error = DriverError::new(ErrorKind::Unavailable, "a reply is missing");
                return Err(if commits {
                    Failure::Lost(error)
                } else {
                    Failure::Unavailable(error)
                });
            }
            if let Some((part, error)) = mismatch(trip, of_ours) {
                return Err(self.roll_back(part, error).await);
            }
            if sent == statements.len() {
                if !commits {
                    self.commit().await?;
                }
                self.connection.release();
                return Ok(());
            }
        }
    }

    /// How many of these statements fit in one round trip: at least one.
    fn fitting(&self, statements: &[Statement]) -> usize {
        let mut bytes = 0;
        statements
            .iter()
            .take_while(|statement| {
                let first = bytes == 0;
                bytes += statement.text.len() + 2;
                first || bytes <= self.means.round_trip_bytes_max / 2
            })
            .count()
    }

    fn text(&self, begins: bool, statements: &[Statement], commits: bool) -> String {
        let bytes: usize = statements
            .iter()
            .map(|statement| statement.text.len() + 2)
            .sum();
        let mut text = String::with_capacity(bytes + 64);
        let begin = begins.then(|| self.means.dialect.begin());
        let texts = statements.iter().map(|statement| statement.text.as_str());
        for part in begin
            .into_iter()
            .chain(texts)
            .chain(commits.then_some("COMMIT"))
        {
            if !text.is_empty() {
                text.push_str(";\n");
            }
            text.push_str(part);
        }
        text
    }

    async fn failed(
        self,
        RunError { completed, error }: RunError,
        begins: bool,
        trip: &[Statement],
        commits: bool,
    ) -> Failure {
        if error.kind == ErrorKind::Unavailable {
            return if commits {
                Failure::Lost(error)
            } else {
                Failure::Unavailable(error)
            };
        }
        match completed.checked_sub(usize::from(begins)) {
            // BEGIN itself.
            None => self.roll_back(Part::Fence, error).await,
            Some(index) => match trip.get(index) {
                Some(statement) => self.roll_back(statement.part, error).await,
                // COMMIT itself: whatever the database says, it is asked again before anything else is written.
                None => Failure::Lost(error),
            },
        }
    }

    async fn roll_back(mut self, part: Part, error: DriverError) -> Failure {
        if self
            .connection
            .run(self.means.doing, "ROLLBACK".to_owned())
            .await
            .is_ok()
        {
            self.connection.release();
        }
        Failure::Refused { part, error }
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let committed = self
            .connection
            .run(self.means.doing, "COMMIT".to_owned())
            .await;
        committed
            .map(|_| ())
            .map_err(|error| Failure::Lost(error.error))
    }
}

fn mismatch(statements: &[Statement], outcomes: &[Outcome]) -> Option<(Part, DriverError)> {
    statements
        .iter()
        .zip(outcomes)
        .find_map(|(statement, outcome)| {
            let wanted = statement.matched?;
            (outcome.matched != wanted).then(|| {
                let cause = format!("{} of {wanted} rows are there", outcome.matched);
                (statement.part, DriverError::new(ErrorKind::Refused, cause))
            })
        })
}
