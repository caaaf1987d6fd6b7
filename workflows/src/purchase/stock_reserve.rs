//! Step `stock-reserve`: holds the units of all lines, or of none, and gives them back.

use engine::definition::{Action, Attempt, Compensable, Durability, Outcome, Policy, Probed};
use engine::planted;
use engine::store::change::ChangeKind;
use engine::store::{Change, Key};
use engine::workflow::{Earlier, Refusal, StepError};
use serde::{Deserialize, Serialize};

use super::gate::{self, Gate};
use super::{Ports, PricedLine, PurchaseRequest};
use crate::domain::ids::ProductId;
use crate::ports::reservations::{
    BadLines, HoldState, Line, Lines, ReleaseRequest, ReserveRefusal, ReserveReply, ReserveRequest,
};
use crate::tables::{HOLDS, PURCHASES, STOCK};

/// The step.
pub struct StockReserve {
    /// The reservations.
    pub gate: Gate,
}

/// What the step holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Units of all lines.
    pub units: u64,
}

impl StockReserve {
    /// The step's name.
    pub const NAME: &'static str = "stock-reserve";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gate: ports.gate.clone(),
        }
    }

    async fn reserve(
        &self,
        attempt: &Attempt,
        request: &PurchaseRequest,
        remember_refusal: bool,
    ) -> Outcome<Hold> {
        let lines = match lines_of(request) {
            Ok(lines) => lines,
            Err(error) => return Outcome::refused("bad-lines", error.to_string()),
        };
        let units = lines.units();
        let reserve = ReserveRequest {
            sale: request.sale.clone(),
            buyer: request.buyer.clone(),
            operation: gate::stock_operation(attempt.workflow),
            epoch: attempt.epoch.0,
            lines,
            hold: hold_state(request),
            remember_refusal: remember_refusal && !planted::is_on("refusal-holds-for-one-copy"),
        };
        match self.gate.reservations.reserve(&reserve).await {
            Ok(ReserveReply::Held | ReserveReply::Sold) => {
                Outcome::done_with(Hold { units }, held(attempt, request))
            }
            Ok(ReserveReply::Refused { reason, earlier }) => {
                Outcome::Refused(refusal(&reason, earlier))
            }
            Err(error) => self.gate.failed(&error),
        }
    }
}

impl Action for StockReserve {
    type Input = PurchaseRequest;
    type Output = Hold;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gate::policy(Durability::Replayable)
    }

    async fn act(&self, attempt: &Attempt, request: PurchaseRequest) -> Outcome<Hold> {
        self.reserve(attempt, &request, attempt.number > 1).await
    }

    /// Asks by doing it again: a hold of an earlier attempt is found, and a refusal is remembered against a late copy of it.
    async fn probe(&self, attempt: &Attempt, request: PurchaseRequest) -> Probed<Hold> {
        gate::probed(self.reserve(attempt, &request, true).await)
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gate::is_answer(error)
    }
}

impl Compensable for StockReserve {
    async fn compensate(
        &self,
        attempt: &Attempt,
        request: PurchaseRequest,
        output: Option<Hold>,
    ) -> Outcome<()> {
        let operation = gate::stock_operation(attempt.workflow);
        let release = ReleaseRequest {
            sale: request.sale.clone(),
            operation,
            forget: attempt.forget,
            only_under: None,
        };
        match self.gate.reservations.release(&release).await {
            // Whether it had been held or not: it is free now. The rows are there just when the output is: a hold that the
            // database refused, or that nobody knows of, exists in the gate at most.
            Ok(_) if output.is_some() => Outcome::done_with((), given_back(attempt, &request)),
            Ok(_) => Outcome::done(()),
            Err(error) => self.gate.failed(&error),
        }
    }
}

/// Stored means of payment are charged at once; a buyer who is sent to the gateway takes a while, and may not come back.
const fn hold_state(request: &PurchaseRequest) -> HoldState {
    if request.is_authorised_at_gateway() {
        HoldState::Held
    } else {
        HoldState::Paying
    }
}

