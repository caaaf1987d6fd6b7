//! `GET /v1/verify`: the invariants, checked now over everything that is stored. Ask when nothing is under way: what is in the
//! middle of something looks broken from one side.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use loadtest::gateway_simulator::OrderPage;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use workflows::reconcile::invariants::{Inputs, InvariantReport, LedgerEntry, VerifyError, verify};

use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

/// Orders that one request to the gateway's ledger reads.
const PAGE: &str = "1000";
const LEDGER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub struct Verified {
    invariants: Vec<InvariantReport>,
    /// What could not be checked here, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
}

pub async fn run(State(services): State<Shared>) -> Result<Json<Verified>, Problem> {
    // Only those who were told of a start know about it: I8 is for the driver's side.
    let mut left_out = vec!["I8"];
    let mut skipped = Vec::new();
    let ledger = ledger(&services.gateway_url).await?;
    if ledger.is_none() {
        left_out.push("I3");
        skipped.push("I3: this payment gateway has no ledger that can be read".to_owned());
    }
    let mut invariants = compare(services, ledger.unwrap_or_default()).await?;
    invariants.retain(|invariant| !left_out.contains(&invariant.id));
    Ok(Json(Verified {
        invariants,
        skipped,
    }))
}

/// On a thread of its own: it goes through everything that is stored, and whoever buys meanwhile should not wait for it.
async fn compare(
    services: Shared,
    ledger: Vec<LedgerEntry>,
) -> Result<Vec<InvariantReport>, Problem> {
    let here = Handle::current();
    let compared = spawn_blocking(move || {
        let inputs = Inputs {
            store: services.store.as_ref(),
            database: &services.database,
            catalogue: services.catalogue.as_ref(),
            reservations: services.reservations.as_ref(),
            ledger: &ledger,
            acknowledged: &[],
        };
        here.block_on(verify(&inputs))
    });
    match compared.await {
        Ok(Ok(invariants)) => Ok(invariants),
        Ok(Err(VerifyError::Store(error))) => Err(error.into()),
        Ok(Err(error @ VerifyError::Reservations(_))) => Err(unavailable(&error)),
        Err(error) => Err(Problem::internal("checking the invariants", &error)),
    }
}

/// The ledger of a simulated gateway; `None` where there is none.
async fn ledger(gateway_url: &str) -> Result<Option<Vec<LedgerEntry>>, Problem> {
    let client = Client::builder()
        .no_proxy()
        .timeout(LEDGER_TIMEOUT)
        .build()
        .map_err(|error| Problem::internal("setting up the HTTP client", &error))?;
    let url = format!("{}/v1/ledger/orders", gateway_url.trim_end_matches('/'));
    let (mut entries, mut cursor) = (Vec::new(), 0);
    loop {
        let request = client
            .get(&url)
            .query(&[("cursor", cursor.to_string().as_str()), ("limit", PAGE)]);
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let page: OrderPage = response.json().await.map_err(|error| unavailable(&error))?;
        entries.extend(page.orders.into_iter().map(|account| LedgerEntry {
            order: account.order_id.as_ref().to_owned(),
            captured: account.captured,
            refunded: account.refunded,
        }));
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return Ok(Some(entries)),
        }
    }
}

fn unavailable(error: &dyn std::error::Error) -> Problem {
    tracing::warn!(error = %crate::exit::with_causes(error), "the invariants could not be checked");
    Problem::new(
        Kind::UNAVAILABLE,
        "something that is compared can't be reached at the moment; try again",
    )
}
