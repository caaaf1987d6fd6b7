//! Redis that lies in the middle of a sale: what it has too much oversells nothing, what it has too little strands nothing.

use std::sync::Arc;

use engine::StartError;
use engine::store::Status;
use tokio::task::JoinSet;
use workflows::reconcile::difference::Kind;

use crate::support::{
    Address, Disposable, Node, PATIENCE, RedisServer, Shop, database, is_shared, sqlite,
};

/// Mugs there are.
const STOCK: u32 = 10;
/// Mugs there are where two nodes sell them.
const STOCK_OF_TWO: u32 = 400;

struct Sale {
    disposable: Disposable,
    shop: Arc<Shop>,
    node: Arc<Node>,
}

impl Sale {
    async fn open(url: &str) -> Self {
        Self::of(STOCK, url).await
    }

    async fn of(stock: u32, url: &str) -> Self {
        let disposable = database().await;
        let shop = Shop::open(&disposable.database, url, stock).await;
        let node = shop.node("one").await;
        node.has_looked_after_loading().await;
        Self {
            disposable,
            shop: Arc::new(shop),
            node: Arc::new(node),
        }
    }

    /// So many buyers come at once, for a mug each; how many got one. Whoever finds the gate closed tries again with the same key.
    async fn crowd(&self, name: &str, buyers: u32) -> usize {
        let mut each = JoinSet::new();
        for number in 0..buyers {
            let (shop, node) = (Arc::clone(&self.shop), Arc::clone(&self.node));
            let who = format!("{name}-{number}");
            each.spawn(async move { gets_one(&shop, &node, &who).await });
        }
        let got = each.join_all().await;
        got.into_iter().filter(|got| *got).count()
    }

    async fn issued(&self) -> i64 {
        self.shop.number("SELECT COUNT(*) FROM goods").await
    }

    /// The gate was loaded again, as it is when a machine that stands still has lost an answer of it: then no lie is left to be named.
    async fn was_loaded_since(&self, generation: u64) -> bool {
        let is_loaded = self.node.counts().await.generation > generation;
        if is_loaded {
            println!("the gate was loaded again before anybody looked");
        }
        is_loaded
    }

    /// A round names the counter that lies, and nothing else, and mends it.
    async fn is_named_and_mended(&self) {
        let report = self.node.reconcile(true).await;
        let found = report.differences.iter();
        let (kinds, named): (Vec<Kind>, Vec<String>) = found
            .map(|difference| (difference.kind, difference.sentence()))
            .unzip();
        assert_eq!(kinds, [Kind::CountersDoNotAddUp], "{report:?}");
        assert!(named[0].contains("mug"), "{named:?}");
        assert_eq!((report.repaired, report.remaining), (1, 0), "{report:?}");
    }

    /// The gate was seen to be another one, and was loaded again from the database: there is nothing left to be named.
    async fn was_mended(&self, generation: u64) {
        let loaded = self.node.counts().await;
        assert!(loaded.generation > generation, "{loaded:?}");
        let report = self.node.reconcile(true).await;
        assert_eq!((report.found, report.remaining), (0, 0), "{report:?}");
        assert_eq!(self.node.mugs().await.available, 0);
    }

    /// All mugs are sold, not one more, and both sides know it; nobody is left in between, and nobody waits for an operator.
    async fn ends_exactly(self) {
        let report = self.node.reconcile(true).await;
        assert_eq!(report.remaining, 0, "{report:?}");
        let others =
            "SELECT COUNT(*) FROM workflows WHERE status NOT IN ('COMPLETED', 'COMPENSATED')";
        assert_eq!(self.shop.number(others).await, 0, "somebody is left");
        self.crowd("last", STOCK).await;
        assert_eq!(self.issued().await, i64::from(STOCK));
        assert_eq!(self.node.mugs().await.sold, u64::from(STOCK));
        self.shop.is_sound(&self.node).await;
        let report = self.node.reconcile(false).await;
        assert!(report.is_clean() && report.found == 0, "{report:?}");
        let Ok(node) = Arc::try_unwrap(self.node) else {
            panic!("somebody still buys");
        };
        node.close().await;
        self.disposable.dispose().await;
    }
}

