//! Step `goods-issue`: the goods, with their serial numbers. It touches nothing but our own rows, which are written in the
//! transaction that makes the step durable: goods exist exactly once, exactly when the journal says so.

use engine::definition::{Action, Attempt, Durability, Outcome, Policy, RetryPolicy};
use engine::store::Change;
use engine::store::change::ChangeKind;
use engine::workflow::Refusal;
use serde::{Deserialize, Serialize};

use super::stock_reserve::{holds_removed, stock_key};
use super::{Claim, Paid, PricedLine, PurchaseRequest};
use crate::domain::goods::{GoodsUnit, serial, shares};
use crate::tables::{COUPONS, GOODS, STOCK};

/// The step.
pub struct GoodsIssue;

/// What the buyer got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goods {
    /// One entry a unit, in the order of the purchase's lines. Their prices add up to what was captured.
    pub units: Vec<GoodsUnit>,
}

impl GoodsIssue {
    /// The step's name.
    pub const NAME: &'static str = "goods-issue";
}

impl Action for GoodsIssue {
    type Input = (PurchaseRequest, Claim, Paid);
    type Output = Goods;

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Replayable: its only effect is its rows, and they are written with it.
    fn policy(&self) -> Policy {
        Policy {
            durability: Durability::Replayable,
            retry: RetryPolicy::NONE,
            ..Policy::default()
        }
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, claim, paid): (PurchaseRequest, Claim, Paid),
    ) -> Outcome<Goods> {
        let goods = issued(attempt, &request, &paid);
        let changes = changes(attempt, &request, &claim, &goods);
        Outcome::done_with(goods, changes)
    }
}

fn issued(attempt: &Attempt, request: &PurchaseRequest, paid: &Paid) -> Goods {
    let units = request
        .lines
        .iter()
        .zip(0_u32..)
        .flat_map(|(line, number)| (0..line.quantity).map(move |unit| (line, number, unit)));
    let list_prices = units.clone().map(|(line, _, _)| line.unit_price);
    let unit = |((line, number, unit), price): ((&PricedLine, u32, u32), u64)| GoodsUnit {
        serial: serial(attempt.workflow, &request.sale, &line.product, number, unit),
        line: number,
        product: line.product.clone(),
        price,
    };
    Goods {
        units: units
            .zip(shares(paid.captured.amount, list_prices))
            .map(unit)
            .collect(),
    }
}

fn changes(
    attempt: &Attempt,
    request: &PurchaseRequest,
    claim: &Claim,
    goods: &Goods,
) -> Vec<Change> {
    let refusal = Refusal::new(
        "goods-rows-refused",
        "The goods could not be recorded: a serial number exists, or the hold's rows are not there.",
    );
    let mut changes = Vec::with_capacity(goods.units.len() + 2 * request.lines.len() + 1);
    changes.extend(
        goods
            .units
            .iter()
            .map(|unit| goods_row(attempt, request, unit, &refusal)),
    );
    changes.extend(holds_removed(attempt, request, &refusal));
    changes.extend(request.lines.iter().map(|line| {
        let quantity = i64::from(line.quantity);
        Change {
            table: &STOCK,
            key: stock_key(request, line),
            kind: ChangeKind::Add(vec![("held", -quantity), ("sold", quantity)]),
            refusal: refusal.clone(),
        }
    }));
    changes.extend(claim.campaign.iter().map(|campaign| Change {
        table: &COUPONS,
        key: vec![campaign.as_str().into(), request.buyer.as_str().into()],
        kind: ChangeKind::Set(vec![("used", 1.into())]),
        refusal: refusal.clone(),
    }));
    changes
}

fn goods_row(
    attempt: &Attempt,
    request: &PurchaseRequest,
    unit: &GoodsUnit,
    refusal: &Refusal,
) -> Change {
    let price = i64::try_from(unit.price).unwrap_or(i64::MAX);
    Change {
        table: &GOODS,
        key: vec![request.sale.as_str().into(), unit.serial.as_str().into()],
        kind: ChangeKind::Insert(vec![
            attempt.workflow.bytes().as_slice().into(),
            i64::from(unit.line).into(),
            unit.product.as_str().into(),
            request.buyer.as_str().into(),
            price.into(),
        ]),
        refusal: refusal.clone(),
    }
}
