//! A rebuild replaces a sale whole, behind a closed gate, or leaves the gate closed.

use std::collections::BTreeMap;

use engine::workflow::Earlier;
use workflows::domain::ids::CampaignId;
use workflows::ports::reservations::{
    CampaignSnapshot, ClaimRefusal, ClaimReply, ClaimSnapshot, ClaimState, ConfirmReply,
    HoldSnapshot, ProductSnapshot, ReleaseReply, ReserveReply, SaleSnapshot, SoldSnapshot,
};

use crate::harness::{Failure, Pair, buyer, lines, operation, product, small_sale};
use crate::outcomes::{claim_refused, has_coupon};

fn hold(name: &str, who: &str, held: &[(&str, u32)]) -> HoldSnapshot {
    HoldSnapshot {
        operation: operation(name),
        buyer: buyer(who),
        lines: lines(held),
    }
}

fn claim(name: &str, who: &str, state: ClaimState) -> ClaimSnapshot {
    ClaimSnapshot {
        operation: operation(name),
        buyer: buyer(who),
        state,
        taken_from: None,
    }
}

fn campaign(name: &str, size: u32, claims: Vec<ClaimSnapshot>) -> CampaignSnapshot {
    CampaignSnapshot {
        campaign: CampaignId::parse(name).unwrap(),
        size,
        claims,
        ..small_sale().campaigns.remove(0)
    }
}

/// 10 of `tee`: 3 sold to ann, 2 held by bob together with a `cap`; ann's coupon is used, bob's is held.
fn sale_in_progress() -> SaleSnapshot {
    SaleSnapshot {
        generation: 7,
        products: vec![
            ProductSnapshot {
                product: product("tee"),
                total: 10,
                sold: 3,
            },
            ProductSnapshot {
                product: product("cap"),
                total: 2,
                sold: 0,
            },
        ],
        holds: vec![hold("w2/stock", "bob", &[("tee", 2), ("cap", 1)])],
        sold: vec![SoldSnapshot {
            buyer: buyer("ann"),
            units: 3,
        }],
        campaigns: vec![campaign(
            "early",
            2,
            vec![
                claim("w1/coupon", "ann", ClaimState::Used),
                claim("w2/coupon", "bob", ClaimState::Held),
            ],
        )],
        ..small_sale()
    }
}

#[tokio::test]
async fn a_rebuilt_sale_goes_on_where_it_was() {
    let pair = Pair::with(sale_in_progress()).await;
    let counts = pair.counts().await.unwrap().unwrap();
    assert_eq!(counts.generation, 7);
    let tee = counts.products[&product("tee")];
    assert_eq!([tee.available, tee.held, tee.sold], [5, 2, 3]);

    let held = pair.reserve_request("w2/stock", "bob", &[("tee", 2), ("cap", 1)]);
    assert_eq!(
        pair.reserve(&held).await,
        Ok(ReserveReply::Held),
        "the live hold is known"
    );
    assert_eq!(
        pair.claim(&pair.claim_request("w1/coupon", "ann", "early"))
            .await,
        Ok(ClaimReply::Used { taken_from: None })
    );
    let sold_before = pair
        .confirm(&pair.confirm_request("w1/stock", Some("w1/coupon")))
        .await;
    assert_eq!(
        sold_before,
        Ok(ConfirmReply::Unknown),
        "counted as sold by the snapshot"
    );
    let confirm = pair.confirm_request("w2/stock", Some("w2/coupon"));
    assert_eq!(pair.confirm(&confirm).await, Ok(ConfirmReply::Sold));
    let more = pair.reserve_request("w3/stock", "ann", &[("tee", 2)]);
    assert!(matches!(
        pair.reserve(&more).await,
        Ok(ReserveReply::Refused {
            earlier: Earlier::Possible,
            ..
        })
    ));
    let exhausted = pair
        .claim(&pair.claim_request("w4/coupon", "cid", "early"))
        .await;
    let reason = ClaimRefusal::CouponsExhausted;
    assert_eq!(exhausted, claim_refused(reason, false));
    pair.finish().await;
}