/// Whether this buyer got a mug. Who did not was told that they are sold out, at the gate or by the database's guard, and nothing is
/// left of the purchase. Nobody is left in between, and nobody waits for an operator. A purchase that was turned back because the
/// gate was away says so, and its buyer tries again.
async fn gets_one(shop: &Shop, node: &Node, who: &str) -> bool {
    let request = shop.request(who, 1, None).await;
    let deadline = node.runtime.now().after(PATIENCE);
    for number in 0_u32.. {
        assert!(node.runtime.now() < deadline, "{who} is told nothing");
        match node.buy(&request, &format!("k-{number}")).await {
            Ok(view) if view.head.status == Status::Completed => return true,
            Ok(view) => {
                assert_eq!(view.head.status, Status::Compensated, "{who}");
                match view.head.reason.as_deref() {
                    Some("sold-out") => return false,
                    Some("gate-unavailable") => println!("{who} tries again"),
                    other => panic!("{who} was turned back by {other:?}"),
                }
            }
            Err(StartError::Refused(refusal)) => {
                assert_eq!(refusal.code, "sold-out", "{refusal:?}");
                return false;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a buyer is answered, or the time is over")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_lies_upward_oversells_nothing() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let sale = Sale::open(&redis.url()).await;
    assert_eq!(sale.crowd("early", 4).await, 4);
    let generation = sale.node.counts().await.generation;
    redis
        .command("HINCRBY holdfast:{drop}:stock mug:available 100")
        .await;
    assert_eq!(
        sale.crowd("late", 40).await,
        6,
        "the database's guard counts"
    );
    assert_eq!(sale.issued().await, i64::from(STOCK));
    // The gate would still let a hundred in: it was the guard that said no, and what each of the late ones held is given back.
    if !sale.was_loaded_since(generation).await {
        let mugs = sale.node.mugs().await;
        assert_eq!((mugs.available, mugs.held, mugs.sold), (100, 0, 10));
        sale.is_named_and_mended().await;
    }
    assert_eq!(sale.node.mugs().await.available, 0, "it is mended");
    sale.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_lies_downward_strands_nothing() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let sale = Sale::open(&redis.url()).await;
    assert_eq!(sale.crowd("early", 4).await, 4);
    let generation = sale.node.counts().await.generation;
    redis
        .command("HINCRBY holdfast:{drop}:stock mug:available -3")
        .await;
    assert_eq!(sale.crowd("late", 20).await, 3, "three can't be seen");
    if !sale.was_loaded_since(generation).await {
        sale.is_named_and_mended().await;
    }
    assert_eq!(sale.crowd("later", 20).await, 3, "they are back");
    sale.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_put_back_oversells_nothing() {
    let Some(mut redis) = RedisServer::start().await else {
        return;
    };
    let sale = Sale::open(&redis.url()).await;
    assert_eq!(sale.crowd("early", 2).await, 2);
    let copy = redis.copy();
    assert_eq!(sale.crowd("mid", 5).await, 5);
    let generation = sale.node.counts().await.generation;
    // In the older copy eight are left; in truth three.
    let ((), got) = tokio::join!(redis.restart_on(Some(&copy)), sale.crowd("late", 20));
    assert_eq!(got, 3);
    sale.was_mended(generation).await;
    sale.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_promoted_oversells_nothing() {
    let (Some(mut master), Some(replica)) =
        (RedisServer::start().await, RedisServer::start().await)
    else {
        return;
    };
    let address = Address::of(&master).await;
    let sale = Sale::open(&address.url).await;
    replica.follow(&master).await;
    assert_eq!(sale.crowd("early", 2).await, 2);
    // It hears no more.
    replica.command("REPLICAOF NO ONE").await;
    assert_eq!(sale.crowd("mid", 5).await, 5);
    let generation = sale.node.counts().await.generation;
    master.kill();
    address.leads_to(&replica);
    assert_eq!(sale.crowd("late", 20).await, 3);
    sale.was_mended(generation).await;
    sale.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushall_in_the_middle_of_two_nodes_sale_is_exact_in_the_end() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let sale = Sale::of(STOCK_OF_TWO, &redis.url()).await;
    if !is_shared(&sale.disposable.database) {
        eprintln!("skipped: several nodes need DATABASE_URL");
        return;
    }
    let other = Sale {
        disposable: sqlite().await,
        shop: Arc::clone(&sale.shop),
        node: Arc::new(sale.shop.node("two").await),
    };
    let generation = sale.node.counts().await.generation;
    let flush = async {
        let deadline = sale.node.runtime.now().after(PATIENCE);
        while sale.issued().await < i64::from(STOCK_OF_TWO / 4) {
            assert!(sale.node.runtime.now() < deadline, "nobody buys");
        }
        redis.command("FLUSHALL").await;
    };
    let (one, two, ()) = tokio::join!(
        sale.crowd("one", STOCK_OF_TWO * 3 / 4),
        other.crowd("two", STOCK_OF_TWO * 3 / 4),
        flush
    );
    println!("{one} bought at one node and {two} at the other");
    assert!(one > 0 && two > 0);
    sale.node.open_again_after(generation).await;
    // What was on its way at the other node when the gate was loaded is found by the reconciler; so are those whom the gate
    // then refused or let in for nothing.
    let deadline = sale.node.runtime.now().after(PATIENCE);
    loop {
        let report = sale.node.reconcile(true).await;
        for difference in &report.differences {
            println!("{}: {}", difference.kind.word(), difference.sentence());
        }
        if report.is_clean() && report.found == 0 {
            break;
        }
        assert!(sale.node.runtime.now() < deadline, "{report:?}");
    }
    sale.crowd("last", STOCK_OF_TWO).await;
    assert_eq!(sale.issued().await, i64::from(STOCK_OF_TWO));
    sale.shop.is_sound(&sale.node).await;
    let Ok(node) = Arc::try_unwrap(other.node) else {
        panic!("somebody still buys");
    };
    node.close().await;
    drop(other.shop);
    other.disposable.dispose().await;
    let Ok(node) = Arc::try_unwrap(sale.node) else {
        panic!("somebody still buys");
    };
    node.close().await;
    sale.disposable.dispose().await;
}
