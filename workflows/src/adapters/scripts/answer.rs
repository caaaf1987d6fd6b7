//! The answers of the scripts, understood: anything that is not foreseen here is an error, never a success.

use std::collections::BTreeMap;

use engine::workflow::Earlier;

use crate::domain::ids::{CampaignId, ProductId};
use crate::ports::reservations::{
    CampaignCounts, ClaimRefusal, ClaimReply, ConfirmReply, ExtendReply, NotUnderstood,
    OperationKey, ReleaseReply, ReservationError, ReserveRefusal, ReserveReply, SaleCounts,
    ScheduleReply, StockCounts,
};

use super::Reply;

/// What the server says when it can't serve, or not now, and has done nothing. Most come at a script's first write; no
/// script does anything before it.
const UNAVAILABLE_CODES: [&str; 11] = [
    "UNAVAILABLE",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MOVED",
    "BUSY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
];

/// What the scripts say of a call that contradicts an earlier one or itself, before they write.
const MISUSE_CODES: [&str; 5] = ["MISMATCH", "SOLD", "USED", "INVALID", "SUPERSEDED"];

pub fn claim(reply: Reply) -> Result<ClaimReply, ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["held", from] => Ok(ClaimReply::Held {
            taken_from: operation(from)?,
        }),
        ["used", from] => Ok(ClaimReply::Used {
            taken_from: operation(from)?,
        }),
        ["refused", reason, known, detail] => Ok(ClaimReply::Refused {
            reason: claim_refusal(reason, detail)?,
            earlier: earlier(known)?,
        }),
        _ => Err(words.not_understood()),
    }
}

fn claim_refusal(reason: &str, detail: &str) -> Result<ClaimRefusal, ReservationError> {
    Ok(match reason {
        "coupons-exhausted" => ClaimRefusal::CouponsExhausted,
        "coupon-already-used" => ClaimRefusal::CouponAlreadyUsed,
        "no-coupon" => ClaimRefusal::NoCoupon,
        "claims-not-open" => ClaimRefusal::ClaimsNotOpen {
            from_ms: match detail {
                "" => None,
                from => Some(number(from)?),
            },
        },
        "not-valid-yet" => ClaimRefusal::NotValidYet {
            from_ms: number(detail)?,
        },
        "expired" => ClaimRefusal::Expired {
            until_ms: number(detail)?,
        },
        "sale-cancelled" => ClaimRefusal::SaleCancelled,
        "sale-not-open" => ClaimRefusal::SaleNotOpen {
            opens_at_ms: number(detail)?,
        },
        "sale-closed" => ClaimRefusal::SaleClosed,
        "released" => ClaimRefusal::Released,
        "unknown-campaign" => ClaimRefusal::UnknownCampaign,
        _ => return Err(not_understood(&reason)),
    })
}

pub fn reserve(reply: Reply) -> Result<ReserveReply, ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["held"] => Ok(ReserveReply::Held),
        ["sold"] => Ok(ReserveReply::Sold),
        ["refused", reason, known, detail] => {
            let reason = match *reason {
                "sold-out" => ReserveRefusal::SoldOut {
                    product: product(detail)?,
                },
                "limit-reached" => ReserveRefusal::LimitReached {
                    limit: number(detail)?,
                },
                "sale-not-open" => ReserveRefusal::SaleNotOpen {
                    opens_at_ms: number(detail)?,
                },
                "sale-closed" => ReserveRefusal::SaleClosed,
                "sale-cancelled" => ReserveRefusal::SaleCancelled,
                "released" => ReserveRefusal::Released,
                "unknown-product" => ReserveRefusal::UnknownProduct {
                    product: product(detail)?,
                },
                _ => return Err(words.not_understood()),
            };
            Ok(ReserveReply::Refused {
                reason,
                earlier: earlier(known)?,
            })
        }
        _ => Err(words.not_understood()),
    }
}

fn earlier(known: &str) -> Result<Earlier, ReservationError> {
    match known {
        "0" => Ok(Earlier::RuledOut),
        "1" => Ok(Earlier::Possible),
        "2" => Ok(Earlier::UnderWay),
        _ => Err(not_understood(&known)),
    }
}

pub fn extend(reply: Reply) -> Result<ExtendReply, ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["paying"] => Ok(ExtendReply::Paying),
        ["not-held"] => Ok(ExtendReply::NotHeld),
        _ => Err(words.not_understood()),
    }
}

pub fn schedule(reply: Reply) -> Result<ScheduleReply, ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["scheduled"] => Ok(ScheduleReply::Scheduled),
        ["superseded"] => Ok(ScheduleReply::Superseded),
        _ => Err(words.not_understood()),
    }
}

pub fn confirm(reply: Reply) -> Result<ConfirmReply, ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["sold"] => Ok(ConfirmReply::Sold),
        ["unknown"] => Ok(ConfirmReply::Unknown),
        ["not-held"] => Ok(ConfirmReply::NotHeld),
        _ => Err(words.not_understood()),
    }
}

pub fn release(reply: Reply) -> Result<ReleaseReply, ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["released"] => Ok(ReleaseReply::Released),
        ["nothing-held"] => Ok(ReleaseReply::NothingHeld),
        ["moved-on"] => Ok(ReleaseReply::MovedOn),
        ["used"] => Ok(ReleaseReply::Used),
        _ => Err(words.not_understood()),
    }
}

