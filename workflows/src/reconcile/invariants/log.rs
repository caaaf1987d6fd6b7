//! I5: what is in the journal was published, and nothing else was; and the order in which it was, for I6.
//!
//! The topic is read once, from its beginning to where it ends now, and remembered as one bit an event of the journal. What a
//! partition's relay has been acknowledged has to be there; what follows may be on its way. Where a topic has lost its beginning
//! by its retention, what was published before the first event that it still has can't be missed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use engine::WorkflowId;
use engine::outbox::log::{LogPart, Published, PublishedLog, Reading};
use engine::store::StoreError;

use super::look_up::{Place, places};
use super::{Inputs, InvariantReport, VerifyError};
use crate::rows::{unsigned, workflow};

/// Numbers of a partition that one query spans.
const PAGE: u64 = 5_000;
/// Things that are looked at again; beyond that they are only counted.
const SUSPECTS_MAX: usize = 10_000;
/// A page of the topic that takes longer is given up.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Where nothing may be under way: how often, and how long apart, it is looked whether the last events have come.
const LOOKS_MAX: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// I5; what is out of its order on the topic is told to I6.
pub async fn all_is_published(
    inputs: &Inputs<'_>,
    order: &mut InvariantReport,
) -> Result<InvariantReport, VerifyError> {
    let title = "topic: every event of the journal is on the topic or among its dead letters, and nothing else is";
    let Some(log) = inputs.log else {
        let because =
            "the events stay in the process, on a bus that keeps nothing that could be read again";
        return Ok(InvariantReport::new("I5", title).not_checked(because));
    };
    let mut looks = 1;
    loop {
        let mut report = InvariantReport::new("I5", title);
        let compared = Comparison::of(inputs, log).await;
        let mut compared = match compared {
            Ok(compared) => compared,
            // There is a topic: that it can't be read is no excuse.
            Err(VerifyError::Log(error)) => {
                report.violated(error.to_string());
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        let disorder = std::mem::take(&mut compared.disorder);
        let on_their_way = compared.into_report(inputs, &mut report).await?;
        // At rest, what was written last is a moment from being there.
        if inputs.at_rest && !on_their_way.is_empty() && looks < LOOKS_MAX {
            looks += 1;
            inputs.runtime.sleep(LOOK_AGAIN).await;
            continue;
        }
        for what in on_their_way {
            report.under_way_unless(inputs.at_rest, what);
        }
        order.checked += report.checked;
        for what in disorder {
            order.violated(what);
        }
        return Ok(report);
    }
}

/// What one reading of the topic has shown.
struct Comparison {
    /// How far each partition is acknowledged, and how far it goes, before the topic was read.
    marks: BTreeMap<u32, Marks>,
    parts: Vec<LogPart>,
    /// One bit an event that came.
    came: HashMap<u32, Bits>,
    /// The first event of each partition that each part has.
    first: HashMap<(u32, usize), u64>,
    messages: u64,
    /// Of workflows that were removed since.
    removed: u64,
    foreign: Vec<String>,
    foreign_count: u64,
    /// Events that came before their predecessor: the predecessor, then where and who.
    early: HashMap<(u32, u64), (usize, String)>,
    disorder: Vec<String>,
}

#[derive(Clone, Copy)]
struct Marks {
    published: u64,
    last: u64,
}

impl Comparison {
    async fn of(inputs: &Inputs<'_>, log: &dyn PublishedLog) -> Result<Self, VerifyError> {
        let partitions = inputs.store.partitions().await?;
        let marks = partitions.iter().map(|row| {
            let marks = Marks {
                published: row.published_seq,
                last: row.last_seq,
            };
            (row.id.0, marks)
        });
        let marks = marks.collect();
        let Reading { parts, mut pages } = log.read().await?;
        let mut comparison = Self {
            marks,
            parts,
            came: HashMap::new(),
            first: HashMap::new(),
            messages: 0,
            removed: 0,
            foreign: Vec::new(),
            foreign_count: 0,
            early: HashMap::new(),
            disorder: Vec::new(),
        };
        loop {
            let page = inputs.runtime.within(PAGE_TIMEOUT, pages.recv()).await;
            let page = page.ok_or_else(|| {
                let why = format!("no page within {PAGE_TIMEOUT:?}");
                engine::outbox::BusError::Unacknowledged(why)
            })?;
            let Some(page) = page else {
                return Ok(comparison);
            };
            comparison.see(inputs, page?).await?;
        }
    }

    /// Finds the events of a page in the journal: what was published was committed before.
    async fn see(&mut self, inputs: &Inputs<'_>, page: Vec<Published>) -> Result<(), StoreError> {
        let ids: HashSet<WorkflowId> = page
            .iter()
            .filter_map(|published| published.event.as_ref().ok().map(|(workflow, _)| *workflow))
            .collect();
        let ids: Vec<WorkflowId> = ids.into_iter().collect();
        let journal = places(inputs.database, &ids).await?;
        let known: HashSet<WorkflowId> = journal.keys().map(|(workflow, _)| *workflow).collect();
        for published in page {
            self.messages += 1;
            let (workflow, seq) = match published.event {
                Ok(event) => event,
                Err(what) => {
                    let part = &self.parts[published.part].name;
                    self.foreign(format!("{part}: {what}"));
                    continue;
                }
            };
            match journal.get(&(workflow, seq)) {
                Some(place) => self.came(&journal, *place, (workflow, seq), published.part),
                // A workflow goes whole, and only when it is old.
                None if !known.contains(&workflow)
                    && published.at.is_some_and(|at| inputs.may_be_removed(at)) =>
                {
                    self.removed += 1;
                }
                None => self.foreign(format!(
                    "{workflow}: event {seq} is on the topic and not in the journal"
                )),
            }
        }
        Ok(())
    }

    fn foreign(&mut self, what: String) {
        self.foreign_count += 1;
        if self.foreign.len() < SUSPECTS_MAX {
            self.foreign.push(what);
        }
    }

    fn came(
        &mut self,
        journal: &HashMap<(WorkflowId, u32), Place>,
        place: Place,
        (workflow, seq): (WorkflowId, u32),
        part: usize,
    ) {
        let Place {
            partition,
            partition_seq,
        } = place;
        // What was written since the reading began is not asked for.
        let last = self.marks.get(&partition).map_or(0, |marks| marks.last);
        if partition_seq > last {
            return;
        }
        let first = self.first.entry((partition, part)).or_insert(partition_seq);
        *first = partition_seq.min(*first);
        let bits = self.came.entry(partition).or_default();
        if !bits.set(partition_seq) {
            return;
        }
        if let Some((of, what)) = self.early.remove(&(partition, partition_seq))
            && of == part
            && self.disorder.len() < SUSPECTS_MAX
        {
            self.disorder.push(what);
        }
        let before = seq.checked_sub(1).filter(|before| *before > 0);
        let before = before.and_then(|before| journal.get(&(workflow, before)));
        if let Some(before) = before
            && !bits.has(before.partition_seq)
            && self.early.len() < SUSPECTS_MAX
        {
            let what = format!(
                "{workflow}: event {seq} came before event {} on the topic",
                seq - 1
            );
            let key = (before.partition, before.partition_seq);
            self.early.insert(key, (part, what));
        }
    }

    /// What of a partition may be gone from the topic: everything before this number.
    fn gone_before(&self, partition: u32) -> u64 {
        let cut = self
            .parts
            .iter()
            .enumerate()
            .filter(|(_, part)| part.is_cut);
        let first = cut.map(|(part, _)| self.first.get(&(partition, part)).copied());
        first
            .map(|first| first.unwrap_or(u64::MAX))
            .max()
            .unwrap_or_default()
    }

    /// Puts what was seen into the report, and returns what is on its way.
    async fn into_report(
        self,
        inputs: &Inputs<'_>,
        report: &mut InvariantReport,
    ) -> Result<Vec<String>, StoreError> {
        report.checked += self.messages;
        let unlisted = self.foreign_count - self.foreign.len() as u64;
        for what in &self.foreign {
            report.violated(what.clone());
        }
        report.violation_count += unlisted;
        let (mut gone, mut on_their_way) = (0, Vec::new());
        for (partition, marks) in &self.marks {
            let gone_before = self.gone_before(*partition);
            let mut after = 0;
            while let Some((from, to)) = self.next_missing(*partition, after, marks.last) {
                after = to;
                for (workflow, seq, number) in journal(inputs, *partition, from, to).await? {
                    if self.has(*partition, number) {
                        continue;
                    }
                    if number <= marks.published && number >= gone_before {
                        report.violated(format!(
                            "{workflow}: event {seq} was acknowledged by the topic and is not on it"
                        ));
                    } else if number <= marks.published {
                        gone += 1;
                    } else if on_their_way.len() < SUSPECTS_MAX {
                        on_their_way.push(format!("{workflow}: event {seq} is on its way"));
                    }
                }
                inputs.pause().await;
            }
        }
        if gone > 0 {
            let cut = self.parts.iter().filter(|part| part.is_cut).count();
            report.notes.push(format!(
                "{gone} events are older than what {cut} parts of the topic keep, and can't be looked for"
            ));
        }
        if self.removed > 0 {
            report.notes.push(format!(
                "{} messages are of workflows that were removed since",
                self.removed
            ));
        }
        Ok(on_their_way)
    }

    fn has(&self, partition: u32, number: u64) -> bool {
        let bits = self.came.get(&partition);
        bits.is_some_and(|bits| bits.has(number))
    }

    /// The next numbers after `after`, and up to `last`, among which one has not come.
    fn next_missing(&self, partition: u32, after: u64, last: u64) -> Option<(u64, u64)> {
        let from = match self.came.get(&partition) {
            Some(bits) => bits.next_unset(after + 1),
            None => after + 1,
        };
        (from <= last).then(|| (from, last.min(from + PAGE - 1)))
    }
}

/// The events of a partition from one number to another.
async fn journal(
    inputs: &Inputs<'_>,
    partition: u32,
    from: u64,
    to: u64,
) -> Result<Vec<(WorkflowId, u64, u64)>, StoreError> {
    let sql = "SELECT workflow_id, seq, partition_seq FROM events \
               WHERE partition_id = ? AND partition_seq >= ? AND partition_seq <= ? ORDER BY partition_seq";
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
    let parameters = [i64::from(partition).into(), number(from), number(to)];
    let rows = inputs
        .database
        .query("reading the journal", sql, &parameters)
        .await?;
    let event =
        |row: &engine::store::Row| Ok((workflow(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?));
    rows.iter().map(event).collect()
}

/// Numbers from 1, each there or not.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// `false`: it was there.
    fn set(&mut self, number: u64) -> bool {
        let (word, bit) = at(number);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let was = self.0[word] & bit != 0;
        self.0[word] |= bit;
        !was
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = at(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The first number from this one on that is not there.
    fn next_unset(&self, from: u64) -> u64 {
        let mut number = from;
        while self.has(number) {
            let (word, _) = at(number);
            // Whole words are passed at once.
            let is_whole = number.is_multiple_of(64) && self.0[word] == u64::MAX;
            number += if is_whole { 64 } else { 1 };
        }
        number
    }
}

fn at(number: u64) -> (usize, u64) {
    let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
    (word, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_missing_are_found_in_any_place() {
        let mut bits = Bits::default();
        for number in (1..=1_000).filter(|number| *number != 700) {
            assert!(bits.set(number));
        }
        assert!(!bits.set(5));
        assert_eq!(bits.next_unset(1), 700);
        assert_eq!(bits.next_unset(701), 1_001);
        assert!(bits.has(699) && !bits.has(700) && !bits.has(1_001));
    }
}
