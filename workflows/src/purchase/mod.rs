//! The purchase saga: hold a coupon and the stock, capture the money, issue the goods, tell the gate.

use std::sync::Arc;

use engine::definition::{Definition, DefinitionError, Saga};

use crate::ports::payment_gateway::PaymentGateway;

mod quote;
mod request;

mod coupon_claim;
mod goods_issue;
mod payment;
mod stock_confirm;
mod stock_reserve;

mod gate;

pub use coupon_claim::{Claim, CouponClaim};
pub use gate::{Gate, GateAlarm, coupon_operation, stock_operation};
pub use goods_issue::{Goods, GoodsIssue};
pub use payment::{Paid, Payment};
pub use quote::{LINES_MAX, Order, OrderLine, QUANTITY_MAX, QuoteError, quote};
pub use request::{PaymentMeans, PricedLine, PurchaseRequest};
pub use stock_confirm::{Confirmed, StockConfirm};
pub use stock_reserve::{Hold, StockReserve};

/// The saga's name, by which it is started.
pub const NAME: &str = "purchase";

/// The saga over these ports.
pub fn definition(
    gate: &Gate,
    gateway: &Arc<dyn PaymentGateway>,
) -> Result<Definition, DefinitionError> {
    let claim = CouponClaim { gate: gate.clone() };
    let reserve = StockReserve { gate: gate.clone() };
    let payment = Payment {
        gateway: Arc::clone(gateway),
    };
    let confirm = StockConfirm { gate: gate.clone() };

    let mut saga = Saga::<PurchaseRequest>::new(NAME, 1);
    let request = saga.input();
    let coupon = saga.compensable(claim, &request);
    saga.compensable(reserve, &request);
    // The pivot waits for everything before it.
    let (mut saga, paid) = saga.pivot(payment, &request);
    let goods = saga.retriable(GoodsIssue, (&request, &coupon, &paid));
    let confirmed = saga.retriable(confirm, (&request, &coupon));
    saga.order(&goods, &confirmed);
    saga.finish(&confirmed)
}
