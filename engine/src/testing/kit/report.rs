//! What the kit found, for people.

use std::fmt;

use super::fault::Scene;
use crate::runtime::Timestamp;
use crate::workflow::{AfterFailure, Direction, End, Event, Failure as How, Record};

/// So many failures are shown in full.
const SHOWN_MAX: usize = 3;
/// So many records of a journal are shown at its beginning and at its end.
const RECORDS_SHOWN: usize = 20;

/// What a case is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// What the case is about takes place.
    Reached,
    /// The workflow ends as it should.
    End,
    /// The journal names the step with which something went wrong.
    Blame,
    /// Nothing is left over in the world.
    Clean,
    /// No row is left over in the store.
    Rows,
    /// Everything is there, once.
    Complete,
    /// The world can be set up, and the case comes to an end.
    Run,
}

/// A case that did not go as it should.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The saga, with its version.
    pub saga: String,
    /// What the case was about.
    pub scene: Scene,
    /// What was not as it should be.
    pub check: Check,
    /// What was to come of it, in words.
    pub expected: String,
    /// What came of it, in words.
    pub found: String,
    /// The workflow's journal at the end.
    pub journal: Vec<Record>,
}

/// What the kit found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The saga, with its version.
    pub saga: String,
    /// The cases that were played.
    pub played: Vec<Scene>,
    /// Those of them that did not go as they should.
    pub failures: Vec<Failure>,
}

impl Report {
    /// All went as it should.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Panics with the failures, if there are any.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.passed(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (played, failed) = (self.played.len(), self.failures.len());
        if failed == 0 {
            return write!(f, "{}: {played} cases, all as they should be", self.saga);
        }
        writeln!(f, "{}: {failed} of {played} cases failed", self.saga)?;
        for failure in self.failures.iter().take(SHOWN_MAX) {
            write!(f, "\n{failure}")?;
        }
        if failed > SHOWN_MAX {
            writeln!(f, "\nand")?;
        }
        for failure in self.failures.iter().skip(SHOWN_MAX) {
            writeln!(f, "  {}: {}", failure.scene, failure.found)?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, when {}", self.saga, self.scene)?;
        writeln!(f, "  expected: {}", self.expected)?;
        writeln!(f, "  found:    {}", self.found)?;
        if self.journal.is_empty() {
            return writeln!(f, "  journal:  nothing became durable");
        }
        writeln!(f, "  journal:")?;
        let began_at = self.journal[0].at;
        let hidden = RECORDS_SHOWN..self.journal.len().saturating_sub(RECORDS_SHOWN);
        for (place, record) in self.journal.iter().enumerate() {
            if place == hidden.start && hidden.len() > 1 {
                writeln!(f, "        and {} more", hidden.len())?;
            }
            if hidden.len() <= 1 || !hidden.contains(&place) {
                writeln!(f, "    {}", line(record, began_at))?;
            }
        }
        Ok(())
    }
}

/// A record on one line.
#[must_use]
pub fn line(record: &Record, began_at: Timestamp) -> String {
    let after_ms = record.at.since(began_at).as_millis();
    let mut line = format!(
        "{:>3} {after_ms:>7} ms  {}",
        record.seq,
        record.event.kind()
    );
    if let Some(step) = record.event.step() {
        line.push(' ');
        line.push_str(step);
    }
    line.push_str(&detail(&record.event));
    let starts: Vec<String> = record
        .starts
        .iter()
        .map(|intent| match intent.direction {
            Direction::Forward => intent.step.clone(),
            Direction::Backward => format!("undo {}", intent.step),
        })
        .collect();
    if !starts.is_empty() {
        line.push_str(" -> ");
        line.push_str(&starts.join(", "));
    }
    match record.ends {
        Some(End::Completed) => line.push_str("; completed"),
        Some(End::Compensated) => line.push_str("; compensated"),
        None => {}
    }
    line
}

fn detail(event: &Event) -> String {
    match event {
        Event::StepDone {
            attempt, output, ..
        } => format!(" #{attempt}: {}", output.as_str()),
        Event::StepRefused {
            attempt, refusal, ..
        } => format!(" #{attempt}: {refusal}"),
        Event::AttemptFailed {
            attempt,
            failure,
            error,
            then,
            ..
        } => {
            let known = match failure {
                How::Unknown => "nobody knows",
                How::NoEffect => "no effect",
            };
            format!(" #{attempt} ({known}): {error}; {}", next(*then))
        }
        Event::CompensationDone { attempt, .. } => format!(" #{attempt}"),
        Event::CompensationFailed {
            attempt,
            error,
            then,
            ..
        } => format!(" #{attempt}: {error}; {}", next(*then)),
        Event::Poisoned { error } => format!(": {error}"),
        Event::SignalReceived(signal) => format!(": {}", signal.payload.as_str()),
        _ => String::new(),
    }
}

const fn next(then: AfterFailure) -> &'static str {
    match then {
        AfterFailure::RetryAt(_) => "again later",
        AfterFailure::TurnBack => "turns back",
        AfterFailure::Park => "parked",
    }
}
