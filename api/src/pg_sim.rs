//! `holdfast pg-sim`: the simulated payment gateway as a process of its own.

use std::time::Duration;

use engine::Runtime;
use loadtest::gateway_simulator::{GatewaySimulator, Rules, Settings, StartError, WebhookTarget};

use crate::cli::PgSim;
use crate::exit::{Code, Failure, with_causes};
use crate::shutdown;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until it is asked to stop.
pub async fn run(arguments: PgSim, runtime: Runtime) -> Result<(), Failure> {
    let PgSim {
        listen,
        ledger,
        seed,
        decline_rate,
        latency_ms,
        latency_jitter_ms,
        hold_ms,
        faulty_attempts,
        inquiry_lag_ms,
        webhook_late_ms,
        rates,
        webhook_url,
        webhook_secrets,
        public_url,
    } = arguments;
    let secrets = webhook_secrets
        .iter()
        .map(|secret| secret.expose().as_bytes());
    let webhooks = webhook_url
        .map(|url| WebhookTarget::new(url, secrets))
        .transpose()
        .map_err(|error| Failure::new(Code::Configuration, error.to_string()))?;
    let settings = Settings {
        address: listen,
        ledger,
        rules: Rules {
            seed,
            decline_rate,
            rates: rates.into_iter().collect(),
            latency_ms,
            latency_jitter_ms,
            hold_ms,
            faulty_attempts,
            inquiry_lag_ms,
            webhook_late_ms,
            ..Rules::default()
        },
        webhooks,
        public_url,
        ..Settings::new(clock(&runtime))
    };
    let mut stop = shutdown::signals(&runtime)?;
    let running = GatewaySimulator::bind(settings).await.map_err(failed)?;
    println!("the simulated payment gateway listens on {}", running.url());
    crate::http::stopped(&mut stop).await;
    running
        .shutdown(STOP_TIMEOUT)
        .await
        .map_err(|error| Failure::internal("stopping", &error))
}

/// The engine's clock, as the simulator takes it.
pub fn clock(runtime: &Runtime) -> loadtest::gateway_simulator::Clock {
    let runtime = runtime.clone();
    std::sync::Arc::new(move || runtime.now().0)
}

/// Why the simulator did not start, with a code for scripts.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub fn failed(error: StartError) -> Failure {
    let code = match &error {
        StartError::Listen { .. } => Code::InUse,
        StartError::Ledger(loadtest::gateway_simulator::LedgerFileError::InUse { .. }) => {
            Code::InUse
        }
        StartError::Ledger(_) | StartError::Rules(_) | StartError::PublicUrl => Code::Configuration,
        StartError::Replay(_) | StartError::Webhooks(_) => Code::Internal,
    };
    Failure::new(code, with_causes(&error))
}
