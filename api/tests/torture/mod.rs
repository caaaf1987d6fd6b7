//! Every place between two effects, and what happens when a node ends, freezes or is lied to right there: once in its life, and
//! once more while it takes up what it left. Whatever it is, everyone gets what was promised.
//!
//! `HOLDFAST_TORTURE=all` runs the whole matrix, `HOLDFAST_TORTURE=<words>` the cells whose names hold them; otherwise it is a
//! tenth, chosen by the seed.

mod cell;
mod life;
mod plan;
mod world;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::{PATIENCE, seed};
use cell::Row;
use plan::Cell;
use world::World;

/// One in so many cells.
const SHARE: usize = 10;
/// Worlds side by side.
const WORLDS: usize = 4;
/// Each ends with a look at everything that its world has ever done: after so many cells there is another one.
const CELLS_A_WORLD: usize = 16;
/// No cell takes longer. More than anything in it is waited for: what waits in vain is to say for what.
const CELL_TIMEOUT: Duration = PATIENCE.saturating_mul(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_between_two_effects_everyone_gets_what_was_promised() {
    let seed = seed();
    let cells: VecDeque<Cell> = chosen(seed).into();
    let total = cells.len();
    let cells = Arc::new(Mutex::new(cells));
    let rows = Arc::new(Mutex::new(Vec::new()));
    let mut worlds = JoinSet::new();
    for number in 0..WORLDS.min(total) {
        let (cells, rows) = (Arc::clone(&cells), Arc::clone(&rows));
        worlds.spawn(async move {
            let Some(world) = World::start().await else {
                return;
            };
            let mut world = Arc::new(world);
            for played in 1_usize.. {
                let next = cells.lock().expect("no panic").pop_front();
                let Some(cell) = next else { return };
                let row = cell_in(&world, &cell, seed ^ number as u64).await;
                println!("{row}");
                // What is wrong in one is not the next cell's.
                if row.problem.is_some() || played % CELLS_A_WORLD == 0 {
                    world = Arc::new(World::start().await.expect("the servers are there"));
                }
                rows.lock().expect("no panic").push(row);
            }
        });
    }
    while let Some(ended) = worlds.join_next().await {
        ended.expect("a world");
    }
    let rows = std::mem::take(&mut *rows.lock().expect("no panic"));
    if rows.is_empty() {
        return;
    }
    println!("{}", summary(&rows));
    let wrong: Vec<&Row> = rows.iter().filter(|row| row.problem.is_some()).collect();
    assert_eq!(rows.len(), total);
    let wrong: String = wrong.iter().fold(String::new(), |mut text, row| {
        let _ = write!(text, "\n{row}");
        text
    });
    assert!(wrong.is_empty(), "{wrong}");
}

fn chosen(seed: u64) -> Vec<Cell> {
    let all = plan::cells();
    let wanted = std::env::var("HOLDFAST_TORTURE").unwrap_or_default();
    match wanted.as_str() {
        "all" => all,
        "" => {
            let share = usize::try_from(seed % SHARE as u64).expect("small");
            all.into_iter().skip(share).step_by(SHARE).collect()
        }
        words => all
            .into_iter()
            .filter(|cell| cell.to_string().contains(words))
            .collect(),
    }
}

/// A cell in a task of its own: whatever goes wrong in it is a row of the table.
async fn cell_in(world: &Arc<World>, cell: &Cell, seed: u64) -> Row {
    let mut task = JoinSet::new();
    {
        let (world, cell) = (Arc::clone(world), cell.clone());
        task.spawn(async move { cell::run(&world, &cell, seed).await });
    }
    let ended = tokio::time::timeout(CELL_TIMEOUT, task.join_next()).await;
    match ended {
        Ok(Some(Ok(row))) => row,
        Ok(Some(Err(error))) => Row::failed(cell, format!("{error}")),
        Ok(None) | Err(_) => Row::failed(cell, format!("not over after {CELL_TIMEOUT:?}")),
    }
}

fn summary(rows: &[Row]) -> String {
    let fired: usize = rows.iter().map(|row| row.fired).sum();
    let purchases: usize = rows.iter().map(|row| row.purchases).sum();
    let lives: usize = rows.iter().map(|row| row.lives).sum();
    let wrong = rows.iter().filter(|row| row.problem.is_some()).count();
    format!(
        "{} cells, {fired} points fired, {lives} lives, {purchases} purchases acknowledged, {wrong} cells in which something was wrong",
        rows.len()
    )
}
