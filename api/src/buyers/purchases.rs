//! `POST /v1/purchases`: starts a purchase, once per key.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use engine::{Payload, Start};
use workflows::domain::ids::SaleId;
use workflows::purchase::{NAME, Order, quote};

use super::BODY_BYTES_MAX;
use super::order::{IdempotencyKey, PurchaseBody};
use super::shown::purchase_of;
use crate::auth::Buyer;
use crate::http;
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

pub async fn start(
    State(services): State<Shared>,
    Buyer(buyer): Buyer,
    IdempotencyKey(key): IdempotencyKey,
    http::Json(body): http::Json<PurchaseBody, BODY_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
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
        payment,
        accepted_at: services.runtime.now(),
    };
    let request = quote(&sale, order)?;
    let started = services
        .engine
        .start(Start {
            definition: NAME.to_owned(),
            input: Payload::of(&request)
                .map_err(|error| Problem::internal("storing a purchase", &error))?,
            key: Some((buyer.as_str().to_owned(), key)),
            request_hash,
            label: Some(sale.sale.as_str().to_owned()),
        })
        .await?;
    let view = started.view();
    let purchase = purchase_of(&buyer, view)?
        .ok_or_else(|| Problem::not_found("purchase", &view.id.to_string()))?;
    let location = format!("/v1/purchases/{}", view.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(purchase)))
}
