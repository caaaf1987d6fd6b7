//! When a coupon can be claimed and used, and when a sale can be bought in: looked at before anything is held, never later.

use workflows::ports::reservations::{
    CampaignSnapshot, ClaimRefusal, ClaimReply, ConfirmReply, ExtendReply, ReleaseReply,
    ReserveRefusal, ReserveReply, SaleSnapshot, ScheduleReply, ScheduleRequest,
};

use crate::harness::{FAR_AHEAD_MS, Failure, LONG_AGO_MS, NOW_MS, Pair, small_sale};
use crate::outcomes::{
    claim_refused, closed, has_coupon, misuse, not_open_before, reserve_refused,
};

/// `sale` with its campaign changed.
fn with_campaign(sale: SaleSnapshot, change: impl FnOnce(&mut CampaignSnapshot)) -> SaleSnapshot {
    let mut sale = sale;
    change(&mut sale.campaigns[0]);
    sale
}

/// What a first claim ahead and a first claim of a purchase are told in this sale; a coupon is `None`.
async fn told(pair: &Pair, sale: SaleSnapshot) -> [Option<ClaimRefusal>; 2] {
    let mut answers = [None, None];
    let requests = [
        pair.ahead_request("c1", "ann", "early"),
        pair.claim_request("w1", "ann", "early"),
    ];
    for (answer, request) in answers.iter_mut().zip(requests) {
        pair.rebuild(sale.clone()).await.unwrap();
        *answer = match pair.claim(&request).await.unwrap() {
            ClaimReply::Refused { reason, .. } => Some(reason),
            ClaimReply::Held { .. } => None,
            used @ ClaimReply::Used { .. } => panic!("{used:?}"),
        };
    }
    answers
}

#[tokio::test]
async fn validity_windows_bind() {
    let pair = Pair::new().await;
    let from = FAR_AHEAD_MS;
    let not_yet = with_campaign(small_sale(), |early| early.valid_from_ms = Some(from));
    let too_early = ClaimRefusal::NotValidYet { from_ms: from };
    assert_eq!(
        told(&pair, not_yet).await,
        [None, Some(too_early)],
        "claimed before it can be used"
    );
    let until = LONG_AGO_MS;
    let over = with_campaign(small_sale(), |early| early.valid_until_ms = Some(until));
    let expired = || Some(ClaimRefusal::Expired { until_ms: until });
    assert_eq!(told(&pair, over).await, [expired(), expired()]);
    let soon = with_campaign(small_sale(), |early| early.claims_from_ms = Some(from));
    let not_open = |from_ms| Some(ClaimRefusal::ClaimsNotOpen { from_ms });
    assert_eq!(told(&pair, soon).await, [not_open(Some(from)), None]);
    let never = with_campaign(small_sale(), |early| early.claims_from_ms = None);
    assert_eq!(told(&pair, never).await, [not_open(None), None]);
    let ahead_only = with_campaign(small_sale(), |early| early.claim_in_purchase = false);
    let no_coupon = Some(ClaimRefusal::NoCoupon);
    assert_eq!(told(&pair, ahead_only).await, [None, no_coupon]);
    pair.finish().await;
}

