//! I3: what the gateway says it took is what the goods cost.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use engine::WorkflowId;
use engine::store::{ListFilter, SqlDatabase, Status, StoreError};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::look_up::{goods_of, standings};
use super::{Inputs, InvariantReport, VerifyError};
use crate::domain::money::{Currency, Money};
use crate::ports::payment_gateway::{PaymentGateway, PaymentStatus};
use crate::purchase;
use crate::rows::{unsigned, workflow};

/// Rows that one query reads.
const PAGE_ROWS: i64 = 5_000;
/// Purchases of each saga and end that a gateway without a ledger is asked about, the newest ones.
const INQUIRIES_MAX: usize = 500;
/// The goods of so many purchases are looked for by their purchases; of more, all goods are read.
const FEW: usize = 100;
/// Inquiries at a time.
const INQUIRIES_AT_ONCE: usize = 4;

/// What the gateway has taken for an order, and given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The order: a workflow's id.
    pub order: String,
    /// What it was paid in.
    pub currency: Currency,
    /// Minor units.
    pub captured: u64,
    /// Minor units.
    pub refunded: u64,
}

/// The gateway's ledger could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);

/// Some entries of a ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerPage {
    /// One entry an order.
    pub entries: Vec<LedgerEntry>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<u64>,
}

/// A gateway that shows its ledger.
#[async_trait]
pub trait GatewayLedger: Send + Sync {
    /// A page from `cursor` on, at first 0; `None` where this gateway shows no ledger.
    async fn page(&self, cursor: u64) -> Result<Option<LedgerPage>, LedgerError>;
}

/// How the gateway's side is read.
#[derive(Clone, Copy)]
pub enum Ledger<'a> {
    /// All of it, one entry an order.
    Entries(&'a [LedgerEntry]),
    /// From the gateway: by its ledger where it shows one, and otherwise by asking about the newest purchases, one by one.
    Gateway(&'a dyn GatewayLedger, &'a dyn PaymentGateway),
}

/// A purchase on both sides, in minor units.
#[derive(Clone, Copy, Default)]
struct Sides {
    /// By the gateway's word, where it has a payment.
    currency: Option<Currency>,
    captured: u64,
    refunded: u64,
    goods: u64,
}

impl Sides {
    /// What is wrong with them.
    fn wrong(self) -> Option<String> {
        let Self {
            captured,
            refunded,
            goods,
            ..
        } = self;
        match captured.checked_sub(refunded) {
            None => Some(format!("{refunded} refunded of {captured} captured")),
            Some(net) if net == goods && (refunded == 0 || goods == 0) => None,
            Some(_) => Some(format!(
                "{captured} captured - {refunded} refunded, goods for {goods}"
            )),
        }
    }

    /// Money that nobody has got anything for.
    fn held(self) -> Option<Money> {
        let held = self.captured.saturating_sub(self.refunded);
        let currency = self.currency.filter(|_| held > 0 && self.goods == 0)?;
        Some(Money::new(held, currency))
    }

    fn add(&mut self, entry: &LedgerEntry) {
        self.currency = Some(entry.currency);
        self.captured = self.captured.saturating_add(entry.captured);
        self.refunded = self.refunded.saturating_add(entry.refunded);
    }
}

/// What was read of all purchases.
#[derive(Default)]
struct Books {
    purchases: BTreeMap<WorkflowId, Sides>,
    /// Orders that no purchase of ours has.
    foreign: Vec<String>,
    note: Option<String>,
}

/// I3. Looks at each purchase that has an entry in the ledger or goods. Money without goods is what an operator's queue is
/// for, so a parked purchase may have it, and one that an operator gave up: how many do, and how much, is noted. Goods without money
/// nobody may have. What does not add up is read again, from both sides, once it is known that the purchase has ended.
pub async fn captured_is_issued(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title = "money: captured - refunded in the gateway's ledger = price of the goods issued, for each purchase, and none where money was given back";
    let mut report = InvariantReport::new("I3", title);
    match compared(inputs, &mut report).await {
        // There is a gateway: that it can't be asked is no excuse.
        Err(error @ (VerifyError::Ledger(_) | VerifyError::Gateway(_))) => {
            report.violated(engine::workflow::event::with_causes(&error));
        }
        compared => compared?,
    }
    Ok(report.finished())
}

