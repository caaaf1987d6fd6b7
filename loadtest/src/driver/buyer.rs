//! What one buyer does: gets a token, orders, orders again when it is impatient, and waits for the goods.

use std::future::Future;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::Settings;
use super::client::{Answer, CallError, Client, Order, Payment, Purchase};
use super::report::{Acknowledged, Check, Progress, Report};

/// The refusal of a purchase that was given up before its start was acknowledged.
const LOST: &str = "released";
/// Keys that a buyer tries at most.
const ORDERS_MAX: u32 = 3;

/// One buyer's character, fixed by the crowd's seed and the buyer's number.
struct Character {
    repeats: bool,
    key: String,
    order: Order,
}

impl Character {
    fn of(settings: &Settings, number: usize) -> Self {
        let index = u64::try_from(number).unwrap_or(u64::MAX);
        let mut dice =
            StdRng::seed_from_u64(settings.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let repeats = dice.random::<f64>() < settings.repeat_share;
        let card = if dice.random::<f64>() < settings.declined_share {
            "tok-declined"
        } else {
            "tok-card"
        };
        let mut order = settings.order.clone();
        order.payment = Payment::stored(format!("{card}-{number}"));
        Self {
            repeats,
            key: format!("order-{:016x}", dice.random::<u64>()),
            order,
        }
    }
}

/// One of the crowd. What happens goes into a report as it happens, so that a visit that is cut short is not lost.
pub(super) struct Buyer<'a> {
    pub client: &'a Client,
    pub settings: &'a Settings,
    pub number: usize,
    pub progress: &'a Progress,
}

impl Buyer<'_> {
    /// Gets a token; `None` when there was none to be had.
    pub async fn arrive(&self, report: &mut Report) -> Option<String> {
        let mut attempts = self.attempts();
        let token = attempts.until_answered(|| self.client.anonymous()).await;
        report.unavailable += attempts.unavailable;
        token.inspect_err(|error| self.gave_up(error, report)).ok()
    }

    /// Orders, and waits for what becomes of it.
    pub async fn buy(&self, token: &str, report: &mut Report, began: Instant) {
        let character = Character::of(self.settings, self.number);
        let mut attempts = self.attempts();
        let result = shop(self.client, token, &character, &mut attempts, report, began).await;
        report.unavailable += attempts.unavailable;
        match result {
            Ok(()) => self.progress.buyer_left(),
            Err(error) => self.gave_up(&error, report),
        }
    }

    fn attempts(&self) -> Attempts<'_> {
        Attempts {
            deadline: Instant::now() + self.settings.patience,
            progress: self.progress,
            unavailable: 0,
        }
    }

    fn gave_up(&self, error: &CallError, report: &mut Report) {
        self.progress.buyer_left();
        report.count("gave_up");
        if !error.may_pass() {
            report.errors.push(error.to_string());
        }
    }
}

async fn shop(
    client: &Client,
    token: &str,
    character: &Character,
    attempts: &mut Attempts<'_>,
    report: &mut Report,
    began: Instant,
) -> Result<(), CallError> {
    let Character { order, repeats, .. } = character;
    let clicked = Instant::now();
    let (key, answer) = ordered(client, token, character, attempts, report).await?;
    match answer {
        Answer::Refused { code, .. } => {
            attempts.progress.refused();
            report.times.refused.push(clicked.elapsed());
            report.refused_at(began.elapsed());
            report.count(&code);
        }
        Answer::Purchase(purchase) => {
            let (token, order) = (token.to_owned(), order.clone());
            let start = Acknowledged {
                id: purchase.id,
                token,
                key,
                order,
            };
            report.acknowledged.push(start.clone());
            let settled = settled(client, &start, attempts).await?;
            note_outcome(&settled, attempts, report, clicked, began);
            if *repeats {
                report
                    .repeats
                    .note(repeat_differs(client, &start, attempts).await?);
            }
        }
    }
    Ok(())
}

/// The answer to the order, and the key that it was given under in the end. An order that was lost with the server and
/// cleared away before its repeat came is answered with `released`: its key is used up, and the buyer takes a new one.
async fn ordered(
    client: &Client,
    token: &str,
    character: &Character,
    attempts: &mut Attempts<'_>,
    report: &mut Report,
) -> Result<(String, Answer), CallError> {
    let (mut key, mut orders) = (character.key.clone(), 1);
    loop {
        let answer = if character.repeats {
            double_click(client, token, &key, &character.order, attempts, report).await?
        } else {
            attempts
                .until_answered(|| client.purchase(token, &key, &character.order))
                .await?
        };
        let is_lost = matches!(&answer, Answer::Refused { code, .. } if code == LOST);
        if !is_lost || orders == ORDERS_MAX {
            return Ok((key, answer));
        }
        key = format!("{}-{orders}", character.key);
        orders += 1;
    }
}

