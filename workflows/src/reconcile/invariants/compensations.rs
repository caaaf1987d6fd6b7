//! I9: what was undone had been attempted, was undone once, and in the reverse order of what had depended on it.

use std::collections::{BTreeMap, BTreeSet};

use engine::WorkflowId;
use engine::store::{ListFilter, Status, StoreError};
use engine::workflow::{Direction, Event, Record, Resolution};

use super::look_up::standings;
use super::walk::Written;
use super::{Inputs, InvariantReport, VerifyError};

/// Workflows whose journals are read at a time.
const PAGE: u16 = 200;

/// Where something may have been undone.
const READ: [Status; 4] = [
    Status::Compensating,
    Status::Parked,
    Status::Compensated,
    Status::Abandoned,
];

/// The check, and what one pass over the journal adds to it.
pub(super) struct Undone(InvariantReport);

/// I9. Reads the journal of each workflow that was undone, or may have been in part; of those that are completed only what they undid, in
/// the pass that follows. One that is on its way back is read as far as it is.
pub(super) async fn in_order_and_once(inputs: &Inputs<'_>) -> Result<Undone, VerifyError> {
    let title = "compensations: only of steps that were attempted, in reverse order, each once";
    let mut report = InvariantReport::new("I9", title);
    for status in READ {
        each_of(inputs, status, &mut report).await?;
    }
    for (status, count) in inputs.store.count_by_status().await? {
        if !READ.contains(&status) {
            report.checked += count;
        }
    }
    Ok(Undone(report))
}

impl Undone {
    /// What is completed has undone nothing.
    pub async fn see(&mut self, inputs: &Inputs<'_>, page: &[Written]) -> Result<(), StoreError> {
        let undone = page
            .iter()
            .filter(|written| written.event == "compensation-done");
        let mut ids: Vec<WorkflowId> = undone.map(|written| written.workflow).collect();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let mut there: Vec<_> = standings(inputs.database, &ids)
            .await?
            .into_iter()
            .collect();
        there.sort_by_key(|(workflow, _)| *workflow);
        for (workflow, standing) in there {
            if standing.status == Status::Completed {
                self.0
                    .violated(format!("{workflow}: completed, and something was undone"));
            }
        }
        Ok(())
    }

    pub fn finished(self) -> InvariantReport {
        self.0.finished()
    }
}

async fn each_of(
    inputs: &Inputs<'_>,
    status: Status,
    report: &mut InvariantReport,
) -> Result<(), VerifyError> {
    let mut filter = ListFilter {
        status: Some(status),
        limit: PAGE,
        ..ListFilter::default()
    };
    loop {
        let page = inputs.store.list(&filter).await?;
        let idents: Vec<_> = page.items.iter().map(|head| head.id.ident()).collect();
        for (head, records) in inputs.store.load(&idents).await? {
            report.checked += 1;
            for what in wrong(&records) {
                report.violated(format!("{}: {what}", head.id));
            }
            if head.status == Status::Compensating {
                report.under_way(1, || format!("{} is on its way back", head.id));
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
        filter.after = page.next;
        inputs.pause().await;
    }
}

/// What a journal says of its compensations that may not be.
fn wrong(records: &[Record]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut attempted: BTreeSet<&str> = BTreeSet::new();
    // A step whose first attempt rides on the record that another one is done could not begin without it.
    let mut depends_on: BTreeMap<&str, &str> = BTreeMap::new();
    let mut undone: BTreeSet<&str> = BTreeSet::new();
    for record in records {
        match &record.event {
            Event::CompensationDone { step, .. }
            | Event::Resolved {
                step,
                resolution: Resolution::Undone,
                ..
            } => {
                if !attempted.contains(step.as_str()) {
                    wrong.push(format!("{step} was undone and never attempted"));
                }
                if !undone.insert(step) {
                    wrong.push(format!("{step} was undone twice"));
                }
                let mut later = depends_on.iter().filter(|(_, on)| **on == step);
                if let Some((later, _)) = later.find(|(later, _)| {
                    is_undone_after(records, later, record.seq) && !undone.contains(**later)
                }) {
                    wrong.push(format!("{step} was undone before {later}, which needed it"));
                }
            }
            // It is undone again, because it took effect again.
            Event::EffectFoundLate { step } => {
                undone.remove(step.as_str());
            }
            _ => {}
        }
        for intent in &record.starts {
            if intent.direction != Direction::Forward {
                continue;
            }
            let is_first = attempted.insert(&intent.step);
            if let (true, Event::StepDone { step, .. }) = (is_first, &record.event) {
                depends_on.insert(&intent.step, step);
            }
        }
    }
    wrong
}

fn is_undone_after(records: &[Record], step: &str, seq: u32) -> bool {
    records.iter().any(|record| {
        record.seq > seq
            && matches!(&record.event, Event::CompensationDone { step: undone, .. } if undone == step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::workflow::Intent;
    use engine::{Payload, Timestamp};

    fn intent(step: &str, direction: Direction) -> Intent {
        Intent {
            step: step.to_owned(),
            direction,
            attempt: 1,
            until: None,
        }
    }

    fn record(seq: u32, event: Event, starts: &[&str]) -> Record {
        Record {
            starts: starts
                .iter()
                .map(|step| intent(step, Direction::Forward))
                .collect(),
            ..Record::new(seq, Timestamp(0), event)
        }
    }

    fn done(step: &str) -> Event {
        Event::StepDone {
            step: step.to_owned(),
            attempt: 1,
            output: Payload::of(&()).expect("it serialises"),
        }
    }

    fn undone(step: &str) -> Event {
        Event::CompensationDone {
            step: step.to_owned(),
            attempt: 1,
        }
    }

    /// `a` begins by itself, `b` once `a` is done.
    fn both_done() -> Vec<Record> {
        vec![
            record(1, Event::DeadlinePassed, &["a"]),
            record(2, done("a"), &["b"]),
            record(3, done("b"), &[]),
        ]
    }

    #[test]
    fn the_reverse_order_is_right() {
        let mut records = both_done();
        records.push(record(4, undone("b"), &[]));
        records.push(record(5, undone("a"), &[]));
        assert_eq!(wrong(&records), Vec::<String>::new());
    }

    #[test]
    fn the_forward_order_is_seen() {
        let mut records = both_done();
        records.push(record(4, undone("a"), &[]));
        records.push(record(5, undone("b"), &[]));
        assert_eq!(wrong(&records), ["a was undone before b, which needed it"]);
    }

    #[test]
    fn what_is_undone_twice_or_was_never_attempted_is_seen() {
        let mut records = both_done();
        for (seq, step) in (4..).zip(["b", "b", "c"]) {
            records.push(record(seq, undone(step), &[]));
        }
        assert_eq!(
            wrong(&records),
            ["b was undone twice", "c was undone and never attempted"]
        );
    }

    #[test]
    fn what_took_effect_late_is_undone_again() {
        let mut records = both_done();
        let late = Event::EffectFoundLate {
            step: "b".to_owned(),
        };
        records.push(record(4, undone("b"), &[]));
        records.push(record(5, late, &[]));
        records.push(record(6, undone("b"), &[]));
        assert_eq!(wrong(&records), Vec::<String>::new());
    }
}
