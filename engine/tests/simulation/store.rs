//! The database at the end of a network that loses requests and answers, in front of a disk that may be slow. Underneath is the
//! store in memory, which keeps to the contract. What was sent arrives, or not, whatever becomes of the process that sent it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::ids::Ident;
use engine::store::change::ChangeKind;
use engine::store::{
    Batch, BatchProgress, BatchRow, BatchState, BatchStore, CommandId, CommandRow, CommandState,
    CommandStore, CommitError, ErrorGroup, Head, Journal, JournalPosition, Lease, ListCursor,
    ListFilter, NewBatch, NewCommand, OpenCursor, OpenRow, Page, PartitionRow, Purged, RefusedRows,
    Status, Store, StoreError, StoredEvent, Submitted, UpkeepStore, Value,
};
use engine::testing::MemoryStore;
use engine::workflow::{DefinitionRef, Record};
use engine::{Epoch, NodeName, PartitionId, Timestamp, WorkflowId};
use tokio::sync::oneshot;

use super::executor::Owner;
use super::faults::{Fault, Plant};
use super::world::{Cut, Party, World};

/// A statement of which nobody hears is given up after this long.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// What the database knows besides its rows.
#[derive(Default)]
pub struct Disk {
    /// How often each journal was opened: what was sent before that is refused.
    opened: BTreeMap<PartitionId, u64>,
    /// The last batch of each journal.
    batch: BTreeMap<PartitionId, u64>,
    /// Under which epoch each batch was written, in commit order.
    pub written: Vec<(PartitionId, Epoch)>,
    /// What the committed rows add up to, by key.
    pub rows: BTreeMap<String, i64>,
    /// It is away for everybody.
    pub down: bool,
    /// It takes this much longer.
    pub slow: Duration,
    /// How far ahead any clock has been, in microseconds.
    pub clock_max_us: i64,
}

/// The database as one life of a process reaches it.
pub struct SimulatedStore {
    world: Arc<World>,
    process: usize,
    life: u32,
}

/// What becomes of a statement.
enum Fate {
    Fine,
    /// Nothing happens, and it is said.
    Refused(&'static str),
    /// Nothing happens, and nobody says so.
    LostRequest,
    /// It happens, and nobody says so.
    LostReply,
    /// It was given up when it happens.
    Late(Duration),
}

fn unavailable(doing: &'static str, cause: &str) -> StoreError {
    let cause = cause.to_owned();
    StoreError::Unavailable { doing, cause }
}

fn lost(doing: &'static str) -> StoreError {
    let cause = "no answer".to_owned();
    StoreError::Lost { doing, cause }
}

impl SimulatedStore {
    pub fn new(world: &Arc<World>, process: usize, life: u32) -> Self {
        Self {
            world: Arc::clone(world),
            process,
            life,
        }
    }

    fn memory(&self) -> MemoryStore {
        self.world.memory.clone()
    }

    /// What the network does to every statement.
    fn reach(&self) -> Option<Fate> {
        let world = &self.world;
        if let Some(cut) = world.cut(self.process, Party::Database) {
            return Some(match cut {
                Cut::Refuses => Fate::Refused("connection refused"),
                Cut::Swallows => Fate::LostRequest,
            });
        }
        let down = world.disk.lock().unwrap().down;
        down.then_some(Fate::Refused("the database is away"))
    }

    fn fate_of_statement(&self, doing: &'static str, writes: bool) -> Fate {
        let world = &self.world;
        if let Some(fate) = self.reach() {
            return fate;
        }
        if world.strikes(Fault::StatementFails, doing, 15) {
            return Fate::Refused("a broken pipe");
        }
        if writes && world.strikes(Fault::StatementLostReply, doing, 30) {
            return Fate::LostReply;
        }
        Fate::Fine
    }

    fn fate_of_commit(&self) -> Fate {
        let world = &self.world;
        if let Some(fate) = self.reach() {
            return fate;
        }
        if world.strikes(Fault::CommitRefused, "commit", 40) {
            return Fate::Refused("out of connections");
        }
        if world.strikes(Fault::CommitLostRequest, "commit", 30) {
            return Fate::LostRequest;
        }
        if world.strikes(Fault::CommitLostReply, "commit", 40) {
            return Fate::LostReply;
        }
        if world.strikes(Fault::CommitLate, "commit", 30) {
            return Fate::Late(world.millis("late commit", 12_000));
        }
        Fate::Fine
    }

