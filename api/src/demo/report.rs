//! What came of the sale: for a person to look at, for a program to read, and for the exit code.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loadtest::driver::{Report, percentile_ms};
use serde::Serialize;
use serde_json::{Value, json};

use super::opening::Opening;
use super::stage::{POSTERS, Stage};
use crate::cli::Demo;
use crate::exit::{Code, Failure};

/// Something that must hold, and what was seen of it.
#[derive(Clone, Debug, Serialize)]
pub struct Invariant {
    /// Its name in the design, such as `I1`.
    pub id: String,
    /// How many things it looked at.
    pub checked: u64,
    /// Why it was not checked, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_checked: Option<String>,
    /// What did not hold, a sentence each.
    pub violations: Vec<String>,
}

impl Invariant {
    /// It looked at something, and nothing was wrong; or there is nothing here to look at.
    fn holds(&self) -> bool {
        self.violations.is_empty() && (self.checked > 0 || self.not_checked.is_some())
    }

    /// The same, as another has seen it.
    pub fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        self.violations.extend(other.violations);
    }

    /// Its number, such as 10 of `I10`.
    fn number(&self) -> u32 {
        self.id.trim_start_matches('I').parse().unwrap_or(u32::MAX)
    }
}

/// The result.
pub struct Summary {
    description: String,
    buyers: u32,
    stock: u32,
    coupons: u32,
    seed: u64,
    opening: Opening,
    claims: BTreeMap<String, u64>,
    purchases: BTreeMap<String, u64>,
    posters: BTreeMap<String, u64>,
    seconds: f64,
    purchases_per_second: f64,
    completed_per_second: f64,
    refused_per_second: f64,
    completed_ms: [f64; 2],
    refused_ms: [f64; 2],
    acknowledged: usize,
    repeats: u64,
    unavailable: u64,
    errors: Vec<String>,
    invariants: Vec<Invariant>,
}

/// Violations that are printed of each invariant; the rest are counted.
const VIOLATIONS_SHOWN: usize = 5;

impl Summary {
    /// Puts it together.
    pub fn new(
        arguments: &Demo,
        seed: u64,
        stage: &Stage,
        opening: &Opening,
        mut driven: Report,
        posters: Report,
        mut invariants: Vec<Invariant>,
    ) -> Self {
        invariants.sort_by_key(Invariant::number);
        let seconds = driven.elapsed.as_secs_f64().max(f64::EPSILON);
        let selling = driven.completed_within.as_secs_f64().max(f64::EPSILON);
        let completed = driven.purchases.get("completed").copied().unwrap_or(0);
        let refusing = driven
            .refused_between
            .map_or(f64::EPSILON, |(first, last)| {
                last.saturating_sub(first).as_secs_f64()
            });
        let refused = as_f64(u64::try_from(driven.times.refused.len()).unwrap_or(u64::MAX));
        let percentiles =
            |durations: &mut Vec<_>| [50, 99].map(|percent| percentile_ms(durations, percent));
        Self {
            description: stage.description().to_owned(),
            buyers: arguments.buyers,
            stock: arguments.stock,
            coupons: arguments.coupons,
            seed,
            opening: opening.clone(),
            claims: std::mem::take(&mut driven.claims),
            posters: posters.purchases,
            seconds,
            purchases_per_second: as_f64(driven.decided()) / seconds,
            completed_per_second: as_f64(completed) / selling,
            refused_per_second: if refusing > 0.0 {
                refused / refusing
            } else {
                0.0
            },
            completed_ms: percentiles(&mut driven.times.completed),
            refused_ms: percentiles(&mut driven.times.refused),
            acknowledged: driven.acknowledged.len(),
            repeats: driven.repeats.checked,
            unavailable: driven.unavailable,
            purchases: driven.purchases,
            errors: driven.errors.into_iter().chain(posters.errors).collect(),
            invariants,
        }
    }

