//! One-line set-up: a sale in a database and in the gate, a gateway that does as it is told, and the attempts of steps.

#[path = "../../support/databases.rs"]
mod databases;
#[path = "../../support/node.rs"]
mod node;
#[path = "../../support/patience.rs"]
mod patience;
#[path = "../../support/redis_server.rs"]
mod redis_server;

mod clock;
mod gate;
mod gateway;
mod shop;
mod still;

use engine::definition::Attempt;
use engine::definition::Outcome;
use engine::store::Change;
use engine::workflow::{Direction, Refusal, StepError};
use engine::{Epoch, PartitionId, Timestamp, WorkflowId};
use serde_json::json;
use workflows::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use workflows::domain::sale::Sale;
use workflows::domain::seed::SaleSeed;
use workflows::ports::payment_gateway::PaymentToken;
use workflows::purchase::{Order, OrderLine, PaymentMeans, PurchaseRequest, quote};

pub use clock::MovableClock;
pub(crate) use databases::on_both_databases;
pub use databases::{mysql, sqlite};
pub use gate::{Fault, FaultyGate};
pub use gateway::{Says, ScriptedGateway};
pub use node::Node;
pub use patience::{PATIENCE, answer};
pub use redis_server::RedisServer;
pub use shop::{Shop, stage_of};
pub use still::{StillCatalogue, StillSerials};

pub const SALE: &str = "drop";
pub const CAMPAIGN: &str = "first";

/// 10 mugs at 1,000 and 5 caps at 2,500; 3 coupons of 10 %; 4 units a buyer; open from 1970 to 2100.
pub fn seed() -> SaleSeed {
    let json = json!({
        "sale": SALE, "name": "Spring drop", "currency": "KRW",
        "opens_at": "1970-01-02T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z", "per_buyer_limit": 4,
        "products": [
            {"product": "mug", "name": "Mug", "unit_price": 1000, "stock": 10},
            {"product": "cap", "name": "Cap", "unit_price": 2500, "stock": 5},
        ],
        "campaigns": [
            {"campaign": CAMPAIGN, "name": "First come", "size": 3, "discount": {"percent": 10}, "minimum_price": 1000},
        ],
    });
    serde_json::from_value(json).expect("a seed")
}

pub fn sale() -> Sale {
    seed().check().expect("a sound seed")
}

pub fn sale_id() -> SaleId {
    SaleId::parse(SALE).expect("a slug")
}

pub fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a slug")
}

pub fn campaign() -> CampaignId {
    CampaignId::parse(CAMPAIGN).expect("a slug")
}

pub fn order(buyer: &str, lines: &[(&str, i64)], campaign: Option<&str>) -> Order {
    let line = |(product, quantity): &(&str, i64)| OrderLine {
        product: (*product).to_owned(),
        quantity: (*quantity).into(),
    };
    Order {
        buyer: BuyerId::parse(buyer).expect("a slug"),
        lines: lines.iter().map(line).collect(),
        campaign: campaign.map(str::to_owned),
        address: None,
        payment: PaymentMeans::Stored {
            token: PaymentToken::new("token-1"),
        },
        accepted_at: Timestamp(1),
    }
}

/// A purchase of the sale of [`seed`].
pub fn request(buyer: &str, lines: &[(&str, i64)], campaign: Option<&str>) -> PurchaseRequest {
    quote(&sale(), order(buyer, lines, campaign)).expect("a sound order")
}

/// The same, to be authorised at the gateway; made at this instant.
pub fn redirect_request(
    buyer: &str,
    lines: &[(&str, i64)],
    campaign: Option<&str>,
    accepted_at: Timestamp,
) -> PurchaseRequest {
    let order = Order {
        payment: PaymentMeans::Redirect,
        accepted_at,
        ..order(buyer, lines, campaign)
    };
    quote(&sale(), order).expect("a sound order")
}

/// The attempt of this number at a step of the purchase of this number.
pub fn attempt(purchase: u8, step: &str, number: u32) -> Attempt {
    Attempt {
        workflow: WorkflowId::new(PartitionId(1), [purchase; 12]),
        step: step.into(),
        direction: Direction::Forward,
        number,
        epoch: Epoch(1),
        forget: false,
    }
}

/// What a step that is done gave.
#[track_caller]
pub fn done<T: std::fmt::Debug>(outcome: Outcome<T>) -> (T, Vec<Change>) {
    match outcome {
        Outcome::Done { output, changes } => (output, changes),
        other => panic!("not done: {other:?}"),
    }
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
pub fn unknown<T: std::fmt::Debug>(outcome: Outcome<T>) -> StepError {
    match outcome {
        Outcome::Unknown(error) => error,
        other => panic!("not unknown: {other:?}"),
    }
}

#[track_caller]
pub fn retried<T: std::fmt::Debug>(outcome: Outcome<T>) -> StepError {
    match outcome {
        Outcome::Retry { error, .. } => error,
        other => panic!("not to be retried: {other:?}"),
    }
}