async fn compared(inputs: &Inputs<'_>, report: &mut InvariantReport) -> Result<(), VerifyError> {
    let books = books(inputs, None).await?;
    report.notes.extend(books.note);
    for order in books.foreign {
        report.check(false, || format!("order {order}: no purchase of ours"));
    }
    report.checked += books.purchases.len() as u64;
    let odd = books.purchases.iter();
    let odd: Vec<WorkflowId> = odd
        .filter(|(_, sides)| sides.wrong().is_some())
        .map(|(purchase, _)| *purchase)
        .collect();
    if !odd.is_empty() {
        look_again(inputs, &odd, report).await?;
    }
    Ok(())
}

/// These did not add up: where they stand now is read first, and then both sides again.
async fn look_again(
    inputs: &Inputs<'_>,
    odd: &[WorkflowId],
    report: &mut InvariantReport,
) -> Result<(), VerifyError> {
    let there = standings(inputs.database, odd).await?;
    let goes_on = |purchase: &WorkflowId| {
        let standing = there.get(purchase);
        standing.is_some_and(|standing| standing.is_under_way())
    };
    let (under_way, ended): (Vec<WorkflowId>, Vec<WorkflowId>) =
        odd.iter().partition(|purchase| goes_on(purchase));
    for purchase in under_way {
        let what = format!("{purchase}: it is being paid for or given back");
        report.under_way_unless(inputs.at_rest, what);
    }
    if ended.is_empty() {
        return Ok(());
    }
    let again = books(inputs, Some(&ended.iter().copied().collect())).await?;
    let mut held = Vec::new();
    for purchase in ended {
        let sides = again.purchases.get(&purchase).copied();
        let sides = sides.unwrap_or_default();
        let standing = there.get(&purchase);
        let is_an_operators = standing.is_some_and(|standing| standing.is_an_operators());
        if let Some(what) = sides.wrong()
            && (sides.goods > 0 || !is_an_operators)
        {
            report.violated(format!("{purchase}: {what}"));
        } else if is_an_operators {
            held.extend(sides.held());
        }
    }
    report.notes.extend(is_held(&held));
    Ok(())
}

/// How much money there is in all for which an operator has to decide what is given.
fn is_held(held: &[Money]) -> Option<String> {
    let sums = Money::sums(held.iter().copied());
    let sums: Vec<String> = sums.iter().map(Money::to_string).collect();
    let purchases = held.len();
    (purchases > 0).then(|| {
        format!(
            "{purchases} purchases wait for an operator, or were given up by one, with money and without goods: the gateway holds {}",
            sums.join(" and ")
        )
    })
}

/// Both sides of all purchases, or only of these. The ledger is read first: goods are issued after the money was taken.
async fn books(
    inputs: &Inputs<'_>,
    only: Option<&HashSet<WorkflowId>>,
) -> Result<Books, VerifyError> {
    let mut books = Books::default();
    let is_asked = |purchase: &WorkflowId| only.is_none_or(|only| only.contains(purchase));
    match inputs.ledger {
        Ledger::Entries(entries) => books.take(entries, &is_asked),
        Ledger::Gateway(ledger, gateway) => {
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                let Some(page) = ledger.page(from).await? else {
                    return asked(inputs, gateway, only).await;
                };
                books.take(&page.entries, &is_asked);
                cursor = page.next;
            }
        }
    }
    match only {
        Some(only) if only.len() <= FEW => {
            some_goods(inputs.database, only, &mut books.purchases).await?;
        }
        _ => all_goods(inputs, &is_asked, &mut books.purchases).await?,
    }
    Ok(books)
}

