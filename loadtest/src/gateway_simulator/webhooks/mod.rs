//! What the simulator tells the shop by itself: signed, at least once when nothing goes wrong, in any order when it does.
//!
//! Webhooks are not durable: what a stopped simulator has not sent is lost, as a shop has to expect of any gateway.

mod event;
mod signature;

mod sender;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::faults::{Delivery, Fault, Faults};
use super::input::is_web_address;
use super::rules::Rules;
use super::server::Clock;

pub(super) use event::Event;
pub(super) use sender::Sender;
pub use signature::sign;

/// Webhooks that wait or are on their way; more are dropped, and counted.
const WAITING_MAX: usize = 16_384;
/// An early webhook holds its call back for no longer.
const EARLY_WAIT_MAX: Duration = Duration::from_secs(10);
const SECRET_BYTES_MIN: usize = 16;

/// Where webhooks go, and what signs them.
#[derive(Clone)]
pub struct WebhookTarget {
    url: String,
    secrets: Vec<Vec<u8>>,
}

/// Webhooks can't go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Not a URL that can be called.
    #[error("the webhooks' URL must be an absolute http URL without credentials")]
    Url,
    /// Too easy to guess, or none at all.
    #[error("a webhook secret must have at least {SECRET_BYTES_MIN} bytes")]
    Secret,
}

impl WebhookTarget {
    /// Webhooks go to `url`, signed with every one of `secrets` (two while one replaces the other; each 16 bytes at least).
    pub fn new(
        url: impl Into<String>,
        secrets: impl IntoIterator<Item = impl Into<Vec<u8>>>,
    ) -> Result<Self, BadTarget> {
        let target = Self {
            url: url.into(),
            secrets: secrets.into_iter().map(Into::into).collect(),
        };
        if !target.url.starts_with("http://") || !is_web_address(&target.url) {
            return Err(BadTarget::Url);
        }
        let guessable = |secret: &Vec<u8>| secret.len() < SECRET_BYTES_MIN;
        if target.secrets.is_empty() || target.secrets.iter().any(guessable) {
            return Err(BadTarget::Secret);
        }
        Ok(target)
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookTarget")
            .field("url", &self.url)
            .field("secrets", &self.secrets.len())
            .finish()
    }
}

/// What became of the webhooks so far (`GET /v1/webhooks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCounts {
    /// Taken up, duplicates counted as one.
    pub accepted: u64,
    /// Answered with a 2xx, duplicates counted as two.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Not delivered by any attempt.
    pub given_up: u64,
    /// Not sent because a rule said so.
    pub lost: u64,
    /// Not sent because too many waited.
    pub dropped: u64,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    delivered: AtomicU64,
    failed_attempts: AtomicU64,
    given_up: AtomicU64,
    lost: AtomicU64,
    dropped: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One webhook on its way.
struct Job {
    url: Arc<str>,
    secrets: Arc<[Vec<u8>]>,
    order_id: Arc<str>,
    body: Arc<[u8]>,
    delay: Duration,
    is_reordered: bool,
    copies: u8,
    /// Told after the first attempt, whatever came of it.
    tried: Option<oneshot::Sender<()>>,
    /// Its place among those that may wait.
    _place: OwnedSemaphorePermit,
}

/// The end that the routes hold.
pub(super) struct Webhooks {
    target: RwLock<Option<Arc<WebhookTarget>>>,
    places: Arc<Semaphore>,
    queue: mpsc::Sender<Job>,
    counters: Arc<Counters>,
}

impl Webhooks {
    /// The routes' end, and the sender's, which has to be run.
    pub fn new(
        target: Option<WebhookTarget>,
        clock: Clock,
        closing: watch::Receiver<bool>,
        ended: watch::Receiver<bool>,
    ) -> Result<(Self, Sender), reqwest::Error> {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let counters = Arc::new(Counters::default());
        let sender = Sender::new(waiting, Arc::clone(&counters), clock, closing, ended)?;
        let webhooks = Self {
            target: RwLock::new(target.map(Arc::new)),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            queue,
            counters,
        };
        Ok((webhooks, sender))
    }

    /// Sends there from now on.
    pub fn set_target(&self, target: Option<WebhookTarget>) {
        *self.target.write().unwrap_or_else(PoisonError::into_inner) = target.map(Arc::new);
    }

    /// Whether there is a secret to sign with.
    pub fn can_sign(&self) -> bool {
        self.target().is_some()
    }

    /// Sends an event as the order's faults want it: in the background, unless it has to arrive before the answer.
    /// Which of them it followed.
    pub async fn send(
        &self,
        event: &Event,
        own_url: Option<Arc<str>>,
        faults: Faults,
        rules: &Rules,
    ) -> Faults {
        let Some(target) = self.target() else {
            return Faults::default();
        };
        let is = |delivery| faults.has(Fault::Webhook(delivery));
        if is(Delivery::Lost) {
            add(&self.counters.lost);
            return Fault::Webhook(Delivery::Lost).into();
        }
        let (Ok(place), Ok(body)) = (
            Arc::clone(&self.places).try_acquire_owned(),
            serde_json::to_vec(event),
        ) else {
            self.drop_one();
            return Faults::default();
        };
        let is_late = is(Delivery::Late) || is(Delivery::Reordered);
        let (tried, was_tried) = oneshot::channel();
        let job = Job {
            url: own_url.unwrap_or_else(|| Arc::from(target.url.as_str())),
            secrets: Arc::from(target.secrets.as_slice()),
            order_id: Arc::clone(&event.order_id),
            body: Arc::from(body),
            delay: if is_late {
                rules.webhook_delay()
            } else {
                Duration::ZERO
            },
            is_reordered: is(Delivery::Reordered),
            copies: if is(Delivery::Duplicated) { 2 } else { 1 },
            tried: Some(tried),
            _place: place,
        };
        if self.queue.try_send(job).is_err() {
            self.drop_one();
            return Faults::default();
        }
        add(&self.counters.accepted);
        let is_early = is(Delivery::Early) && !is_late;
        if is_early && timeout(EARLY_WAIT_MAX, was_tried).await.is_err() {
            tracing::warn!("a webhook that should be early is late");
        }
        [Delivery::Duplicated, Delivery::Reordered, Delivery::Late]
            .into_iter()
            .filter(|delivery| is(*delivery))
            .chain(is_early.then_some(Delivery::Early))
            .map(Fault::Webhook)
            .fold(Faults::default(), Faults::and)
    }

    pub fn counts(&self) -> WebhookCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters {
            accepted,
            delivered,
            failed_attempts,
            given_up,
            lost,
            dropped,
        } = &*self.counters;
        WebhookCounts {
            accepted: read(accepted),
            delivered: read(delivered),
            failed_attempts: read(failed_attempts),
            given_up: read(given_up),
            lost: read(lost),
            dropped: read(dropped),
        }
    }

    fn drop_one(&self) {
        add(&self.counters.dropped);
        tracing::warn!("a webhook was dropped: too many wait, or the simulator stops");
    }

    fn target(&self) -> Option<Arc<WebhookTarget>> {
        let target = self.target.read().unwrap_or_else(PoisonError::into_inner);
        target.clone()
    }
}
