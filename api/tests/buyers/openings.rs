//! A sale's opening as its followers hear it: on time, on every node, and each for itself.

use std::time::Duration;

use engine::Timestamp;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::till::Till;
use crate::support::http::{answered, get, send};
use crate::support::listener::{Listener, request};
use crate::support::process::{ServeSettings, Server};
use crate::support::rounds::{
    in_a_while, kept_in_one_round, percentile, rfc3339, still_before, within,
};
use crate::support::servers::Servers;
use crate::support::shop::{Shop, seed};
use crate::support::{PATIENCE, unique};

/// How late the news may be: 99 of 100 times.
const LATE_MAX: Duration = Duration::from_millis(250);

fn opening(sale: &str, opens_at: &str, closes_at: &str) -> Value {
    let mut sale = seed(sale, 100, 100);
    sale["opens_at"] = json!(opens_at);
    sale["closes_at"] = json!(closes_at);
    sale
}

#[tokio::test]
async fn a_follower_hears_a_sale_open_and_close_on_time_and_only_what_it_does_not_know() {
    let till = Till::embedded(5).await;
    kept_in_one_round("the news", async |round| {
        opens_and_closes(&till, round).await
    })
    .await;
}

async fn opens_and_closes(till: &Till, round: u32) -> Result<(), String> {
    let name = format!("drop-{round}");
    let opens = in_a_while(Duration::from_secs(3), round);
    let closes = opens.after(Duration::from_secs(3));
    let (opens_at, closes_at) = (rfc3339(opens), rfc3339(closes));
    Shop::open_for(till.server(), &opening(&name, &opens_at, &closes_at)).await;
    let buyers = &till.shop.buyers;
    let mut follower = Listener::of(buyers, &name).await;
    let first = follower.state().await;
    let mut informed = Listener::again(buyers, &name, "1-0").await;
    still_before(opens)?;
    assert_eq!(first, ("1-0".into(), "scheduled".into()));
    let heard = informed.event("sale").await;
    let late = heard.at.since(opens);
    within("heard after the opening", late, Duration::from_secs(2))?;
    assert_eq!(heard.id.as_deref(), Some("1-1"), "{heard:?}");
    assert_eq!(heard.data["state"], "open", "{heard:?}");
    assert_eq!(heard.data["opens_at"], json!(opens_at), "{heard:?}");
    assert!(heard.at >= opens, "too early: {heard:?}");
    assert_eq!(follower.state().await, ("1-1".into(), "open".into()));
    let heard = follower.event("sale").await;
    assert_eq!(heard.data["state"], "closed", "{heard:?}");
    println!("closed: {:?} late", heard.at.since(closes));
    assert!(heard.at >= closes, "too early: {heard:?}");
    let mut nonsense = Listener::again(buyers, &name, "nonsense").await;
    assert_eq!(nonsense.state().await, ("1-2".into(), "closed".into()));
    Ok(())
}

#[tokio::test]
async fn several_sales_that_open_at_the_same_instant_are_told_on_time() {
    let till = Till::embedded(5).await;
    kept_in_one_round("the news of several", async |round| {
        several_are_told(&till, round).await
    })
    .await;
}

async fn several_are_told(till: &Till, round: u32) -> Result<(), String> {
    const SALES: usize = 20;
    const FOLLOWERS: usize = 10;
    let opens = in_a_while(Duration::from_secs(12), round);
    let name = |number: usize| format!("drop-{round}-{number}");
    for number in 0..SALES {
        let sale = opening(&name(number), &rfc3339(opens), "2100-01-01T00:00:00Z");
        Shop::open_for(till.server(), &sale).await;
    }
    let followers = (0..SALES * FOLLOWERS).map(async |number| {
        let mut follower = Listener::of(&till.shop.buyers, &name(number % SALES)).await;
        let (_, state) = follower.state().await;
        still_before(opens)?;
        assert_eq!(state, "scheduled");
        let heard = follower.event("sale").await;
        assert_eq!(heard.data["state"], "open");
        assert!(heard.at >= opens, "too early");
        Ok(heard.at.since(opens))
    });
    on_time(join_all(followers).await)
}

/// 99 of 100 were not late, and nobody was too late to follow.
fn on_time(late: Vec<Result<Duration, String>>) -> Result<(), String> {
    let late: Vec<Duration> = late.into_iter().collect::<Result<_, _>>()?;
    println!(
        "{} followers: half of them {:?} late",
        late.len(),
        percentile(late.clone(), 50)
    );
    within("99 of 100 late by", percentile(late, 99), LATE_MAX)
}

#[tokio::test]
async fn a_sale_that_is_put_off_or_cancelled_is_told_so() {
    let till = Till::embedded(5).await;
    kept_in_one_round("a sale that is put off", async |round| {
        is_put_off(&till, round).await
    })
    .await;
}

