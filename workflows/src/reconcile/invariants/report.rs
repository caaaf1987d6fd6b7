//! What a check saw.

use serde::Serialize;

/// So many violations are described; the rest are counted.
pub const VIOLATIONS_LISTED_MAX: usize = 20;

/// One invariant, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvariantReport {
    /// Such as `I1`.
    pub id: &'static str,
    /// What must hold, in words.
    pub title: &'static str,
    /// How many things were looked at. None is a violation.
    pub checked: u64,
    /// The first [`VIOLATIONS_LISTED_MAX`] violations.
    pub violations: Vec<String>,
    /// All violations, the listed ones among them.
    pub violation_count: u64,
}

impl InvariantReport {
    pub(super) const fn new(id: &'static str, title: &'static str) -> Self {
        Self {
            id,
            title,
            checked: 0,
            violations: Vec::new(),
            violation_count: 0,
        }
    }

    /// It holds, and something was looked at.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.violation_count == 0
    }

    pub(super) fn violated(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_LISTED_MAX {
            self.violations.push(what);
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
        if self.checked == 0 {
            self.violated("nothing was looked at".to_owned());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_looked_at_nothing_has_failed() {
        assert!(!InvariantReport::new("I0", "").finished().holds());
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