    /// Fails when something does not hold.
    pub fn verdict(&self) -> Result<(), Failure> {
        let broken: Vec<&str> = self
            .invariants
            .iter()
            .filter(|one| !one.holds())
            .map(|one| one.id.as_str())
            .collect();
        if !broken.is_empty() {
            return Err(Failure::new(
                Code::CheckFailed,
                format!("{} does not hold, see above", broken.join(", ")),
            ));
        }
        match self.errors.first() {
            None => Ok(()),
            Some(first) => {
                let sentence = format!(
                    "{} buyers saw an answer that nobody should: {first}",
                    self.errors.len()
                );
                Err(Failure::new(Code::CheckFailed, sentence))
            }
        }
    }

    /// For a program.
    pub fn as_json(&self) -> Value {
        json!({
            "too_early": self.opening.too_early,
            "opened_late_ms": round(self.opening.late_ms),
            "claims": self.claims,
            "posters": self.posters,
            "purchases": self.purchases,
            "purchases_per_second": round(self.purchases_per_second),
            "p50_ms": round(self.completed_ms[0]),
            "p99_ms": round(self.completed_ms[1]),
            "invariants": self.invariants,
            "completed_per_second": round(self.completed_per_second),
            "refused_per_second": round(self.refused_per_second),
            "refused_p50_ms": round(self.refused_ms[0]),
            "refused_p99_ms": round(self.refused_ms[1]),
            "seconds": round(self.seconds),
            "buyers": self.buyers,
            "stock": self.stock,
            "coupons": self.coupons,
            "seed": self.seed,
            "acknowledged": self.acknowledged,
            "repeats": self.repeats,
            "unavailable": self.unavailable,
            "errors": self.errors,
            "mode": self.description,
        })
    }

    /// For a person.
    pub fn as_text(&self) -> String {
        let mut out = format!(
            "\n{} buyers came for {} units with {} coupons (seed {}).\n\n",
            thousands(self.buyers.into()),
            thousands(self.stock.into()),
            thousands(self.coupons.into()),
            self.seed
        );
        self.write_opening(&mut out);
        self.write_purchases(&mut out);
        self.write_posters(&mut out);
        self.write_speed(&mut out);
        self.write_invariants(&mut out);
        out
    }

    fn write_opening(&self, out: &mut String) {
        let Opening { too_early, late_ms } = &self.opening;
        let claimed = self.claims.get("claimed").copied().unwrap_or(0);
        line(
            out,
            &format!(
                "Who came before the opening was told {too_early}; the opening was announced {late_ms:.0} ms after the due instant."
            ),
        );
        line(
            out,
            &format!(
                "{} coupons were claimed before the purchase that used them.\n",
                thousands(claimed)
            ),
        );
    }

    fn write_posters(&self, out: &mut String) {
        let of = |outcome: &str| self.posters.get(outcome).copied().unwrap_or(0);
        line(
            out,
            &format!(
                "{POSTERS} posters were paid for at the gateway: {} were issued, and {} refunded, for want of a serial number.\n",
                of("completed"),
                of("refunded")
            ),
        );
    }

    fn write_purchases(&self, out: &mut String) {
        line(out, "What became of their purchases:");
        let mut by_count: Vec<(&String, &u64)> = self.purchases.iter().collect();
        by_count.sort_by_key(|(outcome, count)| {
            (outcome.as_str() != "completed", std::cmp::Reverse(**count))
        });
        for (outcome, count) in by_count {
            let note = explain(outcome);
            line(
                out,
                &format!(
                    "  {:<20} {:>9}   {note}",
                    outcome.replace('_', " "),
                    thousands(*count)
                ),
            );
        }
        let completed = self.purchases.get("completed").copied().unwrap_or(0);
        let (sold, stock) = (thousands(completed), thousands(self.stock.into()));
        let rest = if completed == u64::from(self.stock) {
            "what was given back went to others"
        } else {
            "the rest found no buyer, or came back after the last one had left"
        };
        line(
            out,
            &format!("  {sold} of {stock} units are sold; {rest}.\n"),
        );
    }