#[tokio::test]
async fn a_claim_ahead_needs_no_open_sale_but_one_that_is_still_to_come() {
    let pair = Pair::new().await;
    let early = ClaimRefusal::SaleNotOpen {
        opens_at_ms: FAR_AHEAD_MS,
    };
    let before_it = told(&pair, not_open_before(FAR_AHEAD_MS)).await;
    assert_eq!(before_it, [None, Some(early)]);
    let over = || Some(ClaimRefusal::SaleClosed);
    assert_eq!(told(&pair, closed()).await, [over(), over()]);
    let cancelled = SaleSnapshot {
        is_cancelled: true,
        ..not_open_before(FAR_AHEAD_MS)
    };
    let cancelled_is = || Some(ClaimRefusal::SaleCancelled);
    assert_eq!(
        told(&pair, cancelled).await,
        [cancelled_is(), cancelled_is()],
        "rather than not open"
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_window_is_from_its_first_millisecond_to_before_its_last() {
    let pair = Pair::new().await;
    let claim = pair.claim_request("w1", "ann", "early");
    for (from, until, usable) in [
        (Some(NOW_MS), Some(NOW_MS + 1), true),
        (Some(NOW_MS + 1), None, false),
        (None, Some(NOW_MS), false),
    ] {
        let sale = with_campaign(small_sale(), |early| {
            (early.valid_from_ms, early.valid_until_ms) = (from, until);
        });
        let reply = pair.claim_on_embedded_only(sale, &claim).await;
        assert_eq!(
            reply == has_coupon(),
            usable,
            "{from:?} {until:?}: {reply:?}"
        );
    }
    let ahead = pair.ahead_request("c1", "ann", "early");
    for (from, claimable) in [(NOW_MS, true), (NOW_MS + 1, false)] {
        let sale = with_campaign(small_sale(), |early| early.claims_from_ms = Some(from));
        let reply = pair.claim_on_embedded_only(sale, &ahead).await;
        assert_eq!(reply == has_coupon(), claimable, "{from}: {reply:?}");
    }
    pair.finish().await;
}

#[tokio::test]
async fn nothing_that_is_held_is_looked_at_again_when_the_hours_are_over() {
    let pair = Pair::with(small_sale()).await;
    let coupon = pair.claim_request("w1/coupon", "ann", "early");
    let hold = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    let other = pair.reserve_request("w2/stock", "bob", &[("tee", 1)]);
    assert_eq!(pair.claim(&coupon).await, has_coupon());
    assert_eq!(pair.reserve(&hold).await, Ok(ReserveReply::Held));
    assert_eq!(pair.reserve(&other).await, Ok(ReserveReply::Held));
    for (revision, is_cancelled) in [(2, false), (3, true)] {
        let over = ScheduleRequest {
            opens_at_ms: LONG_AGO_MS - 1,
            closes_at_ms: LONG_AGO_MS,
            is_cancelled,
            ..pair.schedule_request(revision)
        };
        assert_eq!(pair.schedule(&over).await, Ok(ScheduleReply::Scheduled));
        assert_eq!(pair.claim(&coupon).await, has_coupon(), "a repeat");
        assert_eq!(pair.reserve(&hold).await, Ok(ReserveReply::Held));
        assert_eq!(pair.extend("w1/stock").await, Ok(ExtendReply::Paying));
    }
    let confirm = pair.confirm_request("w1/stock", Some("w1/coupon"));
    assert_eq!(pair.confirm(&confirm).await, Ok(ConfirmReply::Sold));
    assert_eq!(pair.release("w2/stock").await, Ok(ReleaseReply::Released));
    pair.finish().await;
}

#[tokio::test]
async fn a_later_schedule_counts_and_an_older_one_changes_nothing() {
    let pair = Pair::with(not_open_before(FAR_AHEAD_MS)).await;
    let request = |name| pair.reserve_request(name, "ann", &[("tee", 1)]);
    let earlier = pair.schedule_request(3);
    for _ in 0..2 {
        let scheduled = pair.schedule(&earlier).await;
        assert_eq!(scheduled, Ok(ScheduleReply::Scheduled));
    }
    assert_eq!(pair.reserve(&request("w1")).await, Ok(ReserveReply::Held));
    let late_copy = ScheduleRequest {
        opens_at_ms: FAR_AHEAD_MS,
        closes_at_ms: FAR_AHEAD_MS + 1,
        ..pair.schedule_request(2)
    };
    let before = pair.embedded_dump().await;
    assert_eq!(
        pair.schedule(&late_copy).await,
        Ok(ScheduleReply::Superseded)
    );
    let contradiction = ScheduleRequest {
        revision: 3,
        ..late_copy
    };
    assert_eq!(pair.schedule(&contradiction).await, misuse("MISMATCH"));
    let backwards = ScheduleRequest {
        closes_at_ms: LONG_AGO_MS,
        ..pair.schedule_request(4)
    };
    assert_eq!(pair.schedule(&backwards).await, misuse("INVALID"));
    assert_eq!(pair.embedded_dump().await, before);
    let cancelled = ScheduleRequest {
        is_cancelled: true,
        ..pair.schedule_request(4)
    };
    assert_eq!(
        pair.schedule(&cancelled).await,
        Ok(ScheduleReply::Scheduled)
    );
    assert_eq!(
        pair.reserve(&request("w2")).await,
        reserve_refused(ReserveRefusal::SaleCancelled, true)
    );
    let claim = pair.claim_request("w2/coupon", "bob", "early");
    assert_eq!(
        pair.claim(&claim).await,
        claim_refused(ClaimRefusal::SaleCancelled, false)
    );
    pair.close_gate().await.unwrap();
    assert_eq!(pair.schedule(&cancelled).await, Err(Failure::Unavailable));
    pair.finish().await;
}
