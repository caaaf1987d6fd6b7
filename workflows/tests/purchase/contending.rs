//! Many at once: one buyer's requests, one key, and lines in both orders.

use engine::StartError;
use engine::store::{SqlDatabase, Status};
use workflows::domain::seed::SaleSeed;

use crate::support::{Says, Shop, on_both_databases, product, request, seed};

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, StartError>) -> String {
    match result {
        Err(StartError::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

async fn a_buyer_cannot_exceed_the_limit_by_parallel_requests(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let asked = request("ann", &[("mug", 1)], None);
    let wishes = (0..12).map(|number| {
        let (node, asked) = (&node, &asked);
        async move { node.buy(asked, &format!("k{number}")).await }
    });
    let results = futures_util::future::join_all(wishes).await;
    let (mine, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(mine.len(), 4);
    for result in refused {
        assert_eq!(code(result), "limit-reached");
    }
    assert_eq!(shop.stock("mug").await, (0, 4));
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 4);
    node.close().await;
}

async fn duplicates_never_over_issue(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let asked = request("ann", &[("mug", 2)], Some("first"));
    let copies = (0..10).map(|_| node.buy(&asked, "k"));
    let views = futures_util::future::join_all(copies).await;
    let mut ids: Vec<_> = views
        .into_iter()
        .map(|view| view.expect("started or found").id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(shop.gateway.approvals(), 1);
    assert_eq!(shop.stock("mug").await, (0, 2));
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 2);
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 1);
    node.close().await;
}

/// Many units, so that nobody is sold out.
fn plenty() -> SaleSeed {
    let mut seed = seed();
    for product in &mut seed.products {
        product.stock = 500.into();
    }
    seed
}

async fn two_lines_never_dead_lock_with_two_lines(database: SqlDatabase) {
    let shop = Shop::open_with(database, &plenty()).await;
    let node = shop.node().await;
    let wishes = (0..60).map(|number| {
        let mut lines = [("mug", 1), ("cap", 1)];
        if number % 2 == 0 {
            lines.reverse();
        }
        let (node, asked) = (&node, request(&format!("buyer-{number}"), &lines, None));
        async move { node.buy(&asked, "k").await.expect("started") }
    });
    for view in futures_util::future::join_all(wishes).await {
        assert_eq!(view.head.status, Status::Completed, "{:?}", view.head);
    }
    assert_eq!(shop.stock("mug").await, (0, 60));
    assert_eq!(shop.stock("cap").await, (0, 60));
    node.close().await;
}

async fn a_failing_second_line_leaks_nothing_of_the_first(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let first = request("ann", &[("cap", 4)], None);
    node.buy(&first, "k").await.expect("started");
    let asked = request("bob", &[("mug", 2), ("cap", 2)], Some("first"));
    assert_eq!(code(node.buy(&asked, "k").await), "sold-out");
    let mugs = shop.counts().await.products[&product("mug")];
    assert_eq!((mugs.available, mugs.held), (10, 0));
    assert_eq!(shop.stock("mug").await, (0, 0));
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 0);
    assert_eq!(shop.gateway.approvals(), 1);
    node.close().await;
}

async fn a_start_repeated_at_another_node_is_the_same_purchase_when_all_is_gone(
    database: SqlDatabase,
) {
    let shop = Shop::open(database).await;
    let one = shop.node().await;
    shop.gateway.say([Says::No]);
    let anns = request("ann", &[("cap", 1)], None);
    let id = one.start(&anns, "k").await.expect("started");
    assert_eq!(one.settled(id).await.head.status, Status::Compensated);
    for (buyer, caps) in [("bob", 3), ("cid", 2)] {
        one.buy(&request(buyer, &[("cap", caps)], None), "k")
            .await
            .expect("bought");
    }
    let other = shop.node_named("other").await;
    // Its operations have other names there, and ann has nothing any more: all the gate could say is "sold out".
    let again = other.start(&anns, "k").await.expect("the same");
    assert_eq!(again, id);
    let refused = other.start(&anns, "another key").await;
    assert_eq!(code(refused), "sold-out");
    other.close().await;
    one.close().await;
}

on_both_databases!(
    a_buyer_cannot_exceed_the_limit_by_parallel_requests,
    duplicates_never_over_issue,
    two_lines_never_dead_lock_with_two_lines,
    a_start_repeated_at_another_node_is_the_same_purchase_when_all_is_gone,
    a_failing_second_line_leaks_nothing_of_the_first,
);
