//! A database and a bus that fail as real ones do: slow, away, answers lost, batches that arrive late. Underneath is the store in
//! memory, which keeps to the contract.

mod bus;
mod store;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::store::change::ChangeKind;
use engine::store::{
    Batch, Change, CommitError, Journal, JournalPosition, Lease, RefusedRows, Store as _,
    StoreError, Value,
};
use engine::testing::MemoryStore;
use engine::{PartitionId, WorkflowId};
use tokio::task::JoinSet;

pub use self::bus::FlakyBus;
use super::dice::Dice;

/// How often, in a thousand, a commit goes wrong, by the way in which it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub unavailable: u64,
    pub contended: u64,
    pub lost_before: u64,
    pub lost_after: u64,
    /// The answer is lost at once, and the batch arrives later, unless the journal was opened again or taken over.
    pub late: u64,
    /// It hangs for seconds, as a process that was stopped and woken up.
    pub hang: u64,
    /// The rows of a workflow are refused.
    pub rows_refused: u64,
    /// Any other statement fails.
    pub reads: u64,
}

impl Trouble {
    pub const WILD: Self = Self {
        unavailable: 30,
        contended: 30,
        lost_before: 30,
        lost_after: 30,
        late: 30,
        hang: 4,
        rows_refused: 40,
        reads: 20,
    };
}

/// What a test has in store for the next statements of a kind.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// It takes this long.
    Slow(Duration),
    /// It fails.
    Fails,
    /// A commit whose answer is lost, and which reaches the database after this long.
    ArrivesLate(Duration),
}

#[derive(Default)]
struct Shared {
    next: HashMap<&'static str, VecDeque<Next>>,
    trouble: Trouble,
    down: bool,
    /// Answers come at once, without a chance for anybody else to run.
    instant: bool,
    /// Nobody is told where a journal stands.
    positions_down: bool,
    /// How often the journal of a partition was opened: a batch that was sent before is refused from then on.
    opened: HashMap<PartitionId, u64>,
    /// What the committed rows add up to, by key.
    rows: BTreeMap<String, i64>,
    /// The events that the store refuses: whose (or anyone's), and of which kind.
    poisoned: Vec<(Option<WorkflowId>, &'static str)>,
    /// The steps whose rows it refuses.
    refused_steps: Vec<&'static str>,
    /// How often each kind of statement was made, but for commits.
    asked: HashMap<&'static str, usize>,
}

/// The database.
#[derive(Clone)]
pub struct FlakyStore {
    pub memory: MemoryStore,
    dice: Dice,
    shared: Arc<Mutex<Shared>>,
    on_their_way: Arc<Mutex<JoinSet<()>>>,
}

impl FlakyStore {
    pub fn new(memory: MemoryStore, dice: &Dice, trouble: Trouble) -> Self {
        let shared = Shared {
            trouble,
            ..Shared::default()
        };
        Self {
            memory,
            dice: dice.clone(),
            shared: Arc::new(Mutex::new(shared)),
            on_their_way: Arc::default(),
        }
    }

    /// From now on nothing fails.
    pub fn calm(&self) {
        let mut shared = self.shared.lock().unwrap();
        shared.trouble = Trouble::default();
        shared.down = false;
    }

    pub fn set_down(&self, down: bool) {
        self.shared.lock().unwrap().down = down;
    }

    /// Whether answers come at once, without a chance for anybody else to run.
    pub fn set_instant(&self, instant: bool) {
        self.shared.lock().unwrap().instant = instant;
    }

    pub fn set_positions_down(&self, down: bool) {
        self.shared.lock().unwrap().positions_down = down;
    }

    /// The next statements of this kind, such as `reading records`, go like this, in order.
    pub fn next(&self, doing: &'static str, next: impl IntoIterator<Item = Next>) {
        self.shared
            .lock()
            .unwrap()
            .next
            .entry(doing)
            .or_default()
            .extend(next);
    }

    /// How often a statement of this kind, such as `finding a workflow`, was made.
    pub fn asked(&self, doing: &str) -> usize {
        let shared = self.shared.lock().unwrap();
        shared.asked.get(doing).copied().unwrap_or(0)
    }

    fn take_next(&self, doing: &str) -> Option<Next> {
        self.shared.lock().unwrap().next.get_mut(doing)?.pop_front()
    }

