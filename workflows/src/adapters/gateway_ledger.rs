//! The payment gateway's own ledger, read over HTTP where the gateway shows one, as the simulator does.

use std::time::Duration;

use async_trait::async_trait;
use engine::workflow::event::with_causes;
use reqwest::Client;
use serde::Deserialize;

use crate::domain::money::Currency;
use crate::reconcile::invariants::{GatewayLedger, LedgerEntry, LedgerError, LedgerPage};

/// Orders that one request reads.
const PAGE: &str = "1000";
const TIMEOUT: Duration = Duration::from_secs(10);

/// The ledger at a gateway's URL.
pub struct HttpLedger {
    client: Client,
    url: String,
}

#[derive(Deserialize)]
struct Page {
    orders: Vec<Account>,
    next_cursor: Option<u64>,
}

#[derive(Deserialize)]
struct Account {
    order_id: String,
    currency: Currency,
    captured: u64,
    refunded: u64,
}

impl HttpLedger {
    /// Nobody is asked yet.
    pub fn at(gateway_url: &str) -> Result<Self, LedgerError> {
        let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
        Ok(Self {
            client: client.map_err(|error| failed(&error))?,
            url: format!("{}/v1/ledger/orders", gateway_url.trim_end_matches('/')),
        })
    }
}

#[async_trait]
impl GatewayLedger for HttpLedger {
    async fn page(&self, cursor: u64) -> Result<Option<LedgerPage>, LedgerError> {
        let query = [("cursor", cursor.to_string()), ("limit", PAGE.to_owned())];
        let request = self.client.get(&self.url).query(&query);
        let response = request.send().await.map_err(|error| failed(&error))?;
        // A gateway of another kind has nothing there, or nothing for us.
        if response.status().is_client_error() {
            return Ok(None);
        }
        let page = response.error_for_status();
        let page: Page = page
            .map_err(|error| failed(&error))?
            .json()
            .await
            .map_err(|error| failed(&error))?;
        let entries = page.orders.into_iter().map(|account| LedgerEntry {
            order: account.order_id,
            currency: account.currency,
            captured: account.captured,
            refunded: account.refunded,
        });
        Ok(Some(LedgerPage {
            entries: entries.collect(),
            next: page.next_cursor,
        }))
    }
}

fn failed(error: &reqwest::Error) -> LedgerError {
    LedgerError(with_causes(error))
}
