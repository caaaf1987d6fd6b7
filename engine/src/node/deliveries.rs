//! Commands to workflows, on the side of who owns them: what stands in a partition's inbox is given to the workflows' drivers, which
//! are started for it if need be, and answered in the transaction of the event.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::Node;
use super::partition::OpenPartition;
use crate::executor::{Origin, Resident, Seen};
use crate::ids::{Ident, WorkflowId};
use crate::inbox::Handed;
use crate::journal::Entry;
use crate::store::{Answer, CommandState, Head, StoreError};
use crate::workflow::Record;

/// How often an owner looks into its inbox when nobody nudges it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Commands that are looked at at once.
const COMMANDS_AT_ONCE: u32 = 200;

impl Node {
    /// Hands the commands in a partition's inbox to their workflows, until the partition is closed.
    pub(super) async fn deliver_commands(self: Arc<Self>, partition: Arc<OpenPartition>) {
        partition
            .while_open(self.deliver_for_ever(&partition))
            .await;
    }

    async fn deliver_for_ever(self: &Arc<Self>, partition: &Arc<OpenPartition>) {
        loop {
            let nudged = self.inbox.nudge.notified();
            if let Err(error) = self.deliver_pending(partition).await {
                tracing::warn!(partition.id = %partition.lease.partition, %error, "the inbox can't be read");
            }
            let _nudged_or_time = self.runtime.within(LOOK_EVERY, nudged).await;
        }
    }

    /// Hands over everything that is pending, in its order for each workflow.
    async fn deliver_pending(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        let mut round = Round::default();
        loop {
            // What is handed over now may be answered by the time that it is read as pending.
            let handed = self.inbox.handed();
            let rows = self
                .store
                .pending_commands(partition.lease.partition, after, COMMANDS_AT_ONCE)
                .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some(last.id);
            let mut asleep: Vec<Handed> = Vec::new();
            for row in rows {
                let workflow = row.command.workflow;
                if handed.contains(&row.id) || round.skips(workflow) {
                    continue;
                }
                let Some(handed) = self.inbox.hand(row) else {
                    continue;
                };
                let mut earlier = asleep.iter();
                // What is given after what waits to be given waits, too.
                if earlier.any(|earlier| earlier.row().command.workflow == workflow)
                    || self.driven(workflow).is_none()
                {
                    asleep.push(handed);
                    continue;
                }
                round.note(workflow, self.deliver(partition, handed, None).await?);
            }
            self.deliver_to_sleepers(partition, asleep, &mut round)
                .await?;
            self.answer(partition, mem::take(&mut round.refused)).await;
        }
    }

    /// Gives commands to workflows that are not in memory: they are read together, and each is told by itself.
    async fn deliver_to_sleepers(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        asleep: Vec<Handed>,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let mut read: HashMap<Ident, Read> = HashMap::new();
        for handed in &asleep {
            let ident = handed.row().command.workflow.ident();
            let seen = || Read::before(self.registry.get(&ident));
            read.entry(ident).or_insert_with(seen);
        }
        let idents: Vec<Ident> = read.keys().copied().collect();
        for (head, records) in self.store.load(&idents).await? {
            if let Some(read) = read.get_mut(&head.id.ident()) {
                read.stored = Some((head, records));
            }
        }
        for handed in asleep {
            let workflow = handed.row().command.workflow;
            if round.skips(workflow) {
                continue;
            }
            let read = read.remove(&workflow.ident());
            round.note(workflow, self.deliver(partition, handed, read).await?);
        }
        Ok(())
    }

    /// The workflow in memory, if a driver takes care of it.
    fn driven(&self, id: WorkflowId) -> Option<Resident> {
        let resident = self.registry.get(&id.ident())?;
        (resident.is_driven() && resident.id == id).then_some(resident)
    }

