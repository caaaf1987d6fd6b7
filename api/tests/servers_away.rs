//! MySQL, Redis or Kafka go away under a running program and come back: it says so, never says anything wrong, and goes on
//! without a restart.

use std::path::Path;
use std::sync::Arc;

use loadtest::driver::{Progress, Report};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::http::{Answer, get};
use crate::support::process::ServeSettings;
use crate::support::servers::OwnServer;
use crate::support::shop::{Shop, visit};
use crate::support::{eventually, seed, unique};

const CROWD: usize = 300;

#[tokio::test]
async fn redis_away_under_load_is_503_and_an_empty_redis_is_rebuilt() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let (token, sold) = world.sells("before").await;
    let crowd = world.crowd_comes().await;
    world.redis.kill().await;
    world.refuses_with_503().await;
    let shown = world.shop.settled(&token, &sold).await;
    assert_eq!(
        shown["state"], "COMPLETED",
        "what is sold can be seen all the while"
    );
    world.redis.start_again().await;
    world.sells_again().await;
    crowd.leaves_content().await;
    world.ends_well().await;
}

#[tokio::test]
async fn mysql_away_under_load_is_503_and_a_repeat_names_the_same_purchase_afterwards() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let (token, sold) = world.sells("before").await;
    let crowd = world.crowd_comes().await;
    world.mysql.kill().await;
    world.refuses_with_503().await;
    world.mysql.start_again().await;
    world.sells_again().await;
    crowd.leaves_content().await;
    let again = world
        .shop
        .buy(&token, "before", &world.shop.order("tok-1"))
        .await;
    assert_eq!(
        (again.status, again.body["id"].as_str()),
        (202, Some(sold.as_str())),
        "{again:?}"
    );
    world.ends_well().await;
}

#[tokio::test]
async fn kafka_away_under_load_stops_nothing_and_the_backlog_drains() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let crowd = world.crowd_comes().await;
    world.kafka.kill().await;
    crowd.leaves_content().await;
    world.sells("meanwhile").await;
    assert!(
        world.counters().await["unpublished"].as_u64() > Some(0),
        "events wait"
    );
    world.kafka.start_again().await;
    eventually("the backlog to drain", || async {
        (world.counters().await["unpublished"] == 0).then_some(())
    })
    .await;
    world.ends_well().await;
}

/// Buyers who are at it while a server goes away, and try again as real ones do.
struct Crowd {
    at_work: JoinSet<Report>,
}

impl Crowd {
    /// Everyone got an outcome in the end, and nobody a wrong answer.
    async fn leaves_content(mut self) {
        let report = self
            .at_work
            .join_next()
            .await
            .expect("a crowd")
            .expect("no panic");
        println!(
            "{:?}, {} answers 503 or none",
            report.purchases, report.unavailable
        );
        assert_eq!(report.errors, Vec::<String>::new());
        assert_eq!(report.repeats.violations, Vec::<String>::new());
        let outcomes: Vec<&String> = report.purchases.keys().collect();
        let expected =
            |outcome: &&&String| ["completed", "payment_declined"].contains(&outcome.as_str());
        assert_eq!(
            outcomes.iter().filter(expected).count(),
            outcomes.len(),
            "{outcomes:?}"
        );
    }
}

/// A program on servers of its own.
struct World {
    mysql: OwnServer,
    redis: OwnServer,
    kafka: OwnServer,
    shop: Shop,
    _server: crate::support::process::Server,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Option<Self> {
        let (mysql, redis, kafka) = tokio::join!(
            OwnServer::start("mysql", &[]),
            OwnServer::start("redis", &[]),
            OwnServer::start("kafka", &[])
        );
        let (mysql, redis, kafka) = (mysql?, redis?, kafka?);
        let folder = tempfile::tempdir().expect("a folder");
        let server = settings(folder.path(), &mysql, &redis, &kafka)
            .start()
            .await;
        let shop = Shop::open(&server, "drop", 10_000, 10_000).await;
        Some(Self {
            mysql,
            redis,
            kafka,
            shop,
            _server: server,
            _folder: folder,
        })
    }

    /// A crowd that is in the middle of buying.
    async fn crowd_comes(&self) -> Crowd {
        let progress = Arc::new(Progress::default());
        let mut at_work = JoinSet::new();
        at_work.spawn(visit(self.shop.crowd(CROWD, seed()), Arc::clone(&progress)));
        eventually("the crowd to be at it", || async {
            (progress.snapshot().completed >= 10).then_some(())
        })
        .await;
        Crowd { at_work }
    }

    /// One purchase, from its start to its goods: the buyer's token and the purchase's id.
    async fn sells(&self, key: &str) -> (String, String) {
        let (token, id) = self.shop.bought(key, "tok-1").await;
        let settled = self.shop.settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPLETED", "{settled}");
        (token, id)
    }

    /// Starts are answered with 503 and nothing else, from the first one that notices on.
    async fn refuses_with_503(&self) {
        eventually("a 503", || async {
            (self.tries().await.status == 503).then_some(())
        })
        .await;
        for _ in 0..5 {
            let answer = self.tries().await;
            assert_eq!(answer.status, 503, "{answer:?}");
            let slug = answer.body["type"]
                .as_str()
                .expect("a problem")
                .trim_start_matches("/problems/")
                .to_owned();
            answer.expect_problem(503, &slug);
        }
    }

    async fn tries(&self) -> Answer {
        let token = self.shop.token().await;
        let answer = self
            .shop
            .buy(&token, "tried", &self.shop.order("tok-1"))
            .await;
        assert!(
            [202, 503].contains(&answer.status),
            "neither yes nor 503: {answer:?}"
        );
        answer
    }

    /// A new buyer gets something in the end; until then the answer is 503.
    async fn sells_again(&self) {
        let token = self.shop.token().await;
        let id = eventually("a purchase to be accepted again", || async {
            let answer = self
                .shop
                .buy(&token, "back", &self.shop.order("tok-1"))
                .await;
            assert!(
                [202, 503].contains(&answer.status),
                "neither yes nor 503: {answer:?}"
            );
            (answer.status == 202).then(|| answer.body["id"].as_str().expect("an id").to_owned())
        })
        .await;
        let settled = self.shop.settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPLETED", "{settled}");
    }

    async fn counters(&self) -> Value {
        get(
            &self.shop.http,
            format!("{}/v1/counters", self.shop.operators),
        )
        .await
        .body
    }

    async fn ends_well(&self) {
        self.shop.quiet().await;
        self.shop.verify_in_the_end().await;
    }
}

fn settings(
    folder: &Path,
    mysql: &OwnServer,
    redis: &OwnServer,
    kafka: &OwnServer,
) -> ServeSettings {
    ServeSettings::embedded(folder)
        .with(
            "DATABASE_URL",
            format!("mysql://root@{}/holdfast", mysql.address()),
        )
        .with("REDIS_URL", format!("redis://{}", redis.address()))
        .with("KAFKA_BROKERS", kafka.address())
        .with("HOLDFAST_NODE", unique("node"))
        .with(
            "HOLDFAST_TOKEN_KEY",
            "a key for tests that is long enough to be taken",
        )
}
