//! MySQL, Redis or Kafka go away under a running program and come back: it says so, never says anything wrong, and goes on
//! without a restart.

use std::sync::Arc;

use loadtest::driver::{Progress, Report};
use tokio::task::JoinSet;

use crate::support::http::Answer;
use crate::support::servers::OwnServers;
use crate::support::shop::{Shop, visit};
use crate::support::{eventually, seed};

const CROWD: usize = 300;

#[tokio::test]
async fn redis_away_under_load_is_503_and_an_empty_redis_is_rebuilt() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let (token, sold) = world.sells("before").await;
    let crowd = world.crowd_comes().await;
    world.servers.redis.kill().await;
    world.refuses_with_503().await;
    let shown = world.shop.settled(&token, &sold).await;
    assert_eq!(
        shown["state"], "COMPLETED",
        "what is sold can be seen all the while"
    );
    world.servers.redis.start_again().await;
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
    world.servers.mysql.kill().await;
    world.refuses_with_503().await;
    world.servers.mysql.start_again().await;
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
    world.servers.kafka.kill().await;
    crowd.leaves_content().await;
    world.sells("meanwhile").await;
    assert!(
        world.shop.look("counters").await["unpublished"].as_u64() > Some(0),
        "events wait"
    );
    world.servers.kafka.start_again().await;
    // The backlog drains.
    world.shop.all_is_published().await;
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
    servers: OwnServers,
    shop: Shop,
    _server: crate::support::process::Server,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Option<Self> {
        let servers = OwnServers::start().await?;
        let folder = tempfile::tempdir().expect("a folder");
        let server = servers.serve(folder.path()).start().await;
        let shop = Shop::open(&server, "drop", 10_000, 10_000).await;
        Some(Self {
            servers,
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
        let order = self.shop.order("tok-1");
        let answer = self.shop.try_buy(&token, "tried", &order).await;
        let answer = answer.expect("an answer");
        assert!(
            [202, 503].contains(&answer.status),
            "neither yes nor 503: {answer:?}"
        );
        answer
    }

    /// A new buyer gets something in the end; until then the answer is 503.
    async fn sells_again(&self) {
        self.sells("back").await;
    }

    async fn ends_well(&self) {
        self.shop.quiet().await;
        self.shop.verify_in_the_end().await;
    }
}