    /// Gives the command to the workflow's driver, which is started for it if there is none: with what was `read`, if anything was.
    async fn deliver(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        mut handed: Handed,
        mut read: Option<Read>,
    ) -> Result<Delivered, StoreError> {
        let id = handed.row().command.workflow;
        // Whoever accepted it had the definition: another node may get the partition that has it, too.
        if partition.quarantine.lacks_definition(&id.ident()) {
            return Ok(Delivered::NotNow);
        }
        loop {
            if let Some(resident) = self.driven(id) {
                match resident.commands.try_send(handed) {
                    Ok(()) => return Ok(Delivered::Given),
                    // It settled at this moment or has much to do: the command is found again.
                    Err(_) => return Ok(Delivered::NotNow),
                }
            }
            let Read { seen, stored } = match read.take() {
                Some(read) => read,
                None => self.read_now(id).await?,
            };
            let Some((head, records)) = stored.filter(|(head, _)| head.id == id) else {
                return Ok(Delivered::refused(handed, "there is no such workflow"));
            };
            if head.status.is_terminal() {
                let why = format!("the workflow has ended: it is {}", head.status);
                return Ok(Delivered::refused(handed, &why));
            }
            let Some(state) = self.fold_or_quarantine(partition, &head, &records) else {
                if partition.quarantine.lacks_definition(&id.ident()) {
                    return Ok(Delivered::NotNow);
                }
                let why = "its journal can't be read: it is quarantined";
                return Ok(Delivered::refused(handed, why));
            };
            let origin = Origin::Journal;
            let seen = Seen::Exactly(seen);
            match self.drive(partition, head, state, origin, &seen, Some(handed)) {
                Ok(()) | Err((_, None)) => return Ok(Delivered::Given),
                // Somebody else was faster: what was read may be old.
                Err((_, Some(not_taken))) => handed = not_taken,
            }
        }
    }

    async fn read_now(&self, id: WorkflowId) -> Result<Read, StoreError> {
        let mut read = Read::before(self.registry.get(&id.ident()));
        read.stored = self.store.load(&[id.ident()]).await?.pop();
        Ok(read)
    }

    /// Answers commands to workflows that can't be told anything, all of them in a batch or two. What is not written is found again.
    async fn answer(&self, partition: &OpenPartition, refused: Vec<Refused>) {
        let mut written = Vec::with_capacity(refused.len());
        for Refused { command, why } in &refused {
            let (reply, is_written) = oneshot::channel();
            let state = CommandState::Refused { why: why.clone() };
            let answer = Answer {
                id: command.id(),
                state,
                at: self.runtime.now(),
            };
            let entry = Entry {
                workflow: command.row().command.workflow,
                start: None,
                staged: Vec::new(),
                head: None,
                parking: None,
                answers: vec![answer.clone()],
                reply,
            };
            if partition.journal.append(entry).await.is_err() {
                return;
            }
            written.push(async move { matches!(is_written.await, Ok(Ok(()))).then_some(answer) });
        }
        let limit = self.settings.start_timeout;
        let answers = self.runtime.within(limit, join_all(written)).await;
        for answer in answers.into_iter().flatten().flatten() {
            self.inbox.answered(&answer);
        }
    }
}

/// What became of handing a command over.
enum Delivered {
    /// It is with its workflow.
    Given,
    /// It can't be given now, and is found again.
    NotNow,
    /// Its workflow can't be told anything.
    Refused(Refused),
}

/// A command that is to be answered with a "no".
struct Refused {
    command: Handed,
    why: String,
}

impl Delivered {
    fn refused(command: Handed, why: &str) -> Self {
        let why = why.to_owned();
        Self::Refused(Refused { command, why })
    }
}

/// What became of the commands of one look into the inbox.
#[derive(Default)]
struct Round {
    /// Nothing more is given to these: it would come before what was given earlier.
    skipped: Vec<WorkflowId>,
    /// To be answered.
    refused: Vec<Refused>,
}

impl Round {
    fn skips(&self, workflow: WorkflowId) -> bool {
        self.skipped.contains(&workflow)
    }

    fn note(&mut self, workflow: WorkflowId, delivered: Delivered) {
        match delivered {
            Delivered::Given => {}
            Delivered::NotNow => self.skipped.push(workflow),
            Delivered::Refused(command) => self.refused.push(command),
        }
    }
}

/// A workflow as the store has it, and what was in memory before it was read.
struct Read {
    seen: Option<Resident>,
    stored: Option<(Head, Vec<Record>)>,
}

impl Read {
    const fn before(seen: Option<Resident>) -> Self {
        let stored = None;
        Self { seen, stored }
    }
}
