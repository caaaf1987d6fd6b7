//! Starting workflows, once per key, and finding them again.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::partition::resident;
use crate::definition::Definition;
use crate::engine::{Start, StartError, Started, View};
use crate::executor::{Discarded, Driver, Origin, Resident, Stage};
use crate::ids::{Ident, StartKey, WorkflowId};
use crate::payload::PayloadError;
use crate::planted;
use crate::store::{Head, Status, StoreError};
use crate::workflow::with_causes;
use crate::workflow::{Earlier, Event, Record, WorkflowState, follow};

/// The most records that a workflow is shown and folded with.
pub(crate) const RECORDS_MAX: u32 = 10_000;

impl Node {
    pub(crate) async fn start(self: &Arc<Self>, start: Start) -> Result<Started, StartError> {
        let definition = self
            .newest(&start.definition)
            .ok_or_else(|| StartError::UnknownDefinition(start.definition.clone()))?;
        let ident = self.ident_of(&start, definition.key_space());
        if let Some(resident) = self.registry.get(&ident) {
            return self.await_start(resident, &start, false).await;
        }
        if self.is_draining() {
            return Err(StartError::NotServing("it is shutting down"));
        }
        if *self.paused.borrow() {
            return Err(StartError::NotServing(
                "it is paused while the reservations are rebuilt",
            ));
        }
        let partition = self
            .birthplace(&ident)
            .ok_or(StartError::NotServing("it holds no partition"))?;
        let id = WorkflowId::new(partition.lease.partition, ident);
        let mut driver = None;
        let (resident, fresh) = self.registry.get_or_insert(&ident, || {
            let permit = Arc::clone(&self.in_flight)
                .try_acquire_owned()
                .map_err(|_| StartError::Busy)?;
            let (resident, ends) = resident(id, start.request_hash, &partition);
            let (head, state, first) = self
                .born(definition, id, &start)
                .map_err(|error| StartError::Input(with_causes(&error)))?;
            let origin = Origin::Start(first);
            driver = Some(Driver::new(
                self.driver_context(&partition),
                head,
                state,
                origin,
                ends,
                Some(permit),
            ));
            Ok::<_, StartError>(resident)
        })?;
        if let Some(driver) = driver {
            self.runtime.spawn(driver.run());
        }
        self.await_start(resident, &start, fresh).await
    }

    fn ident_of(&self, start: &Start, key_space: &str) -> Ident {
        match &start.key {
            Some((scope, key)) => StartKey {
                key_space: key_space.to_owned(),
                scope: scope.clone(),
                key: key.clone(),
            }
            .ident(),
            None => self.random_ident(),
        }
    }

    fn random_ident(&self) -> Ident {
        let mut ident = [0; 12];
        ident[..8].copy_from_slice(&self.runtime.next_u64().to_be_bytes());
        ident[8..].copy_from_slice(&self.runtime.next_u64().to_be_bytes()[..4]);
        WorkflowId::new(crate::ids::PartitionId(0), ident).ident()
    }

    /// A workflow's first moment: its row, its state and its first record.
    fn born(
        &self,
        definition: &Arc<Definition>,
        id: WorkflowId,
        start: &Start,
    ) -> Result<(Head, WorkflowState, Record), PayloadError> {
        let now = self.runtime.now();
        let event = Event::Started {
            definition: definition.pinned().clone(),
            input: start.input.clone(),
            deadline: definition.deadline().map(|deadline| now.after(deadline)),
        };
        let record = Record::new(1, now, event);
        let untouched = WorkflowState::start(definition, &record).expect("a first record fits");
        let (state, record) = follow(untouched, record, &|_| false, None)?;
        let head = Head {
            id,
            definition: definition.pinned().clone(),
            status: Status::Running,
            reason: None,
            wake_at: None,
            label: start.label.clone(),
            request_hash: start.request_hash,
            created_at: now,
            updated_at: now,
        };
        Ok((head, state, record))
    }

