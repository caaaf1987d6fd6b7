//! Pools of serial numbers in the engine's database. A number belongs to who has its row in `serial_claims`, and nothing else
//! says so: the rows' keys let no two purchases have one number, and no purchase take numbers for one unit twice.
//!
//! Each process keeps a few free numbers of each pool at hand ([`stash`]), so that those who take at the same time take
//! different ones. What is at hand is a guess: a row that says no makes the taker ask again.

mod fill;
mod stash;

use std::time::Duration;

use async_trait::async_trait;
use engine::store::change::ChangeKind;
use engine::store::{Change, CommitError, SqlDatabase, StoreError};
use engine::workflow::Refusal;
use engine::{Runtime, WorkflowId, planted};

use crate::domain::ids::{ProductId, SaleId};
use crate::ports::reservations::LINES_MAX;
use crate::ports::serials::{FillError, PoolLevel, SerialLine, Serials};
use crate::rows::{nonsense, unsigned};
use crate::tables::{SERIAL_CLAIMS, SERIALS_OF_PURCHASES};

use stash::{Grab, Stashes};

const TAKING: &str = "taking serial numbers";
/// Times that a take is tried with other numbers, before it is left to the step's next attempt.
const ATTEMPTS_MAX: u32 = 30;
/// The longest pause before the next try, in microseconds: others are writing the same rows.
const PAUSE_MAX_US: u64 = 20_000;

/// The product of a row that says that a purchase has given its numbers back.
const NO_PRODUCT: &str = "";

/// What a line has.
enum Taken {
    Nothing,
    Serials(Vec<String>),
    /// It had some, or not; it gets none any more.
    GivenBack,
}

/// The pools.
pub struct SqlSerials {
    database: SqlDatabase,
    runtime: Runtime,
    stashes: Stashes,
}

impl SqlSerials {
    /// Pools in `database`, whose tables are there.
    #[must_use]
    pub fn new(database: SqlDatabase, runtime: Runtime) -> Self {
        Self {
            stashes: Stashes::new(database.clone(), runtime.clone()),
            database,
            runtime,
        }
    }

    /// What the line has taken already.
    async fn taken(&self, line: &SerialLine) -> Result<Taken, StoreError> {
        let sql = "SELECT serial, product FROM serial_claims WHERE workflow_id = ? AND line_number = ? ORDER BY unit";
        let parameters = [
            line.workflow.bytes().as_slice().into(),
            i64::from(line.line).into(),
        ];
        let rows = self.database.query(TAKING, sql, &parameters).await?;
        let mut serials = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.text(1)? == NO_PRODUCT {
                return Ok(Taken::GivenBack);
            }
            serials.push(row.text(0)?.to_owned());
        }
        match u32::try_from(serials.len()) {
            Ok(0) => Ok(Taken::Nothing),
            Ok(count) if count == line.units => Ok(Taken::Serials(serials)),
            _ => Err(nonsense(&format!(
                "line {} of {} wants {} serial numbers, and has {}",
                line.line,
                line.workflow,
                line.units,
                serials.len()
            ))),
        }
    }

    /// `false`: a number was taken by somebody else, or the line has numbers by now.
    async fn claim(&self, line: &SerialLine, serials: &[String]) -> Result<bool, StoreError> {
        let refusal = Refusal::new("serial-taken", "The serial number is taken.");
        let claims: Vec<Change> = serials
            .iter()
            .zip(0_i64..)
            .map(|(serial, unit)| Change {
                table: &SERIAL_CLAIMS,
                key: vec![line.sale.as_str().into(), serial.as_str().into()],
                kind: ChangeKind::Insert(vec![
                    line.product.as_str().into(),
                    line.workflow.bytes().as_slice().into(),
                    i64::from(line.line).into(),
                    unit.into(),
                ]),
                refusal: refusal.clone(),
            })
            .collect();
        let is_written = written(TAKING, self.database.transact(TAKING, &claims).await)?;
        Ok(is_written || planted::is_on("serial-given-twice"))
    }

    async fn pause(&self) {
        let pause = Duration::from_micros(self.runtime.next_u64() % PAUSE_MAX_US);
        self.runtime.sleep(pause).await;
    }

    async fn count(
        &self,
        sql: &'static str,
        sale: &SaleId,
        product: &ProductId,
    ) -> Result<u64, StoreError> {
        let parameters = [sale.as_str().into(), product.as_str().into()];
        let rows = self
            .database
            .query("counting serial numbers", sql, &parameters)
            .await?;
        rows.first().map_or(Ok(0), |row| unsigned(row, 0))
    }
}

