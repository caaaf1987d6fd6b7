//! A payment gateway that says yes at once, or no to the token `declined`, and remembers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use workflows::domain::money::Money;
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, Cancellation, GatewayError, PaymentGateway, PaymentId,
    PaymentRecord, PaymentStatus, PrepareRequest, Prepared,
};
use workflows::reconcile::invariants::LedgerEntry;

/// What was paid, by order.
#[derive(Default)]
pub struct Till(Mutex<BTreeMap<String, PaymentRecord>>);

impl Till {
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        let records = self.0.lock().unwrap();
        records
            .values()
            .map(|record| LedgerEntry {
                order: record.order_id.clone(),
                currency: record.amount.currency,
                captured: record.amount.amount,
                refunded: record.refunded,
            })
            .collect()
    }
}

#[async_trait]
impl PaymentGateway for Till {
    async fn prepare(&self, request: &PrepareRequest) -> Result<Prepared, GatewayError> {
        let redirect_url = format!("http://127.0.0.1:1/pay/{}", request.order_id);
        Ok(Prepared { redirect_url })
    }

    async fn approve(&self, request: &ApproveRequest) -> Result<Approval, GatewayError> {
        if request.payment_token.expose() == "declined" {
            return Ok(Approval::Declined {
                code: "insufficient-funds".to_owned(),
                message: "no".to_owned(),
            });
        }
        let record = PaymentRecord {
            payment_id: PaymentId::parse(format!("p-{}", request.order_id)).unwrap(),
            order_id: request.order_id.clone(),
            status: PaymentStatus::Approved,
            amount: request.amount,
            refunded: 0,
            decline: None,
        };
        let mut records = self.0.lock().unwrap();
        let record = records.entry(request.order_id.clone()).or_insert(record);
        Ok(Approval::Approved(record.clone()))
    }

    async fn inquire(&self, order_id: &str) -> Result<Option<PaymentRecord>, GatewayError> {
        Ok(self.0.lock().unwrap().get(order_id).cloned())
    }

    async fn cancel(&self, request: &CancelRequest) -> Result<Cancellation, GatewayError> {
        let mut records = self.0.lock().unwrap();
        let record = records
            .values_mut()
            .find(|record| record.payment_id == request.payment_id)
            .unwrap();
        (record.refunded, record.status) = (record.amount.amount, PaymentStatus::Cancelled);
        Ok(Cancellation {
            payment: record.clone(),
            amount: Money::new(record.amount.amount, record.amount.currency),
            rest: 0,
        })
    }
}