    /// From now on the store refuses this workflow's events of this kind, for no reason that anyone foresaw.
    pub fn poison(&self, workflow: WorkflowId, kind: &'static str) {
        self.shared
            .lock()
            .unwrap()
            .poisoned
            .push((Some(workflow), kind));
    }

    /// The same for every workflow.
    pub fn poison_kind(&self, kind: &'static str) {
        self.shared.lock().unwrap().poisoned.push((None, kind));
    }

    /// From now on the rows of this step are refused, whatever the workflow.
    pub fn refuse_rows_of(&self, step: &'static str) {
        self.shared.lock().unwrap().refused_steps.push(step);
    }

    /// The store is well again.
    pub fn unpoison(&self) {
        let mut shared = self.shared.lock().unwrap();
        shared.poisoned.clear();
        shared.refused_steps.clear();
    }

    /// What the rows of each key add up to.
    pub fn rows(&self) -> BTreeMap<String, i64> {
        self.shared.lock().unwrap().rows.clone()
    }

    fn trouble(&self) -> Trouble {
        self.shared.lock().unwrap().trouble
    }

    fn opened(&self, partition: PartitionId) -> u64 {
        self.shared
            .lock()
            .unwrap()
            .opened
            .get(&partition)
            .copied()
            .unwrap_or(0)
    }

    async fn take_time(&self, doing: &str) {
        if self.shared.lock().unwrap().instant {
            return;
        }
        let slow = self.dice.chance(&format!("{doing} slow"), 20);
        let wait_ms = self
            .dice
            .roll(&format!("{doing} time"), if slow { 300 } else { 4 });
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }

    /// Any statement but a commit: takes its time, and may fail.
    async fn ready(&self, doing: &'static str) -> Result<(), StoreError> {
        *self.shared.lock().unwrap().asked.entry(doing).or_default() += 1;
        self.take_time(doing).await;
        let next = self.take_next(doing);
        if let Some(Next::Slow(wait)) = next {
            tokio::time::sleep(wait).await;
        }
        let down = self.shared.lock().unwrap().down || matches!(next, Some(Next::Fails));
        if down || self.dice.chance(doing, self.trouble().reads) {
            return Err(StoreError::Unavailable {
                doing,
                cause: "set by the test".into(),
            });
        }
        Ok(())
    }

    /// A write that is a statement of its own: takes its time, may fail, and its answer may get lost.
    async fn write<T>(
        &self,
        doing: &'static str,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.ready(doing).await?;
        let written = write.await?;
        if self
            .dice
            .chance(&format!("{doing} unanswered"), self.trouble().reads)
        {
            return Err(StoreError::Lost {
                doing,
                cause: "set by the test".into(),
            });
        }
        Ok(written)
    }

    /// A guard of the domain, or the store itself, says no.
    fn refused(&self, batch: &Batch) -> Option<CommitError> {
        let shared = self.shared.lock().unwrap();
        let is_poison = |event: &engine::store::EventRow| {
            shared.poisoned.iter().any(|(whose, kind)| {
                whose.is_none_or(|workflow| workflow == event.workflow) && event.kind == *kind
            })
        };
        if batch.events.iter().any(is_poison) {
            return Some(CommitError::RowRefused {
                rows: RefusedRows::Events,
                cause: "set by the test".into(),
            });
        }
        let (trouble, refused_steps) = (shared.trouble, shared.refused_steps.clone());
        drop(shared);
        // A change is unlucky or not, however often it is tried.
        let unlucky = |change: &&Change| {
            let key = key_of(change);
            refused_steps
                .iter()
                .any(|step| key.ends_with(&format!("/{step}")))
                || self.dice.always(
                    &format!("rows {key} {:?}", change.kind),
                    trouble.rows_refused,
                )
        };
        let change = batch.changes.iter().find(unlucky)?;
        let rows = RefusedRows::Changes(change.table.name);
        Some(CommitError::RowRefused {
            rows,
            cause: "a guard said no".into(),
        })
    }

