//! Makes a run that fails smaller: fewer kinds of faults, fewer workflows, fewer nodes, less time, as long as it still fails.

use super::faults::Scenario;
use super::play::{Outcome, run};

/// Runs that are made to shrink one.
const RUNS_MAX: u32 = 150;

/// The smallest scenario found that fails, and how it does.
pub fn shrink(scenario: &Scenario) -> (Scenario, Outcome) {
    let mut smallest = scenario.clone();
    let mut runs = 0;
    loop {
        let before = runs;
        let mut shrunk = false;
        for smaller in smaller_than(&smallest) {
            runs += 1;
            if runs > RUNS_MAX {
                break;
            }
            if run(&smaller, false).result.is_err() {
                smallest = smaller;
                shrunk = true;
                break;
            }
        }
        if !shrunk || runs > RUNS_MAX || before == runs {
            let outcome = run(&smallest, true);
            return (smallest, outcome);
        }
    }
}

fn smaller_than(scenario: &Scenario) -> Vec<Scenario> {
    let with = |change: &dyn Fn(&mut Scenario)| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        smaller
    };
    let mut smaller = Vec::new();
    for fault in &scenario.faults {
        smaller.push(with(&|it| {
            it.faults.remove(fault);
        }));
    }
    if scenario.workflows > 1 {
        smaller.push(with(&|it| it.workflows /= 2));
        smaller.push(with(&|it| it.workflows -= 1));
    }
    if scenario.nodes > 1 {
        smaller.push(with(&|it| it.nodes -= 1));
    }
    if scenario.chaos_ms > 2_000 {
        smaller.push(with(&|it| it.chaos_ms = it.chaos_ms * 2 / 3));
    }
    smaller
}
