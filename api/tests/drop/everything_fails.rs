//! The hot item with Redis flushed, MySQL restarted, Kafka stopped and the node killed in the middle: one after the other, while
//! buyers of every kind are at it and try again as real ones do. Each falls while the last units and coupons of a sale go, for
//! which twenty buyers a unit have come, beside a sale that has enough for most.

use std::num::NonZeroUsize;
use std::sync::Arc;

use loadtest::driver::{Progress, Report, Settings};
use tokio::task::JoinSet;

use super::crowd::{adds_up, buyers, left_content_but, of_every_kind, sale};
use crate::support::gateway::gateway;
use crate::support::process::{Running, ServeSettings, Server, free_port};
use crate::support::servers::OwnServers;
use crate::support::shop::{Shop, visit};
use crate::support::{counted, eventually, seed, unique};

const BUYERS: usize = 2_600;
/// Enough for most of them, so that something is always going on.
const UNITS_A_HUNDRED_BUYERS: usize = 60;
/// What becomes of a start that is lost with its node, or with its lease on a machine that is busy: it is undone, and a buyer who takes
/// a new key meanwhile may meet what is not given back yet. Nobody pays for it, and whoever was acknowledged is told.
/// A start that meets a gate which is away, and had a coupon already, says so.
const LOST: [&str; 6] = [
    "start_lost",
    "gate_unavailable",
    "released",
    "coupon_already_used",
    "limit_reached",
    "payment_rejected",
];
/// A hot sale beside it has so many of its buyers, and a unit for one in so many.
const PART_OF_A_HOT_SALE: usize = 16;
const BUYERS_A_UNIT: usize = 20;
/// So few of its units are left when something fails.
const LAST_UNITS: u64 = 4;
/// How many of its buyers come back when all is sold out, in case somebody gives a unit back.
const PERSISTENT: f64 = 0.3;
/// Enough to fight for the last units, and so few that the sale beside it goes on.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

#[tokio::test]
async fn the_drop_survives_a_flushed_redis_a_killed_mysql_a_stopped_kafka_and_a_killed_node() {
    let seed = seed();
    let Some(mut world) = World::start().await else {
        return;
    };
    let buyers = buyers(BUYERS);
    let units = u32::try_from(buyers * UNITS_A_HUNDRED_BUYERS / 100).expect("not too many");
    let shop = Shop::open_for(&world.node, &sale(&unique("drop"), units)).await;
    let crowd = Crowd::comes(&shop, buyers, seed);
    let hot_buyers = buyers / PART_OF_A_HOT_SALE;
    let hot = async |node: &Server, fault: u64| {
        HotSale::has_few_left(node, hot_buyers, seed.wrapping_add(fault)).await
    };
    crowd.gets_on("before anything fails").await;

    let without_redis = hot(&world.node, 1).await;
    world.servers.redis.flush().await;
    crowd.gets_on("after Redis was flushed").await;

    let without_node = hot(&world.node, 2).await;
    world.node.process.kill().await;
    world.node = world.settings.start().await;
    crowd.gets_on("after the node was killed").await;

    let without_mysql = hot(&world.node, 3).await;
    world.servers.mysql.kill().await;
    world.servers.mysql.start_again().await;
    crowd.gets_on("after MySQL was killed").await;

    let without_kafka = hot(&world.node, 4).await;
    world.servers.kafka.kill().await;
    crowd.gets_on("while Kafka is stopped").await;
    world.servers.kafka.start_again().await;

    counted("faults of servers and nodes", 4);
    let report = crowd.leaves().await;
    left_content_but(&report, &LOST);
    adds_up(&shop, &report, units).await;
    for sale in [without_redis, without_node, without_mysql, without_kafka] {
        sale.was_sold_to_the_last().await;
    }
}

/// A sale with twenty buyers for every unit and coupon.
struct HotSale {
    shop: Shop,
    crowd: Crowd,
    units: u32,
    /// How many had been completed when the last units went.
    completed: u64,
}

impl HotSale {
    /// The buyers have come, and the last units go.
    async fn has_few_left(node: &Server, buyers: usize, seed: u64) -> Self {
        let units = u32::try_from(buyers / BUYERS_A_UNIT).expect("not too many");
        let shop = Shop::open_for(node, &sale(&unique("hot"), units)).await;
        let mut settings = of_every_kind(&shop, buyers, seed);
        settings.manners.persistent = PERSISTENT;
        settings.in_flight = AT_ONCE;
        let crowd = Crowd::of(settings);
        eventually("the last units to go", || async {
            (shop.stock_left().await <= LAST_UNITS.min(u64::from(units) / 2)).then_some(())
        })
        .await;
        let completed = crowd.progress.snapshot().completed;
        Self {
            shop,
            crowd,
            units,
            completed,
        }
    }

    /// Whoever got none knows why, and the last ones were sold after something had failed.
    async fn was_sold_to_the_last(self) {
        let report = self.crowd.leaves().await;
        left_content_but(&report, &LOST);
        let sold = adds_up(&self.shop, &report, self.units).await;
        assert!(sold > self.completed, "{sold}, {} before", self.completed);
        let refused = report.purchases.get("sold_out").copied().unwrap_or(0)
            + report
                .purchases
                .get("coupons_exhausted")
                .copied()
                .unwrap_or(0);
        assert!(refused > 0, "{:?}", report.purchases);
    }
}

/// Buyers who are at it.
struct Crowd {
    progress: Arc<Progress>,
    at_work: JoinSet<Report>,
    step: u64,
}

impl Crowd {
    fn comes(shop: &Shop, buyers: usize, seed: u64) -> Self {
        Self::of(of_every_kind(shop, buyers, seed))
    }

    fn of(settings: Settings) -> Self {
        let progress = Arc::new(Progress::default());
        let step = u64::try_from(settings.buyers / 26).unwrap_or(1).max(1);
        let mut at_work = JoinSet::new();
        at_work.spawn(visit(settings, Arc::clone(&progress)));
        Self {
            progress,
            at_work,
            step,
        }
    }

    /// Some more of them have left, one way or another: whatever just failed is in the middle of the sale.
    async fn gets_on(&self, when: &str) {
        let before = self.progress.snapshot();
        println!("{when}: {before:?}");
        eventually(&format!("more buyers to leave {when}"), || async {
            (self.progress.snapshot().buyers >= before.buyers + self.step).then_some(())
        })
        .await;
    }

    async fn leaves(mut self) -> Report {
        let report = self.at_work.join_next().await;
        report.expect("a crowd").expect("no panic")
    }
}

/// One node on servers of its own, beside a gateway that is not killed.
struct World {
    servers: OwnServers,
    settings: ServeSettings,
    node: Server,
    _gateway: Running,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Option<Self> {
        let servers = OwnServers::start().await?;
        let folder = tempfile::tempdir().expect("a folder");
        let (buyers_port, operators_port) = (free_port(), free_port());
        let (gateway, gateway_url) = gateway(folder.path(), buyers_port).await;
        let settings = servers
            .serve(&folder.path().join("data"))
            .on(buyers_port, operators_port)
            .with("PG_URL", gateway_url)
            .with("HOLDFAST_LEASE", "3s");
        let node = settings.start().await;
        Some(Self {
            servers,
            settings,
            node,
            _gateway: gateway,
            _folder: folder,
        })
    }
}
