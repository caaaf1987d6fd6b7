//! What a check saw.

use serde::{Serialize, Serializer};

/// So many violations are described, and so many things that were in flight; the rest are counted.
pub const VIOLATIONS_LISTED_MAX: usize = 20;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Something was looked at, and nothing was wrong.
    Holds,
    /// Something was wrong, or nothing was looked at.
    Violated,
    /// Here there is nothing to look at: see [`InvariantReport::not_checked`].
    NotChecked,
}

/// One invariant, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvariantReport {
    /// Such as `I1`.
    pub id: &'static str,
    /// What must hold, in words.
    pub title: &'static str,
    /// How many things were looked at. None is a violation.
    pub checked: u64,
    /// How many things were under way, and so could not be judged: they are neither right nor wrong yet.
    pub in_flight: u64,
    /// The first [`VIOLATIONS_LISTED_MAX`] of those.
    pub under_way: Vec<String>,
    /// The first [`VIOLATIONS_LISTED_MAX`] violations.
    pub violations: Vec<String>,
    /// All violations, the listed ones among them.
    pub violation_count: u64,
    /// What this check could not see here, and why: it is right all the same, as far as it looked.
    pub notes: Vec<String>,
    /// Why it was not checked at all.
    pub not_checked: Option<String>,
}

impl Serialize for InvariantReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            id: &'a str,
            title: &'a str,
            verdict: Verdict,
            checked: u64,
            in_flight: u64,
            under_way: &'a [String],
            violations: &'a [String],
            violation_count: u64,
            notes: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            not_checked: Option<&'a str>,
        }
        let shown = Shown {
            id: self.id,
            title: self.title,
            verdict: self.verdict(),
            checked: self.checked,
            in_flight: self.in_flight,
            under_way: &self.under_way,
            violations: &self.violations,
            violation_count: self.violation_count,
            notes: &self.notes,
            not_checked: self.not_checked.as_deref(),
        };
        shown.serialize(serializer)
    }
}

impl InvariantReport {
    pub(super) const fn new(id: &'static str, title: &'static str) -> Self {
        Self {
            id,
            title,
            checked: 0,
            in_flight: 0,
            under_way: Vec::new(),
            violations: Vec::new(),
            violation_count: 0,
            notes: Vec::new(),
            not_checked: None,
        }
    }

    /// What came of it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match (self.violation_count, &self.not_checked) {
            (0, None) => Verdict::Holds,
            (0, Some(_)) => Verdict::NotChecked,
            _ => Verdict::Violated,
        }
    }

    /// It holds, and something was looked at.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict() == Verdict::Holds
    }

    pub(super) fn violated(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_LISTED_MAX {
            self.violations.push(what);
        }
    }

    /// So much of something is under way.
    pub(super) fn under_way(&mut self, count: u64, what: impl FnOnce() -> String) {
        self.in_flight += count;
        if self.under_way.len() < VIOLATIONS_LISTED_MAX {
            self.under_way.push(what());
        }
    }

    /// Something that is under way: where nothing may be, that is a violation.
    pub(super) fn under_way_unless(&mut self, at_rest: bool, what: String) {
        if at_rest {
            self.violated(what);
        } else {
            self.under_way(1, || what);
        }
    }

    /// Looked at one thing, which must be so.
    pub(super) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violated(otherwise());
        }
    }

    /// No more to look at.
    pub(super) fn finished(mut self) -> Self {
        if self.checked == 0 && self.not_checked.is_none() {
            self.violated("nothing was looked at".to_owned());
        }
        self
    }

    /// There is nothing here to look at.
    pub(super) fn not_checked(mut self, because: impl Into<String>) -> Self {
        self.not_checked = Some(because.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_looked_at_nothing_has_failed() {
        let report = InvariantReport::new("I0", "").finished();
        assert_eq!(report.verdict(), Verdict::Violated);
    }

    #[test]
    fn what_was_not_checked_is_neither_right_nor_wrong() {
        let report = InvariantReport::new("I0", "").not_checked("there is no bus");
        let report = report.finished();
        assert_eq!(report.verdict(), Verdict::NotChecked);
        assert!(!report.holds());
    }

    #[test]
    fn what_is_under_way_is_no_violation_unless_nothing_may_be() {
        let mut report = InvariantReport::new("I0", "");
        report.check(true, String::new);
        report.under_way_unless(false, "one".to_owned());
        assert_eq!((report.verdict(), report.in_flight), (Verdict::Holds, 1));
        report.under_way_unless(true, "another".to_owned());
        assert_eq!(report.verdict(), Verdict::Violated);
    }

    #[test]
    fn violations_are_all_counted_and_some_are_listed() {
        let mut report = InvariantReport::new("I0", "");
        for number in 0..50 {
            report.check(false, || format!("{number}"));
        }
        let report = report.finished();
        assert_eq!(
            (report.violations.len(), report.violation_count),
            (VIOLATIONS_LISTED_MAX, 50)
        );
    }
}