async fn is_put_off(till: &Till, round: u32) -> Result<(), String> {
    let name = format!("drop-{round}");
    let sale = opening(&name, "2099-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    let shop = Shop::open_for(till.server(), &sale).await;
    let mut follower = Listener::of(&shop.buyers, &name).await;
    assert_eq!(follower.state().await, ("1-0".into(), "scheduled".into()));
    let opens = in_a_while(Duration::from_secs(3), round);
    reschedule(&shop, &soon(opens)).await;
    let heard = follower.state().await;
    still_before(opens)?;
    assert_eq!(heard, ("2-0".into(), "scheduled".into()));
    let heard = follower.event("sale").await;
    assert_eq!(
        (heard.id.as_deref(), &heard.data["state"]),
        (Some("2-1"), &json!("open"))
    );
    assert!(heard.at >= opens, "{heard:?}");
    reschedule(&shop, &json!({ "revision": 2, "cancelled": true })).await;
    assert_eq!(follower.state().await, ("3-3".into(), "cancelled".into()));
    let token = shop.token().await;
    let refused = shop.buy(&token, "k", &shop.order_at_the_gateway()).await;
    refused.expect_problem(409, "sale-cancelled");
    assert_eq!(refused.body["retry"]["can_help"], false, "{refused:?}");
    Ok(())
}

/// The change of a schedule to this opening.
fn soon(opens: Timestamp) -> Value {
    json!({ "revision": 1, "opens_at": rfc3339(opens), "closes_at": "2100-01-01T00:00:00Z" })
}

async fn reschedule(shop: &Shop, change: &Value) {
    let url = format!("{}/v1/sales/{}/schedule", shop.operators, shop.sale);
    let answer = answered(shop.operators().post(url).json(change)).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn what_is_left_is_told_when_it_changes() {
    let till = Till::embedded(5).await;
    let mut follower = Listener::of(&till.shop.buyers, "drop").await;
    changes(&mut follower, None, 5).await;
    let (payer, _) = till.payer().await;
    changes(&mut follower, Some(5), 4).await;
    assert_eq!(till.cancel(&payer).await.status, 202);
    changes(&mut follower, Some(4), 5).await;
}

/// Hears that so much is left. The coupons change as well, and may do so in an event of their own.
async fn changes(follower: &mut Listener, before: Option<u64>, after: u64) {
    loop {
        let heard = follower.event("stock").await;
        assert!(heard.id.is_none(), "{heard:?}");
        let left = heard.data["products"][0]["stock_left"].as_u64();
        if left == Some(after) {
            return;
        }
        assert_eq!(left, before, "{heard:?}");
    }
}

#[tokio::test]
async fn sse_reaches_clients_of_every_node() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes: Vec<Server> = Vec::new();
    for folder in &folders {
        nodes.push(servers.serve(folder.path()).start().await);
    }
    kept_in_one_round("news of another node", async |round| {
        reaches_clients_of(&nodes, round).await
    })
    .await;
}

async fn reaches_clients_of(nodes: &[Server], round: u32) -> Result<(), String> {
    let name = unique("drop");
    let sale = opening(&name, "2099-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    let shop = Shop::open_for(&nodes[0], &sale).await;
    let mut followers = Vec::new();
    for node in nodes {
        let other = Shop::at(node, &name);
        crate::support::eventually("the sale on the node", || async {
            let url = format!("{}/v1/sales/{name}", other.buyers);
            (get(&other.http, url).await.status == 200).then_some(())
        })
        .await;
        for _ in 0..20 {
            let mut follower = Listener::of(&node.buyers, &name).await;
            assert_eq!(follower.state().await, ("1-0".into(), "scheduled".into()));
            followers.push(follower);
        }
    }
    // One node is told that it opens soon; it is the other's news as well.
    let opens = in_a_while(Duration::from_secs(5), round);
    reschedule(&shop, &soon(opens)).await;
    let heard = followers.iter_mut().map(async |follower| {
        let change = follower.state().await;
        still_before(opens)?;
        assert_eq!(change, ("2-0".into(), "scheduled".into()));
        let heard = follower.event("sale").await;
        assert_eq!(heard.id.as_deref(), Some("2-1"), "{heard:?}");
        assert!(heard.at >= opens, "too early");
        Ok(heard.at.since(opens))
    });
    on_time(join_all(heard).await)
}

#[tokio::test]
async fn a_client_id_cant_be_taken_over() {
    let till = Till::embedded(50).await;
    let (shop, buyers) = (&till.shop, &till.shop.buyers);
    let mut victim = Listener::of(buyers, "drop").await;
    assert_eq!(victim.state().await.1, "open");
    // There is no parameter by which a client could call itself anything.
    for name in ["client_id", "clientId", "id", "last_event_id"] {
        let request = request(&shop.http, buyers, "drop").query(&[(name, "1")]);
        send(request).await.expect_problem(400, "invalid-parameter");
    }
    // Whatever else a client says about itself, it gets a stream of its own, and the others keep theirs.
    let mut others = Vec::new();
    for header in [
        "client-id",
        "x-client-id",
        "cookie",
        "last-event-id",
        "x-request-id",
    ] {
        let request = request(&shop.http, buyers, "drop").header(header, "1-1");
        others.push(Listener::with(request).await);
    }
    drop(others);
    let before = till.stock_left().await;
    till.payer().await;
    loop {
        let heard = victim.event("stock").await;
        if heard.data["products"][0]["stock_left"] == json!(before - 1) {
            break;
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_at_once() {
    kept_in_one_round("the end of a stream", async |_| {
        let folder = tempfile::tempdir().unwrap();
        let server = ServeSettings::embedded(folder.path()).start().await;
        let shop = Shop::open(&server, "drop", 5, 5).await;
        let mut follower = Listener::of(&shop.buyers, "drop").await;
        assert_eq!(follower.state().await.1, "open");
        server.process.signal("TERM").await;
        while follower.next().await.is_some() {}
        let (status, log) = server.process.ended(PATIENCE).await;
        assert!(status.success(), "{log}");
        if log.contains("cut off") {
            return Err(log);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn nobody_follows_a_sale_that_is_not_there() {
    let till = Till::embedded(5).await;
    for name in ["nowhere", "No%20slug"] {
        let answer = send(request(&till.shop.http, &till.shop.buyers, name)).await;
        answer.expect_problem(404, "not-found");
    }
}
