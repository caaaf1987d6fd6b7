//! One pass over the journal in the order in which it was written, partition by partition, up to where each ended when the pass
//! began: a range of the primary key at a time, so that no query is long.

use engine::WorkflowId;
use engine::store::{Row, StoreError};
use engine::workflow::By;

use super::Inputs;
use crate::rows::{narrow, unsigned, workflow};

/// Numbers that one page spans.
const PAGE: u64 = 2_000;

/// An event, and what kind of thing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub partition: u32,
    pub partition_seq: u64,
    pub workflow: WorkflowId,
    pub seq: u32,
    /// The event's own type, also where the record ended the workflow and is published as that.
    pub event: String,
    /// The epoch that it names, if it names one.
    pub epoch: Option<u64>,
    /// The engine did it of its own accord, and no operator.
    pub by_engine: bool,
}

/// The pass.
pub(super) struct Walk {
    /// Partitions that are left, each with its last number.
    left: Vec<(u32, u64)>,
    /// The number up to which the last of them was read.
    after: u64,
}

impl Walk {
    /// Over all partitions that there are now.
    pub async fn begin(inputs: &Inputs<'_>) -> Result<Self, StoreError> {
        let partitions = inputs.store.partitions().await?;
        let ends = partitions.iter().map(|row| (row.id.0, row.last_seq));
        Ok(Self {
            left: ends.collect(),
            after: 0,
        })
    }

    /// The next page; `None` at the end.
    pub async fn next(&mut self, inputs: &Inputs<'_>) -> Result<Option<Vec<Written>>, StoreError> {
        while let Some((partition, last)) = self.left.last().copied() {
            if self.after >= last {
                self.left.pop();
                self.after = 0;
                continue;
            }
            let to = last.min(self.after + PAGE);
            let page = read(inputs, partition, self.after, to).await?;
            self.after = to;
            // What is old was removed, perhaps all of it.
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }
}

async fn read(
    inputs: &Inputs<'_>,
    partition: u32,
    after: u64,
    to: u64,
) -> Result<Vec<Written>, StoreError> {
    // A record begins with its number, its time and its event's type.
    let sql = "SELECT workflow_id, seq, partition_seq, kind, SUBSTR(payload, 1, 160) FROM events \
               WHERE partition_id = ? AND partition_seq > ? AND partition_seq <= ? ORDER BY partition_seq";
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
    let parameters = [i64::from(partition).into(), number(after), number(to)];
    let rows = inputs
        .database
        .query("reading the journal", sql, &parameters)
        .await?;
    rows.iter().map(|row| written(row, partition)).collect()
}

fn written(row: &Row, partition: u32) -> Result<Written, StoreError> {
    let (kind, beginning) = (row.text(3)?, row.text(4)?);
    // A record that ended its workflow is called by that, whatever happened.
    let own = after_mark(beginning, "\"type\":\"").and_then(|rest| rest.split('"').next());
    let own = own.filter(|_| ["completed", "compensated"].contains(&kind));
    Ok(Written {
        partition,
        partition_seq: unsigned(row, 2)?,
        workflow: workflow(row, 0)?,
        seq: narrow(row, 1)?,
        epoch: epoch(beginning),
        by_engine: by_engine(beginning),
        event: own.unwrap_or(kind).to_owned(),
    })
}

/// Only an event that says that the workflow goes on names one.
fn epoch(beginning: &str) -> Option<u64> {
    let rest = after_mark(beginning, "\"type\":\"continued\",\"data\":{\"epoch\":")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit());
    rest.get(..digits?)?.parse().ok()
}

fn by_engine(beginning: &str) -> bool {
    let data =
        after_mark(beginning, "\"type\":\"").and_then(|rest| rest.split_once("\",\"data\":{"));
    let actor = data.and_then(|(_, data)| data.strip_prefix("\"by\":{\"actor\":\""));
    actor.and_then(|actor| actor.split('"').next()) == Some(By::ENGINE)
}

/// What follows the mark in the event, which is the third member of a record.
fn after_mark<'a>(beginning: &'a str, mark: &str) -> Option<&'a str> {
    let event = &beginning[beginning.find("\"event\":{")? + 9..];
    event.strip_prefix(mark)
}

#[cfg(test)]
mod tests {
    use engine::ids::Epoch;
    use engine::workflow::{Event, Record};
    use engine::{Payload, Timestamp};

    use super::*;

    fn stored(event: Event) -> String {
        let record = Record::new(7, Timestamp(1), event);
        serde_json::to_string(&record).expect("it serialises")
    }

    #[test]
    fn a_record_begins_with_its_events_type() {
        let done = stored(Event::StepDone {
            step: "\"type\":\"abandoned\"".to_owned(),
            attempt: 1,
            output: Payload::of(&"x".repeat(500)).expect("it serialises"),
        });
        let beginning = &done[..160];
        let event = after_mark(beginning, "\"type\":\"").and_then(|rest| rest.split('"').next());
        assert_eq!((event, epoch(beginning)), (Some("step-done"), None));
        assert!(
            after_mark(
                &stored(Event::DeadlinePassed),
                "\"type\":\"deadline-passed\""
            )
            .is_some()
        );
    }

    #[test]
    fn what_the_engine_did_is_told_from_what_an_operator_did() {
        let by = |actor: &str| {
            let by = By {
                actor: actor.to_owned(),
                reason: "\"actor\":\"engine\"".to_owned(),
            };
            by_engine(&stored(Event::CompensationRequested { by })[..100])
        };
        assert!(by("engine"));
        for operator in ["engineer", "alice", "\"engine\""] {
            assert!(!by(operator), "{operator}");
        }
        assert!(!by_engine(&stored(Event::DeadlinePassed)));
    }

    #[test]
    fn an_event_that_names_an_epoch_is_read_with_it() {
        let continued = stored(Event::Continued { epoch: Epoch(42) });
        assert_eq!(epoch(&continued), Some(42));
    }
}
