//! The books of a sale: what was paid, refunded and issued, purchase by purchase, from our own records. What was paid and refunded
//! is in the journals of the purchases; what was issued is in the goods. For each purchase that has come to its end the three must
//! add up; what is paid and neither issued nor refunded yet belongs to a purchase that is open, or is an operator's to decide. Of a
//! purchase that was removed because it ended long ago only the goods are left, which cost what was paid: they are counted apart. So
//! are those of which nobody here knows whether they are paid: what the gateway holds for them is the gateway's word.

mod undecided;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use engine::store::{ListFilter, SqlDatabase, Status, StoreError};
use engine::{Engine, View, WorkflowId};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::domain::ids::SaleId;
use crate::ports::payment_gateway::PaymentGateway;
use crate::purchase::{Fulfilment, NAME, Paid, Payment, REDIRECT_NAME, Refund};
use crate::rows::{nonsense, unsigned, workflow};
use undecided::Question;
pub use undecided::{Undecided, UndecidedPurchase};

/// Rows that one query reads.
const PAGE_ROWS: i64 = 5_000;
/// Workflows of one page of a list: the most that the store gives.
const PAGE_WORKFLOWS: u16 = 500;
/// Journals that are read at a time.
const READS_MAX: usize = 16;
/// Differences that are named.
const DIFFERENCES_MAX: usize = 50;

/// The books of a sale, in minor units of its currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Purchases that were paid for, by what has become of them.
    pub purchases: Purchases,
    /// What was captured.
    pub paid: u64,
    /// What of it was given back.
    pub refunded: u64,
    /// What of it goods were issued for.
    pub issued: u64,
    /// What of it is neither yet: of purchases that are open, or wait for an operator, or were given up by one.
    pub outstanding: u64,
    /// Purchases that wait for an operator because nobody here knows whether they are paid. They are in none of the figures above.
    pub undecided: Undecided,
    /// What is left of purchases that were removed since. It is in none of the other figures.
    pub purged: Purged,
    /// Each purchase that has come to its end is issued or refunded to the last unit, and nobody has goods that were not paid for.
    pub adds_up: bool,
    /// Purchases for which it does not add up, at most 50 of them.
    pub differences: Vec<Difference>,
}

/// Purchases that were paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purchases {
    /// All of them.
    pub paid: u64,
    /// Those with goods.
    pub issued: u64,
    /// Those whose money was given back.
    pub refunded: u64,
    /// Those with neither yet.
    pub outstanding: u64,
}

/// Purchases with goods that the retention has removed, journal and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// How many.
    pub purchases: u64,
    /// What their goods cost.
    pub issued: u64,
}

/// A purchase whose money and goods differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub purchase: String,
    /// Where it stands; absent when goods name a purchase that is not there.
    pub state: Option<Status>,
    /// What was captured.
    pub paid: u64,
    /// What was given back.
    pub refunded: u64,
    /// What goods were issued for.
    pub issued: u64,
}

impl Books {
    /// Reads the books. What moves meanwhile may be counted as outstanding, and be issued or refunded a moment later. The gateway is
    /// asked about what is undecided, and about nothing else.
    pub async fn read(
        engine: &Engine,
        database: &SqlDatabase,
        gateway: &dyn PaymentGateway,
        sale: &SaleId,
    ) -> Result<Self, StoreError> {
        // The goods first: those of a purchase that is paid for meanwhile are then missing, which is no difference while it is open.
        let mut issued = issued(database, sale).await?;
        let mut books = Self {
            adds_up: true,
            ..Self::default()
        };
        let reader = Reader {
            engine,
            database,
            sale,
        };
        let mut questions = Vec::new();
        for definition in [NAME, REDIRECT_NAME] {
            reader
                .count_all(&mut books, &mut questions, definition, &mut issued)
                .await?;
        }
        reader.count_unlisted(&mut books, issued).await?;
        books.undecided = Undecided::resolve(questions, gateway).await;
        Ok(books)
    }

