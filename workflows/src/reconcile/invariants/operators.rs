//! I10: every operator's action has one row that says who did it, and every row that says that something was done has its record.

use std::collections::HashMap;

use engine::WorkflowId;
use engine::store::{Row, StoreError};

use super::look_up::{carried_out, places};
use super::walk::Written;
use super::{Inputs, InvariantReport};
use crate::rows::{narrow, unsigned, workflow};

/// Commands that one query reads.
const PAGE_ROWS: i64 = 1_000;

/// What operators and signals leave in a journal, each with the verb that causes it.
const CAUSED_BY: [(&str, &str); 8] = [
    ("retry-requested", "retry"),
    ("compensation-requested", "compensate"),
    ("resolved", "resolve"),
    ("skipped", "skip"),
    ("paused", "pause"),
    ("unpaused", "resume"),
    ("abandoned", "abandon"),
    ("signal-received", "signal"),
];

/// The check, over one pass.
pub(super) struct Operators(InvariantReport);

impl Operators {
    pub const fn begin() -> Self {
        let title = "operators: each action of an operator has one audit row, each row that says that it was done has its record";
        Self(InvariantReport::new("I10", title))
    }

    /// From the journal to the rows.
    pub async fn see(&mut self, inputs: &Inputs<'_>, page: &[Written]) -> Result<(), StoreError> {
        self.0.checked += page.len() as u64;
        let actions: Vec<(&Written, &str)> = page
            .iter()
            .filter(|written| !written.by_engine)
            .filter_map(|written| Some((written, verb_of(&written.event)?)))
            .collect();
        let without = self.unanswered(inputs, &actions).await?;
        if without.is_empty() {
            return Ok(());
        }
        // Something old may have been removed with its commands since it was read.
        let ids: Vec<WorkflowId> = without
            .iter()
            .map(|(written, _)| written.workflow)
            .collect();
        let there = places(inputs.database, &ids).await?;
        for (written, what) in without {
            if there.contains_key(&(written.workflow, written.seq)) {
                self.0.violated(what);
            }
        }
        Ok(())
    }

    async fn unanswered<'a>(
        &self,
        inputs: &Inputs<'_>,
        actions: &[(&'a Written, &str)],
    ) -> Result<Vec<(&'a Written, String)>, StoreError> {
        if actions.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<WorkflowId> = actions
            .iter()
            .map(|(written, _)| written.workflow)
            .collect();
        let mut rows: HashMap<(WorkflowId, u32, String), u64> = HashMap::new();
        for carried in carried_out(inputs.database, &ids).await? {
            let key = (carried.workflow, carried.seq, carried.verb);
            *rows.entry(key).or_default() += 1;
        }
        let mut wrong = Vec::new();
        for (written, verb) in actions {
            let Written {
                workflow,
                seq,
                event,
                ..
            } = written;
            let count = rows.get(&(*workflow, *seq, (*verb).to_owned()));
            match count.copied().unwrap_or_default() {
                1 => {}
                0 => wrong.push((
                    *written,
                    format!("{workflow}: event {seq} ({event}) has no audit row: nobody did it"),
                )),
                // A signal that comes again under another name of its sender changes nothing, and is answered all the same.
                _ if *verb == "signal" => {}
                count => wrong.push((
                    *written,
                    format!("{workflow}: event {seq} ({event}) has {count} audit rows"),
                )),
            }
        }
        Ok(wrong)
    }

    /// From the rows to the journal.
    pub async fn finished(mut self, inputs: &Inputs<'_>) -> Result<InvariantReport, StoreError> {
        let mut after = 0_u64;
        loop {
            let rows = commands_after(inputs, after, None).await?;
            let page: Vec<Audited> = rows.iter().map(Audited::of).collect::<Result<_, _>>()?;
            let Some(last) = page.last() else { break };
            after = last.id;
            self.page(inputs, &page).await?;
            inputs.pause().await;
        }
        Ok(self.0.finished())
    }

    async fn page(&mut self, inputs: &Inputs<'_>, page: &[Audited]) -> Result<(), StoreError> {
        let ids: Vec<WorkflowId> = page.iter().map(|row| row.workflow).collect();
        let there = places(inputs.database, &ids).await?;
        for row in page {
            self.0.checked += 1;
            let Audited {
                id,
                workflow,
                verb,
                state,
                seq,
                has_actor,
            } = row;
            if !has_actor {
                self.0
                    .violated(format!("{workflow}: command {id} ({verb}) names nobody"));
            }
            let what = match (state, seq) {
                (0, _) => {
                    let what = format!("{workflow}: command {id} ({verb}) is not answered yet");
                    self.0.under_way_unless(inputs.at_rest, what);
                    continue;
                }
                (1, Some(seq)) if there.contains_key(&(*workflow, *seq)) => continue,
                (2, None) => continue,
                (1, Some(seq)) => format!(
                    "{workflow}: command {id} ({verb}) was carried out by event {seq}, which is not in the journal"
                ),
                _ => format!(
                    "{workflow}: command {id} ({verb}) is in state {state} with event {seq:?}"
                ),
            };
            // It may have been removed, with its workflow, since it was read.
            let again = commands_after(inputs, id.saturating_sub(1), Some(*id)).await?;
            if !again.is_empty() {
                self.0.violated(what);
            }
        }
        Ok(())
    }
}

fn verb_of(event: &str) -> Option<&'static str> {
    let mut known = CAUSED_BY.iter();
    known
        .find(|(kind, _)| *kind == event)
        .map(|(_, verb)| *verb)
}

/// A row of the audit.
struct Audited {
    id: u64,
    workflow: WorkflowId,
    verb: String,
    state: i64,
    seq: Option<u32>,
    has_actor: bool,
}

impl Audited {
    fn of(row: &Row) -> Result<Self, StoreError> {
        let has_seq = row.optional_integer(4)?.is_some();
        Ok(Self {
            id: unsigned(row, 0)?,
            workflow: workflow(row, 1)?,
            verb: row.text(2)?.to_owned(),
            state: row.integer(3)?,
            seq: has_seq.then(|| narrow(row, 4)).transpose()?,
            has_actor: !row.text(5)?.trim().is_empty(),
        })
    }
}

async fn commands_after(
    inputs: &Inputs<'_>,
    after: u64,
    up_to: Option<u64>,
) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT id, workflow_id, verb, state, seq, actor FROM commands WHERE id > ? AND id <= ? ORDER BY id LIMIT ?";
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
    let parameters = [
        number(after),
        number(up_to.unwrap_or(u64::MAX)),
        PAGE_ROWS.into(),
    ];
    inputs
        .database
        .query("reading the audit", sql, &parameters)
        .await
}
