//! Who starts openings: every node looks, again and again, for sales whose present schedule has no opening workflow, so that a
//! crash between a change of a schedule and the start leaves nothing undone. A start is made once per revision, by its key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::command::{Command, Verb};
use engine::ids::StartKey;
use engine::payload::PayloadError;
use engine::store::{Row, SqlDatabase, StoreError};
use engine::workflow::with_causes;
use engine::workflow::{By, Signal};
use engine::{CommandError, Engine, Payload, Start, StartError, Timestamp, WorkflowId};
use futures_util::stream::{self, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{CLOSING_CHANGED, NAME, OPENING_CHANGED, OpeningInput, Superseded};
use crate::domain::ids::SaleId;
use crate::domain::sale::Sale;
use crate::rows::{narrow, slug};

/// How often a node looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Sales that one query reads.
const PAGE: i64 = 500;
/// Starts at a time.
const STARTS_AT_ONCE: usize = 32;
/// Schedules that are remembered to have an opening: forgotten together when there are more.
const KNOWN_MAX: usize = 50_000;
/// How long to wait for a signal to be taken; it is durable before.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts openings. The loop goes on for as long as a clone of this lives.
#[derive(Clone)]
pub struct Openings {
    starter: Arc<Starter>,
    _alive: Arc<watch::Sender<()>>,
}

/// An opening could not be started: it is tried again soon.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The schedules could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine did not take the start.
    #[error("the opening of sale {sale} could not be started")]
    Start {
        /// Which.
        sale: SaleId,
        /// Why.
        #[source]
        error: StartError,
    },
    /// The opening of an earlier schedule could not be told.
    #[error("the earlier opening of sale {sale} could not be told that it is superseded")]
    Signal {
        /// Which.
        sale: SaleId,
        /// Why.
        #[source]
        error: CommandError,
    },
    /// A defect of ours.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

struct Starter {
    engine: Engine,
    database: SqlDatabase,
    /// Schedules whose openings are known to be durable.
    known: Mutex<HashSet<(SaleId, u32)>>,
}

impl Openings {
    /// Begins to look after the openings of all sales in `database`. The engine has [`super::definition`].
    #[must_use]
    pub fn start(engine: Engine, database: SqlDatabase) -> Self {
        let (alive, gone) = watch::channel(());
        let starter = Arc::new(Starter {
            engine,
            database,
            known: Mutex::default(),
        });
        let runtime = starter.engine.runtime().clone();
        runtime.spawn(Arc::clone(&starter).keep(gone));
        Self {
            starter,
            _alive: Arc::new(alive),
        }
    }

    /// Starts the opening of every sale that has none for its present schedule. How many there were to start.
    pub async fn ensure(&self) -> Result<u64, OpeningError> {
        self.starter.ensure().await
    }

    /// After a sale was seeded or its schedule changed: starts the opening of the present schedule, and tells the one of the
    /// schedule before that it is superseded. Both happen by themselves as well, later.
    pub async fn changed(&self, sale: &Sale) -> Result<(), OpeningError> {
        self.starter.changed(sale).await
    }

    /// The workflow of this revision's opening, if there is one.
    pub async fn find(
        &self,
        sale: &SaleId,
        revision: u32,
    ) -> Result<Option<WorkflowId>, StoreError> {
        self.starter.find(sale, revision).await
    }
}

impl Starter {
    async fn keep(self: Arc<Self>, mut gone: watch::Receiver<()>) {
        let runtime = self.engine.runtime().clone();
        loop {
            if let Err(error) = self.ensure().await {
                tracing::warn!(error = %with_causes(&error), "an opening waits for the next look");
            }
            tokio::select! {
                () = runtime.sleep(LOOK_EVERY) => {}
                _ = gone.changed() => return,
            }
        }
    }

    async fn ensure(&self) -> Result<u64, OpeningError> {
        let (mut started, mut first_error) = (0, None);
        let mut after = String::new();
        loop {
            let page = self.unfinished(&after).await?;
            let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
            let Some(last) = page.last() else { break };
            last.sale.as_str().clone_into(&mut after);
            let unknown = page.into_iter().filter(|input| !self.knows(input));
            let mut starts = stream::iter(unknown)
                .map(|input| self.start(input))
                .buffer_unordered(STARTS_AT_ONCE);
            while let Some(result) = starts.next().await {
                match result {
                    Ok(()) => started += 1,
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            if is_last {
                break;
            }
        }
        first_error.map_or(Ok(started), Err)
    }

    /// The schedules that are not over yet.
    async fn unfinished(&self, after: &str) -> Result<Vec<OpeningInput>, StoreError> {
        let sql = "SELECT sale, revision, opens_us, closes_us FROM sales \
                   WHERE cancelled = 0 AND closed_us = 0 AND sale > ? ORDER BY sale LIMIT ?";
        let rows = self
            .database
            .query("reading the schedules", sql, &[after.into(), PAGE.into()])
            .await?;
        let input = |row: &Row| {
            Ok(OpeningInput {
                sale: slug(row, 0, SaleId::parse)?,
                revision: narrow(row, 1)?,
                opens_at: Timestamp(row.integer(2)?),
                closes_at: Timestamp(row.integer(3)?),
            })
        };
        rows.iter().map(input).collect()
    }

    async fn start(&self, input: OpeningInput) -> Result<(), OpeningError> {
        let payload = Payload::of(&input)?;
        let mut hash = Sha256::new();
        hash.update(payload.as_str());
        let start = Start {
            definition: NAME.to_owned(),
            input: payload,
            key: Some((NAME.to_owned(), key(&input.sale, input.revision))),
            request_hash: hash.finalize().into(),
            // Not the sale's: what an operator tells all purchases of a sale is not meant for its opening.
            label: None,
        };
        match self.engine.start(start).await {
            Ok(_) => {
                self.remember(input);
                Ok(())
            }
            Err(error) => Err(OpeningError::Start {
                sale: input.sale,
                error,
            }),
        }
    }

    async fn changed(&self, sale: &Sale) -> Result<(), OpeningError> {
        if !sale.is_cancelled {
            let input = OpeningInput {
                sale: sale.sale.clone(),
                revision: sale.revision,
                opens_at: sale.opens_at,
                closes_at: sale.closes_at,
            };
            if !self.knows(&input) {
                self.start(input).await?;
            }
        }
        let Some(earlier) = sale.revision.checked_sub(1).filter(|earlier| *earlier > 0) else {
            return Ok(());
        };
        match self.find(&sale.sale, earlier).await? {
            Some(workflow) => self.supersede(sale, workflow).await,
            None => Ok(()),
        }
    }

    /// Ends an opening's wait, whichever it is in.
    async fn supersede(&self, sale: &Sale, workflow: WorkflowId) -> Result<(), OpeningError> {
        for wait in [OPENING_CHANGED, CLOSING_CHANGED] {
            match self.tell(sale, workflow, wait).await {
                // It has ended, or is past this wait.
                Ok(()) | Err(CommandError::Conflict(_) | CommandError::NotFound(_)) => {}
                Err(error) => {
                    let sale = sale.sale.clone();
                    return Err(OpeningError::Signal { sale, error });
                }
            }
        }
        Ok(())
    }

    async fn tell(
        &self,
        sale: &Sale,
        workflow: WorkflowId,
        wait: &str,
    ) -> Result<(), CommandError> {
        let revision = sale.revision;
        let id = format!("{wait}-{revision}");
        let payload = Payload::of(&Superseded { revision })
            .map_err(|error| CommandError::Invalid(error.to_string()))?;
        let command = Command {
            workflow,
            verb: Verb::Signal(Signal {
                name: wait.to_owned(),
                id: id.clone(),
                payload,
            }),
            by: By {
                actor: NAME.to_owned(),
                reason: format!("the schedule has revision {revision} by now"),
            },
            expected_seq: None,
            key: id,
        };
        let deadline = self.engine.runtime().now().after(SIGNAL_TIMEOUT);
        self.engine.command(command, deadline).await.map(|_| ())
    }

    async fn find(&self, sale: &SaleId, revision: u32) -> Result<Option<WorkflowId>, StoreError> {
        let key = StartKey {
            key_space: NAME.to_owned(),
            scope: NAME.to_owned(),
            key: key(sale, revision),
        };
        let head = self.database.store().find(&key.ident()).await?;
        Ok(head.map(|head| head.id))
    }

    fn knows(&self, input: &OpeningInput) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(input.sale.clone(), input.revision))
    }

    fn remember(&self, input: OpeningInput) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert((input.sale, input.revision));
    }
}

fn key(sale: &SaleId, revision: u32) -> String {
    format!("{sale}/{revision}")
}
