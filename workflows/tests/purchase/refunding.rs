//! Step `refund`: all of the money, under one key, or an operator's decision.

use std::sync::Arc;

use engine::definition::{Action as _, Outcome, Probed};
use workflows::domain::money::Money;
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, PaymentGateway as _, PaymentStatus,
};
use workflows::ports::serials::{SerialLine, Serials as _};
use workflows::purchase::{Claim, Fulfilment, Paid, PurchaseRequest, Refund};

use crate::support::{
    Says, ScriptedGateway, StillCatalogue, StillSerials, attempt, done, product, request, retried,
    sale, sale_id, unknown,
};

struct Desk {
    gateway: Arc<ScriptedGateway>,
    catalogue: Arc<StillCatalogue>,
    serials: Arc<StillSerials>,
    step: Refund,
    paid: Paid,
}

impl Desk {
    /// Purchase 1 is paid, and its product was recalled.
    async fn new() -> Self {
        let (gateway, catalogue, serials) = (
            Arc::new(ScriptedGateway::default()),
            Arc::new(StillCatalogue::new(sale())),
            Arc::new(StillSerials::default()),
        );
        catalogue.recall("mug");
        let approve = ApproveRequest {
            order_id: order(),
            idempotency_key: "k".to_owned(),
            amount: mugs().total,
            payment_token: ScriptedGateway::authorisation_of_any(),
        };
        let Ok(Approval::Approved(record)) = gateway.approve(&approve).await else {
            panic!("not paid")
        };
        Self {
            step: Refund {
                gateway: Arc::clone(&gateway) as _,
                catalogue: Arc::clone(&catalogue) as _,
                serials: Arc::clone(&serials) as _,
            },
            paid: Paid {
                payment: Some(record.payment_id),
                captured: record.amount,
            },
            gateway,
            catalogue,
            serials,
        }
    }

    async fn refund(&self, number: u32) -> Outcome<Fulfilment> {
        let input = (mugs(), no_claim(), self.paid.clone());
        self.step.act(&attempt(1, "refund", number), input).await
    }

    async fn ask(&self) -> Probed<Fulfilment> {
        let input = (mugs(), no_claim(), self.paid.clone());
        self.step.probe(&attempt(1, "refund", 2), input).await
    }

    fn refunded(&self) -> u64 {
        self.gateway.ledger()[0].refunded
    }
}

fn mugs() -> PurchaseRequest {
    request("ann", &[("mug", 2)], None)
}

fn order() -> String {
    attempt(1, "refund", 1).workflow.to_string()
}

fn no_claim() -> Claim {
    Claim {
        campaign: None,
        was_claimed_ahead: false,
    }
}

fn refunded(desk: &Desk, reason: &str) -> Fulfilment {
    Fulfilment::Refunded {
        payment: desk.paid.payment.clone(),
        amount: mugs().total,
        reason: reason.to_owned(),
    }
}

#[tokio::test]
async fn all_of_the_money_goes_back_once_under_one_key() {
    let desk = Desk::new().await;
    for number in 1..=2 {
        let (fulfilment, rows) = done(desk.refund(number).await);
        assert_eq!(fulfilment, refunded(&desk, "product-recalled"));
        // The counter and the hold.
        assert_eq!(rows.len(), 2);
    }
    assert_eq!(desk.refunded(), 2_000);
    let key = format!("{}/refund", order());
    assert_eq!(desk.gateway.refund_keys(), [key.clone(), key]);
}

#[tokio::test]
async fn serial_numbers_go_back_into_the_pool() {
    let desk = Desk::new().await;
    desk.catalogue.pool("mug");
    desk.serials.put("mug", 2);
    let line = SerialLine {
        sale: sale_id(),
        product: product("mug"),
        workflow: attempt(1, "refund", 1).workflow,
        line: 0,
        units: 2,
    };
    assert!(desk.serials.take(&line).await.unwrap().is_some());
    done(desk.refund(1).await);
    assert_eq!(desk.serials.taken(), 0);
}

#[tokio::test]
async fn what_is_not_known_is_asked_and_never_guessed() {
    let desk = Desk::new().await;
    desk.gateway.say_of_refunds([Says::Nothing]);
    assert_eq!(unknown(desk.refund(1).await).class, "gateway-unanswered");
    assert!(matches!(desk.ask().await, Probed::NoEffect));
    desk.gateway.say_of_refunds([Says::YesAndIsNotHeard]);
    assert_eq!(unknown(desk.refund(2).await).class, "gateway-unanswered");
    let Probed::Done { output, changes } = desk.ask().await else {
        panic!("not found")
    };
    assert_eq!(output, refunded(&desk, "product-recalled"));
    assert_eq!(changes.len(), 2);
    assert_eq!(desk.refunded(), 2_000);
}

#[tokio::test]
async fn what_had_no_effect_is_tried_again_and_a_rejection_is_never_a_no() {
    let desk = Desk::new().await;
    desk.gateway
        .say_of_refunds([Says::Busy, Says::InProgress, Says::Rejected]);
    assert_eq!(retried(desk.refund(1).await).class, "gateway-busy");
    assert_eq!(unknown(desk.refund(2).await).class, "refund-in-progress");
    assert_eq!(unknown(desk.refund(3).await).class, "refund-rejected");
    assert!(matches!(desk.ask().await, Probed::NoEffect));
}

#[tokio::test]
async fn a_payment_that_was_given_back_in_full_before_counts_as_refunded() {
    let desk = Desk::new().await;
    desk.gateway.tamper(&order(), |record| {
        record.status = PaymentStatus::Cancelled;
        record.refunded = 2_000;
    });
    assert_eq!(unknown(desk.refund(1).await).class, "refund-conflict");
    assert!(matches!(desk.ask().await, Probed::Done { .. }));
}

#[tokio::test]
async fn a_refund_in_part_or_of_another_amount_is_the_operators() {
    let desk = Desk::new().await;
    desk.gateway.say_of_refunds([Says::WrongAmount]);
    assert_eq!(unknown(desk.refund(1).await).class, "refund-mismatch");
    assert!(matches!(desk.ask().await, Probed::Unknown(error) if error.class == "refund-mismatch"));
    let desk = Desk::new().await;
    desk.gateway.tamper(&order(), |record| {
        record.amount = Money::new(1, record.amount.currency);
        record.refunded = 1;
    });
    assert_eq!(unknown(desk.refund(1).await).class, "refund-conflict");
    assert!(matches!(desk.ask().await, Probed::Unknown(error) if error.class == "refund-mismatch"));
}

#[tokio::test]
async fn where_nothing_was_paid_nobody_is_asked() {
    let mut desk = Desk::new().await;
    desk.paid = Paid {
        payment: None,
        captured: Money::new(0, mugs().total.currency),
    };
    let (fulfilment, _) = done(desk.refund(1).await);
    assert!(
        matches!(fulfilment, Fulfilment::Refunded { payment: None, amount, .. } if amount.amount == 0)
    );
    assert!(matches!(desk.ask().await, Probed::Done { .. }));
    assert!(desk.gateway.refund_keys().is_empty());
}
