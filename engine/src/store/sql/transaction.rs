//! One transaction from BEGIN to COMMIT: in one round trip where the database refuses by itself whatever must be refused,
//! in more where matched rows are to be counted here or the text is too long. Says for every failure whether it may have
//! happened. A client that is stopped between two round trips keeps its locks: one round trip leaves no such moment.

use std::borrow::Cow;

use super::dialect::Dialect;
use super::driver::{Connection, DriverError, ErrorKind, Outcome, RunError};
use super::statement::{Part, Statement};
use crate::planted;
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
    let pieces = pieces(means.dialect, statements);
    let transaction = Transaction {
        connection,
        means,
        is_long: false,
    };
    transaction.run(&pieces).await
}

/// A statement as it is sent: the database counts itself what is matched, where it can.
struct Piece<'a> {
    text: Cow<'a, str>,
    part: Part,
    matched: Option<u64>,
}

fn pieces(dialect: Dialect, statements: &[Statement]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::with_capacity(statements.len());
    for statement in statements {
        let part = statement.part;
        let counted = statement
            .matched
            .filter(|_| !planted::is_on("missing-row-not-noticed"));
        let guard = counted.and_then(|rows| dialect.must_have_matched(rows));
        pieces.push(Piece {
            text: Cow::Borrowed(&statement.text),
            part,
            matched: counted.filter(|_| guard.is_none()),
        });
        pieces.extend(guard.map(|text| Piece {
            text: Cow::Owned(text),
            part,
            matched: None,
        }));
    }
    pieces
}

struct Transaction {
    connection: Box<dyn Connection>,
    means: Means,
    /// It takes more than one round trip: the server was told not to wait long for the next one.
    is_long: bool,
}

impl Transaction {
    async fn run(mut self, statements: &[Piece<'_>]) -> Result<(), Failure> {
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
            self.is_long |= !commits;
            let opening = self.opening(first);
            let closing = self.closing(commits);
            let text = text(&opening, trip, &closing);
            let outcomes = match self.connection.run(self.means.doing, text).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    return Err(self.failed(error, opening.len(), trip, commits).await);
                }
            };
            let of_ours = outcomes.get(opening.len()..).unwrap_or_default();
            if of_ours.len() != trip.len() + closing.len() {
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
    fn fitting(&self, statements: &[Piece<'_>]) -> usize {
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

    /// What the first round trip begins with.
    fn opening(&self, first: bool) -> Vec<&'static str> {
        let dialect = self.means.dialect;
        let impatient = dialect.impatient().filter(|_| self.is_long);
        let begin = impatient.into_iter().chain([dialect.begin()]);
        begin.filter(|_| first).collect()
    }

    /// What the last one ends with.
    fn closing(&self, commits: bool) -> Vec<&'static str> {
        let patient = self.means.dialect.patient().filter(|_| self.is_long);
        let commit = ["COMMIT"].into_iter().chain(patient);
        commit.filter(|_| commits).collect()
    }

    async fn failed(
        self,
        RunError { completed, error }: RunError,
        opening: usize,
        trip: &[Piece<'_>],
        commits: bool,
    ) -> Failure {
        if error.kind == ErrorKind::Unavailable {
            return if commits {
                Failure::Lost(error)
            } else {
                Failure::Unavailable(error)
            };
        }
        match completed.checked_sub(opening) {
            // BEGIN itself, or what goes before it.
            None => self.roll_back(Part::Fence, error).await,
            Some(index) => match trip.get(index) {
                Some(statement) => self.roll_back(statement.part, error).await,
                // COMMIT itself: whatever the database says, it is asked again before anything else is written.
                None => Failure::Lost(error),
            },
        }
    }

    async fn roll_back(mut self, part: Part, error: DriverError) -> Failure {
        let patient = self.means.dialect.patient().filter(|_| self.is_long);
        let end: Vec<_> = ["ROLLBACK"].into_iter().chain(patient).collect();
        let end = text(&end, &[], &[]);
        if self.connection.run(self.means.doing, end).await.is_ok() {
            self.connection.release();
        }
        Failure::Refused { part, error }
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let commit = text(&self.closing(true), &[], &[]);
        let committed = self.connection.run(self.means.doing, commit).await;
        committed
            .map(|_| ())
            .map_err(|error| Failure::Lost(error.error))
    }
}

/// One round trip.
fn text(opening: &[&str], statements: &[Piece<'_>], closing: &[&str]) -> String {
    let bytes: usize = statements
        .iter()
        .map(|statement| statement.text.len() + 2)
        .sum();
    let mut text = String::with_capacity(bytes + 128);
    let statements = statements.iter().map(|statement| statement.text.as_ref());
    let opening = opening.iter().copied();
    for part in opening.chain(statements).chain(closing.iter().copied()) {
        if !text.is_empty() {
            text.push_str(";\n");
        }
        text.push_str(part);
    }
    text
}

fn mismatch(statements: &[Piece<'_>], outcomes: &[Outcome]) -> Option<(Part, DriverError)> {
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