    /// Waits until the workflow is durable or discarded. `fresh`: this very call started it.
    async fn await_start(
        &self,
        mut resident: Resident,
        start: &Start,
        fresh: bool,
    ) -> Result<Started, StartError> {
        if resident.request_hash != start.request_hash
            && !planted::is_on("key-taken-for-another-request")
        {
            return Err(StartError::KeyReused(resident.id));
        }
        let id = resident.id;
        let decided = resident
            .stage
            .wait_for(|stage| !matches!(stage, Stage::Volatile));
        let stage = match self
            .runtime
            .within(self.settings.start_timeout, decided)
            .await
        {
            Some(Ok(stage)) => stage.clone(),
            Some(Err(_)) | None => return Err(StartError::Undecided(id)),
        };
        match stage {
            Stage::Durable(view) if fresh => Ok(Started::New(view)),
            Stage::Durable(view) => Ok(Started::Existing(view)),
            Stage::Discarded(Discarded::Refused(refusal)) => {
                // Who refuses can't know of a start that is durable and waits for an answer; the registry does, when all is there.
                let may_be_there = matches!(refusal.earlier, Earlier::Possible | Earlier::UnderWay)
                    || !self.has_all_its_partitions();
                if may_be_there && let Some(started) = self.look_up(&id.ident(), start).await? {
                    return Ok(started);
                }
                if refusal.earlier == Earlier::UnderWay && !planted::is_on("own-copy-says-no") {
                    return Err(StartError::Undecided(id));
                }
                Err(StartError::Refused(refusal))
            }
            Stage::Discarded(Discarded::Exists) => self
                .look_up(&id.ident(), start)
                .await?
                .ok_or(StartError::Undecided(id)),
            Stage::Discarded(Discarded::Unavailable(error)) => Err(StartError::Unavailable(error)),
            Stage::Discarded(Discarded::Lost) => {
                Err(StartError::NotServing("it lost its partition"))
            }
            Stage::Discarded(Discarded::Undecided) | Stage::Volatile => {
                Err(StartError::Undecided(id))
            }
        }
    }

    /// The workflow that an earlier start with this key made, if there is one in the store.
    async fn look_up(&self, ident: &Ident, start: &Start) -> Result<Option<Started>, StartError> {
        let Some(head) = self.store.find(ident).await? else {
            return Ok(None);
        };
        if head.request_hash != start.request_hash
            && !planted::is_on("key-taken-for-another-request")
        {
            return Err(StartError::KeyReused(head.id));
        }
        Ok(Some(Started::Existing(self.load(head).await?)))
    }

    /// The workflow as it durably is: from memory when it is there, else from the store.
    pub(crate) async fn view(&self, id: WorkflowId) -> Result<Option<View>, StoreError> {
        if let Some(resident) = self.registry.get(&id.ident())
            && let Stage::Durable(view) = &*resident.stage.borrow()
        {
            return Ok((view.id == id).then(|| view.clone()));
        }
        match self.store.find(&id.ident()).await? {
            Some(head) if head.id == id => self.load(head).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn load(&self, head: Head) -> Result<View, StoreError> {
        let records = self.store.records(head.id, 0, RECORDS_MAX).await?;
        let state = self.fold(&head, &records).map(Arc::new);
        // The records were read after the row: they may know more. Only the row knows that the workflow rests.
        let head = match &state {
            Some(state) if head.status != Status::Waiting || state.is_settled() => Head {
                status: state.status(),
                reason: state.reason_code().map(str::to_owned),
                wake_at: None,
                updated_at: state.at,
                ..head
            },
            _ => head,
        };
        Ok(View {
            id: head.id,
            head,
            state,
        })
    }

    /// Waits, at most for `limit`, until the workflow is settled or `enough`, and shows it as it then is. A workflow that is not
    /// driven here, or whose driver lost its partition, is looked at again and again.
    pub(crate) async fn wait(
        &self,
        id: WorkflowId,
        limit: Duration,
        enough: &(impl Fn(&View) -> bool + Sync),
    ) -> Result<Option<View>, StoreError> {
        const PAUSE: Duration = Duration::from_millis(200);
        let deadline = self.runtime.now().after(limit);
        let over = |view: &View| view.is_settled() || enough(view);
        loop {
            let left = deadline.since(self.runtime.now());
            let resident = self.registry.get(&id.ident());
            if let Some(mut driven) = resident.filter(|it| it.id == id && it.is_driven()) {
                // Whatever comes first, the view below says what is.
                let _over_in_time = self
                    .runtime
                    .within(left, over_here(&mut driven, &over))
                    .await;
            }
            let view = self.view(id).await?;
            let left = deadline.since(self.runtime.now());
            if left.is_zero() || view.as_ref().is_none_or(over) {
                return Ok(view);
            }
            self.runtime.sleep(PAUSE.min(left)).await;
        }
    }
}

/// Completes once the workflow is as it is waited for, was discarded, or is no longer driven.
async fn over_here(resident: &mut Resident, over: &(impl Fn(&View) -> bool + Sync)) {
    let over = |stage: &Stage| match stage {
        Stage::Volatile => false,
        Stage::Durable(view) => over(view),
        Stage::Discarded(_) => true,
    };
    let _no_longer_driven = resident.stage.wait_for(over).await.is_err();
}
