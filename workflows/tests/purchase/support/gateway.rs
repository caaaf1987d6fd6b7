//! A payment gateway in memory that keeps a ledger and answers as a test says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;
use workflows::domain::money::Money;
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, Cancellation, Decline, GatewayError, LostAnswer,
    PaymentGateway, PaymentId, PaymentRecord, PaymentStatus, PaymentToken, PrepareRequest,
    Prepared,
};
use workflows::reconcile::invariants::LedgerEntry;

/// What the gateway does with an approval, or with a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It does it.
    Yes,
    /// It declines.
    No,
    /// It does it, and the answer is lost.
    YesAndIsNotHeard,
    /// It declines, and the answer is lost.
    NoAndIsNotHeard,
    /// The request is lost.
    Nothing,
    /// It captures another amount, or gives back less.
    WrongAmount,
    /// It is busy.
    Busy,
    /// It is at it.
    InProgress,
    /// It is refused as a mistake of ours.
    Rejected,
    /// It does it and answers with no body, or with one that can't be read.
    Gibberish,
}

/// What is known of an order at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    order: String,
    key: String,
}

#[derive(Default)]
pub struct ScriptedGateway {
    says: Mutex<VecDeque<Says>>,
    says_of_refunds: Mutex<VecDeque<Says>>,
    ledger: Mutex<BTreeMap<String, PaymentRecord>>,
    prepared: Mutex<Vec<Call>>,
    /// So many of the orders that come first get the page of another, for good.
    wrong_pages: AtomicUsize,
    approvals: Mutex<Vec<Call>>,
    refunds: Mutex<Vec<Call>>,
    inquiries: AtomicUsize,
    /// Inquiries are not answered.
    is_silent: AtomicBool,
    /// Approvals wait until this is true.
    open: Mutex<Option<watch::Receiver<bool>>>,
}

impl ScriptedGateway {
    /// The next approvals are answered so; later ones with yes.
    pub fn say(&self, says: impl IntoIterator<Item = Says>) {
        self.says.lock().unwrap().extend(says);
    }

    /// The next refunds are answered so; later ones with yes.
    pub fn say_of_refunds(&self, says: impl IntoIterator<Item = Says>) {
        self.says_of_refunds.lock().unwrap().extend(says);
    }

    /// The first orders that are prepared get the page of another one, whenever they ask.
    pub fn mistake_the_first_pages(&self, orders: usize) {
        self.wrong_pages.store(orders, Ordering::SeqCst);
    }

    /// Approvals that come from now on capture, and are answered only when `true` is sent.
    pub fn hold_answers(&self) -> watch::Sender<bool> {
        let (sender, receiver) = watch::channel(false);
        *self.open.lock().unwrap() = Some(receiver);
        sender
    }

    /// From now on inquiries are answered, or not.
    pub fn answers_inquiries(&self, answers: bool) {
        self.is_silent.store(!answers, Ordering::SeqCst);
    }

    /// How often it was asked what it knows.
    pub fn inquiries(&self) -> usize {
        self.inquiries.load(Ordering::SeqCst)
    }

    /// How many approvals were asked for.
    pub fn approvals(&self) -> u64 {
        self.approvals.lock().unwrap().len() as u64
    }

    /// The keys of all approvals, in the order in which they came.
    pub fn approval_keys(&self) -> Vec<String> {
        keys(&self.approvals)
    }

    /// The keys of all refunds.
    pub fn refund_keys(&self) -> Vec<String> {
        keys(&self.refunds)
    }

    /// What the gateway gives a buyer who authorises the payment of this order.
    pub fn authorisation(order: &str) -> PaymentToken {
        PaymentToken::new(format!("authorisation-{order}"))
    }

    /// An authorisation of whichever order it comes with.
    pub fn authorisation_of_any() -> PaymentToken {
        PaymentToken::new("authorisation-of-any")
    }

