//! A page of stored outcomes, understood: the one place outside `lua/` that knows how they are written.

use crate::domain::ids::{BuyerId, CampaignId};
use crate::ports::reservations::{
    ClaimState, HoldState, Line, Lines, OperationPage, OperationState, ReservationError,
    StoredOperation,
};

use super::Reply;
use super::answer::{not_understood, number, operation, product, refusal_to_answer};

/// Reads the answer of `operations.lua`.
pub fn read(reply: Reply) -> Result<OperationPage, ReservationError> {
    let parts = match reply {
        Reply::Error { code, text } => return Err(refusal_to_answer(&code, &text)),
        Reply::Array(parts) => parts,
        other => return Err(not_understood(&other)),
    };
    let [generation, next, Reply::Array(fields)] = parts.as_slice() else {
        return Err(not_understood(&parts));
    };
    let (pairs, []) = fields.as_chunks::<2>() else {
        return Err(not_understood(&fields));
    };
    let next = next.as_text().ok_or_else(|| not_understood(next))?;
    let stored = pairs.iter().map(|[name, outcome]| {
        let name = name.as_text().unwrap_or_default();
        stored_operation(name, outcome.as_text().unwrap_or_default())
    });
    Ok(OperationPage {
        generation: number(generation.as_text().unwrap_or_default())?,
        operations: stored.collect::<Result<_, _>>()?,
        next: (next != "0").then(|| next.to_owned()),
    })
}

/// `<state> <epoch> <kind> <buyer> <what> <purpose> <from>`, as far as it goes: see `prelude.lua`.
fn stored_operation(name: &str, outcome: &str) -> Result<StoredOperation, ReservationError> {
    let wrong = || not_understood(&(name, outcome));
    let mut words = outcome.splitn(7, ' ');
    let state = words.next().unwrap_or_default();
    let epoch = words.next().unwrap_or_default();
    let [kind, buyer, about, _purpose, from] = [(); 5].map(|()| words.next().unwrap_or_default());
    let what = match (kind, state) {
        ("reserve", "held") => holds(buyer, about, HoldState::Held)?,
        ("reserve", "paying") => holds(buyer, about, HoldState::Paying)?,
        ("reserve", "sold") => OperationState::Sold {
            buyer: buyer_of(buyer)?,
            lines: lines_of(about)?,
        },
        ("claim", "issued") => coupon(buyer, about, ClaimState::Issued, from)?,
        ("claim", "taken" | "held") => coupon(buyer, about, ClaimState::Held, from)?,
        ("claim", "used") => coupon(buyer, about, ClaimState::Used, from)?,
        ("reserve" | "claim" | "any", "released") => OperationState::Nothing,
        ("reserve" | "claim", refused) if refused.starts_with("refused:") => {
            OperationState::Nothing
        }
        _ => return Err(wrong()),
    };
    Ok(StoredOperation {
        operation: operation(name)?.ok_or_else(wrong)?,
        epoch: match epoch {
            "-" => None,
            epoch => Some(number(epoch)?),
        },
        what,
    })
}

fn holds(buyer: &str, lines: &str, hold: HoldState) -> Result<OperationState, ReservationError> {
    Ok(OperationState::Holds {
        buyer: buyer_of(buyer)?,
        lines: lines_of(lines)?,
        hold,
    })
}

fn coupon(
    buyer: &str,
    campaign: &str,
    state: ClaimState,
    from: &str,
) -> Result<OperationState, ReservationError> {
    Ok(OperationState::Coupon {
        campaign: CampaignId::parse(campaign).map_err(|_| not_understood(&campaign))?,
        buyer: buyer_of(buyer)?,
        state,
        taken_from: operation(from)?,
    })
}

fn buyer_of(text: &str) -> Result<BuyerId, ReservationError> {
    BuyerId::parse(text).map_err(|_| not_understood(&text))
}

/// `<product>:<quantity>,...`
fn lines_of(text: &str) -> Result<Lines, ReservationError> {
    let line = |line: &str| {
        let (name, quantity) = line.split_once(':').ok_or_else(|| not_understood(&text))?;
        Ok(Line {
            product: product(name)?,
            quantity: number(quantity)?,
        })
    };
    let lines = text.split(',').map(line).collect::<Result<_, _>>()?;
    Lines::new(lines).map_err(|_| not_understood(&text))
}
