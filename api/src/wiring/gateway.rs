//! The payment gateway: the one whose URL is given, or a simulated one in this process, over HTTP all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::Runtime;
use loadtest::gateway_simulator::{GatewaySimulator, Running, Settings};
use workflows::adapters::gateway_client::{
    GatewayConfigError, GatewaySettings, HttpPaymentGateway,
};

use crate::config::Secret;
use crate::exit::{Code, Failure, with_causes};
use crate::pg_sim;

/// The gateway's client, and the gateway itself when it is ours.
pub struct Gateway {
    client: Arc<HttpPaymentGateway>,
    url: String,
    simulator: Option<Running>,
}

impl Gateway {
    /// A client for `url`, or for a simulator whose ledger is in the file `ledger`.
    pub async fn open(
        url: Option<&Secret>,
        ledger: Option<PathBuf>,
        runtime: &Runtime,
    ) -> Result<Self, Failure> {
        let (url, simulator) = if let Some(url) = url {
            (url.expose().to_owned(), None)
        } else {
            let settings = Settings {
                ledger,
                ..Settings::new(pg_sim::clock(runtime))
            };
            let running = GatewaySimulator::bind(settings)
                .await
                .map_err(pg_sim::failed)?;
            (running.url(), Some(running))
        };
        let client =
            HttpPaymentGateway::new(&url, &GatewaySettings::default()).map_err(|error| {
                let code = match &error {
                    GatewayConfigError::Client(_) => Code::Internal,
                    _ => Code::Configuration,
                };
                Failure::new(code, with_causes(&error))
            })?;
        Ok(Self {
            client: Arc::new(client),
            url,
            simulator,
        })
    }

    /// The client.
    pub fn client(&self) -> Arc<HttpPaymentGateway> {
        Arc::clone(&self.client)
    }

    /// Where it is. A URL with credentials is not accepted, so this holds no secret.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it is, for people.
    pub fn description(&self) -> String {
        if self.simulator.is_some() {
            format!("{} (simulated)", self.url)
        } else {
            self.url.clone()
        }
    }

    /// Ends the simulator, if there is one.
    pub async fn close(self, limit: Duration) {
        if let Some(simulator) = self.simulator
            && let Err(error) = simulator.shutdown(limit).await
        {
            tracing::warn!(%error, "the simulated payment gateway is cut off");
        }
    }
}
