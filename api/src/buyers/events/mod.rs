//! `GET /v1/sales/{sale}/events`: a stream that tells when a sale opens, closes or is put off, and how much is left
//! (server-sent events, WHATWG HTML, section 9.2). Every node tells it by the same schedule, whoever records the opening.

mod picture;
mod source;
mod stream;
mod streams;
mod watcher;

#[cfg(test)]
mod rehearsal;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::front::Front;
use crate::http::{Path, Query};
use crate::problem::{Kind, Problem};
use picture::EventId;
pub use source::Shop;
pub use streams::Streams;

/// There is nothing to choose: who listens is the connection, and nobody else's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

pub async fn follow(
    State(front): State<Front>,
    Path(name): Path,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let services = &front.services;
    let sale = services.sale_named(&name).await?;
    let subscription = front.streams.follow(&sale).ok_or_else(|| {
        Problem::new(
            Kind::BUSY,
            "as many clients follow sales as this node takes on; try again, elsewhere or later",
        )
    })?;
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let known = known.and_then(EventId::parse);
    let events = stream::events(
        subscription,
        known,
        services.runtime.clone(),
        services.stopping.clone(),
    );
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    // Proxies that collect answers are told not to.
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((headers, unbuffered, Body::from_stream(events)).into_response())
}
