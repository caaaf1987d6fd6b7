//! The load driver: a crowd of buyers that behave like real ones, over nothing but HTTP.
//!
//! Read in this order: `client` (one buyer's requests and the answers they may get), `manners` (who they are), `buyer` (what one
//! buyer does),
//! and here the crowd. What happened is in the [`Report`]; what is happening is in the [`Progress`].

mod buyer;
mod client;
mod manners;
mod report;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use buyer::Buyer;
pub use client::{
    Answer, CallError, Client, Decision, Order, OrderLine, Payment, Purchase, Reason,
};
pub use manners::{Manners, Visit};
pub use report::{Acknowledged, Check, Progress, Report, Snapshot, Times, percentile_ms};

/// Who comes, and what they do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where buyers are served, such as `http://127.0.0.1:8080`.
    pub base_url: String,
    /// How many buyers come.
    pub buyers: usize,
    /// How many of them are busy at the same time.
    pub in_flight: NonZeroUsize,
    /// What each of them wants. How it is paid is the buyer's own.
    pub order: Order,
    /// What kinds of buyers they are.
    pub manners: Manners,
    /// How long a buyer tries again while the other side is away or busy; then it gives up.
    pub patience: Duration,
    /// Fixes who is what kind of buyer.
    pub seed: u64,
}

/// The driver can't start.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// reqwest could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// Lets all buyers come and go. First each gets its token, then the rush begins: that is where times are measured from.
/// Ends early, with what happened so far, when `stop` turns true.
pub async fn run(
    settings: &Settings,
    progress: &Arc<Progress>,
    stop: &watch::Receiver<bool>,
) -> Result<Report, DriverError> {
    let client =
        Client::new(&settings.base_url, settings.in_flight.get()).map_err(DriverError::Client)?;
    let crowd = Crowd {
        client,
        settings: Arc::new(settings.clone()),
        progress: Arc::clone(progress),
        stop: stop.clone(),
    };
    let tokens: Arc<Vec<OnceLock<String>>> =
        Arc::new((0..settings.buyers).map(|_| OnceLock::new()).collect());
    let mut report = crowd
        .each_buyer(Instant::now(), &tokens, Part::Arrive)
        .await;
    let began = Instant::now();
    report.merge(crowd.each_buyer(began, &tokens, Part::Buy).await);
    report.elapsed = began.elapsed();
    Ok(report)
}

/// What all workers share.
#[derive(Clone)]
struct Crowd {
    client: Client,
    settings: Arc<Settings>,
    progress: Arc<Progress>,
    stop: watch::Receiver<bool>,
}

/// What a buyer does, in order.
#[derive(Clone, Copy)]
enum Part {
    /// It gets its token.
    Arrive,
    /// It buys, unless it got no token.
    Buy,
}

impl Crowd {
    /// Every buyer does this part, so many at a time.
    async fn each_buyer(
        &self,
        began: Instant,
        tokens: &Arc<Vec<OnceLock<String>>>,
        part: Part,
    ) -> Report {
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..self.settings.in_flight.get().min(self.settings.buyers) {
            let (crowd, next, tokens) = (self.clone(), Arc::clone(&next), Arc::clone(tokens));
            workers.spawn(async move { crowd.work(&next, &tokens, part, began).await });
        }
        let mut report = Report::default();
        while let Some(finished) = workers.join_next().await {
            match finished {
                Ok(part) => report.merge(part),
                Err(error) => report
                    .errors
                    .push(format!("a worker of the driver failed: {error}")),
            }
        }
        report
    }

    /// One worker: buyer after buyer, until none is left.
    async fn work(
        mut self,
        next: &AtomicUsize,
        tokens: &[OnceLock<String>],
        part: Part,
        began: Instant,
    ) -> Report {
        let mut report = Report::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(token) = tokens.get(number).filter(|_| !*self.stop.borrow()) else {
                return report;
            };
            let buyer = Buyer {
                client: &self.client,
                settings: &self.settings,
                number,
                progress: &self.progress,
            };
            let act = async {
                match (part, token.get()) {
                    (Part::Arrive, _) => {
                        if let Some(issued) = buyer.arrive(&mut report).await {
                            // Nobody else fills this place.
                            let _ = token.set(issued);
                        }
                    }
                    (Part::Buy, Some(token)) => buyer.buy(token, &mut report, began).await,
                    (Part::Buy, None) => {}
                }
            };
            tokio::select! {
                () = act => {}
                () = stopped(&mut self.stop) => return report,
            }
        }
    }
}

/// Completes once `stop` is true; never when nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Asks again for every purchase that was acknowledged: it must be there, and a repeat must name it.
pub async fn check_acknowledged(
    base_url: &str,
    acknowledged: &[Acknowledged],
    patience: Duration,
) -> Result<Check, DriverError> {
    let client = Client::new(base_url, CHECKS_IN_FLIGHT).map_err(DriverError::Client)?;
    let mut check = Check::default();
    let mut workers = JoinSet::new();
    for part in acknowledged.chunks(acknowledged.len().div_ceil(CHECKS_IN_FLIGHT).max(1)) {
        let (client, part) = (client.clone(), part.to_vec());
        workers.spawn(async move {
            let mut check = Check::default();
            for start in &part {
                buyer::check_one(&client, start, patience, &mut check).await;
            }
            check
        });
    }
    while let Some(finished) = workers.join_next().await {
        match finished {
            Ok(part) => check.merge(part),
            Err(error) => check
                .violations
                .push(format!("a worker of the driver failed: {error}")),
        }
    }
    Ok(check)
}

const CHECKS_IN_FLIGHT: usize = 16;