#[tokio::test]
async fn a_rebuild_leaves_what_the_same_calls_would_have_left() {
    let by_calls = Pair::with(small_sale()).await;
    let reserve = by_calls.reserve_request("w2/stock", "bob", &[("tee", 2), ("cap", 1)]);
    assert_eq!(by_calls.reserve(&reserve).await, Ok(ReserveReply::Held));
    let claim_it = by_calls.claim_request("w2/coupon", "bob", "early");
    assert_eq!(by_calls.claim(&claim_it).await, has_coupon());
    let before = by_calls.embedded_dump().await;
    let by_snapshot = SaleSnapshot {
        holds: vec![hold("w2/stock", "bob", &[("tee", 2), ("cap", 1)])],
        campaigns: vec![campaign(
            "early",
            2,
            vec![claim("w2/coupon", "bob", ClaimState::Held)],
        )],
        ..small_sale()
    };
    by_calls.rebuild(by_snapshot).await.unwrap();
    let mut after = by_calls.embedded_dump().await;
    let operations = after
        .iter_mut()
        .filter(|(key, _)| key.ends_with(":operations"));
    for outcome in operations.flat_map(|(_, outcomes)| outcomes.values_mut()) {
        // What the database told of needs no epoch.
        *outcome = outcome.replace(" - ", " 1 ");
    }
    assert_eq!(after, before);
    by_calls.finish().await;
}

