//! Whatever the simulator does, alone or two things at once: a shop that goes by the port's answers knows in the end what became
//! of each buyer's money, or knows that it does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use loadtest::gateway_simulator::{
    Fault, GatewaySimulator, Operation, OrderPage, Rules, Running, Settings, Trouble,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use workflows::adapters::gateway_client::{GatewaySettings, HttpPaymentGateway};
use workflows::ports::payment_gateway::{
    Approval, GatewayError, PaymentGateway, PaymentRecord, PaymentStatus,
};

use crate::{approve_request, cancel_request, prepare_request, won};

/// More requests for one answer than any two faults and a busy machine can spoil.
const ATTEMPTS_MAX: usize = 60;
/// So few at a time that an answer that is not held comes in time.
const BUYERS_MAX: usize = 24;
/// How long an answer is waited for: those that are held cost as much each.
const IN_TIME: Duration = Duration::from_millis(600);

/// What the shop knows of one order in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// No payment could be prepared: there is nothing to give back.
    NotPrepared,
    Declined,
    /// Paid, and everything given back.
    GivenBack,
    /// The gateway says something that can't be: a person has to look.
    Operator,
}

/// A shop that does what `docs/PAYMENTS.md` says of each error.
struct Shop {
    port: HttpPaymentGateway,
    http: reqwest::Client,
}

impl Shop {
    async fn buy(&self, order_id: &str, rule: &str, by_redirect: bool) -> Known {
        let token = if by_redirect {
            match self.authorise(order_id, rule).await {
                Some(token) => token,
                None => return Known::NotPrepared,
            }
        } else {
            format!("tok-{rule}")
        };
        let paid = match self.pay(order_id, &token).await {
            Ok(Approval::Approved(paid)) => paid,
            Ok(Approval::Declined { .. }) => return Known::Declined,
            Err(known) => return known,
        };
        self.give_back(paid).await
    }

    async fn authorise(&self, order_id: &str, rule: &str) -> Option<String> {
        for _ in 0..ATTEMPTS_MAX {
            let Ok(prepared) = self.port.prepare(&prepare_request(order_id)).await else {
                continue;
            };
            let decision = serde_json::json!({ "decision": "authorise", "rule": rule });
            let page = self.http.post(prepared.redirect_url).json(&decision);
            let answer = page.send().await.expect("a page");
            let decided: serde_json::Value = answer.json().await.expect("JSON");
            return Some(decided["authorization"].as_str().expect("one").to_owned());
        }
        None
    }

    /// Approves until it knows: an error that may hide a capture is followed by an inquiry, never by giving up.
    async fn pay(&self, order_id: &str, token: &str) -> Result<Approval, Known> {
        let request = approve_request(order_id, token);
        for _ in 0..ATTEMPTS_MAX {
            match self.port.approve(&request).await {
                Ok(approval) => return Ok(approval),
                Err(GatewayError::Mismatch { .. }) => return Err(Known::Operator),
                Err(error) if error.known_without_effect() => {}
                Err(_) => {
                    if let Some(found) = self.found(order_id).await? {
                        return Ok(found);
                    }
                }
            }
        }
        Err(Known::Operator)
    }