fn note_outcome(
    settled: &Purchase,
    attempts: &Attempts<'_>,
    report: &mut Report,
    clicked: Instant,
    began: Instant,
) {
    let completed = settled.state == "COMPLETED";
    attempts.progress.settled(completed);
    if completed {
        report.times.completed.push(clicked.elapsed());
        report.completed_within = report.completed_within.max(began.elapsed());
        report.count("completed");
    } else if settled.state == "PARKED" {
        report.count("parked");
    } else if settled.state == "ABANDONED" {
        report.count("abandoned");
    } else {
        report.count(
            settled
                .reason
                .as_ref()
                .map_or("turned_back", |reason| &reason.code),
        );
    }
}

/// The same order twice at the same time. Where both are accepted, both must name one purchase. One that was refused beside
/// one that was accepted is no contradiction: a unit may have come back in between.
async fn double_click(
    client: &Client,
    token: &str,
    key: &str,
    order: &Order,
    attempts: &mut Attempts<'_>,
    report: &mut Report,
) -> Result<Answer, CallError> {
    let mut impatient = Attempts {
        unavailable: 0,
        ..*attempts
    };
    let (first, second) = tokio::join!(
        attempts.until_answered(|| client.purchase(token, key, order)),
        impatient.until_answered(|| client.purchase(token, key, order)),
    );
    attempts.unavailable += impatient.unavailable;
    match (first?, second?) {
        (Answer::Purchase(one), Answer::Purchase(other)) => {
            report.repeats.note(differ(&one.id, &other.id, key));
            Ok(Answer::Purchase(one))
        }
        (Answer::Refused { .. }, accepted @ Answer::Purchase(_)) => Ok(accepted),
        (answer, _) => Ok(answer),
    }
}

async fn settled(
    client: &Client,
    start: &Acknowledged,
    attempts: &mut Attempts<'_>,
) -> Result<Purchase, CallError> {
    loop {
        match attempts
            .until_answered(|| client.outcome(&start.token, &start.id))
            .await?
        {
            Some(purchase) if purchase.is_settled() => return Ok(purchase),
            Some(_) if Instant::now() < attempts.deadline => {}
            Some(purchase) => {
                let detail = format!("purchase {} is still {}", purchase.id, purchase.state);
                return Err(CallError::Unavailable {
                    retry_after: Duration::ZERO,
                    detail,
                });
            }
            None => {
                let body = format!("purchase {} was acknowledged and is not there", start.id);
                return Err(CallError::Unexpected { status: 404, body });
            }
        }
    }
}

async fn repeat_differs(
    client: &Client,
    start: &Acknowledged,
    attempts: &mut Attempts<'_>,
) -> Result<Option<String>, CallError> {
    let answer = attempts
        .until_answered(|| client.purchase(&start.token, &start.key, &start.order))
        .await?;
    Ok(match answer {
        Answer::Purchase(purchase) => differ(&start.id, &purchase.id, &start.key),
        Answer::Refused { code, .. } => Some(format!(
            "key {} named purchase {} and is now refused as {code}",
            start.key, start.id
        )),
    })
}

fn differ(one: &str, other: &str, key: &str) -> Option<String> {
    (one != other).then(|| format!("key {key} names purchases {one} and {other}"))
}

/// The purchase is found, and a repeat of its start names it.
pub(super) async fn check_one(
    client: &Client,
    start: &Acknowledged,
    patience: Duration,
    check: &mut Check,
) {
    let progress = Progress::default();
    let mut attempts = Attempts {
        deadline: Instant::now() + patience,
        progress: &progress,
        unavailable: 0,
    };
    let found = attempts
        .until_answered(|| client.outcome(&start.token, &start.id))
        .await;
    check.note(match found {
        Ok(Some(_)) => None,
        Ok(None) => Some(format!(
            "purchase {} was acknowledged and is not there",
            start.id
        )),
        Err(error) => Some(format!(
            "purchase {} could not be asked for: {error}",
            start.id
        )),
    });
    let differs = repeat_differs(client, start, &mut attempts).await;
    check.note(
        differs.unwrap_or_else(|error| {
            Some(format!("key {} could not be repeated: {error}", start.key))
        }),
    );
}

/// Asking again while the other side is away, until a deadline.
struct Attempts<'a> {
    deadline: Instant,
    progress: &'a Progress,
    unavailable: u64,
}

impl Attempts<'_> {
    async fn until_answered<T, F>(&mut self, mut call: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.may_pass() {
                return Err(error);
            }
            self.unavailable += 1;
            self.progress.unavailable();
            let pause = error.pause();
            // Out of patience: the last error is what the buyer takes home.
            if timeout_at(self.deadline, sleep(pause)).await.is_err() {
                return Err(error);
            }
        }
    }
}