fn lines_of(request: &PurchaseRequest) -> Result<Lines, BadLines> {
    let line = |line: &PricedLine| Line {
        product: line.product.clone(),
        quantity: line.quantity,
    };
    Lines::new(request.lines.iter().map(line).collect())
}

/// The hold's rows, and the purchase's in its buyer's list, which stays whatever becomes of the hold. The counter is the second
/// guard: its CHECK refuses the hold when the gate was wrong.
fn held(attempt: &Attempt, request: &PurchaseRequest) -> Vec<Change> {
    let counters = request.lines.iter().map(|line| Change {
        table: &STOCK,
        key: stock_key(request, line),
        kind: ChangeKind::Add(vec![("held", i64::from(line.quantity))]),
        refusal: sold_out(&line.product),
    });
    let holds = request.lines.iter().map(|line| Change {
        table: &HOLDS,
        key: hold_key(attempt, request, line),
        kind: ChangeKind::Insert(vec![
            request.buyer.as_str().into(),
            i64::from(line.quantity).into(),
        ]),
        refusal: Refusal::new("held-already", "This purchase holds its units already."),
    });
    counters
        .chain(holds)
        .chain([listed(attempt, request)])
        .collect()
}

fn listed(attempt: &Attempt, request: &PurchaseRequest) -> Change {
    Change {
        table: &PURCHASES,
        key: vec![
            request.buyer.as_str().into(),
            request.accepted_at.0.into(),
            attempt.workflow.bytes().as_slice().into(),
        ],
        kind: ChangeKind::Insert(Vec::new()),
        refusal: Refusal::new(
            "listed-already",
            "This purchase is in its buyer's list already.",
        ),
    }
}

/// The rows of units that are free again: by the compensation, or when the money was given back.
pub(super) fn given_back(attempt: &Attempt, request: &PurchaseRequest) -> Vec<Change> {
    let not_there = Refusal::new("hold-rows-missing", "The rows of the hold are not there.");
    let counters = request.lines.iter().map(|line| Change {
        table: &STOCK,
        key: stock_key(request, line),
        kind: ChangeKind::Add(vec![("held", -i64::from(line.quantity))]),
        refusal: not_there.clone(),
    });
    counters
        .chain(holds_removed(attempt, request, &not_there))
        .collect()
}

/// The removal of the hold's rows: by the compensation, or when the goods are issued.
pub(super) fn holds_removed(
    attempt: &Attempt,
    request: &PurchaseRequest,
    refusal: &Refusal,
) -> impl Iterator<Item = Change> {
    request.lines.iter().map(|line| Change {
        table: &HOLDS,
        key: hold_key(attempt, request, line),
        kind: ChangeKind::Delete,
        refusal: refusal.clone(),
    })
}

/// The row of a line's counters.
pub(super) fn stock_key(request: &PurchaseRequest, line: &PricedLine) -> Key {
    vec![request.sale.as_str().into(), line.product.as_str().into()]
}

fn hold_key(attempt: &Attempt, request: &PurchaseRequest, line: &PricedLine) -> Key {
    let workflow = attempt.workflow.bytes().as_slice().into();
    vec![
        request.sale.as_str().into(),
        workflow,
        line.product.as_str().into(),
    ]
}

fn sold_out(product: &ProductId) -> Refusal {
    Refusal::new(
        "sold-out",
        format!("There are not enough units of {product} left."),
    )
}

fn refusal(reason: &ReserveRefusal, earlier: Earlier) -> Refusal {
    let mut refusal = match reason {
        ReserveRefusal::SoldOut { product } => sold_out(product),
        ReserveRefusal::LimitReached { limit } => Refusal::new(
            "limit-reached",
            format!("One buyer may have {limit} units of this sale, and you would have more."),
        ),
        ReserveRefusal::SaleNotOpen { opens_at_ms } => gate::not_open(*opens_at_ms),
        ReserveRefusal::SaleClosed => gate::closed(),
        ReserveRefusal::SaleCancelled => gate::cancelled(),
        ReserveRefusal::UnknownProduct { product } => Refusal::new(
            "unknown-product",
            format!("The sale has no product {product}."),
        ),
        ReserveRefusal::Released => gate::released(),
    };
    refusal.earlier = earlier;
    refusal
}
