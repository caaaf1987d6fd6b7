//! Being asked to stop: SIGTERM and Ctrl-C, once and for everyone who listens.

use engine::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Failure;

/// Turns true at the first SIGTERM or SIGINT. A second SIGINT ends the process at once, for whoever is in a hurry.
pub fn signals(runtime: &Runtime) -> Result<watch::Receiver<bool>, Failure> {
    let failed = |error: std::io::Error| Failure::internal("listening for signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("interrupted: stopping; once more to stop at once"),
        }
        stop.send_replace(true);
        interrupt.recv().await;
        // What is durable stays durable: this is no worse than a crash.
        std::process::exit(130);
    });
    Ok(stopped)
}