    fn account(&self, batch: &Batch) {
        let mut shared = self.shared.lock().unwrap();
        for change in &batch.changes {
            let ChangeKind::Add(columns) = &change.kind else {
                continue;
            };
            *shared.rows.entry(key_of(change)).or_default() += columns[0].1;
        }
    }
}

fn key_of(change: &Change) -> String {
    match &change.key[0] {
        Value::Text(key) => key.clone(),
        other => format!("{other:?}"),
    }
}

struct FlakyJournal {
    store: FlakyStore,
    lease: Lease,
    memory: Box<dyn Journal>,
    opened: u64,
}

impl FlakyJournal {
    async fn write(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if self.store.shared.lock().unwrap().down {
            return Err(StoreError::Unavailable {
                doing: "committing",
                cause: "it is down".into(),
            }
            .into());
        }
        if let Some(refused) = self.store.refused(batch) {
            return Err(refused);
        }
        self.memory.commit(batch).await?;
        self.store.account(batch);
        Ok(())
    }

    /// The batch reaches the database after a while: too late if the journal was opened again.
    async fn arrive_late(&mut self, batch: &Batch, after: Duration) -> Result<(), CommitError> {
        let memory = self.store.memory.open_journal(&self.lease).await?;
        let mut late = FlakyJournal {
            store: self.store.clone(),
            lease: self.lease.clone(),
            memory,
            opened: self.opened,
        };
        let batch = copy(batch);
        self.store.on_their_way.lock().unwrap().spawn(async move {
            tokio::time::sleep(after).await;
            if late.store.opened(late.lease.partition) == late.opened {
                let _nobody_hears_it = late.write(&batch).await;
            }
        });
        Ok(())
    }
}

fn copy(batch: &Batch) -> Batch {
    Batch {
        number: batch.number,
        workflows: batch.workflows.clone(),
        events: batch.events.clone(),
        heads: batch.heads.clone(),
        parked: batch.parked.clone(),
        unparked: batch.unparked.clone(),
        answers: batch.answers.clone(),
        changes: batch.changes.clone(),
        published_seq: batch.published_seq,
    }
}

#[async_trait]
impl Journal for FlakyJournal {
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        const DOING: &str = "committing a batch";
        let lost = || StoreError::Lost {
            doing: DOING,
            cause: "set by the test".into(),
        };
        self.store.take_time(DOING).await;
        match self.store.take_next(DOING) {
            Some(Next::Slow(wait)) => tokio::time::sleep(wait).await,
            Some(Next::Fails) => return Err(lost().into()),
            Some(Next::ArrivesLate(after)) => {
                self.arrive_late(batch, after).await?;
                return Err(lost().into());
            }
            None => {}
        }
        let trouble = self.store.trouble();
        let roll = self.store.dice.roll(DOING, 1000);
        let kinds = [
            trouble.unavailable,
            trouble.contended,
            trouble.lost_before,
            trouble.lost_after,
            trouble.late,
            trouble.hang,
        ];
        let mut sum = 0;
        let kind = kinds.iter().position(|share| {
            sum += share;
            roll < sum
        });
        match kind {
            Some(0) => Err(StoreError::Unavailable {
                doing: DOING,
                cause: "set by the test".into(),
            }
            .into()),
            Some(1) => Err(CommitError::Contended("set by the test".into())),
            Some(2) => Err(lost().into()),
            Some(3) => {
                self.write(batch).await?;
                Err(lost().into())
            }
            Some(4) => {
                let after = Duration::from_millis(self.store.dice.roll("late batch", 15_000));
                self.arrive_late(batch, after).await?;
                Err(lost().into())
            }
            Some(_) => {
                let hang = Duration::from_millis(self.store.dice.roll("hanging commit", 14_000));
                tokio::time::sleep(hang).await;
                self.write(batch).await
            }
            None => self.write(batch).await,
        }
    }

    async fn position(&mut self) -> Result<JournalPosition, StoreError> {
        const DOING: &str = "reading a journal's position";
        self.store.ready(DOING).await?;
        if self.store.shared.lock().unwrap().positions_down {
            return Err(StoreError::Unavailable {
                doing: DOING,
                cause: "set by the test".into(),
            });
        }
        let position = self.memory.position().await?;
        // It is read under a lock and opens the journal again: what is still on its way comes too late.
        let mut shared = self.store.shared.lock().unwrap();
        let opened = shared.opened.entry(self.lease.partition).or_default();
        *opened += 1;
        self.opened = *opened;
        Ok(position)
    }
}