    /// The ledger as the oracle reads it.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        let captured = |record: &&PaymentRecord| record.status != PaymentStatus::Declined;
        let entry = |record: &PaymentRecord| LedgerEntry {
            order: record.order_id.clone(),
            currency: record.amount.currency,
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

    /// An order that was prepared is captured with its own authorisation only.
    fn is_authorised(&self, request: &ApproveRequest) -> bool {
        let prepared = self.prepared.lock().unwrap();
        let own = Self::authorisation(&request.order_id);
        let is_prepared = prepared.iter().any(|call| call.order == request.order_id);
        !is_prepared || [own, Self::authorisation_of_any()].contains(&request.payment_token)
    }

    async fn answers(&self) {
        let held = self.open.lock().unwrap().clone();
        if let Some(mut open) = held {
            let _ = open.wait_for(|open| *open).await;
        }
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

fn keys(calls: &Mutex<Vec<Call>>) -> Vec<String> {
    calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| call.key.clone())
        .collect()
}

/// What is said whatever the request: nothing happens.
fn without_effect(says: Says) -> Result<(), GatewayError> {
    match says {
        Says::Nothing => Err(GatewayError::MaybeSent(LostAnswer::TimedOut)),
        Says::Busy => Err(GatewayError::Busy { retry_after: None }),
        Says::InProgress => Err(GatewayError::InProgress),
        Says::Rejected => Err(rejected()),
        _ => Ok(()),
    }
}

/// What is heard although it happened.
fn heard(says: Says) -> Result<(), GatewayError> {
    match says {
        Says::YesAndIsNotHeard | Says::NoAndIsNotHeard => {
            Err(GatewayError::MaybeSent(LostAnswer::Status(500)))
        }
        Says::Gibberish => Err(GatewayError::MaybeSent(LostAnswer::Unreadable(
            "an empty body".to_owned(),
        ))),
        _ => Ok(()),
    }
}

fn rejected() -> GatewayError {
    GatewayError::Rejected {
        status: 400,
        code: "bad-request".to_owned(),
        message: "no".to_owned(),
    }
}

#[async_trait]
impl PaymentGateway for ScriptedGateway {
    async fn prepare(&self, request: &PrepareRequest) -> Result<Prepared, GatewayError> {
        let mut prepared = self.prepared.lock().unwrap();
        prepared.push(Call {
            order: request.order_id.clone(),
            key: request.idempotency_key.clone(),
        });
        let before = prepared
            .iter()
            .take_while(|call| call.order != request.order_id);
        let before: BTreeSet<&str> = before.map(|call| call.order.as_str()).collect();
        if before.len() < self.wrong_pages.load(Ordering::SeqCst) {
            let page = "a page of another order or amount";
            return Err(GatewayError::WrongPage(page.to_owned()));
        }
        Ok(Prepared {
            redirect_url: format!("https://gateway.example/pay/{}", request.order_id),
        })
    }

    async fn approve(&self, request: &ApproveRequest) -> Result<Approval, GatewayError> {
        self.approvals.lock().unwrap().push(Call {
            order: request.order_id.clone(),
            key: request.idempotency_key.clone(),
        });
        let says = self.says.lock().unwrap().pop_front().unwrap_or(Says::Yes);
        without_effect(says)?;
        if !self.is_authorised(request) {
            return Err(rejected());
        }
        let record = self.decide(request, says);
        self.answers().await;
        heard(says)?;
        if let Some(Decline { code, message }) = record.decline.clone() {
            return Ok(Approval::Declined { code, message });
        }
        record.verify(&request.order_id, request.amount)?;
        Ok(Approval::Approved(record))
    }

    async fn inquire(&self, order_id: &str) -> Result<Option<PaymentRecord>, GatewayError> {
        self.inquiries.fetch_add(1, Ordering::SeqCst);
        if self.is_silent.load(Ordering::SeqCst) {
            return Err(GatewayError::MaybeSent(LostAnswer::TimedOut));
        }
        Ok(self.ledger.lock().unwrap().get(order_id).cloned())
    }

    async fn cancel(&self, request: &CancelRequest) -> Result<Cancellation, GatewayError> {
        let mut queue = self.says_of_refunds.lock().unwrap();
        let says = queue.pop_front().unwrap_or(Says::Yes);
        drop(queue);
        without_effect(says)?;
        let mut ledger = self.ledger.lock().unwrap();
        let record = ledger
            .values_mut()
            .find(|record| record.payment_id == request.payment_id)
            .ok_or_else(rejected)?;
        let call = Call {
            order: record.order_id.clone(),
            key: request.idempotency_key.clone(),
        };
        let mut refunds = self.refunds.lock().unwrap();
        let is_repeat = refunds.contains(&call);
        refunds.push(call);
        if !is_repeat {
            if record.rest() != request.amount.amount + request.expected_rest {
                return Err(GatewayError::Conflict {
                    code: "rest-differs".to_owned(),
                    message: format!("{} remain", record.rest()),
                });
            }
            record.refunded += request.amount.amount - u64::from(says == Says::WrongAmount);
            if record.rest() == 0 {
                record.status = PaymentStatus::Cancelled;
            }
        }
        heard(says)?;
        Ok(Cancellation {
            payment: record.clone(),
            amount: request.amount,
            rest: record.rest(),
        })
    }
}
