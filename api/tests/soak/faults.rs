//! What fails, one kind at its own pace each: all of it chosen by the seed, and counted when it took effect.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::pace::{Dice, Kind, Pace};
use super::redis;
use super::tally::Counted;
use super::world::World;
use crate::support::PATIENCE;

/// There is a COMMIT to cut within this time, or there is nobody who buys.
const COMMIT_WITHIN: Duration = Duration::from_secs(3);
/// How often the effect of a fault is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// So long its effect is looked for.
const EFFECT_WITHIN: Duration = Duration::from_secs(10);
/// What a wrong gateway does to every charge: the effect with a wrong answer, an answer that can't be read, or none.
const WRONG: [&str; 7] = [
    "500-after",
    "reset-after",
    "timeout-after",
    "malformed-body",
    "empty-body",
    "wrong-amount",
    "wrong-order",
];

/// Everything fails at its pace; returns when that is over and everything is there again.
pub async fn everything_fails(world: &Arc<World>, pace: &Pace, seed: u64) {
    let over = Instant::now() + pace.lasts;
    let mut kinds = JoinSet::new();
    for (number, kind) in (0..).zip(Kind::ALL) {
        let (world, pace) = (Arc::clone(world), pace.clone());
        let dice = Dice::of(seed, number);
        kinds.spawn(async move { fails(&world, kind, &pace, &dice, over).await });
    }
    while let Some(ended) = kinds.join_next().await {
        ended.expect("what fails is what is meant to fail");
    }
}

/// One kind, again and again.
async fn fails(world: &World, kind: Kind, pace: &Pace, dice: &Dice, over: Instant) {
    let mut ways = Ways::of(kind, dice);
    let mut next = Instant::now() + dice.within(pace.every(kind));
    while next < over || (is_owed(world, kind) && next < over + PATIENCE) {
        sleep_until(next).await;
        let began = Instant::now();
        once(world, kind, pace, dice, &mut ways).await;
        next = (began + dice.within(pace.every(kind))).max(Instant::now());
    }
}

/// Whether it has to happen in every run, also a short one, and has not yet.
fn is_owed(world: &World, kind: Kind) -> bool {
    let of = |what| world.tally.of(what);
    match kind {
        Kind::Kill => of(Counted::Kills) == 0,
        Kind::Pause => of(Counted::Wakes) == 0 || of(Counted::StaleBatchesRefused) == 0,
        Kind::Cut => world.commits_cut() == 0,
        Kind::Redis => of(Counted::RedisFlushed) == 0,
        _ => false,
    }
}

async fn once(world: &World, kind: Kind, pace: &Pace, dice: &Dice, ways: &mut Ways) {
    let tally = &world.tally;
    match kind {
        Kind::Kill => {
            if let Some((_place, mut node)) = world.free_node(dice) {
                node.dies(dice, tally).await;
            }
        }
        Kind::Pause => {
            if let Some((place, mut node)) = world.free_node(dice) {
                node.sleeps(&place.link, dice, tally).await;
            }
        }
        Kind::Cut => {
            if let Some((place, _stays)) = world.free_node(dice) {
                // The link counts.
                place.link.cut_next(COMMIT_WITHIN).await;
            }
        }
        Kind::Partition => {
            let dark = world
                .any_place(dice)
                .link
                .is_dark_for(dice.between_ms(500, 5_000));
            tally.one_if(Counted::Partitions, dark.await);
        }
        Kind::Slow => {
            let time = dice.between_ms(1_000, 5_000);
            let delay_ms = 2 + dice.number() % 60;
            let slow = world.any_place(dice).link.is_slow_for(time, delay_ms);
            tally.one_if(Counted::SlowLinks, slow.await);
        }
        Kind::Mysql => {
            let mut mysql = world.mysql.lock().await;
            mysql.kill().await;
            sleep(dice.between_ms(0, 3_000)).await;
            mysql.start_again().await;
            tally.one(Counted::MysqlKills);
        }
        Kind::Redis => {
            let way = ways.next();
            let mut server = world.redis.lock().await;
            let took_effect = redis::forgets(&mut server, way, dice).await;
            tally.one_if(way, took_effect);
        }
        Kind::Kafka => {
            let mut kafka = world.kafka.lock().await;
            kafka.kill().await;
            let back = Instant::now() + pace.kafka_is_stopped_for();
            let mut anything_waits = false;
            while Instant::now() < back {
                anything_waits |= events_wait(world).await;
                sleep(LOOK).await;
            }
            kafka.start_again().await;
            tally.one_if(Counted::KafkaStops, anything_waits);
        }
        Kind::Gateway => gateway_fails(world, ways.next(), dice).await,
    }
}

/// The ways of a kind that has several, one after the other; the first is always the same, so that a short run has it.
struct Ways {
    all: Vec<Counted>,
    turn: usize,
}

impl Ways {
    fn of(kind: Kind, dice: &Dice) -> Self {
        let mut all = match kind {
            Kind::Redis => Counted::REDIS.to_vec(),
            Kind::Gateway => vec![
                Counted::GatewayAway,
                Counted::GatewaySlow,
                Counted::GatewayWrong,
            ],
            _ => Vec::new(),
        };
        for place in (2..all.len()).rev() {
            all.swap(place, 1 + dice.below(place));
        }
        Self { all, turn: 0 }
    }

    fn next(&mut self) -> Counted {
        self.turn += 1;
        self.all[(self.turn - 1) % self.all.len()]
    }
}

/// Whether some node has events that it could not publish.
async fn events_wait(world: &World) -> bool {
    for place in &world.places {
        if let Ok(node) = place.node.try_lock()
            && node.counter("unpublished").await > Some(0)
        {
            return true;
        }
    }
    false
}

async fn gateway_fails(world: &World, way: Counted, dice: &Dice) {
    let mut gateway = world.gateway.lock().await;
    let before = gateway.charges().await;
    match way {
        Counted::GatewayAway => {
            gateway.kill().await;
            sleep(dice.between_ms(500, 4_000)).await;
            gateway.start_again().await;
        }
        Counted::GatewaySlow => {
            let latency_ms = 200 + dice.below(1_300);
            gateway
                .goes_by(json!({ "latency_ms": latency_ms, "latency_jitter_ms": 500 }))
                .await;
            sleep(dice.between_ms(1_000, 5_000)).await;
        }
        _ => {
            let wrong = WRONG[dice.below(WRONG.len())];
            let rules = json!({ "seed": dice.number() >> 16, "rates": { wrong: 1.0 } });
            gateway.goes_by(rules).await;
            sleep(dice.between_ms(500, 3_000)).await;
        }
    }
    // Somebody pays meanwhile; after it was away, as soon as it is back.
    let deadline = Instant::now() + EFFECT_WITHIN;
    while gateway.charges().await == before && Instant::now() < deadline {
        sleep(LOOK).await;
    }
    let was_used = gateway.charges().await > before;
    gateway.behaves().await;
    world.tally.one_if(way, was_used);
}
