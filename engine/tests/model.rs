//! The pure core against a plain model of what a saga is: random graphs, random outcomes in random order, crashes, operators.
//!
//! Each case has a seed, which a failure prints. `MODEL_SEED=n` runs that case alone; `MODEL_CASES=n` sets their number.

#[expect(dead_code, reason = "each test file uses a part of this")]
#[path = "support/untyped.rs"]
mod untyped;

#[path = "model/graph.rs"]
mod graph;

#[path = "model/learning.rs"]
mod learning;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/rules.rs"]
mod rules;

#[path = "model/world.rs"]
mod world;

#[path = "model/attempts.rs"]
mod attempts;
#[path = "model/checks.rs"]
mod checks;
#[path = "model/life.rs"]
mod life;
#[path = "model/others.rs"]
mod others;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use life::{Ending, Life};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const CASES: u64 = 10_000;
/// The first seed. Any other would do: change it to look elsewhere.
const FIRST_SEED: u64 = 1;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

fn run(seed: u64) -> Ending {
    let case = AssertUnwindSafe(|| {
        let mut random = StdRng::seed_from_u64(seed);
        let shape = graph::random(&mut random);
        Life::new(shape, random).run()
    });
    catch_unwind(case).unwrap_or_else(|panic| {
        eprintln!("the case is repeated by: MODEL_SEED={seed} cargo test -p engine --test model");
        resume_unwind(panic)
    })
}

#[test]
fn ten_thousand_random_sagas_keep_to_the_plain_model_until_their_one_end() {
    if let Some(seed) = from_environment("MODEL_SEED") {
        println!("seed {seed}: {:?}", run(seed));
        return;
    }
    let cases = from_environment("MODEL_CASES").unwrap_or(CASES);
    println!("seeds {FIRST_SEED} to {}", FIRST_SEED + cases - 1);
    let halves = [
        FIRST_SEED..FIRST_SEED + cases / 2,
        FIRST_SEED + cases / 2..FIRST_SEED + cases,
    ];
    let endings: Vec<Ending> = std::thread::scope(|scope| {
        let threads = halves.map(|seeds| scope.spawn(|| seeds.map(run).collect::<Vec<_>>()));
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_kind: BTreeMap<&str, u64> = BTreeMap::new();
    let mut crashes = 0;
    for ending in &endings {
        *by_status.entry(ending.status).or_default() += 1;
        crashes += ending.crashes;
        for (kind, count) in &ending.kinds {
            *by_kind.entry(kind).or_default() += count;
        }
    }
    let diverted = endings.iter().filter(|ending| ending.diverted).count() as u64;
    println!(
        "{cases} cases, {crashes} crashes, {diverted} completed by alternatives: {by_status:?}, {by_kind:?}"
    );
    if cases >= CASES {
        let ends = ["COMPLETED", "COMPENSATED", "PARKED", "ABANDONED"];
        let seen = |status| by_status.get(status).copied().unwrap_or(0) > cases / 50;
        assert!(
            ends.into_iter().all(seen),
            "each ending is common: {by_status:?}"
        );
        assert!(
            by_kind.len() == 19 && by_kind.values().all(|count| *count > cases / 100),
            "each kind of event is common: {by_kind:?}"
        );
        assert!(
            crashes > cases / 4 && diverted > cases / 50,
            "nothing was left out"
        );
    }
}
