//! What the simulation has found, each as a scene of its own, so that it stays found whatever becomes of the seeds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::{Payload, Start, Started};

use super::faults::Scenario;
use super::oracle::{Records, check, check_effects};
use super::play::{rests, stage};
use super::sagas::Shape;
use super::world::{Cut, Party, World};

const HOUR_US: i64 = 3_600_000_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// A world in which nothing goes wrong by itself.
fn quiet(nodes: usize) -> Arc<World> {
    let scenario = Scenario {
        seed: 1,
        faults: BTreeSet::new(),
        nodes,
        workflows: 0,
        chaos_ms: 0,
        plant: None,
    };
    World::with_shapes(scenario, vec![Shape::ahead_to_its_end()], false)
}

async fn open_all(world: &Arc<World>) -> Result<(), String> {
    for process in 0..world.scenario.nodes {
        Arc::clone(world).start(process).await;
    }
    rests(world).await
}

async fn start(world: &Arc<World>, process: usize) -> Result<Started, String> {
    let start = Start {
        definition: "saga-0".to_owned(),
        input: Payload::null(),
        key: Some(("client".to_owned(), "k".to_owned())),
        request_hash: [1; 32],
        label: None,
    };
    let asked = world.ask(process, PATIENCE, |engine| async move {
        engine.start(start).await
    });
    let answer = asked.await.ok_or("no answer")?;
    answer.map_err(|error| error.to_string())
}

#[test]
fn a_repeat_that_ran_to_its_end_ahead_of_the_journal_in_another_partition_is_undone() {
    let world = quiet(2);
    let scene = async |world: Arc<World>| {
        open_all(&world).await?;
        let first = start(&world, 0).await?;
        let second = start(&world, 1).await?;
        assert_eq!(first.view().id, second.view().id);
        world.simulation.sleep(Duration::from_secs(20)).await;
        rests(&world).await?;
        let records = Records::read(&world)?;
        check(&world, &records)?;
        assert_eq!(
            world.outside.lock().unwrap().effects.len(),
            6,
            "two done twice, two undone"
        );
        check_effects(&world, &records)
    };
    stage(&world, scene).unwrap();
}

/// A start whose steps are attempted while its node can't write, until the node has lost what it owned and serves again.
async fn lost_start(world: &Arc<World>) -> Result<(), String> {
    let database = (0, Party::Database);
    world.cuts.lock().unwrap().insert(database, Cut::Refuses);
    let answer = start(world, 0).await;
    assert!(answer.is_err(), "{answer:?}");
    world.simulation.sleep(world.lease() * 2).await;
    world.cuts.lock().unwrap().clear();
    for _ in 0..10_000 {
        let serving = world
            .serving(0)
            .is_some_and(|(_, engine)| engine.is_serving());
        if serving {
            return Ok(());
        }
        world.simulation.sleep(Duration::from_millis(1)).await;
    }
    Err("the node does not serve again".to_owned())
}

#[test]
fn what_a_lost_start_did_is_undone_also_when_an_attempt_of_its_second_life_arrives_late() {
    let world = quiet(1);
    let scene = async |world: Arc<World>| {
        open_all(&world).await?;
        lost_start(&world).await?;
        *world.late.lock().unwrap() = Some(world.lease() * 5);
        lost_start(&world).await?;
        *world.late.lock().unwrap() = None;
        world.simulation.sleep(world.lease() * 10).await;
        rests(&world).await?;
        let records = Records::read(&world)?;
        check(&world, &records)?;
        check_effects(&world, &records)?;
        let outside = world.outside.lock().unwrap();
        assert_eq!(outside.effects.len(), 4, "two done and two undone");
        let came_late =
            |words: &Vec<String>| words.last().is_some_and(|last| last.starts_with("Forward"));
        assert!(
            outside.history.values().any(came_late),
            "{:#?}",
            outside.history
        );
        Ok(())
    };
    stage(&world, scene).unwrap();
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_keeps_no_node_from_taking_partitions_again() {
    let world = quiet(1);
    let scene = async |world: Arc<World>| {
        open_all(&world).await?;
        let clock = world.processes.lock().unwrap()[0]
            .clock
            .clone()
            .ok_or("a clock")?;
        clock.jump(HOUR_US);
        world.simulation.sleep(Duration::from_millis(1_600)).await;
        clock.jump(-HOUR_US);
        world.simulation.sleep(Duration::from_secs(1)).await;
        world
            .cuts
            .lock()
            .unwrap()
            .insert((0, Party::Database), Cut::Refuses);
        world.simulation.sleep(world.lease() * 2).await;
        world.cuts.lock().unwrap().clear();
        rests(&world).await?;
        start(&world, 0).await.map(|_| ())
    };
    stage(&world, scene).unwrap();
}
