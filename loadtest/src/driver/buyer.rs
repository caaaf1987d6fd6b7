//! What one buyer does: gets a token, orders, orders again when it is impatient, and waits for the goods.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Settings;
use super::client::{Answer, CallError, Client, Decision, Order, Purchase};
use super::manners::{Character, Visit};
use super::report::{Acknowledged, Check, Progress, Report};

/// The refusal of a purchase that was given up before its start was acknowledged.
const LOST: &str = "released";
/// Keys that a buyer tries at most: more than are lost while a server is away for a minute.
const ORDERS_MAX: u32 = 20;
/// The refusals that may pass when somebody gives something back.
const MAY_COME_BACK: [&str; 2] = ["sold-out", "coupons-exhausted"];
/// How often a persistent buyer comes back, and after how long.
const RETURNS_MAX: u32 = 30;
const RETURN_AFTER: Duration = Duration::from_millis(100);

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
        let Settings {
            manners,
            order,
            seed,
            ..
        } = self.settings;
        let character = Character::of(manners, order, *seed, self.number);
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
        if error.may_pass() {
            report.gave_up.push(error.to_string());
        } else {
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
    claimed_ahead(client, token, character, attempts, report).await?;
    let mut clicked = Instant::now();
    let (mut key, mut answer) = ordered(client, token, character, attempts, report).await?;
    if matches!(answer, Answer::Refused { .. }) {
        report.refused_first(clicked, began);
    }
    for _ in 0..RETURNS_MAX {
        let may_come_back = matches!(
            &answer,
            Answer::Refused { code, .. } if MAY_COME_BACK.contains(&code.as_str())
        );
        if !character.persists || !may_come_back {
            break;
        }
        sleep(RETURN_AFTER).await;
        clicked = Instant::now();
        (key, answer) = ordered(client, token, character, attempts, report).await?;
    }
    match answer {
        Answer::Refused { code, .. } => {
            attempts.progress.refused();
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
            if let Some(visit) = character.visit
                && !visited(client, &start, visit, attempts, report).await?
            {
                report.count("walked_away");
                return Ok(());
            }
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

/// Claims the coupon, if the buyer is one who does so before it buys. A refusal is no reason to go home.
async fn claimed_ahead(
    client: &Client,
    token: &str,
    character: &Character,
    attempts: &mut Attempts<'_>,
    report: &mut Report,
) -> Result<(), CallError> {
    let Some(campaign) = character
        .order
        .campaign
        .as_deref()
        .filter(|_| character.claims_ahead)
    else {
        return Ok(());
    };
    let key = format!("claim-{}", character.key);
    let refused = attempts
        .until_answered(|| client.claim(token, &key, campaign))
        .await?;
    report.count_claim(refused.as_deref().unwrap_or("claimed"));
    Ok(())
}

/// Goes to the gateway and does there what it does. `false`: it is not interested in what becomes of the purchase.
async fn visited(
    client: &Client,
    start: &Acknowledged,
    visit: Visit,
    attempts: &mut Attempts<'_>,
    report: &mut Report,
) -> Result<bool, CallError> {
    let Acknowledged { id, token, .. } = start;
    let Some(page) = page_of(client, start, attempts).await? else {
        return Ok(true);
    };
    if visit == Visit::WalksAway {
        return Ok(false);
    }
    if visit == Visit::Cancels {
        attempts.until_answered(|| client.cancel(token, id)).await?;
        return Ok(true);
    }
    let decision = if visit == Visit::Declines {
        Decision::Decline
    } else {
        Decision::Authorise
    };
    let authorization = attempts
        .until_answered(|| client.decide(&page, decision))
        .await?;
    let Some(authorization) = authorization else {
        return Ok(true);
    };
    let confirm = || client.confirm(token, id, &authorization);
    match visit {
        Visit::Returns => {
            attempts.until_answered(confirm).await?;
        }
        Visit::ReturnsTwice => {
            let mut second = attempts.of_another_window();
            let (one, other) = tokio::join!(
                attempts.until_answered(confirm),
                second.until_answered(confirm)
            );
            report.unavailable += second.unavailable;
            one?;
            other?;
        }
        Visit::CancelsLate => {
            let mut second = attempts.of_another_window();
            let (returned, cancelled) = tokio::join!(
                attempts.until_answered(confirm),
                second.until_answered(|| client.cancel(token, id))
            );
            report.unavailable += second.unavailable;
            returned?;
            cancelled?;
        }
        Visit::ClosesWindow | Visit::Declines | Visit::Cancels | Visit::WalksAway => {}
    }
    Ok(true)
}

/// The gateway's page; `None` when the purchase is settled before there is one.
async fn page_of(
    client: &Client,
    start: &Acknowledged,
    attempts: &mut Attempts<'_>,
) -> Result<Option<String>, CallError> {
    loop {
        let purchase = attempts
            .until_answered(|| client.payable(&start.token, &start.id))
            .await?;
        if purchase.redirect_url.is_some() || purchase.is_settled() {
            return Ok(purchase.redirect_url);
        }
        if Instant::now() >= attempts.deadline {
            let detail = format!("purchase {} can't be paid for yet", purchase.id);
            return Err(CallError::Unavailable {
                retry_after: Duration::ZERO,
                detail,
            });
        }
    }
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
    let completed = settled.state == "COMPLETED" && settled.stage != "refunded";
    attempts.progress.settled(completed);
    if completed {
        report.times.completed.push(clicked.elapsed());
        report.completed_within = report.completed_within.max(began.elapsed());
        report.count("completed");
    } else if settled.stage == "refunded" {
        report.count("refunded");
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
    let mut impatient = attempts.of_another_window();
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

impl<'a> Attempts<'a> {
    /// The same patience, for a request beside the others.
    const fn of_another_window(&self) -> Attempts<'a> {
        Attempts {
            unavailable: 0,
            ..*self
        }
    }

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