    fn write_speed(&self, out: &mut String) {
        let (all, seconds) = (self.purchases_per_second, self.seconds);
        line(
            out,
            &format!(
                "How fast, once everyone had a token: {all:.0} purchases decided a second over {seconds:.1} s."
            ),
        );
        let rows = [
            (
                "completed",
                "from the click to the goods",
                self.completed_per_second,
                self.completed_ms,
            ),
            (
                "refused",
                "from the click to the refusal",
                self.refused_per_second,
                self.refused_ms,
            ),
        ];
        for (what, span, rate, [p50, p99]) in rows {
            line(
                out,
                &format!(
                    "  {what:<10} {rate:>7.0} a second while they lasted; {span:<29} p50 {p50:.1} ms, p99 {p99:.1} ms"
                ),
            );
        }
        line(out, "");
    }

    fn write_invariants(&self, out: &mut String) {
        line(out, "What must hold, and how many things were looked at:");
        for invariant in &self.invariants {
            let verdict = match (invariant.holds(), invariant.checked) {
                (true, 0) => "not checked",
                (true, _) => "holds",
                (false, 0) => "looked at nothing",
                (false, _) => "BROKEN",
            };
            let (id, looked) = (&invariant.id, thousands(invariant.checked));
            line(
                out,
                &format!("  {id:<3} {:<66} {verdict:<7} {looked:>9}", meaning(id)),
            );
            if let Some(because) = &invariant.not_checked {
                line(out, &format!("      {because}"));
            }
            for violation in invariant.violations.iter().take(VIOLATIONS_SHOWN) {
                line(out, &format!("      {violation}"));
            }
            let more = invariant.violations.len().saturating_sub(VIOLATIONS_SHOWN);
            if more > 0 {
                line(out, &format!("      and {more} more"));
            }
        }
        for error in self.errors.iter().take(VIOLATIONS_SHOWN) {
            line(out, &format!("  unexpected: {error}"));
        }
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes all");
}

fn explain(outcome: &str) -> &'static str {
    match outcome {
        "completed" => "paid, and the goods are issued",
        "payment_declined" => "declined by the gateway: everything was given back",
        "cancelled_by_buyer" => "cancelled before the payment: everything was given back",
        "sold_out" => "answered at the gate, without a workflow",
        "coupons_exhausted" => "all coupons were taken",
        "gave_up" => "no answer in time",
        "parked" => "waits for an operator",
        _ => "",
    }
}

fn meaning(id: &str) -> &'static str {
    match id {
        "I1" => "units at the start = available + held + sold; sold = goods issued",
        "I2" => "a buyer has one coupon at most, a campaign no more than it has",
        "I3" => "captured - refunded in the gateway's ledger = price of the goods",
        "I4" => "every workflow ended, or waits for an operator with a reason",
        "I5" => "every event is on the topic, and nothing else is",
        "I6" => "each journal is numbered 1 to n, without a gap",
        "I7" => "nothing was written under an epoch that had passed",
        "I9" => "only what was attempted is undone, in reverse order, once",
        "I8" => "what was acknowledged is there, and a repeat names the same",
        "I10" => "each action of an operator has one audit row",
        _ => "",
    }
}

/// A number with commas.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a demo are far below 2^52"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        let shown: Vec<String> = [0, 999, 1_000, 1_234_567]
            .into_iter()
            .map(thousands)
            .collect();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn an_invariant_that_looked_at_nothing_does_not_hold() {
        let invariant = |checked, violations: &[&str]| Invariant {
            id: "I1".into(),
            checked,
            not_checked: None,
            violations: violations.iter().map(ToString::to_string).collect(),
        };
        assert!(invariant(1, &[]).holds());
        assert!(!invariant(0, &[]).holds());
        assert!(!invariant(9, &["one"]).holds());
    }
}
