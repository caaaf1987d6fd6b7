//! A payment gateway in memory that keeps a ledger and answers as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use async_trait::async_trait;
use workflows::domain::money::Money;
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, Cancellation, Decline, GatewayError, LostAnswer,
    PaymentGateway, PaymentId, PaymentRecord, PaymentStatus,
};
use workflows::reconcile::invariants::LedgerEntry;

/// What the gateway does with an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Captures.
    Yes,
    /// Declines.
    No,
    /// Captures, and the answer is lost.
    YesAndIsNotHeard,
    /// Declines, and the answer is lost.
    NoAndIsNotHeard,
    /// The request is lost.
    Nothing,
    /// Captures another amount.
    WrongAmount,
    /// It is busy.
    Busy,
    /// It is at it.
    InProgress,
    /// It is refused as a mistake of ours.
    Rejected,
}

#[derive(Default)]
pub struct ScriptedGateway {
    says: Mutex<VecDeque<Says>>,
    ledger: Mutex<BTreeMap<String, PaymentRecord>>,
    approvals: Mutex<u64>,
}

impl ScriptedGateway {
    /// The next approvals are answered so; later ones with yes.
    pub fn say(&self, says: impl IntoIterator<Item = Says>) {
        self.says.lock().unwrap().extend(says);
    }

    /// How many approvals were asked for.
    pub fn approvals(&self) -> u64 {
        *self.approvals.lock().unwrap()
    }

    /// The ledger as the oracle reads it.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        let captured = |record: &&PaymentRecord| record.status != PaymentStatus::Declined;
        let entry = |record: &PaymentRecord| LedgerEntry {
            order: record.order_id.clone(),
            captured: record.amount.amount,
            refunded: record.refunded,
        };
        self.ledger
            .lock()
            .unwrap()
            .values()
            .filter(captured)
            .map(entry)
            .collect()
    }

    /// Changes what the ledger says of an order.
    pub fn tamper(&self, order: &str, change: impl FnOnce(&mut PaymentRecord)) {
        change(
            self.ledger
                .lock()
                .unwrap()
                .get_mut(order)
                .expect("an order"),
        );
    }

    fn decide(&self, request: &ApproveRequest, says: Says) -> PaymentRecord {
        let declined = matches!(says, Says::No | Says::NoAndIsNotHeard);
        let amount = match says {
            Says::WrongAmount => Money::new(request.amount.amount + 1, request.amount.currency),
            _ => request.amount,
        };
        let decline = || Decline {
            code: "insufficient-funds".to_owned(),
            message: "not enough money".to_owned(),
        };
        let record = PaymentRecord {
            payment_id: PaymentId::parse(format!("p-{}", request.order_id)).unwrap(),
            order_id: request.order_id.clone(),
            status: if declined {
                PaymentStatus::Declined
            } else {
                PaymentStatus::Approved
            },
            amount,
            refunded: 0,
            decline: declined.then(decline),
        };
        self.ledger
            .lock()
            .unwrap()
            .entry(request.order_id.clone())
            .or_insert(record)
            .clone()
    }
}

#[async_trait]
impl PaymentGateway for ScriptedGateway {
    async fn approve(&self, request: &ApproveRequest) -> Result<Approval, GatewayError> {
        *self.approvals.lock().unwrap() += 1;
        let says = self.says.lock().unwrap().pop_front().unwrap_or(Says::Yes);
        match says {
            Says::Nothing => return Err(GatewayError::MaybeSent(LostAnswer::TimedOut)),
            Says::Busy => return Err(GatewayError::Busy { retry_after: None }),
            Says::InProgress => return Err(GatewayError::InProgress),
            Says::Rejected => {
                let (code, message) = ("bad-request".to_owned(), "no".to_owned());
                return Err(GatewayError::Rejected {
                    status: 400,
                    code,
                    message,
                });
            }
            Says::Yes
            | Says::No
            | Says::YesAndIsNotHeard
            | Says::NoAndIsNotHeard
            | Says::WrongAmount => {}
        }
        let record = self.decide(request, says);
        if matches!(says, Says::YesAndIsNotHeard | Says::NoAndIsNotHeard) {
            return Err(GatewayError::MaybeSent(LostAnswer::Status(500)));
        }
        if let Some(Decline { code, message }) = record.decline.clone() {
            return Ok(Approval::Declined { code, message });
        }
        record.verify(&request.order_id, request.amount)?;
        Ok(Approval::Approved(record))
    }

    async fn inquire(&self, order_id: &str) -> Result<Option<PaymentRecord>, GatewayError> {
        Ok(self.ledger.lock().unwrap().get(order_id).cloned())
    }

    async fn cancel(&self, _: &CancelRequest) -> Result<Cancellation, GatewayError> {
        Err(GatewayError::Busy { retry_after: None })
    }
}