    fn count(&mut self, account: Account) {
        let Account {
            purchase,
            state,
            paid,
            refunded,
            issued,
        } = account;
        if paid == 0 && issued == 0 {
            return;
        }
        self.paid += paid;
        self.refunded += refunded;
        self.issued += issued;
        self.purchases.paid += u64::from(paid > 0);
        self.purchases.refunded += u64::from(refunded > 0);
        self.purchases.issued += u64::from(issued > 0);
        if account.is_outstanding() {
            self.outstanding += paid;
            self.purchases.outstanding += 1;
        } else if !account.adds_up() {
            self.adds_up = false;
            if self.differences.len() < DIFFERENCES_MAX {
                self.differences.push(Difference {
                    purchase: purchase.to_string(),
                    state,
                    paid,
                    refunded,
                    issued,
                });
            }
        }
    }
}

/// What one purchase has paid and got.
#[derive(Clone, Copy, Debug)]
struct Account {
    purchase: WorkflowId,
    state: Option<Status>,
    paid: u64,
    refunded: u64,
    issued: u64,
}

impl Account {
    fn of(purchase: WorkflowId, view: Option<&View>, issued: u64) -> Result<Self, StoreError> {
        let (paid, refunded) = view.map_or(Ok((0, 0)), money)?;
        Ok(Self {
            purchase,
            state: view.map(|view| view.head.status),
            paid,
            refunded,
            issued,
        })
    }

    const fn settled(&self) -> u64 {
        self.refunded.saturating_add(self.issued)
    }

    fn is_outstanding(&self) -> bool {
        self.settled() == 0 && self.state != Some(Status::Completed)
    }

    const fn adds_up(&self) -> bool {
        self.settled() == self.paid
    }
}

struct Reader<'a> {
    engine: &'a Engine,
    database: &'a SqlDatabase,
    sale: &'a SaleId,
}

impl Reader<'_> {
    async fn count_all(
        &self,
        books: &mut Books,
        questions: &mut Vec<Question>,
        definition: &str,
        issued: &mut HashMap<WorkflowId, Issued>,
    ) -> Result<(), StoreError> {
        let mut filter = ListFilter {
            definition: Some(definition.to_owned()),
            label: Some(self.sale.to_string()),
            limit: PAGE_WORKFLOWS,
            ..ListFilter::default()
        };
        loop {
            let page = self.engine.list(&filter).await?;
            // What was turned back has paid nothing: it never came to its pivot.
            let heads = page.items.iter();
            let with_prices: Vec<(WorkflowId, u64)> = heads
                .filter(|head| head.status != Status::Compensated)
                .map(|head| {
                    let goods = issued.remove(&head.id);
                    (head.id, goods.map_or(0, |goods| goods.price))
                })
                .collect();
            let accounts: Vec<(Account, Option<Question>)> = stream::iter(with_prices)
                .map(|(id, price)| self.account(id, price))
                .buffered(READS_MAX)
                .try_collect()
                .await?;
            for (account, question) in accounts {
                books.count(account);
                questions.extend(question);
            }
            if page.next.is_none() {
                return Ok(());
            }
            filter.after = page.next;
        }
    }

    /// Goods of purchases that are not in the list: begun after it was read, removed since, or nobody's.
    async fn count_unlisted(
        &self,
        books: &mut Books,
        issued: HashMap<WorkflowId, Issued>,
    ) -> Result<(), StoreError> {
        let mut accounts = stream::iter(issued)
            .map(|(id, goods)| self.unlisted(id, goods))
            .buffer_unordered(READS_MAX);
        while let Some((account, is_purged)) = accounts.try_next().await? {
            if is_purged {
                books.purged.purchases += 1;
                books.purged.issued += account.issued;
            } else {
                books.count(account);
            }
        }
        Ok(())
    }

    async fn unlisted(&self, id: WorkflowId, goods: Issued) -> Result<(Account, bool), StoreError> {
        let view = self.engine.view(id).await?;
        let account = Account::of(id, view.as_ref(), goods.price)?;
        let is_purged = view.is_none() && self.is_purged(id, &goods.buyer).await?;
        Ok((account, is_purged))
    }

    /// It was a purchase, it is old enough to have been removed, and nothing of its journal is left, because a removal leaves
    /// nothing. Anything else that goods without a workflow can be is a difference.
    async fn is_purged(&self, id: WorkflowId, buyer: &str) -> Result<bool, StoreError> {
        let Some(retention) = self.engine.retention() else {
            return Ok(false);
        };
        let retention_us = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        let before = self.engine.runtime().now().0.saturating_sub(retention_us);
        let sql = "SELECT COUNT(*) FROM purchases WHERE buyer = ? AND created_us <= ? \
                   AND workflow_id = ? AND NOT EXISTS (SELECT 1 FROM events WHERE workflow_id = ?)";
        let id = id.bytes().as_slice();
        let parameters = [buyer.into(), before.into(), id.into(), id.into()];
        let rows = self
            .database
            .query("looking for a removed purchase", sql, &parameters)
            .await?;
        let count = rows.first().map(|row| unsigned(row, 0)).transpose()?;
        Ok(count.is_some_and(|count| count > 0))
    }

    async fn account(
        &self,
        id: WorkflowId,
        issued: u64,
    ) -> Result<(Account, Option<Question>), StoreError> {
        let view = self.engine.view(id).await?;
        let mut account = Account::of(id, view.as_ref(), issued)?;
        if !account.is_outstanding() && !account.adds_up() {
            // Its goods may have been issued after they were read.
            account.issued = self.goods_of(id).await?;
        }
        let question = view.as_ref().map(Question::about).transpose()?.flatten();
        Ok((account, question))
    }

    async fn goods_of(&self, id: WorkflowId) -> Result<u64, StoreError> {
        let sql = "SELECT price FROM goods WHERE workflow_id = ? AND sale = ?";
        let parameters = [id.bytes().as_slice().into(), self.sale.as_str().into()];
        let rows = self
            .database
            .query("reading the goods", sql, &parameters)
            .await?;
        rows.iter().map(|row| unsigned(row, 0)).sum()
    }
}