/// The answer of a rebuild's step.
pub fn done(reply: Reply) -> Result<(), ReservationError> {
    let words = words(reply)?;
    match words.each().as_slice() {
        ["begun" | "loaded" | "finished"] => Ok(()),
        _ => Err(words.not_understood()),
    }
}

pub fn counts(reply: Reply) -> Result<Option<SaleCounts>, ReservationError> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::Error { code, text } => Err(refusal_to_answer(&code, &text)),
        Reply::Array(parts) => match parts.as_slice() {
            [
                generation,
                revision,
                Reply::Array(stock),
                Reply::Array(campaigns),
            ] => Ok(Some(SaleCounts {
                generation: number(generation.as_text().unwrap_or_default())?,
                revision: number(revision.as_text().unwrap_or_default())?,
                products: stock_counts(stock)?,
                campaigns: campaign_counts(campaigns)?,
            })),
            _ => Err(not_understood(&Reply::Array(parts))),
        },
        other => Err(not_understood(&other)),
    }
}

fn stock_counts(fields: &[Reply]) -> Result<BTreeMap<ProductId, StockCounts>, ReservationError> {
    let mut products: BTreeMap<ProductId, StockCounts> = BTreeMap::new();
    for (name, part, value) in fields_of(fields)? {
        let counts = products.entry(product(name)?).or_default();
        match part {
            "available" => counts.available = number(value)?,
            "held" => counts.held = number(value)?,
            "sold" => counts.sold = number(value)?,
            _ => return Err(not_understood(&format!("{name}:{part}"))),
        }
    }
    Ok(products)
}

fn campaign_counts(
    fields: &[Reply],
) -> Result<BTreeMap<CampaignId, CampaignCounts>, ReservationError> {
    let mut campaigns: BTreeMap<CampaignId, CampaignCounts> = BTreeMap::new();
    for (name, part, value) in fields_of(fields)? {
        let campaign = CampaignId::parse(name).map_err(|_| not_understood(&name))?;
        let counts = campaigns.entry(campaign).or_default();
        match part {
            "size" => counts.size = number(value)?,
            "issued" => counts.issued = number(value)?,
            // What the campaign allows, and when: nothing to count.
            "in_purchase" | "valid_from_ms" | "valid_until_ms" | "claims_from_ms" => {}
            _ => return Err(not_understood(&format!("{name}:{part}"))),
        }
    }
    Ok(campaigns)
}

/// The fields `<name>:<part>` of a hash and their values.
fn fields_of(fields: &[Reply]) -> Result<Vec<(&str, &str, &str)>, ReservationError> {
    let (pairs, []) = fields.as_chunks::<2>() else {
        return Err(not_understood(&fields));
    };
    pairs
        .iter()
        .map(|[field, value]| {
            let (name, part) = field
                .as_text()
                .and_then(|field| field.split_once(':'))
                .ok_or_else(|| not_understood(field))?;
            Ok((name, part, value.as_text().unwrap_or_default()))
        })
        .collect()
}

/// An answer that is an array of strings.
struct Words(Vec<String>);

impl Words {
    fn each(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    fn not_understood(&self) -> ReservationError {
        not_understood(&self.0)
    }
}

fn words(reply: Reply) -> Result<Words, ReservationError> {
    match reply {
        Reply::Error { code, text } => Err(refusal_to_answer(&code, &text)),
        Reply::Array(parts) => parts
            .iter()
            .map(|part| {
                part.as_text()
                    .map(str::to_owned)
                    .ok_or_else(|| not_understood(part))
            })
            .collect::<Result<_, _>>()
            .map(Words),
        other => Err(not_understood(&other)),
    }
}

pub fn number<N: std::str::FromStr>(text: &str) -> Result<N, ReservationError> {
    text.parse().map_err(|_| not_understood(&text))
}

pub fn product(text: &str) -> Result<ProductId, ReservationError> {
    ProductId::parse(text).map_err(|_| not_understood(&text))
}

/// An operation's key; no text is none.
pub fn operation(text: &str) -> Result<Option<OperationKey>, ReservationError> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = OperationKey::parse(text).map_err(|_| not_understood(&text))?;
    Ok(Some(key))
}

/// What an error reply means; see the head of `prelude.lua` for those that the scripts give.
pub fn refusal_to_answer(code: &str, text: &str) -> ReservationError {
    match code {
        "NOSCRIPT" => ReservationError::OtherIncarnation(
            "its server was restarted or replaced, or its scripts were flushed".to_owned(),
        ),
        "NOAUTH" | "WRONGPASS" => ReservationError::NotSent(format!("{code} {text}").into()),
        code if UNAVAILABLE_CODES.contains(&code) => {
            ReservationError::Unavailable(format!("{code} {text}"))
        }
        code if MISUSE_CODES.contains(&code) => ReservationError::Misuse(format!("{code} {text}")),
        _ => ReservationError::MaybeSent(format!("{code} {text}").into()),
    }
}

/// Script and adapter were built from one commit, so this is a mistake in one of them; what the call did is not known.
pub fn not_understood(what: &impl std::fmt::Debug) -> ReservationError {
    ReservationError::MaybeSent(NotUnderstood(format!("{what:?}")).into())
}
