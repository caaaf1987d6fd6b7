//! The purchase sagas: hold a coupon and the stock, have the payment authorised where the buyer does that at the gateway, capture the
//! money, issue the goods or give the money back, tell the gate.

use std::sync::Arc;

use engine::definition::{Definition, DefinitionError, Saga};

use crate::ports::catalogue::Catalogue;
use crate::ports::payment_gateway::PaymentGateway;
use crate::ports::serials::Serials;

mod quote;
mod request;

mod coupon_claim;
mod stock_reserve;

mod authorisation;
mod hold_extend;
mod payment_prepare;

mod payment;

mod fulfilment;
mod goods_issue;
mod refund;

mod gate_settle;

mod stage;

pub(crate) mod gate;
mod gateway;

pub use authorisation::{AUTHORISATION, Authorisation};
pub use coupon_claim::{Claim, CouponClaim};
pub use fulfilment::Fulfilment;
pub use gate::{Gate, GateAlarm, coupon_operation, stock_operation};
pub use gate_settle::{GateSettle, Settled};
pub use goods_issue::GoodsIssue;
pub use hold_extend::{Chargeable, HoldExtend};
pub use payment::{AuthorisedPayment, Paid, Payment};
pub use payment_prepare::PaymentPrepare;
pub use quote::{LINES_MAX, Order, OrderLine, QUANTITY_MAX, QuoteError, quote};
pub use refund::Refund;
pub use request::{PaymentMeans, PricedLine, PurchaseRequest};
pub use stage::{Stage, is_told, stage, why};
pub use stock_reserve::{Hold, StockReserve};

pub use crate::ports::payment_gateway::Prepared;

pub(crate) use coupon_claim::{issued as coupons_issued, refusal as claim_refusal};

/// The saga of a purchase that is paid by a token which the buyer authorised before, by which it is started.
pub const NAME: &str = "purchase";
/// The saga of a purchase that the buyer authorises at the gateway.
pub const REDIRECT_NAME: &str = "purchase-redirect";

/// What the sagas need of the outside.
#[derive(Clone)]
pub struct Ports {
    /// The reservations.
    pub gate: Gate,
    /// The payment gateway.
    pub gateway: Arc<dyn PaymentGateway>,
    /// What is sold: asked for recalls and pools when goods are issued.
    pub catalogue: Arc<dyn Catalogue>,
    /// The pools of serial numbers.
    pub serials: Arc<dyn Serials>,
}

/// Whether workflows of this definition are purchases.
#[must_use]
pub fn is_purchase(definition: &str) -> bool {
    [NAME, REDIRECT_NAME].contains(&definition)
}

/// The saga that carries out this purchase. One that costs nothing is not sent to the gateway, whatever its means of payment.
#[must_use]
pub const fn definition_name(request: &PurchaseRequest) -> &'static str {
    if request.is_authorised_at_gateway() {
        REDIRECT_NAME
    } else {
        NAME
    }
}

/// Both sagas over these ports.
pub fn definitions(ports: &Ports) -> Result<Vec<Definition>, DefinitionError> {
    Ok(vec![stored(ports)?, redirect(ports)?])
}

/// Stored means of payment: one go.
fn stored(ports: &Ports) -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<PurchaseRequest>::new(NAME, 1);
    let request = saga.input();
    let coupon = saga.compensable(CouponClaim::new(ports), &request);
    saga.compensable(StockReserve::new(ports), &request);
    // The pivot waits for everything before it.
    let (mut saga, paid) = saga.pivot(Payment::new(ports), &request);
    let goods = saga.retriable(GoodsIssue::new(ports), (&request, &coupon, &paid));
    let given = saga.or_else(&goods, Refund::new(ports), (&request, &coupon, &paid));
    let settled = saga.retriable(GateSettle::new(ports), (&request, &coupon, &given));
    saga.finish(&settled)
}

/// The buyer authorises the payment at the gateway: the units are held meanwhile, and not for ever.
fn redirect(ports: &Ports) -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<PurchaseRequest>::new(REDIRECT_NAME, 1);
    // One key is one purchase, however it is paid.
    saga.key_space(NAME);
    let request = saga.input();
    let coupon = saga.compensable(CouponClaim::new(ports), &request);
    let stock = saga.compensable(StockReserve::new(ports), &request);
    let lapses = "what nobody authorises lapses at the gateway";
    let prepared = saga.without_compensation(PaymentPrepare::new(ports), &request, lapses);
    saga.order(&coupon, &prepared);
    saga.order(&stock, &prepared);
    let until = |request: PurchaseRequest, _| Some(request.hold_until);
    let answer = saga.await_signal::<Authorisation, _>(AUTHORISATION, &request, until);
    saga.order(&prepared, &answer);
    let released = "the hold is given back where it was made";
    let charge = saga.without_compensation(HoldExtend::new(ports), (&request, &answer), released);
    let (mut saga, paid) = saga.pivot(AuthorisedPayment::new(ports), (&request, &charge));
    let goods = saga.retriable(GoodsIssue::new(ports), (&request, &coupon, &paid));
    let given = saga.or_else(&goods, Refund::new(ports), (&request, &coupon, &paid));
    let settled = saga.retriable(GateSettle::new(ports), (&request, &coupon, &given));
    saga.finish(&settled)
}