#[async_trait]
impl Serials for SqlSerials {
    async fn take(&self, line: &SerialLine) -> Result<Option<Vec<String>>, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.taken(line).await? {
                Taken::Serials(serials) => return Ok(Some(serials)),
                Taken::GivenBack => return Ok(None),
                Taken::Nothing => {}
            }
            let stash = self.stashes.of(&line.sale, &line.product);
            match stash.grab(line.units).await? {
                Grab::Some(serials) => {
                    if self.claim(line, &serials).await? {
                        return Ok(Some(serials));
                    }
                    stash.forget();
                }
                Grab::Contended => {}
                // The last ones may have been taken for this very line, by another attempt, since it was looked at.
                Grab::TooFew => {
                    return Ok(match self.taken(line).await? {
                        Taken::Serials(serials) => Some(serials),
                        Taken::GivenBack | Taken::Nothing => None,
                    });
                }
            }
            self.pause().await;
        }
        Err(contended(TAKING))
    }

    async fn give_back(&self, sale: &SaleId, workflow: WorkflowId) -> Result<(), StoreError> {
        const DOING: &str = "giving serial numbers back";
        let sql = "SELECT serial, product FROM serial_claims WHERE workflow_id = ?";
        for _ in 0..ATTEMPTS_MAX {
            let key = [workflow.bytes().as_slice().into()];
            let rows = self.database.query(DOING, sql, &key).await?;
            let mut changes = Vec::with_capacity(rows.len() + LINES_MAX);
            let mut is_marked = false;
            for row in &rows {
                if row.text(1)? == NO_PRODUCT {
                    is_marked = true;
                } else {
                    changes.push(returned(sale, row.text(0)?, workflow));
                }
            }
            if !is_marked && !planted::is_on("serials-taken-after-they-were-given-back") {
                changes.extend(marks(sale, workflow));
            }
            if changes.is_empty() || written(DOING, self.database.transact(DOING, &changes).await)?
            {
                return Ok(());
            }
            self.pause().await;
        }
        Err(contended(DOING))
    }

    async fn fill(
        &self,
        sale: &SaleId,
        product: &ProductId,
        serials: &[String],
    ) -> Result<u64, FillError> {
        fill::check(serials)?;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(added) = fill::try_fill(&self.database, sale, product, serials).await? {
                return Ok(added);
            }
            self.pause().await;
        }
        Err(contended(fill::FILLING).into())
    }

    async fn level(&self, sale: &SaleId, product: &ProductId) -> Result<PoolLevel, StoreError> {
        let filled = "SELECT COUNT(*) FROM serials WHERE sale = ? AND product = ?";
        let taken = "SELECT COUNT(*) FROM serial_claims WHERE sale = ? AND product = ?";
        Ok(PoolLevel {
            filled: self.count(filled, sale, product).await?,
            taken: self.count(taken, sale, product).await?,
        })
    }
}

fn returned(sale: &SaleId, serial: &str, workflow: WorkflowId) -> Change {
    Change {
        table: &SERIALS_OF_PURCHASES,
        key: vec![
            sale.as_str().into(),
            serial.into(),
            workflow.bytes().as_slice().into(),
        ],
        kind: ChangeKind::Delete,
        refusal: Refusal::new("serial-not-taken", "The serial number is not taken."),
    }
}

/// Rows in the place of each line's first number: an attempt to take that comes late finds its place taken, and takes nothing
/// that nobody would give back.
fn marks(sale: &SaleId, workflow: WorkflowId) -> impl Iterator<Item = Change> {
    (0..LINES_MAX).map(move |line| Change {
        table: &SERIAL_CLAIMS,
        // No number has a blank.
        key: vec![
            sale.as_str().into(),
            format!("given back: {workflow}/{line}").into(),
        ],
        kind: ChangeKind::Insert(vec![
            NO_PRODUCT.into(),
            workflow.bytes().as_slice().into(),
            i64::try_from(line).unwrap_or(i64::MAX).into(),
            0.into(),
        ]),
        refusal: Refusal::new("serials-taken", "Serial numbers were taken meanwhile."),
    })
}

/// `false`: a row said no, or others wrote the same rows.
fn written(doing: &'static str, result: Result<(), CommitError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => Ok(false),
        Err(CommitError::Store(error)) => Err(error),
        Err(error @ CommitError::Fenced { .. }) => Err(StoreError::Corrupt {
            doing,
            cause: error.to_string(),
        }),
    }
}

fn contended(doing: &'static str) -> StoreError {
    StoreError::Unavailable {
        doing,
        cause: "others are writing the same rows: try again".to_owned(),
    }
}