    fn disk_time(&self, doing: &str) -> Duration {
        let world = &self.world;
        let mut takes = world.travel("disk");
        if world.has(Fault::SlowDisk) {
            takes += world.disk.lock().unwrap().slow;
            if world.strikes(Fault::SlowDisk, doing, 20) {
                takes += world.millis("slow disk", 3_000);
            }
        }
        takes
    }

    /// Sends a statement, which arrives or not, and waits for its answer.
    async fn send<T, E, F>(
        &self,
        doing: &'static str,
        fate: Fate,
        statement: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        let simulation = self.world.simulation.clone();
        let (there, back) = (self.disk_time(doing), self.world.travel("answer"));
        let (answer, answered) = oneshot::channel();
        if let Fate::LostRequest = fate {
            simulation.sleep(STATEMENT_TIMEOUT).await;
            return Err(lost(doing).into());
        }
        let wire = simulation.clone();
        simulation.spawn(Owner::World, async move {
            wire.sleep(there).await;
            let result = match fate {
                Fate::Fine => statement().await,
                Fate::LostReply => {
                    let _nobody_hears_it = statement().await;
                    wire.sleep(back + Duration::from_millis(50)).await;
                    Err(lost(doing).into())
                }
                Fate::Late(after) => {
                    let _gone = answer.send(Err(lost(doing).into()));
                    wire.sleep(after).await;
                    let _nobody_hears_it = statement().await;
                    return;
                }
                Fate::Refused(why) => Err(unavailable(doing, why).into()),
                Fate::LostRequest => return,
            };
            wire.sleep(back).await;
            let _gone = answer.send(result);
        });
        answered.await.unwrap_or_else(|_| Err(lost(doing).into()))
    }

    async fn read<T, F>(
        &self,
        doing: &'static str,
        statement: impl FnOnce(MemoryStore) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (fate, memory) = (self.fate_of_statement(doing, false), self.memory());
        let sent = self.send(doing, fate, move || statement(memory));
        // A read that was lost did nothing.
        sent.await.map_err(|error: StoreError| match error {
            StoreError::Lost { doing, cause } => StoreError::Unavailable { doing, cause },
            other => other,
        })
    }

