//! What a gate's server answers: each script's reply is what was agreed, or an error that says that nobody knows what happened.

use std::fmt::Debug;

use futures_util::FutureExt as _;
use serde_json::Value;
use workflows::adapters::scripts::{Call, Reply, RunScript};
use workflows::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use workflows::ports::reservations::{
    ClaimPurpose, ClaimRequest, ConfirmRequest, ExtendRequest, HoldState, Line, Lines,
    OperationKey, ReleaseRequest, ReservationError, Reservations as _, ReserveRequest,
    ScheduleRequest,
};

use crate::mutate::{Target, Verdict};
use crate::short;

/// A server that gives the same answer to everything.
struct Parrot(Reply);

impl RunScript for Parrot {
    async fn run(&self, _: Call) -> Result<Reply, ReservationError> {
        Ok(self.0.clone())
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        Ok("the same".to_owned())
    }

    async fn attach_checked(&self, _: &str) -> Result<(), ReservationError> {
        Ok(())
    }
}

/// The reply that this JSON stands for: a text is a string whose letters are bytes, `{"status": ...}` and `{"error": ...}` are
/// themselves.
fn reply(value: &Value) -> Reply {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    match value {
        Value::Null => Reply::Nil,
        Value::Bool(yes) => Reply::Integer(i64::from(*yes)),
        Value::Number(number) => Reply::Integer(number.as_i64().unwrap_or(i64::MIN)),
        Value::String(text) => Reply::Bulk(
            text.chars()
                .flat_map(|c| u8::try_from(c).map_or(c.to_string().into_bytes(), |byte| vec![byte]))
                .collect(),
        ),
        Value::Array(items) => Reply::Array(items.iter().map(reply).collect()),
        Value::Object(map) if map.contains_key("status") => Reply::Status(text("status")),
        Value::Object(_) => Reply::error(&text("error")),
    }
}

fn told<T: Debug>(answer: Option<Result<T, ReservationError>>) -> Result<bool, String> {
    match answer.ok_or("it waits")? {
        Ok(_) => Ok(true),
        Err(error) => short(&error).map(|()| false),
    }
}

fn check(bytes: &[u8]) -> Verdict {
    let Ok(value) = serde_json::from_slice(bytes) else {
        return Ok(false);
    };
    let parrot = Parrot(reply(&value));
    let sale = SaleId::parse("spring").expect("a sale");
    let buyer = BuyerId::parse("ann").expect("a buyer");
    let operation = OperationKey::parse("w/1").expect("a key");
    let product = ProductId::parse("mug").expect("a product");
    let claim = ClaimRequest {
        sale: sale.clone(),
        campaign: CampaignId::parse("early").expect("a campaign"),
        buyer: buyer.clone(),
        operation: operation.clone(),
        epoch: 1,
        purpose: ClaimPurpose::Purchase,
        remember_refusal: false,
    };
    let reserve = ReserveRequest {
        sale: sale.clone(),
        buyer,
        operation: operation.clone(),
        epoch: 1,
        lines: Lines::new(vec![Line {
            product,
            quantity: 1,
        }])
        .expect("lines"),
        hold: HoldState::Held,
        remember_refusal: false,
    };
    let (held, sale_of, operation_of) = (HoldState::Held, || sale.clone(), || operation.clone());
    assert_eq!(reserve.hold, held);
    let extend = ExtendRequest {
        sale: sale_of(),
        operation: operation_of(),
    };
    let confirm = ConfirmRequest {
        sale: sale_of(),
        operation: operation_of(),
        claim: None,
    };
    let release = ReleaseRequest {
        sale: sale_of(),
        operation: operation_of(),
        forget: false,
        only_under: None,
    };
    let schedule = ScheduleRequest {
        sale: sale_of(),
        revision: 1,
        opens_at_ms: 1,
        closes_at_ms: 2,
        is_cancelled: false,
    };
    let told = [
        told(parrot.claim(&claim).now_or_never())?,
        told(parrot.reserve(&reserve).now_or_never())?,
        told(parrot.extend(&extend).now_or_never())?,
        told(parrot.confirm(&confirm).now_or_never())?,
        told(parrot.release(&release).now_or_never())?,
        told(parrot.release_claim(&release).now_or_never())?,
        told(parrot.schedule(&schedule).now_or_never())?,
        told(parrot.close_gate(&sale).now_or_never())?,
        told(parrot.counts(&sale).now_or_never())?,
        told(parrot.operations(&sale, None, 10).now_or_never())?,
    ];
    Ok(told.contains(&true))
}

#[test]
fn a_reply_of_the_gate_is_understood_or_counts_for_nothing() {
    let words = [
        "\"held\"",
        "\"sold\"",
        "\"refused\"",
        "\"sale-not-open\"",
        "\"limit-reached\"",
        "\"not-valid-yet\"",
        "\"released\"",
        "\"paying\"",
        "\"mug:available\"",
        "\"early:issued\"",
        "\"sold 3 reserve ann mug:1,cap:2 - \"",
        "\"+1\"",
        "{\"error\":\"NOSCRIPT x\"}",
        "{\"error\":\"\"}",
        "{\"status\":\"OK\"}",
        "\"\u{ff}\u{fe}\"",
    ];
    Target::new("reply", &words).fuzz(check);
}