#[tokio::test]
async fn a_rebuild_writes_every_field_of_the_sale() {
    let pair = Pair::with(sale_in_progress()).await;
    let fields = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(field, value): &(&str, &str)| ((*field).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    let meta = [
        ("generation", "7"),
        ("revision", "1"),
        ("cancelled", "0"),
        ("opens_at_ms", "1000"),
        ("closes_at_ms", "9000000000000"),
        ("per_buyer_limit", "4"),
    ];
    assert_eq!(pair.fields("meta").await, fields(&meta));
    let stock = [
        ("tee:available", "5"),
        ("tee:held", "2"),
        ("tee:sold", "3"),
        ("cap:available", "1"),
        ("cap:held", "1"),
        ("cap:sold", "0"),
    ];
    assert_eq!(pair.fields("stock").await, fields(&stock));
    assert_eq!(
        pair.fields("buyers").await,
        fields(&[("ann", "3"), ("bob", "3")])
    );
    let operations = [
        ("w1/coupon", "used - claim ann early purchase"),
        ("w2/coupon", "held - claim bob early purchase"),
        ("w2/stock", "held - reserve bob cap:1,tee:2"),
    ];
    assert_eq!(pair.fields("operations").await, fields(&operations));
    let campaigns = [
        ("early:size", "2"),
        ("early:issued", "2"),
        ("early:in_purchase", "1"),
        ("early:claims_from_ms", "1000"),
    ];
    assert_eq!(pair.fields("campaigns").await, fields(&campaigns));
    let claims = [("early:ann", "w1/coupon"), ("early:bob", "w2/coupon")];
    assert_eq!(pair.fields("claims").await, fields(&claims));
    pair.finish().await;
}

#[tokio::test]
async fn products_that_hold_nothing_are_written_too() {
    let pair = Pair::with(small_sale()).await;
    assert_eq!(pair.fields("stock").await["cap:held"], "0");
    assert_eq!(pair.fields("campaigns").await["early:issued"], "0");
    pair.finish().await;
}

#[tokio::test]
async fn a_rebuild_forgets_what_the_snapshot_does_not_name() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    pair.rebuild(SaleSnapshot {
        generation: 2,
        ..small_sale()
    })
    .await
    .unwrap();
    assert_eq!(pair.fields("operations").await, BTreeMap::new());
    assert_eq!(
        pair.confirm(&pair.confirm_request("w1/stock", None)).await,
        Ok(ConfirmReply::Unknown)
    );
    assert_eq!(
        pair.release("w1/stock").await,
        Ok(ReleaseReply::NothingHeld)
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_large_sale_is_loaded_in_chunks() {
    const BUYERS: u32 = 2_500;
    let holds = (0..BUYERS)
        .map(|index| {
            hold(
                &format!("w{index}/stock"),
                &format!("b{index}"),
                &[("tee", 2)],
            )
        })
        .collect();
    let claims = (0..BUYERS)
        .map(|index| {
            claim(
                &format!("w{index}/coupon"),
                &format!("b{index}"),
                ClaimState::Held,
            )
        })
        .collect();
    let snapshot = SaleSnapshot {
        products: vec![ProductSnapshot {
            product: product("tee"),
            total: 3 * BUYERS,
            sold: 0,
        }],
        holds,
        campaigns: vec![campaign("early", BUYERS, claims)],
        ..small_sale()
    };
    let pair = Pair::with(snapshot).await;
    let counts = pair.counts().await.unwrap().unwrap();
    let tee = counts.products[&product("tee")];
    let units = u64::from(BUYERS);
    assert_eq!([tee.available, tee.held, tee.sold], [units, 2 * units, 0]);
    assert_eq!(counts.campaigns.into_values().next().unwrap().issued, units);
    assert_eq!(pair.fields("operations").await.len(), 2 * BUYERS as usize);
    pair.finish().await;
}

/// Each contradicts itself in one way.
fn contradictions() -> Vec<(&'static str, SaleSnapshot)> {
    let with = |change: fn(&mut SaleSnapshot)| {
        let mut snapshot = sale_in_progress();
        change(&mut snapshot);
        snapshot
    };
    vec![
        (
            "sold more than there is",
            with(|sale| {
                sale.products[0].sold = 11;
                sale.holds.clear();
            }),
        ),
        (
            "a product twice",
            with(|sale| sale.products.push(sale.products[0].clone())),
        ),
        (
            "held more than there is",
            with(|sale| sale.products[0].sold = 9),
        ),
        (
            "held of no product",
            with(|sale| sale.holds[0].lines = lines(&[("mug", 1)])),
        ),
        (
            "an operation twice",
            with(|sale| sale.holds.push(sale.holds[0].clone())),
        ),
        ("a buyer without units", with(|sale| sale.sold[0].units = 0)),
        (
            "a campaign twice",
            with(|sale| sale.campaigns.push(campaign("early", 9, vec![]))),
        ),
        (
            "more claims than coupons",
            with(|sale| sale.campaigns[0].size = 1),
        ),
        (
            "two claims of a buyer",
            with(|sale| {
                sale.campaigns[0].size = 3;
                sale.campaigns[0]
                    .claims
                    .push(claim("w9/coupon", "ann", ClaimState::Held));
            }),
        ),
        (
            "a hold and a claim of one name",
            with(|sale| {
                sale.campaigns[0].claims[0].operation = operation("w2/stock");
            }),
        ),
        (
            "closing before opening",
            with(|sale| sale.closes_at_ms = sale.opens_at_ms),
        ),
        ("a limit of nothing", with(|sale| sale.per_buyer_limit = 0)),
    ]
}

#[tokio::test]
async fn a_snapshot_that_contradicts_itself_leaves_the_gate_closed() {
    let pair = Pair::new().await;
    for (what, snapshot) in contradictions() {
        pair.rebuild(small_sale()).await.unwrap();
        let refused = pair.rebuild(snapshot).await;
        assert_eq!(
            refused,
            Err(Failure::Misuse("INVALID".to_owned())),
            "{what}"
        );
        assert_eq!(pair.counts().await, Ok(None), "{what}");
        assert_eq!(
            pair.fields("stock").await.len() % 3,
            0,
            "{what}: a chunk is whole or not there"
        );
    }
    pair.finish().await;
}