    async fn write<T, F>(
        &self,
        doing: &'static str,
        statement: impl FnOnce(MemoryStore) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (fate, memory) = (self.fate_of_statement(doing, true), self.memory());
        self.send(doing, fate, move || statement(memory)).await
    }
}

/// One partition's journal, as one life reaches it: opened anew after each batch of which nobody knows what became.
struct SimulatedJournal {
    store: SimulatedStore,
    lease: Lease,
    opened: Option<u64>,
}

impl SimulatedJournal {
    /// From now on what was sent before is refused; not so where another has the partition.
    async fn open(&mut self) -> Result<(), StoreError> {
        const DOING: &str = "opening a journal";
        let (world, lease) = (Arc::clone(&self.store.world), self.lease.clone());
        let opened = self.store.write(DOING, move |memory| async move {
            let holds = holder(&memory, lease.partition).await == Some(lease.epoch);
            let mut disk = world.disk.lock().unwrap();
            let opened = disk.opened.entry(lease.partition).or_default();
            *opened += u64::from(holds);
            Ok(*opened)
        });
        self.opened = Some(opened.await?);
        Ok(())
    }
}

/// The epoch under which the partition is held, if it is.
async fn holder(memory: &MemoryStore, partition: PartitionId) -> Option<Epoch> {
    let rows = memory.partitions().await.ok()?;
    let row = rows.into_iter().find(|row| row.id == partition)?;
    (!row.retired && row.lease_left_us > 0).then_some(row.epoch)
}

/// Writes a batch as the database does: if the lease holds and the batch continues the journal as it was opened.
async fn write_batch(
    world: &World,
    lease: &Lease,
    opened: u64,
    batch: &Batch,
) -> Result<(), CommitError> {
    let (partition, epoch) = (lease.partition, lease.epoch);
    let held_under = holder(&world.memory, partition).await;
    if world.is_planted(Plant::NoFence) && held_under.is_some_and(|held| held > epoch) {
        return write_unfenced(world, lease, held_under, batch).await;
    }
    if held_under != Some(epoch) {
        world.count("stale writes refused");
        world.simulation.note(|| {
            format!(
                "the fence refuses batch {} of partition {partition} under epoch {}",
                batch.number, epoch.0
            )
        });
        return Err(CommitError::Fenced { partition, epoch });
    }
    {
        let disk = world.disk.lock().unwrap();
        let number = disk.batch.get(&partition).copied().unwrap_or(0) + 1;
        let is_open = disk.opened.get(&partition).copied().unwrap_or(0) == opened;
        if number != batch.number || !is_open {
            drop(disk);
            world.count("batches that came too late");
            let cause = format!("batch {} does not continue the journal", batch.number);
            let doing = "committing a batch";
            return Err(StoreError::Corrupt { doing, cause }.into());
        }
    }
    if let Some(refused) = refused_rows(world, batch) {
        return Err(refused);
    }
    let mut journal = world.memory.open_journal(lease).await?;
    journal.commit(batch).await?;
    account(world, lease.epoch, partition, batch);
    Ok(())
}

/// What a database does that has no fence: whoever writes, writes behind what is there.
async fn write_unfenced(
    world: &World,
    lease: &Lease,
    held_under: Option<Epoch>,
    batch: &Batch,
) -> Result<(), CommitError> {
    let Some(epoch) = held_under else {
        return Ok(());
    };
    let partition = lease.partition;
    let mut journal = world
        .memory
        .open_journal(&Lease { partition, epoch })
        .await?;
    let position = journal.position().await?;
    let mut batch = batch.clone();
    batch.number = position.batch + 1;
    for (event, number) in batch.events.iter_mut().zip(position.last_seq + 1..) {
        event.partition_seq = number;
    }
    journal.commit(&batch).await?;
    account(world, lease.epoch, partition, &batch);
    Ok(())
}

/// A guard of the domain says no: to the same rows each time.
fn refused_rows(world: &World, batch: &Batch) -> Option<CommitError> {
    if !world.has(Fault::RowsRefused) {
        return None;
    }
    let unlucky = batch.changes.iter().find(|change| {
        let what = format!("rows {} {:?}", key_of(&change.key), change.kind);
        world.dice.always(&what, 60)
    })?;
    world.happened(Fault::RowsRefused);
    Some(CommitError::RowRefused {
        rows: RefusedRows::Changes(unlucky.table.name),
        cause: "a guard said no".to_owned(),
    })
}

fn key_of(key: &[Value]) -> String {
    match &key[0] {
        Value::Text(key) => key.clone(),
        other => format!("{other:?}"),
    }
}

fn account(world: &World, epoch: Epoch, partition: PartitionId, batch: &Batch) {
    let mut disk = world.disk.lock().unwrap();
    disk.batch.insert(partition, batch.number);
    disk.written.push((partition, epoch));
    for change in &batch.changes {
        if let ChangeKind::Add(columns) = &change.kind {
            *disk.rows.entry(key_of(&change.key)).or_default() += columns[0].1;
        }
    }
    drop(disk);
    world.simulation.mix(batch.number ^ epoch.0 << 32);
    world.count("batches committed");
    for event in &batch.events {
        world.simulation.mix(u64::from(event.seq));
        world.simulation.note(|| {
            let id = event.workflow;
            format!(
                "journal {partition} (epoch {}): {id} {}",
                epoch.0, event.payload
            )
        });
    }
    for head in &batch.heads {
        world
            .simulation
            .note(|| format!("row of {}: {} {:?}", head.id, head.status, head.reason));
    }
}

#[async_trait]
impl Journal for SimulatedJournal {
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        const DOING: &str = "committing a batch";
        if self.opened.is_none() {
            self.open().await?;
        }
        let opened = self.opened.unwrap_or_default();
        let world = Arc::clone(&self.store.world);
        if world.strikes(Fault::CommitContended, "commit", 40) {
            return Err(CommitError::Contended("a dead-lock".to_owned()));
        }
        let fate = self.store.fate_of_commit();
        let (lease, batch) = (self.lease.clone(), batch.clone());
        let statement = move || async move { write_batch(&world, &lease, opened, &batch).await };
        let result = self.store.send(DOING, fate, statement).await;
        if let Err(CommitError::Store(StoreError::Lost { .. } | StoreError::Corrupt { .. })) =
            &result
        {
            self.opened = None;
        }
        result
    }

