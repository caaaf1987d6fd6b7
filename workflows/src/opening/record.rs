//! The row in which an opening and a closing are recorded, once: it is written in the transaction that makes the step durable,
//! and refuses when the schedule was changed meanwhile.

use std::time::Duration;

use engine::definition::{Attempt, Durability, Outcome, Policy, RetryPolicy};
use engine::store::change::ChangeKind;
use engine::store::{Change, SqlDatabase, StoreError};
use engine::workflow::{Refusal, StepError};
use engine::{Runtime, Timestamp};

use super::{OpeningInput, Recorded};
use crate::rows::unsigned;
use crate::tables::SCHEDULES;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The sale opens.
    Opening,
    /// The sale closes.
    Closing,
}

impl Moment {
    /// The step that records it.
    pub const fn step(self) -> &'static str {
        match self {
            Self::Opening => "open",
            Self::Closing => "close",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Opening => "opened_us",
            Self::Closing => "closed_us",
        }
    }

    const fn due(self, input: &OpeningInput) -> Timestamp {
        match self {
            Self::Opening => input.opens_at,
            Self::Closing => input.closes_at,
        }
    }
}

/// Replayable: the only effect is the row, and it is written with the step. What a step reads is in the journal's own database: as
/// long as that is away, nothing is attempted.
pub fn policy() -> Policy {
    Policy {
        attempt_timeout: Duration::from_secs(10),
        retry: RetryPolicy {
            first_delay: Duration::from_millis(50),
            delay_max: Duration::from_secs(5),
            attempts_max: 200,
            elapsed_max: None,
        },
        port: None,
        durability: Durability::Replayable,
    }
}

/// Reads the schedule, and says what to write.
#[derive(Clone)]
pub struct Recorder {
    database: SqlDatabase,
    runtime: Runtime,
}

impl Recorder {
    pub fn new(database: SqlDatabase, runtime: Runtime) -> Self {
        Self { database, runtime }
    }

    /// Records this moment of the schedule, unless that was done before or the schedule is another one by now.
    pub async fn record(
        &self,
        attempt: &Attempt,
        input: &OpeningInput,
        moment: Moment,
    ) -> Outcome<Recorded> {
        let due = moment.due(input);
        match self.earlier(input, moment).await {
            Err(error) => Outcome::retry(StepError::caused_by("schedule-unread", &error)),
            Ok(None) => Outcome::done(Recorded::Superseded),
            Ok(Some(0)) => {
                let now = self.runtime.now();
                tracing::info!(
                    workflow.id = %attempt.workflow,
                    step.name = moment.step(),
                    sale = %input.sale,
                    late_ms = now.since(due).as_millis(),
                    "a sale's schedule has come to its moment"
                );
                Outcome::done_with(recorded(now, due), vec![row(input, moment, now)])
            }
            Ok(Some(at_us)) => {
                let at = i64::try_from(at_us).unwrap_or(i64::MAX);
                Outcome::done(recorded(Timestamp(at), due))
            }
        }
    }

    /// When it was recorded, in Unix microseconds, 0 for not yet; `None` when the schedule is another one.
    async fn earlier(
        &self,
        input: &OpeningInput,
        moment: Moment,
    ) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT opened_us, closed_us FROM sales WHERE sale = ? AND revision = ? AND cancelled = 0";
        let key = [input.sale.as_str().into(), i64::from(input.revision).into()];
        let rows = self.database.query("reading a schedule", sql, &key).await?;
        let column = match moment {
            Moment::Opening => 0,
            Moment::Closing => 1,
        };
        rows.first().map(|row| unsigned(row, column)).transpose()
    }
}

fn recorded(at: Timestamp, due: Timestamp) -> Recorded {
    let late_us = u64::try_from(at.since(due).as_micros()).unwrap_or(u64::MAX);
    Recorded::Recorded { at, late_us }
}

fn row(input: &OpeningInput, moment: Moment, now: Timestamp) -> Change {
    Change {
        table: &SCHEDULES,
        key: vec![input.sale.as_str().into(), i64::from(input.revision).into()],
        kind: ChangeKind::Set(vec![(moment.column(), now.0.into())]),
        refusal: Refusal::new("superseded", "The schedule was changed meanwhile."),
    }
}