/// What was captured and what was given back.
fn money(view: &View) -> Result<(u64, u64), StoreError> {
    let Some(state) = &view.state else {
        return Err(nonsense(&format!(
            "this program does not have {}, which {} runs",
            view.head.definition, view.id
        )));
    };
    let (mut captured, mut refunded) = (0, 0);
    if let Some(output) = state.output_of(Payment::NAME) {
        let paid: Paid = output.to().map_err(|error| nonsense(&error))?;
        captured = paid.captured.amount;
    }
    if let Some(output) = state.output_of(Refund::NAME) {
        let fulfilment: Fulfilment = output.to().map_err(|error| nonsense(&error))?;
        if let Fulfilment::Refunded { amount, .. } = fulfilment {
            refunded = amount.amount;
        }
    }
    Ok((captured, refunded))
}

/// The goods of a purchase.
struct Issued {
    price: u64,
    buyer: String,
}

/// The goods of each purchase.
async fn issued(
    database: &SqlDatabase,
    sale: &SaleId,
) -> Result<HashMap<WorkflowId, Issued>, StoreError> {
    let sql = "SELECT serial, workflow_id, price, buyer FROM goods \
               WHERE sale = ? AND serial > ? ORDER BY serial LIMIT ?";
    let mut issued: HashMap<WorkflowId, Issued> = HashMap::new();
    let mut last = String::new();
    loop {
        let parameters = [sale.as_str().into(), last.as_str().into(), PAGE_ROWS.into()];
        let rows = database
            .query("reading the goods", sql, &parameters)
            .await?;
        for row in &rows {
            let price = unsigned(row, 2)?;
            match issued.entry(workflow(row, 1)?) {
                Entry::Occupied(mut goods) => goods.get_mut().price += price,
                Entry::Vacant(none) => {
                    let buyer = row.text(3)?.to_owned();
                    none.insert(Issued { price, buyer });
                }
            }
        }
        match rows.last() {
            Some(row) if i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE_ROWS) => {
                row.text(0)?.clone_into(&mut last);
            }
            _ => return Ok(issued),
        }
    }
}
