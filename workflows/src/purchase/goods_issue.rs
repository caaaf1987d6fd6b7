//! Step `goods-issue`: the goods, with their serial numbers. Its rows are written in the transaction that makes the step durable:
//! goods exist exactly once, exactly when the journal says so. What a purchase takes from a pool of serial numbers it takes before
//! that, by its own name: it finds the same numbers again, and `refund` gives them back.
//!
//! It looks at no clock, and at nothing of the sale but recalls and pools: who has paid gets the goods, whatever has closed or expired
//! meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::definition::{Action, Attempt, Durability, Outcome, Policy};
use engine::store::change::ChangeKind;
use engine::store::{Change, StoreError};
use engine::workflow::{Refusal, StepError};
use engine::{WorkflowId, planted};

use super::coupon_claim::used;
use super::stock_reserve::{holds_removed, stock_key};
use super::{Claim, Fulfilment, Paid, Ports, PricedLine, PurchaseRequest, gate};
use crate::domain::goods::{GoodsUnit, serial, shares};
use crate::domain::ids::{ProductId, SaleId};
use crate::domain::sale::{Sale, SerialSource};
use crate::ports::catalogue::Catalogue;
use crate::ports::serials::{SerialLine, Serials};
use crate::tables::{GOODS, STOCK};

/// The step.
pub struct GoodsIssue {
    /// What is sold.
    pub catalogue: Arc<dyn Catalogue>,
    /// The pools.
    pub serials: Arc<dyn Serials>,
}

impl GoodsIssue {
    /// The step's name.
    pub const NAME: &'static str = "goods-issue";
    /// The code of the refusal when a product was recalled.
    pub const RECALLED: &'static str = "product-recalled";
    /// The code of the refusal when a pool has too few serial numbers.
    pub const EXHAUSTED: &'static str = "serials-exhausted";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            catalogue: Arc::clone(&ports.catalogue),
            serials: Arc::clone(&ports.serials),
        }
    }

    async fn issue(
        &self,
        attempt: &Attempt,
        request: &PurchaseRequest,
        claim: &Claim,
        paid: &Paid,
    ) -> Result<Outcome<Fulfilment>, StepError> {
        let sale = sold(self.catalogue.as_ref(), &request.sale).await?;
        if let Some(product) = recalled(&sale, request)
            && !planted::is_on("recalled-goods-issued")
        {
            return Ok(Outcome::refused(
                Self::RECALLED,
                format!("Product {product} was recalled."),
            ));
        }
        let mut serials = Vec::with_capacity(request.lines.len());
        for (line, number) in request.lines.iter().zip(0_u32..) {
            let line = self
                .serials_of(attempt.workflow, &sale, line, number)
                .await
                .map_err(|error| StepError::caused_by("serials-unavailable", &error))?;
            let Some(line) = line else {
                let product = &request.lines[serials.len()].product;
                return Ok(Outcome::refused(
                    Self::EXHAUSTED,
                    format!("There are no serial numbers left for product {product}."),
                ));
            };
            serials.push(line);
        }
        let units = units(request, paid, serials);
        let changes = changes(attempt, request, claim, &units);
        Ok(Outcome::done_with(Fulfilment::Issued { units }, changes))
    }

    /// The serial numbers of a line, as many as it has units; `None` when its pool has fewer.
    async fn serials_of(
        &self,
        workflow: WorkflowId,
        sale: &Sale,
        line: &PricedLine,
        number: u32,
    ) -> Result<Option<VecDeque<String>>, StoreError> {
        if !has_pool(sale, &line.product) {
            let computed = |unit| serial(workflow, &sale.sale, &line.product, number, unit);
            return Ok(Some((0..line.quantity).map(computed).collect()));
        }
        let wanted = SerialLine {
            sale: sale.sale.clone(),
            product: line.product.clone(),
            workflow,
            line: number,
            units: line.quantity,
        };
        Ok(self.serials.take(&wanted).await?.map(VecDeque::from))
    }
}

impl Action for GoodsIssue {
    type Input = (PurchaseRequest, Claim, Paid);
    type Output = Fulfilment;

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Replayable: its rows are written with it, and serial numbers that were taken are found again. As patient as the steps that
    /// ask the gate: what was paid for is not left to an operator because a database was away.
    fn policy(&self) -> Policy {
        Policy {
            port: None,
            ..gate::policy(Durability::Replayable)
        }
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, claim, paid): (PurchaseRequest, Claim, Paid),
    ) -> Outcome<Fulfilment> {
        match self.issue(attempt, &request, &claim, &paid).await {
            Ok(outcome) => outcome,
            // Serial numbers may be taken: by this purchase's name, so that trying again finds them.
            Err(error) => Outcome::retry(error),
        }
    }
}

/// The sale as the catalogue knows it: its recalls are at most a second old.
pub(super) async fn sold(catalogue: &dyn Catalogue, sale: &SaleId) -> Result<Arc<Sale>, StepError> {
    let found = catalogue.sale(sale).await;
    let found = found.map_err(|error| StepError::caused_by("catalogue-unavailable", &error))?;
    found.ok_or_else(|| StepError::new("sale-missing", format!("there is no sale {sale}")))
}

/// The first product of the purchase that was recalled.
pub(super) fn recalled<'a>(sale: &Sale, request: &'a PurchaseRequest) -> Option<&'a ProductId> {
    let mut products = request.lines.iter().map(|line| &line.product);
    products.find(|product| {
        sale.product(product)
            .is_some_and(|product| product.is_recalled)
    })
}

/// Whether the product's serial numbers come from a pool.
pub(super) fn has_pool(sale: &Sale, product: &ProductId) -> bool {
    sale.product(product)
        .is_some_and(|product| product.serials == SerialSource::Pool)
}

fn units(request: &PurchaseRequest, paid: &Paid, serials: Vec<VecDeque<String>>) -> Vec<GoodsUnit> {
    let list_prices = request
        .lines
        .iter()
        .flat_map(|line| (0..line.quantity).map(|_| line.unit_price));
    let units = request.lines.iter().zip(0_u32..).zip(serials);
    let units = units.flat_map(|((line, number), serials)| {
        serials
            .into_iter()
            .map(move |serial| (line, number, serial))
    });
    units
        .zip(shares(paid.captured.amount, list_prices))
        .map(|((line, number, serial), price)| GoodsUnit {
            serial,
            line: number,
            product: line.product.clone(),
            price,
        })
        .collect()
}

fn changes(
    attempt: &Attempt,
    request: &PurchaseRequest,
    claim: &Claim,
    units: &[GoodsUnit],
) -> Vec<Change> {
    let refusal = Refusal::new(
        "goods-rows-refused",
        "The goods could not be recorded: a serial number exists, or the hold's rows are not there.",
    );
    let mut changes = Vec::with_capacity(units.len() + 2 * request.lines.len() + 1);
    changes.extend(
        units
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
    changes.extend(used(claim, request, &refusal));
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
