//! Step `coupon-claim`, each way twice, and over a line that breaks.

use engine::Timestamp;
use engine::definition::{Action as _, Compensable as _};
use engine::store::{CommitError, SqlDatabase};
use engine::workflow::Earlier;
use workflows::campaign::{ClaimAhead, CouponIssue};
use workflows::ports::reservations::{ConfirmReply, ConfirmRequest};
use workflows::purchase::{Claim, CouponClaim, StockReserve, coupon_operation, stock_operation};

use crate::support::{
    Fault, Shop, attempt, campaign, done, on_both_databases, refused, request, retried, seed,
    sqlite, unknown,
};

fn step(shop: &Shop) -> CouponClaim {
    CouponClaim {
        gate: shop.gate.clone(),
    }
}

fn no_claim() -> Claim {
    Claim {
        campaign: None,
        was_claimed_ahead: false,
    }
}

async fn claimed_in_gate(shop: &Shop) -> u64 {
    shop.counts().await.campaigns[&campaign()].issued
}

async fn a_coupon_is_taken_once_and_given_back_once(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 1)], Some("first")));
    let (claim, rows) = done(
        step.act(&attempt(1, "coupon-claim", 1), request.clone())
            .await,
    );
    let (again, same_rows) = done(
        step.act(&attempt(1, "coupon-claim", 2), request.clone())
            .await,
    );
    assert_eq!((&claim, rows.len()), (&again, same_rows.len()));
    assert_eq!(claimed_in_gate(&shop).await, 1);

    shop.write(&rows).await.expect("written");
    assert!(
        matches!(
            shop.write(&same_rows).await,
            Err(CommitError::RowRefused { .. })
        ),
        "written twice"
    );
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 1);

    for number in 1..=2 {
        let undo = attempt(1, "coupon-claim", number);
        let ((), rows) = done(
            step.compensate(&undo, request.clone(), Some(claim.clone()))
                .await,
        );
        let written = shop.write(&rows).await;
        assert_eq!(written.is_ok(), number == 1, "{written:?}");
    }
    assert_eq!(claimed_in_gate(&shop).await, 0);
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 0);
    assert_eq!(shop.number("SELECT COUNT(*) FROM coupons").await, 0);
}

on_both_databases!(a_coupon_is_taken_once_and_given_back_once);

#[tokio::test]
async fn a_purchase_without_a_campaign_asks_nobody() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let request = request("ann", &[("mug", 1)], None);
    let (claim, rows) = done(
        step(&shop)
            .act(&attempt(1, "coupon-claim", 1), request.clone())
            .await,
    );
    assert_eq!((&claim, rows.len()), (&no_claim(), 0));
    let ((), rows) = done(
        step(&shop)
            .compensate(&attempt(1, "coupon-claim", 1), request, Some(claim))
            .await,
    );
    assert_eq!((rows.len(), shop.faulty.calls()), (0, 0));
}

#[tokio::test]
async fn a_claim_that_arrives_after_its_release_is_refused() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 1)], Some("first")));
    shop.faulty.fail([Fault::CallLost]);
    assert_eq!(
        unknown(
            step.act(&attempt(1, "coupon-claim", 1), request.clone())
                .await
        )
        .class,
        "gate-unanswered"
    );
    let ((), rows) = done(
        step.compensate(&attempt(1, "coupon-claim", 1), request.clone(), None)
            .await,
    );
    assert!(rows.is_empty(), "nobody knows of rows");
    let late = refused(step.act(&attempt(1, "coupon-claim", 1), request).await);
    assert_eq!(
        (late.code.as_str(), late.earlier),
        ("released", Earlier::Possible)
    );
    assert_eq!(claimed_in_gate(&shop).await, 0);
}

#[tokio::test]
async fn refusals_say_why_and_who_may_have_bought_before() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let step = step(&shop);
    for buyer in 1..=3 {
        let request = request(&format!("buyer-{buyer}"), &[("mug", 1)], Some("first"));
        done(step.act(&attempt(buyer, "coupon-claim", 1), request).await);
    }
    let second = request("buyer-1", &[("mug", 1)], Some("first"));
    let second = refused(step.act(&attempt(9, "coupon-claim", 1), second).await);
    assert_eq!(
        (second.code.as_str(), second.earlier),
        ("coupon-already-used", Earlier::Possible)
    );
    let late = request("late", &[("mug", 1)], Some("first"));
    let late = refused(step.act(&attempt(10, "coupon-claim", 1), late).await);
    assert_eq!(
        (late.code.as_str(), late.earlier),
        ("coupons-exhausted", Earlier::RuledOut)
    );
}

#[tokio::test]
async fn what_the_gate_could_not_do_is_tried_again_and_what_it_may_have_done_is_unknown() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 1)], Some("first")));
    for fault in [Fault::NotSent, Fault::Unavailable, Fault::OtherIncarnation] {
        shop.faulty.fail([fault]);
        let error = retried(
            step.act(&attempt(1, "coupon-claim", 1), request.clone())
                .await,
        );
        assert_eq!(error.class, "gate-unavailable");
    }
    for (fault, class) in [
        (Fault::AnswerLost, "gate-unanswered"),
        (Fault::Misuse, "gate-misuse"),
    ] {
        shop.faulty.fail([fault]);
        assert_eq!(
            unknown(
                step.act(&attempt(1, "coupon-claim", 1), request.clone())
                    .await
            )
            .class,
            class
        );
    }
}

/// As when the claim was lost with its node, and is undone after its buyer has bought something with it.
#[tokio::test]
async fn a_claim_ahead_that_is_undone_waits_for_the_purchase_that_has_it_and_leaves_it_what_it_used()
 {
    let disposable = sqlite().await;
    let mut seed = seed();
    seed.campaigns[0].claims_from = Some("1970-01-01T00:00:00Z".to_owned());
    let shop = Shop::open_with(disposable.database.clone(), &seed).await;
    let ahead = CouponIssue {
        gate: shop.gate.clone(),
    };
    let (step, request) = (step(&shop), request("ann", &[("mug", 1)], Some("first")));
    let claim = ClaimAhead {
        buyer: request.buyer.clone(),
        sale: request.sale.clone(),
        campaign: campaign(),
        accepted_at: Timestamp(0),
    };
    let (issued, rows) = done(
        ahead
            .act(&attempt(1, "coupon-issue", 1), claim.clone())
            .await,
    );
    shop.write(&rows).await.expect("written");
    let undo = async || {
        let attempt = attempt(1, "coupon-issue", 1);
        let output = Some(issued.clone());
        ahead.compensate(&attempt, claim.clone(), output).await
    };
    done(
        step.act(&attempt(2, "coupon-claim", 1), request.clone())
            .await,
    );
    unknown(undo().await);
    let reserve = StockReserve {
        gate: shop.gate.clone(),
    };
    done(
        reserve
            .act(&attempt(2, "stock-reserve", 1), request.clone())
            .await,
    );
    let purchase = attempt(2, "coupon-claim", 1).workflow;
    let confirm = ConfirmRequest {
        sale: request.sale,
        operation: stock_operation(purchase),
        claim: Some(coupon_operation(purchase)),
    };
    let confirmed = shop.gate.reservations.confirm(&confirm).await;
    assert_eq!(confirmed.expect("asked"), ConfirmReply::Sold);
    let ((), rows) = done(undo().await);
    assert!(rows.is_empty(), "the rows are the purchase's");
    assert_eq!(claimed_in_gate(&shop).await, 1);
}