    async fn found(&self, order_id: &str) -> Result<Option<Approval>, Known> {
        match self.port.inquire(order_id).await {
            Ok(Some(record)) if record.verify(order_id, won(1_000)).is_err() => {
                Err(Known::Operator)
            }
            Ok(Some(record)) if record.status == PaymentStatus::Approved => {
                Ok(Some(Approval::Approved(record)))
            }
            Err(GatewayError::Mismatch { .. }) => Err(Known::Operator),
            // The same key again gives the answer that was lost.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    async fn give_back(&self, paid: PaymentRecord) -> Known {
        let request = cancel_request(paid.payment_id, 1_000, 0);
        for _ in 0..ATTEMPTS_MAX {
            match self.port.cancel(&request).await {
                Ok(_) => return Known::GivenBack,
                Err(GatewayError::Mismatch { .. }) => return Known::Operator,
                Err(_) => {}
            }
        }
        Known::Operator
    }
}

async fn gateway(rates: &[&str]) -> Running {
    let settings = Settings::new(Arc::new(|| 1_767_225_600_000_000));
    let rules = Rules {
        hold_ms: 600_000,
        rates: rates.iter().map(|name| ((*name).to_owned(), 1.0)).collect(),
        ..Rules::default()
    };
    GatewaySimulator::bind(Settings { rules, ..settings })
        .await
        .expect("the simulator starts")
}

/// What each order came to, and what the gateway's own ledger has of it.
async fn sell(running: &Running, orders: Vec<(String, bool)>) -> Vec<(String, Known, u64, u64)> {
    let settings = GatewaySettings {
        request_timeout: IN_TIME,
        ..GatewaySettings::default()
    };
    let shop = Arc::new(Shop {
        port: HttpPaymentGateway::new(&running.url(), &settings).expect("a client"),
        http: reqwest::Client::new(),
    });
    let counters = Arc::new(Semaphore::new(BUYERS_MAX));
    let mut buyers = JoinSet::new();
    for (number, (rule, by_redirect)) in orders.into_iter().enumerate() {
        let (shop, counters) = (Arc::clone(&shop), Arc::clone(&counters));
        buyers.spawn(async move {
            let _permit = counters.acquire_owned().await.expect("open");
            let order_id = format!("o{number}");
            let known = shop.buy(&order_id, &rule, by_redirect).await;
            (order_id, rule, known)
        });
    }
    let known = buyers.join_all().await;
    let accounts = accounts(running).await;
    known
        .into_iter()
        .map(|(order_id, rule, known)| {
            let (captured, refunded) = accounts.get(&order_id).copied().unwrap_or_default();
            (rule, known, captured, refunded)
        })
        .collect()
}

async fn accounts(running: &Running) -> HashMap<String, (u64, u64)> {
    let (mut accounts, mut cursor) = (HashMap::new(), Some(0));
    while let Some(from) = cursor {
        let url = format!(
            "{}/v1/ledger/orders?limit=1000&cursor={from}",
            running.url()
        );
        let answer = reqwest::get(url).await.expect("an answer");
        let page: OrderPage = answer.json().await.expect("a page");
        for order in page.orders {
            accounts.insert(order.order_id.to_string(), (order.captured, order.refunded));
        }
        cursor = page.next_cursor;
    }
    accounts
}

/// What was known must be true, and only what can't be known may be left to a person.
fn check(rule: &str, known: Known, captured: u64, refunded: u64) {
    let is_a_lie = rule.contains("wrong-");
    let true_to_the_ledger = match known {
        Known::NotPrepared | Known::Declined => captured == 0,
        Known::GivenBack => (captured, refunded) == (1_000, 1_000),
        Known::Operator => is_a_lie && refunded <= captured && captured <= 1_000,
    };
    assert!(
        true_to_the_ledger,
        "{rule}: {known:?}, {captured} captured, {refunded} refunded"
    );
    if !is_a_lie && !rule.contains("declined") {
        assert_eq!(known, Known::GivenBack, "{rule}");
    }
}

fn faults_of(wanted: impl Fn(Operation) -> bool) -> Vec<&'static str> {
    Fault::all()
        .iter()
        .filter(|(_, fault)| match fault {
            Fault::Call(operation, _) => wanted(*operation),
            Fault::Declined | Fault::InquiryLag => true,
            Fault::Webhook(_) => false,
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_and_each_pair_of_faults_leaves_money_that_adds_up() {
    let names = faults_of(|operation| operation != Operation::Reserve);
    let mut orders = Vec::new();
    for (place, one) in names.iter().enumerate() {
        orders.push(((*one).to_owned(), false));
        orders.push(((*one).to_owned(), true));
        for other in &names[place + 1..] {
            orders.push((format!("{one}+{other}"), orders.len() % 2 == 0));
        }
    }
    let running = gateway(&[]).await;
    let mut seen = HashMap::new();
    for (rule, known, captured, refunded) in sell(&running, orders).await {
        check(&rule, known, captured, refunded);
        *seen.entry(format!("{known:?}")).or_insert(0) += 1;
    }
    println!("{} faults, alone and in pairs: {seen:?}", names.len());
    assert!(seen["GivenBack"] > 500, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_reservation_with_each_other_fault_leaves_money_that_adds_up() {
    let others = faults_of(|operation| operation != Operation::Reserve);
    let mut orders_seen = 0;
    for (name, fault) in Fault::all() {
        let Fault::Call(Operation::Reserve, trouble) = fault else {
            continue;
        };
        let running = gateway(&[name]).await;
        let orders = others
            .iter()
            .map(|other| ((*other).to_owned(), true))
            .collect();
        for (rule, known, captured, refunded) in sell(&running, orders).await {
            orders_seen += 1;
            let rule = format!("{name}+{rule}");
            check(&rule, known, captured, refunded);
            assert_eq!(
                known == Known::NotPrepared,
                !is_understood(*trouble),
                "{rule}: {known:?}"
            );
        }
    }
    println!("{orders_seen} orders");
    assert!(orders_seen >= 500);
}

/// Whether the shop ever gets a page that it believes.
fn is_understood(trouble: Trouble) -> bool {
    trouble.is_transient()
}
