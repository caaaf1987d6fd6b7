//! The task that sends webhooks: many at a time, each a few times, and those that have to wait without holding up others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Client, redirect, retry};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::signature::sign;
use super::{Counters, Job, add};
use crate::gateway_simulator::server::Clock;

static SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

const IN_FLIGHT_MAX: usize = 64;
const ATTEMPTS_MAX: u32 = 5;
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends what is in the queue until the routes have ended, and then what is left, once.
pub struct Sender {
    waiting: mpsc::Receiver<Job>,
    courier: Arc<Courier>,
    /// No route puts anything into the queue any more.
    ended: watch::Receiver<bool>,
    /// By order, those that wait for the next one.
    reordered: HashMap<Arc<str>, Vec<Job>>,
}

/// What every delivery shares.
struct Courier {
    client: Client,
    counters: Arc<Counters>,
    clock: Clock,
    /// The simulator stops: nobody waits any more.
    closing: watch::Receiver<bool>,
    in_flight: Semaphore,
}

/// Why a task ended.
enum Ended {
    Delivered,
    /// The order's held webhooks have waited long enough.
    WaitedFor(Arc<str>),
}

impl Sender {
    pub(super) fn new(
        waiting: mpsc::Receiver<Job>,
        counters: Arc<Counters>,
        clock: Clock,
        closing: watch::Receiver<bool>,
        ended: watch::Receiver<bool>,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .build()?;
        Ok(Self {
            waiting,
            courier: Arc::new(Courier {
                client,
                counters,
                clock,
                closing,
                in_flight: Semaphore::new(IN_FLIGHT_MAX),
            }),
            ended,
            reordered: HashMap::new(),
        })
    }

    /// Runs to the end.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut ended = self.ended.clone();
        loop {
            tokio::select! {
                job = self.waiting.recv() => match job {
                    Some(job) => self.take(job, &mut tasks),
                    None => break,
                },
                Some(done) = tasks.join_next() => self.note(done.ok(), &mut tasks),
                _ = ended.wait_for(|ended| *ended) => break,
            }
        }
        self.waiting.close();
        while let Some(job) = self.waiting.recv().await {
            self.take(job, &mut tasks);
        }
        let held: Vec<Job> = self.reordered.drain().flat_map(|(_, jobs)| jobs).collect();
        self.deliver(held, &mut tasks);
        while tasks.join_next().await.is_some() {}
    }

    /// A reordered webhook waits for the order's next; the next goes first and takes it along.
    fn take(&mut self, job: Job, tasks: &mut JoinSet<Ended>) {
        let order_id = Arc::clone(&job.order_id);
        match self.reordered.remove(&order_id) {
            Some(held) => self.deliver([job].into_iter().chain(held).collect(), tasks),
            None if job.is_reordered => {
                let (courier, delay) = (Arc::clone(&self.courier), job.delay);
                self.reordered.insert(Arc::clone(&order_id), vec![job]);
                tasks.spawn(async move {
                    courier.wait(delay).await;
                    Ended::WaitedFor(order_id)
                });
            }
            None => {
                let (courier, delay) = (Arc::clone(&self.courier), job.delay);
                tasks.spawn(async move {
                    courier.wait(delay).await;
                    courier.deliver(job).await;
                    Ended::Delivered
                });
            }
        }
    }

    fn note(&mut self, ended: Option<Ended>, tasks: &mut JoinSet<Ended>) {
        if let Some(Ended::WaitedFor(order_id)) = ended {
            let held = self.reordered.remove(&order_id).unwrap_or_default();
            self.deliver(held, tasks);
        }
    }

    /// One after the other.
    fn deliver(&self, jobs: Vec<Job>, tasks: &mut JoinSet<Ended>) {
        let courier = Arc::clone(&self.courier);
        tasks.spawn(async move {
            for job in jobs {
                courier.deliver(job).await;
            }
            Ended::Delivered
        });
    }
}

impl Courier {
    async fn deliver(&self, mut job: Job) {
        for _ in 0..job.copies {
            let mut back_off = BACK_OFF_MIN;
            for attempt in 1..=ATTEMPTS_MAX {
                let delivered = self.attempt(&job).await;
                if let Some(tried) = job.tried.take() {
                    let _ = tried.send(()); // whoever waited may have gone
                }
                if delivered {
                    add(&self.counters.delivered);
                    break;
                }
                add(&self.counters.failed_attempts);
                if attempt == ATTEMPTS_MAX || *self.closing.borrow() {
                    add(&self.counters.given_up);
                    break;
                }
                self.wait(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
        }
    }

    /// Whether the shop has said that it has it.
    async fn attempt(&self, job: &Job) -> bool {
        let Ok(_permit) = self.in_flight.acquire().await else {
            return false;
        };
        let seconds = (self.clock)().div_euclid(1_000_000);
        let request = self
            .client
            .post(&*job.url)
            .header(CONTENT_TYPE, "application/json")
            .header(&SIGNATURE, sign(&job.secrets, &job.body, seconds))
            .body(job.body.to_vec());
        match request.send().await {
            Ok(answer) => answer.status().is_success(),
            Err(error) => {
                tracing::debug!(error = %error.without_url(), "a webhook was not delivered");
                false
            }
        }
    }

    /// Lets time pass, unless the simulator stops.
    async fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let mut closing = self.closing.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }
}
