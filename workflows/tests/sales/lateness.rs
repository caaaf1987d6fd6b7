//! How late openings are recorded, in real time: many that are due at the same second.

use std::time::Duration;

use engine::Runtime;
use engine::store::{SqlDatabase, Value};

use crate::support::{Node, eventually, on_both_databases, seed};

const SALES: usize = 50;
/// Where the code is optimised; a build for debugging, beside other tests, is given more.
const LATE_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 250 });
/// Others may have the machine for a while: what is late in every round is late by itself.
const ROUNDS_MAX: u32 = 4;
/// From the seed to the opening, in the first round; twice as long in each next one.
const AHEAD: Duration = Duration::from_secs(3);

async fn fifty_openings_of_one_second_are_recorded_on_time(database: SqlDatabase) {
    let node = Node::real(&database, "node").await;
    for round in 0..ROUNDS_MAX {
        if is_on_time(&database, &node, round).await {
            return;
        }
    }
    panic!("late in each of {ROUNDS_MAX} rounds");
}

async fn is_on_time(database: &SqlDatabase, node: &Node, round: u32) -> bool {
    let runtime = Runtime::system();
    let opens_at = runtime.now().after(AHEAD * (1 << round));
    let closes_at = opens_at.after(Duration::from_hours(1));
    let seeds: Vec<_> = (0..SALES)
        .map(|number| seed(&format!("drop-{round}-{number}"), opens_at, closes_at))
        .collect();
    node.seeded(&seeds).await;
    if runtime.now() >= opens_at {
        println!("round {round}: they were not all there in time");
        return false;
    }
    let expected = SALES * (1 + round as usize);
    eventually("all of them to be durable", async || {
        let parameters: [Value; 0] = [];
        let sql = "SELECT COUNT(*) FROM sales WHERE opened_us > 0";
        let rows = database.query("looking", sql, &parameters).await.unwrap();
        usize::try_from(rows[0].integer(0).unwrap()).unwrap() == expected
    })
    .await;
    let durable = runtime.now().since(opens_at);
    let mut late = Vec::with_capacity(SALES);
    for seed in &seeds {
        let opened_at = node.opened(&seed.sale).await;
        assert!(opened_at >= opens_at, "never early");
        late.push(opened_at.since(opens_at));
    }
    late.sort();
    let (p50, p99) = (late[SALES / 2], late[SALES * 99 / 100]);
    println!("{SALES} openings: p50 {p50:?}, p99 {p99:?} late; all durable after {durable:?}");
    p99 < LATE_MAX && durable < LATE_MAX
}

on_both_databases!(fifty_openings_of_one_second_are_recorded_on_time);
