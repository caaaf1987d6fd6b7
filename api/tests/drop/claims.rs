//! Coupons that a crowd claims ahead at two nodes, while Redis forgets everything and a node is killed: exactly the campaign's size is
//! issued, in the end, and nobody has two.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::json;
use tempfile::TempDir;

use super::crowd::sale;
use crate::support::http::{answered, try_send};
use crate::support::process::{ServeSettings, Server, free_port};
use crate::support::servers::{OwnServer, Servers, ask_redis};
use crate::support::shop::Shop;
use crate::support::{eventually, unique};

const SIZE: u32 = 120;
const BUYERS: usize = 240;
/// Buyers who are at it at the same time.
const AT_ONCE: usize = 12;

#[tokio::test]
async fn exactly_the_campaigns_size_is_claimed_at_two_nodes_though_redis_is_flushed_and_one_is_killed()
 {
    let Some(mut world) = World::start().await else {
        return;
    };
    let shops = world.shops();
    let buyers = join_all((0..BUYERS).map(|_| shops[0].token())).await;
    let issued = AtomicU32::new(0);
    let crowd = stream::iter(buyers.iter().enumerate())
        .map(|(number, token)| claims(&shops, number, token, &issued))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>();
    tokio::join!(crowd, world.fails_in_the_middle(&issued));
    println!(
        "{} of {SIZE} were issued to the crowd",
        issued.load(Ordering::SeqCst)
    );
    let late = the_rest_is_claimed(&shops, &issued).await;

    let mut coupons = 0;
    for token in buyers.iter().chain(&late) {
        let has = coupons_of(&shops[0], token).await;
        assert!(has <= 1, "a buyer has {has}");
        coupons += has;
    }
    assert_eq!(coupons, usize::try_from(SIZE).expect("a few"));
    assert_eq!(issued.load(Ordering::SeqCst), SIZE);
    // What was on its way when Redis forgot it is missing in the gate until a reconciler has put it back; it was never to be had twice.
    for shop in &shops {
        eventually("the gate to know that all are issued", || async {
            let shown = shop.shown().await;
            (shown["campaigns"][0]["coupons_left"] == 0).then_some(())
        })
        .await;
    }
    shops[0].quiet().await;
    // Nobody has paid for anything, so that the check of the money has nothing to look at.
    shops[0].verify_in_the_end_but("I3").await;
}

/// A buyer goes to one node, and to the other when there is no answer, under one key for as long as that is good.
async fn claims(shops: &[Shop; 2], buyer: usize, token: &str, issued: &AtomicU32) {
    let (asked, keys) = (AtomicUsize::new(buyer), AtomicUsize::new(0));
    eventually("an answer to a claim", || async {
        let shop = &shops[asked.fetch_add(1, Ordering::SeqCst) % 2];
        let key = keys.load(Ordering::SeqCst);
        let request = shop.http.post(claims_of(shop)).bearer_auth(token);
        let request = request.header("idempotency-key", format!("k-{key}"));
        let answer = try_send(request).await.ok()?;
        match (answer.status, answer.body["type"].as_str()) {
            (201, _) => {
                assert_eq!(answer.body["state"], "issued", "{answer:?}");
                issued.fetch_add(1, Ordering::SeqCst);
                Some(())
            }
            (409, Some("/problems/coupons-exhausted")) => Some(()),
            // It was lost with its node and cleared away before this repeat came: its key is used up.
            (409, Some("/problems/released")) => {
                keys.fetch_add(1, Ordering::SeqCst);
                None
            }
            // Under a new key: the claim of the key before is there, or just being given back. Under its own it would be the same.
            (409, Some("/problems/coupon-already-used")) => {
                let has = coupons_of(shop, token).await;
                println!("a claim was told that another one is there: the buyer has {has}");
                let can_help = &answer.body["retry"]["can_help"];
                assert!(key > 0 && (has > 0 || can_help == true), "{answer:?}");
                issued.fetch_add(u32::try_from(has).expect("a few"), Ordering::SeqCst);
                (has > 0).then_some(())
            }
            (503, _) => None,
            _ => panic!("{answer:?}"),
        }
    })
    .await;
}

/// What a crash took with it comes back, and is there for those who come later. They are the buyers who got it.
async fn the_rest_is_claimed(shops: &[Shop; 2], issued: &AtomicU32) -> Vec<String> {
    let mut late = Vec::new();
    while issued.load(Ordering::SeqCst) < SIZE {
        let (token, before) = (shops[0].token().await, issued.load(Ordering::SeqCst));
        let keys = AtomicUsize::new(0);
        eventually("a coupon that is left", || async {
            let url = format!("{}/v1/reconcile", shops[1].operators);
            let order = json!({ "sale": shops[1].sale, "repair": true });
            answered(shops[1].operators().post(url).json(&order)).await;
            claims(shops, keys.fetch_add(1, Ordering::SeqCst), &token, issued).await;
            (issued.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
        late.push(token);
    }
    late
}

fn claims_of(shop: &Shop) -> String {
    format!("{}/v1/campaigns/{}/claims", shop.buyers, shop.sale)
}

async fn coupons_of(shop: &Shop, token: &str) -> usize {
    let url = format!("{}/v1/me/coupons", shop.buyers);
    let answer = answered(shop.http.get(url).bearer_auth(token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["coupons"].as_array().expect("a list").len()
}

/// Two nodes on a Redis of their own.
struct World {
    redis: OwnServer,
    settings: [ServeSettings; 2],
    nodes: [Option<Server>; 2],
    sale: String,
    _folder: TempDir,
}

impl World {
    async fn start() -> Option<Self> {
        let servers = Servers::from_environment()?;
        let redis = OwnServer::start("redis", &[]).await?;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = ["one", "two"].map(|name| {
            servers
                .serve(&folder.path().join(name))
                .on(free_port(), free_port())
                .with("REDIS_URL", format!("redis://{}", redis.address()))
                .with("HOLDFAST_LEASE", "3s")
        });
        let mut nodes = [None, None];
        for (node, settings) in nodes.iter_mut().zip(&settings) {
            *node = Some(settings.start().await);
        }
        let name = unique("drop");
        let mut sale = sale(&name, SIZE);
        // Long before the sale.
        sale["opens_at"] = json!("2099-01-01T00:00:00Z");
        Shop::open_for(nodes[0].as_ref().expect("it runs"), &sale).await;
        Some(Self {
            redis,
            settings,
            nodes,
            sale: name,
            _folder: folder,
        })
    }

    /// The sale at both nodes, which keep their addresses.
    fn shops(&self) -> [Shop; 2] {
        let shop = |node: &Option<Server>| Shop::at(node.as_ref().expect("it runs"), &self.sale);
        [shop(&self.nodes[0]), shop(&self.nodes[1])]
    }

    /// Redis forgets everything when a quarter is issued, and a node is killed when a half is, and started again.
    async fn fails_in_the_middle(&mut self, issued: &AtomicU32) {
        let comes_to = |coupons: u32| async move {
            eventually(&format!("{coupons} to be issued"), || async {
                (issued.load(Ordering::SeqCst) >= coupons).then_some(())
            })
            .await;
            assert!(issued.load(Ordering::SeqCst) < SIZE, "it was over");
        };
        comes_to(SIZE / 4).await;
        ask_redis(&self.redis.address(), "FLUSHALL").await;
        comes_to(SIZE / 2).await;
        let node = self.nodes[1].take().expect("it runs");
        node.process.kill().await;
        self.nodes[1] = Some(self.settings[1].start().await);
    }
}