    async fn position(&mut self) -> Result<JournalPosition, StoreError> {
        if self.opened.is_none() {
            self.open().await?;
        }
        let lease = self.lease.clone();
        let read = self
            .store
            .read("reading a journal's position", move |memory| async move {
                memory.open_journal(&lease).await?.position().await
            });
        read.await
    }
}

#[async_trait]
impl Store for SimulatedStore {
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        held: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let (node, held) = (node.clone(), held.to_vec());
        let acquire =
            async move |memory: MemoryStore| memory.acquire(&node, wanted, &held, lease).await;
        self.write("taking partitions", acquire).await
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        but: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let (node, but) = (node.clone(), but.to_vec());
        let adopt = async move |memory: MemoryStore| memory.adopt_expired(&node, &but, lease).await;
        self.write("adopting partitions", adopt).await
    }

    async fn retire(&self, lease: &Lease) -> Result<bool, StoreError> {
        let lease = lease.clone();
        let retire = async move |memory: MemoryStore| memory.retire(&lease).await;
        self.write("retiring a partition", retire).await
    }

    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError> {
        let leases = leases.to_vec();
        let renew = async move |memory: MemoryStore| memory.renew(&leases, lease).await;
        self.write("renewing leases", renew).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let leases = leases.to_vec();
        let release = async move |memory: MemoryStore| memory.release(&leases).await;
        self.write("releasing leases", release).await
    }

    async fn open_journal(&self, lease: &Lease) -> Result<Box<dyn Journal>, StoreError> {
        let store = SimulatedStore::new(&self.world, self.process, self.life);
        let mut journal = SimulatedJournal {
            store,
            lease: lease.clone(),
            opened: None,
        };
        journal.open().await?;
        Ok(Box::new(journal))
    }

    async fn find(&self, ident: &Ident) -> Result<Option<Head>, StoreError> {
        let ident = *ident;
        let find = async move |memory: MemoryStore| memory.find(&ident).await;
        self.read("finding a workflow", find).await
    }

    async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let records = async move |memory: MemoryStore| memory.records(id, after, limit).await;
        self.read("reading records", records).await
    }

    async fn load(&self, idents: &[Ident]) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        let idents = idents.to_vec();
        let load = async move |memory: MemoryStore| memory.load(&idents).await;
        self.read("loading workflows", load).await
    }

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<OpenRow>, StoreError> {
        let open =
            async move |memory: MemoryStore| memory.open_workflows(partition, after, limit).await;
        self.read("reading open workflows", open).await
    }

    async fn events_after(
        &self,
        partition: PartitionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let events =
            async move |memory: MemoryStore| memory.events_after(partition, after, limit).await;
        self.read("reading events", events).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        let filter = filter.clone();
        let list = async move |memory: MemoryStore| memory.list(&filter).await;
        self.read("listing workflows", list).await
    }

    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        let count = async move |memory: MemoryStore| memory.count_by_status().await;
        self.read("counting workflows", count).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let ping = async move |memory: MemoryStore| memory.ping().await;
        self.read("asking whether the database answers", ping).await
    }
}

#[async_trait]
impl CommandStore for SimulatedStore {
    async fn submit(&self, command: &NewCommand) -> Result<Submitted, StoreError> {
        let command = command.clone();
        let submit = async move |memory: MemoryStore| memory.submit(&command).await;
        self.write("submitting a command", submit).await
    }