impl Books {
    fn take(&mut self, entries: &[LedgerEntry], is_asked: &impl Fn(&WorkflowId) -> bool) {
        for entry in entries {
            match WorkflowId::parse(&entry.order) {
                Some(purchase) if is_asked(&purchase) => {
                    self.purchases.entry(purchase).or_default().add(entry);
                }
                Some(_) => {}
                None => self.foreign.push(entry.order.clone()),
            }
        }
    }
}

/// A gateway that shows no ledger is asked about each of the newest purchases, by order.
async fn asked(
    inputs: &Inputs<'_>,
    gateway: &dyn PaymentGateway,
    only: Option<&HashSet<WorkflowId>>,
) -> Result<Books, VerifyError> {
    let newest = match only {
        Some(only) => only.iter().copied().collect(),
        None => newest(inputs).await?,
    };
    let note = format!(
        "this gateway shows no ledger: it was asked about the newest {} purchases, one by one",
        newest.len()
    );
    let mut purchases: BTreeMap<WorkflowId, Sides> = stream::iter(newest)
        .map(|purchase| async move {
            let record = gateway.inquire(&purchase.to_string()).await?;
            let mut sides = Sides::default();
            if let Some(record) = record.filter(|record| record.status != PaymentStatus::Declined) {
                sides.currency = Some(record.amount.currency);
                sides.captured = record.amount.amount;
                sides.refunded = record.refunded;
            }
            Ok::<_, VerifyError>((purchase, sides))
        })
        .buffer_unordered(INQUIRIES_AT_ONCE)
        .try_collect()
        .await?;
    let asked = purchases.keys().copied().collect();
    some_goods(inputs.database, &asked, &mut purchases).await?;
    Ok(Books {
        purchases,
        foreign: Vec::new(),
        note: Some(note),
    })
}

/// The newest purchases that have ended in one way or another, of both sagas.
async fn newest(inputs: &Inputs<'_>) -> Result<Vec<WorkflowId>, StoreError> {
    let ends = [Status::Completed, Status::Compensated, Status::Parked];
    let mut newest = Vec::new();
    for definition in [purchase::NAME, purchase::REDIRECT_NAME] {
        for status in ends {
            let filter = ListFilter {
                status: Some(status),
                definition: Some(definition.to_owned()),
                limit: 500,
                ..ListFilter::default()
            };
            let page = inputs.store.list(&filter).await?;
            let ids = page.items.iter().map(|head| head.id);
            newest.extend(ids.take(INQUIRIES_MAX));
        }
    }
    Ok(newest)
}

async fn some_goods(
    database: &SqlDatabase,
    only: &HashSet<WorkflowId>,
    purchases: &mut BTreeMap<WorkflowId, Sides>,
) -> Result<(), StoreError> {
    let only: Vec<WorkflowId> = only.iter().copied().collect();
    for (purchase, goods) in goods_of(database, &only).await? {
        purchases.entry(purchase).or_default().goods = goods;
    }
    Ok(())
}

async fn all_goods(
    inputs: &Inputs<'_>,
    is_asked: &impl Fn(&WorkflowId) -> bool,
    purchases: &mut BTreeMap<WorkflowId, Sides>,
) -> Result<(), StoreError> {
    let sql = "SELECT sale, serial, workflow_id, price FROM goods \
               WHERE sale > ? OR (sale = ? AND serial > ?) ORDER BY sale, serial LIMIT ?";
    let (mut sale, mut serial) = (String::new(), String::new());
    loop {
        let parameters = [
            sale.as_str().into(),
            sale.as_str().into(),
            serial.as_str().into(),
            PAGE_ROWS.into(),
        ];
        let rows = inputs
            .database
            .query("reading the goods", sql, &parameters)
            .await?;
        for row in &rows {
            let purchase = workflow(row, 2)?;
            if is_asked(&purchase) {
                purchases.entry(purchase).or_default().goods += unsigned(row, 3)?;
            }
        }
        match rows.last() {
            Some(last) if i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE_ROWS) => {
                (sale, serial) = (last.text(0)?.to_owned(), last.text(1)?.to_owned());
            }
            _ => return Ok(()),
        }
        inputs.pause().await;
    }
}
