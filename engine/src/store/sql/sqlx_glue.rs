//! What both drivers share of sqlx: running many statements of one text and telling their outcomes apart.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::{Column as _, Database, Either, Row as _};

use super::driver::{DriverError, ErrorKind, Outcome, RunError};
use super::row::{Cell, Row, Shape};

/// The stream of everything that a text of many statements gives.
pub(crate) type Steps<'a, DB> = BoxStream<
    'a,
    Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>,
>;

/// What is different from driver to driver.
pub(crate) trait Backend: Database {
    /// How many rows a statement wrote or matched.
    fn matched(done: &Self::QueryResult) -> u64;
    /// What a column holds.
    fn cell(row: &Self::Row, column: usize) -> Result<Cell, sqlx::Error>;
    /// What an error of the database, by its message and codes, means.
    fn classify(error: &dyn sqlx::error::DatabaseError) -> ErrorKind;
}

/// Collects the outcomes, statement by statement, within `limit`.
pub(crate) async fn collect<DB: Backend>(
    doing: &'static str,
    mut steps: Steps<'_, DB>,
    limit: Duration,
) -> Result<Vec<Outcome>, RunError> {
    let mut outcomes = Vec::new();
    let all = gather::<DB>(doing, &mut steps, &mut outcomes);
    let error = match tokio::time::timeout(limit, all).await {
        Ok(Ok(())) => return Ok(outcomes),
        Ok(Err(error)) => driver_error::<DB>(&error),
        Err(_elapsed) => DriverError::timed_out(limit),
    };
    Err(RunError {
        completed: outcomes.len(),
        error,
    })
}

async fn gather<DB: Backend>(
    doing: &'static str,
    steps: &mut Steps<'_, DB>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), sqlx::Error> {
    let mut rows = Vec::new();
    let mut shape: Option<Arc<Shape>> = None;
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(done) => {
                shape = None;
                let rows = std::mem::take(&mut rows);
                outcomes.push(Outcome {
                    rows,
                    matched: DB::matched(&done),
                });
            }
            Either::Right(row) => {
                let shape = shape.get_or_insert_with(|| {
                    let names = row.columns().iter().map(|column| column.name().to_owned());
                    Arc::new(Shape {
                        doing,
                        columns: names.collect(),
                    })
                });
                let cells = (0..row.len()).map(|column| DB::cell(&row, column));
                rows.push(Row::new(
                    Arc::clone(shape),
                    cells.collect::<Result<_, _>>()?,
                ));
            }
        }
    }
    Ok(())
}

/// The error as the store tells errors apart.
pub(crate) fn driver_error<DB: Backend>(error: &sqlx::Error) -> DriverError {
    let kind = match error {
        sqlx::Error::Database(error) => DB::classify(error.as_ref()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    };
    DriverError::new(kind, error.to_string())
}
