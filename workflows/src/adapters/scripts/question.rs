//! The arguments of each script, in the order that its head comment names them.

use crate::domain::ids::SaleId;
use crate::ports::reservations::{
    ClaimPurpose, ClaimRequest, ConfirmRequest, ExtendRequest, HoldState, Line, ReleaseRequest,
    ReserveRequest, ScheduleRequest,
};

use super::{Call, Script};

pub fn claim(request: &ClaimRequest) -> Call {
    let purpose = match request.purpose {
        ClaimPurpose::Ahead => "ahead",
        ClaimPurpose::Purchase => "purchase",
    };
    let arguments = vec![
        request.operation.as_str().to_owned(),
        flag(request.remember_refusal),
        request.epoch.to_string(),
        purpose.to_owned(),
        request.buyer.as_str().to_owned(),
        request.campaign.as_str().to_owned(),
    ];
    Call::new(Script::Claim, &request.sale, arguments)
}

pub fn reserve(request: &ReserveRequest) -> Call {
    let hold = match request.hold {
        HoldState::Held => "held",
        HoldState::Paying => "paying",
    };
    let lines = request.lines.as_slice();
    let mut arguments = Vec::with_capacity(5 + 2 * lines.len());
    arguments.push(request.operation.as_str().to_owned());
    arguments.push(flag(request.remember_refusal));
    arguments.push(request.epoch.to_string());
    arguments.push(hold.to_owned());
    arguments.push(request.buyer.as_str().to_owned());
    push_lines(&mut arguments, lines);
    Call::new(Script::Reserve, &request.sale, arguments)
}

pub fn extend(request: &ExtendRequest) -> Call {
    let arguments = vec![request.operation.as_str().to_owned()];
    Call::new(Script::Extend, &request.sale, arguments)
}

pub fn confirm(request: &ConfirmRequest) -> Call {
    let claim = request.claim.as_ref().map_or("", |claim| claim.as_str());
    let arguments = vec![request.operation.as_str().to_owned(), claim.to_owned()];
    Call::new(Script::Confirm, &request.sale, arguments)
}

pub fn release(script: Script, request: &ReleaseRequest) -> Call {
    let only_under = request.only_under.map(|epoch| epoch.to_string());
    let arguments = vec![
        request.operation.as_str().to_owned(),
        flag(request.forget),
        only_under.unwrap_or_default(),
    ];
    Call::new(script, &request.sale, arguments)
}

pub fn schedule(request: &ScheduleRequest) -> Call {
    let arguments = vec![
        request.revision.to_string(),
        request.opens_at_ms.to_string(),
        request.closes_at_ms.to_string(),
        flag(request.is_cancelled),
    ];
    Call::new(Script::Schedule, &request.sale, arguments)
}

pub fn operations(sale: &SaleId, cursor: Option<&str>, limit: u32) -> Call {
    let arguments = vec![cursor.unwrap_or("0").to_owned(), limit.to_string()];
    Call::new(Script::Operations, sale, arguments)
}

/// Product and quantity of each line.
pub fn push_lines(arguments: &mut Vec<String>, lines: &[Line]) {
    for line in lines {
        arguments.push(line.product.as_str().to_owned());
        arguments.push(line.quantity.to_string());
    }
}

pub fn flag(set: bool) -> String {
    if set { "1" } else { "0" }.to_owned()
}
