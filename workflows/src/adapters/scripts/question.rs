//! The arguments of each script, in the order that its head comment names them.

use crate::ports::reservations::{
    ClaimRequest, ConfirmRequest, Line, ReleaseRequest, ReserveRequest,
};

use super::{Call, Script};

pub fn claim(request: &ClaimRequest) -> Call {
    let arguments = vec![
        request.operation.as_str().to_owned(),
        flag(request.remember_refusal),
        request.buyer.as_str().to_owned(),
        request.campaign.as_str().to_owned(),
    ];
    Call::new(Script::Claim, &request.sale, arguments)
}

pub fn reserve(request: &ReserveRequest) -> Call {
    let lines = request.lines.as_slice();
    let mut arguments = Vec::with_capacity(3 + 2 * lines.len());
    arguments.push(request.operation.as_str().to_owned());
    arguments.push(flag(request.remember_refusal));
    arguments.push(request.buyer.as_str().to_owned());
    push_lines(&mut arguments, lines);
    Call::new(Script::Reserve, &request.sale, arguments)
}

pub fn confirm(request: &ConfirmRequest) -> Call {
    let claim = request.claim.as_ref().map_or("", |claim| claim.as_str());
    let arguments = vec![request.operation.as_str().to_owned(), claim.to_owned()];
    Call::new(Script::Confirm, &request.sale, arguments)
}

pub fn release(script: Script, request: &ReleaseRequest) -> Call {
    Call::new(
        script,
        &request.sale,
        vec![request.operation.as_str().to_owned(), flag(request.forget)],
    )
}

/// Product and quantity of each line.
pub fn push_lines(arguments: &mut Vec<String>, lines: &[Line]) {
    for line in lines {
        arguments.push(line.product.as_str().to_owned());
        arguments.push(line.quantity.to_string());
    }
}

fn flag(set: bool) -> String {
    if set { "1" } else { "0" }.to_owned()
}
