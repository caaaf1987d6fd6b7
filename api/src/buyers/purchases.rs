//! `POST /v1/purchases`: starts a purchase, once per key.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use engine::{Payload, Start, StartError};
use workflows::domain::ids::SaleId;
use workflows::domain::sale::Sale;
use workflows::purchase::{Order, PurchaseRequest, definition_name, quote};

use super::BODY_BYTES_MAX;
use super::front::Front;
use super::order::{IdempotencyKey, PurchaseBody};
use super::refused::Asked;
use super::shown::purchase_of;
use crate::auth::Buyer;
use crate::http;
use crate::problem::{Kind, Problem};

pub async fn start(
    State(front): State<Front>,
    Buyer(buyer): Buyer,
    IdempotencyKey(key): IdempotencyKey,
    http::Json(body): http::Json<PurchaseBody, BODY_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let services = &front.services;
    let request_hash = body.hash();
    let payment = body.payment.means()?;
    let unknown_sale = || {
        Problem::new(
            Kind::NOT_FOUND,
            format!("there is no sale `{}`", body.sale.escape_default()),
        )
        .with_field("sale")
    };
    let sale =
        SaleId::parse(body.sale.as_str()).map_err(|reason| Problem::invalid("sale", reason))?;
    let sale = services.sale(&sale).await?.ok_or_else(unknown_sale)?;
    let order = Order {
        buyer: buyer.clone(),
        lines: body.lines,
        campaign: body.campaign,
        address: body.address,
        payment,
        accepted_at: services.runtime.now(),
    };
    let request = quote(&sale, order)?;
    let start = Start {
        definition: definition_name(&request).to_owned(),
        input: Payload::of(&request)
            .map_err(|error| Problem::internal("storing a purchase", &error))?,
        key: Some((buyer.as_str().to_owned(), key)),
        request_hash,
        label: Some(sale.sale.as_str().to_owned()),
    };
    let started = match services.engine.start(start).await {
        Ok(started) => started,
        Err(StartError::Refused(refusal)) => {
            return Err(asked(&sale, &request).refused(refusal, &front).await);
        }
        Err(error) => return Err(error.into()),
    };
    let view = started.view();
    let purchase = purchase_of(&buyer, view)?
        .ok_or_else(|| Problem::not_found("purchase", &view.id.to_string()))?;
    let location = format!("/v1/purchases/{}", view.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(purchase)))
}

fn asked<'a>(sale: &'a Sale, request: &'a PurchaseRequest) -> Asked<'a> {
    Asked {
        buyer: &request.buyer,
        sale,
        lines: &request.lines,
        campaign: request
            .campaign
            .as_ref()
            .and_then(|campaign| sale.campaign(campaign)),
    }
}