    async fn pending_commands(
        &self,
        partition: PartitionId,
        after: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let repeats = self.world.is_planted(Plant::RepeatsCommands);
        let pending = async move |memory: MemoryStore| {
            let mut rows = memory.pending_commands(partition, after, limit).await?;
            if repeats && after.is_none() {
                let answered = memory.all_commands().into_iter().filter(|row| {
                    let here = row.command.workflow.partition() == partition;
                    here && matches!(row.state, CommandState::Done { .. })
                });
                rows.extend(answered.map(|row| CommandRow {
                    state: CommandState::Pending,
                    ..row
                }));
            }
            Ok(rows)
        };
        self.read("reading pending commands", pending).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<CommandRow>, StoreError> {
        let command = async move |memory: MemoryStore| memory.command(id).await;
        self.read("reading a command", command).await
    }

    async fn command_of_key(
        &self,
        workflow: WorkflowId,
        key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        let key = key.to_owned();
        let command = async move |memory: MemoryStore| memory.command_of_key(workflow, &key).await;
        self.read("reading a command", command).await
    }

    async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        batch: Option<u64>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let commands =
            async move |memory: MemoryStore| memory.commands(workflow, batch, before, limit).await;
        self.read("reading commands", commands).await
    }
}

#[async_trait]
impl BatchStore for SimulatedStore {
    async fn submit_batch(&self, batch: &NewBatch) -> Result<(BatchRow, bool), StoreError> {
        let batch = batch.clone();
        let submit = async move |memory: MemoryStore| memory.submit_batch(&batch).await;
        self.write("submitting a batch", submit).await
    }

    async fn batch(&self, id: u64) -> Result<Option<BatchRow>, StoreError> {
        let batch = async move |memory: MemoryStore| memory.batch(id).await;
        self.read("reading batches", batch).await
    }

    async fn batches(&self, before: Option<u64>, limit: u32) -> Result<Vec<BatchRow>, StoreError> {
        let batches =
            async move |memory: MemoryStore| BatchStore::batches(&memory, before, limit).await;
        self.read("reading batches", batches).await
    }

    async fn batch_progress(&self, id: u64) -> Result<BatchProgress, StoreError> {
        let progress = async move |memory: MemoryStore| memory.batch_progress(id).await;
        self.read("reading batches", progress).await
    }

    async fn take_batch(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Option<BatchRow>, StoreError> {
        let node = node.clone();
        let take = async move |memory: MemoryStore| memory.take_batch(&node, lease).await;
        self.write("taking a batch", take).await
    }

    async fn advance_batch(
        &self,
        node: &NodeName,
        id: u64,
        place: Option<&ListCursor>,
        submitted: u64,
        state: BatchState,
    ) -> Result<bool, StoreError> {
        let (node, place) = (node.clone(), place.cloned());
        let advance = async move |memory: MemoryStore| {
            let place = place.as_ref();
            memory
                .advance_batch(&node, id, place, submitted, state)
                .await
        };
        self.write("advancing a batch", advance).await
    }

    async fn stop_batch(&self, id: u64) -> Result<bool, StoreError> {
        let stop = async move |memory: MemoryStore| memory.stop_batch(id).await;
        self.write("stopping a batch", stop).await
    }
}

#[async_trait]
impl UpkeepStore for SimulatedStore {
    async fn register_definitions(
        &self,
        definitions: &[DefinitionRef],
    ) -> Result<Vec<DefinitionRef>, StoreError> {
        let definitions = definitions.to_vec();
        let register =
            async move |memory: MemoryStore| memory.register_definitions(&definitions).await;
        self.write("registering definitions", register).await
    }

    async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        let partitions = async move |memory: MemoryStore| memory.partitions().await;
        self.read("reading the partitions", partitions).await
    }

    async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError> {
        let groups = async move |memory: MemoryStore| memory.error_groups(limit).await;
        self.read("reading error groups", groups).await
    }

    async fn purgeable(
        &self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        let purgeable = async move |memory: MemoryStore| memory.purgeable(before, limit).await;
        self.read("reading what is old", purgeable).await
    }

    async fn purge(&self, idents: &[Ident]) -> Result<Purged, StoreError> {
        let idents = idents.to_vec();
        let purge = async move |memory: MemoryStore| memory.purge(&idents).await;
        self.write("removing what is old", purge).await
    }

    async fn open_everywhere(
        &self,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
        let open = async move |memory: MemoryStore| memory.open_everywhere(after, limit).await;
        self.read("reading open workflows", open).await
    }

    async fn reopen(&self, partition: PartitionId) -> Result<bool, StoreError> {
        self.world.count("partitions taken out of retirement");
        let reopen = async move |memory: MemoryStore| memory.reopen(partition).await;
        self.write("making a partition free", reopen).await
    }
}
