//! The payment gateway: the one whose URL is given, or a simulated one in this process, over HTTP all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::Runtime;
use loadtest::gateway_simulator::{GatewaySimulator, Running, Settings, WebhookTarget};
use workflows::adapters::gateway_client::{
    GatewayConfigError, GatewaySettings, HttpPaymentGateway,
};

use crate::config::{Backend, Secret};
use crate::exit::{Code, Failure, with_causes};
use crate::pg_sim;

/// The gateway's client, and the gateway itself when it is ours.
pub struct Gateway {
    client: Arc<HttpPaymentGateway>,
    url: String,
    simulator: Option<Running>,
}

impl Gateway {
    /// A client for the gateway of the settings, or for a simulator whose ledger is in the file `ledger`.
    pub async fn open(
        backend: &Backend,
        ledger: Option<PathBuf>,
        runtime: &Runtime,
    ) -> Result<Self, Failure> {
        let (url, simulator) = if let Some(url) = &backend.pg_url {
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
        let settings = GatewaySettings {
            request_timeout: backend.pg_timeout,
            return_url: backend.return_url.clone(),
            ..GatewaySettings::default()
        };
        let client = HttpPaymentGateway::new(&url, &settings).map_err(|error| {
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

    /// The simulator, if there is one, sends its webhooks there from now on.
    pub fn send_webhooks_to(&self, url: &str, secret: &Secret) -> Result<(), Failure> {
        let Some(simulator) = &self.simulator else {
            return Ok(());
        };
        let target = WebhookTarget::new(url, [secret.expose().as_bytes()])
            .map_err(|error| Failure::internal("addressing the simulated webhooks", &error))?;
        simulator.set_webhooks(Some(target));
        Ok(())
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
