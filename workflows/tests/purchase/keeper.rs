//! The keeper of the gate: opens it at the start, notices what it lost, and loads it only while nothing moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use engine::Timestamp;
use engine::definition::Action as _;
use engine::store::SqlDatabase;
use workflows::domain::ids::SaleId;
use workflows::ports::catalogue::{Catalogue, Seeded};
use workflows::ports::reservations::{Reservations, StockCounts};
use workflows::purchase::StockReserve;
use workflows::reconcile::gate::{GateKeeper, GateParts, GateState, Quiesce};
use workflows::reconcile::rebuild;

use crate::support::{
    PATIENCE, Shop, attempt, done, on_both_databases, product, request, sale_id, seed,
};

/// An engine of which only the holding still matters.
#[derive(Default)]
struct Still {
    never: bool,
    pauses: AtomicU32,
    resumes: AtomicU32,
}

#[async_trait]
impl Quiesce for Still {
    async fn pause(&self, _: Timestamp) -> bool {
        self.pauses.fetch_add(1, Ordering::SeqCst);
        !self.never
    }

    fn resume(&self) {
        self.resumes.fetch_add(1, Ordering::SeqCst);
    }
}

fn keeper(shop: &Shop, engine: &Arc<Still>, rebuild_at_start: bool) -> GateKeeper {
    GateKeeper::start(GateParts {
        runtime: shop.runtime.clone(),
        engine: Arc::clone(engine) as _,
        database: shop.database.clone(),
        catalogue: Arc::clone(&shop.catalogue) as _,
        reservations: Arc::new(shop.faulty.clone()),
        alarm: shop.gate.alarm.clone(),
        rebuild_at_start,
    })
}

async fn until_open(keeper: &GateKeeper, shop: &Shop) {
    let deadline = shop.runtime.now().after(PATIENCE);
    while shop.faulty.counts(&sale_id()).await.unwrap().is_none()
        || keeper.state() != GateState::Open
    {
        assert!(
            shop.runtime.now() < deadline,
            "the gate stays closed: {:?}",
            keeper.state()
        );
        tokio::task::yield_now().await;
    }
}

async fn what_is_durable_is_in_the_gate_again_and_what_is_not_is_free(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let step = StockReserve {
        gate: shop.gate.clone(),
    };
    let durable = request("ann", &[("mug", 3)], None);
    let (_, rows) = done(
        step.act(&attempt(1, "stock-reserve", 1), durable.clone())
            .await,
    );
    shop.write(&rows).await.expect("written");
    let lost = request("bob", &[("mug", 2)], None);
    done(step.act(&attempt(2, "stock-reserve", 1), lost).await);

    let engine = Arc::new(Still::default());
    let keeper = keeper(&shop, &engine, true);
    assert_eq!(keeper.ensure_open(PATIENCE).await, GateState::Open);
    let mugs = shop.counts().await.products[&product("mug")];
    assert_eq!(
        mugs,
        StockCounts {
            available: 7,
            held: 3,
            sold: 0
        }
    );
    assert_eq!(
        engine.pauses.load(Ordering::SeqCst),
        engine.resumes.load(Ordering::SeqCst)
    );
    // A repeat of the durable one finds its hold.
    done(step.act(&attempt(1, "stock-reserve", 2), durable).await);
    assert_eq!(shop.counts().await.products[&product("mug")].held, 3);
}

async fn an_emptied_gate_is_noticed_and_loaded_again(database: SqlDatabase) {
    let shop = Shop::closed(database).await;
    let engine = Arc::new(Still::default());
    let keeper = keeper(&shop, &engine, true);
    keeper.ensure_open(PATIENCE).await;
    let first = shop.counts().await.generation;
    // By itself: one sale closed, then another store altogether.
    shop.faulty.close_gate(&sale_id()).await.unwrap();
    until_open(&keeper, &shop).await;
    let second = shop.counts().await.generation;
    shop.faulty.lose_everything();
    shop.gate.alarm.ring();
    until_open(&keeper, &shop).await;
    let third = shop.counts().await.generation;
    assert!(
        first < second && second < third,
        "{first}, {second}, {third}"
    );
}

async fn a_gate_that_was_loaded_by_another_node_is_left_alone(database: SqlDatabase) {
    let shop = Shop::closed(database).await;
    let first = keeper(&shop, &Arc::default(), true);
    first.ensure_open(PATIENCE).await;
    let generation = shop.counts().await.generation;
    let engine = Arc::new(Still::default());
    let second = keeper(&shop, &engine, false);
    assert_eq!(second.ensure_open(PATIENCE).await, GateState::Open);
    assert_eq!(shop.counts().await.generation, generation);
}

async fn a_new_sale_is_loaded_without_holding_anything_up(database: SqlDatabase) {
    let shop = Shop::closed(database).await;
    let engine = Arc::new(Still::default());
    let keeper = keeper(&shop, &engine, true);
    keeper.ensure_open(PATIENCE).await;
    let pauses = engine.pauses.load(Ordering::SeqCst);
    let mut second = seed();
    second.sale = "second".into();
    second.campaigns.clear();
    let second_id = SaleId::parse("second").unwrap();
    assert_eq!(shop.catalogue.seed(&second).await.unwrap(), Seeded::Created);
    keeper
        .warm(&second_id, Seeded::Created)
        .await
        .expect("loaded");
    assert!(shop.faulty.counts(&second_id).await.unwrap().is_some());
    let generation = shop.counts().await.generation;
    keeper
        .warm(&sale_id(), Seeded::Unchanged)
        .await
        .expect("nothing to do");
    assert_eq!(shop.counts().await.generation, generation);
    assert!(
        engine.pauses.load(Ordering::SeqCst) <= pauses + 1,
        "it was held up more than once"
    );
}

on_both_databases!(
    what_is_durable_is_in_the_gate_again_and_what_is_not_is_free,
    an_emptied_gate_is_noticed_and_loaded_again,
    a_gate_that_was_loaded_by_another_node_is_left_alone,
    a_new_sale_is_loaded_without_holding_anything_up,
);

#[tokio::test]
async fn while_something_moves_the_gate_stays_closed() {
    let disposable = crate::support::sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let engine = Arc::new(Still {
        never: true,
        ..Still::default()
    });
    let keeper = keeper(&shop, &engine, true);
    let deadline = shop.runtime.now().after(PATIENCE);
    while engine.resumes.load(Ordering::SeqCst) < 2 {
        assert!(shop.runtime.now() < deadline, "it gives up");
        tokio::task::yield_now().await;
    }
    assert!(matches!(keeper.state(), GateState::Closed(_)));
    assert_eq!(shop.faulty.counts(&sale_id()).await.unwrap(), None);
}

#[tokio::test]
async fn no_two_rebuilds_have_one_generation() {
    let disposable = crate::support::sqlite().await;
    let shop = Shop::closed(disposable.database.clone()).await;
    let taken = (0..8).map(|_| rebuild::begin(&shop.database, "a run", Timestamp(1)));
    let mut taken: Vec<u64> = futures_util::future::join_all(taken)
        .await
        .into_iter()
        .map(|taken| taken.unwrap_or(0))
        .collect();
    taken.retain(|generation| *generation > 0);
    let count = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(
        (
            taken.len(),
            rebuild::last_rebuilt(&shop.database).await.unwrap()
        ),
        (count, None)
    );
    rebuild::finish(&shop.database, taken[0])
        .await
        .expect("finished");
    assert_eq!(
        rebuild::last_rebuilt(&shop.database)
            .await
            .unwrap()
            .as_deref(),
        Some("a run")
    );
}
