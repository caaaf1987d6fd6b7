//! Commands to workflows, from the one who gives them to the one who carries them out. Any node takes a command for any
//! workflow and makes it durable; the node that owns the workflow finds it in its inbox, brings the workflow into memory if need
//! be, and answers in the transaction of the event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};

use super::Node;
use super::partition::OpenPartition;
use crate::command::{Command, Unfit};
use crate::engine::{CommandError, Commanded, Preview, View};
use crate::executor::{Origin, Resident, Seen};
use crate::ids::{Ident, WorkflowId};
use crate::inbox::Handed;
use crate::journal::Entry;
use crate::runtime::Timestamp;
use crate::store::{
    Answer, CommandId, CommandRow, CommandState, Head, NewCommand, StoreError, Submitted,
};
use crate::workflow::with_causes;
use crate::workflow::{By, Record, follow};

/// How often an owner looks into its inbox when nobody nudges it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Commands that are looked at at once.
const COMMANDS_AT_ONCE: u32 = 200;
/// How often one who waits looks whether another node has answered.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl Node {
    /// Makes a command durable, and waits until `deadline` for its answer.
    pub(crate) async fn command(
        self: &Arc<Self>,
        command: Command,
        batch: Option<u64>,
        deadline: Timestamp,
    ) -> Result<Commanded, CommandError> {
        check_words(&command)?;
        let limit = deadline.since(self.runtime.now());
        let accepted = self
            .runtime
            .within(limit, self.accept(command, batch))
            .await;
        let (id, state) = accepted.ok_or(CommandError::Undecided)??;
        let state = match state {
            CommandState::Pending => self.await_answer(id, deadline).await?,
            answered => answered,
        };
        Ok(Commanded { id, state })
    }

    /// What a command would do to the workflow as it now is.
    pub(crate) async fn preview(&self, command: &Command) -> Result<Preview, CommandError> {
        check_words(command)?;
        let view = self.commanded(command).await?;
        Ok(self.rehearse(command, &view)?)
    }

    async fn accept(
        &self,
        command: Command,
        batch: Option<u64>,
    ) -> Result<(CommandId, CommandState), CommandError> {
        let view = match self.commanded(&command).await {
            Ok(view) => view,
            Err(why) => return self.earlier(&command).await?.ok_or(why),
        };
        match self.rehearse(&command, &view) {
            Ok(_) => {}
            Err(Unfit::HasSignal { seq, .. }) => {
                let done = (CommandId(0), CommandState::Done { seq });
                return Ok(self.earlier(&command).await?.unwrap_or(done));
            }
            // It may be what an earlier sending of this command has done.
            Err(unfit) => return self.earlier(&command).await?.ok_or_else(|| unfit.into()),
        }
        let new = NewCommand {
            workflow: command.workflow,
            key: command.key.clone(),
            verb: command.verb.clone(),
            by: command.by.clone(),
            expected_seq: command.expected_seq,
            batch,
            accepted_at: self.runtime.now(),
        };
        match self.store.submit(&new).await? {
            Submitted::New(id) => {
                self.inbox.nudge.notify_waiters();
                Ok((id, CommandState::Pending))
            }
            Submitted::Existing(row) => same(&command, *row),
        }
    }

    /// What an earlier sending of this command came to, if there was one.
    async fn earlier(
        &self,
        command: &Command,
    ) -> Result<Option<(CommandId, CommandState)>, CommandError> {
        let row = self
            .store
            .command_of_key(command.workflow, &command.key)
            .await?;
        row.map(|row| same(command, row)).transpose()
    }

    /// The workflow that the command is for, if it can be told anything.
    async fn commanded(&self, command: &Command) -> Result<View, CommandError> {
        let id = command.workflow;
        let view = self.view(id).await?.ok_or(CommandError::NotFound(id))?;
        if view.head.status.is_terminal() {
            let why = format!("the workflow has ended: it is {}", view.head.status);
            return Err(CommandError::Conflict(why));
        }
        Ok(view)
    }

    /// What the command would do to the workflow that is shown.
    fn rehearse(&self, command: &Command, view: &View) -> Result<Preview, Unfit> {
        let Some(state) = &view.state else {
            let definition = &view.head.definition;
            let why = format!("this program does not have {definition}, which the workflow runs");
            return Err(Unfit::Illegal(why));
        };
        let Command {
            verb,
            by,
            expected_seq,
            ..
        } = command;
        let (record, after) = verb.rehearse(by, *expected_seq, state, self.runtime.now())?;
        let (after, record) = follow(after, record, &|_| false, None)
            .map_err(|unreadable| Unfit::Illegal(with_causes(&unreadable)))?;
        Ok(Preview {
            version: state.seq,
            status: after.status(),
            record,
        })
    }

    /// Waits for the answer: from this process at once, from another node by asking the store.
    async fn await_answer(
        &self,
        id: CommandId,
        deadline: Timestamp,
    ) -> Result<CommandState, CommandError> {
        let mut answer = self.inbox.wait(id);
        loop {
            let left = deadline.since(self.runtime.now());
            if let Some(Ok(state)) = self.runtime.within(left.min(ASK_EVERY), &mut answer).await {
                return Ok(state);
            }
            let left = deadline.since(self.runtime.now());
            if left.is_zero() {
                return Ok(CommandState::Pending);
            }
            // It is durable: that the store can't be asked at the moment does not change it.
            let found = self.runtime.within(left, self.store.command(id)).await;
            if let Some(Ok(Some(row))) = found
                && row.state != CommandState::Pending
            {
                return Ok(row.state);
            }
        }
    }

    // ---- the owner's side ----

    /// Hands the commands in a partition's inbox to their workflows, until the partition is closed.
    pub(super) async fn deliver_commands(
        self: Arc<Self>,
        partition: Arc<OpenPartition>,
        mut closed: watch::Receiver<bool>,
    ) {
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => {}
            () = self.deliver_for_ever(&partition) => {}
        }
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
        let mut skipped: Vec<WorkflowId> = Vec::new();
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
            let mut refused: Vec<Refused> = Vec::new();
            for row in rows {
                let workflow = row.command.workflow;
                if handed.contains(&row.id) || skipped.contains(&workflow) {
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
                match self.deliver(partition, handed, None).await? {
                    Delivered::Given => {}
                    Delivered::NotNow => skipped.push(workflow),
                    Delivered::Refused(command) => refused.push(command),
                }
            }
            let of_sleepers = self.deliver_to_sleepers(partition, asleep, &mut skipped);
            refused.extend(of_sleepers.await?);
            self.answer(partition, refused).await;
        }
    }

    /// Gives commands to workflows that are not in memory: they are read together, and each is told by itself. Those that are refused.
    async fn deliver_to_sleepers(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        asleep: Vec<Handed>,
        skipped: &mut Vec<WorkflowId>,
    ) -> Result<Vec<Refused>, StoreError> {
        let mut refused = Vec::new();
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
            if skipped.contains(&workflow) {
                continue;
            }
            let read = read.remove(&workflow.ident());
            match self.deliver(partition, handed, read).await? {
                Delivered::Given => {}
                Delivered::NotNow => skipped.push(workflow),
                Delivered::Refused(command) => refused.push(command),
            }
        }
        Ok(refused)
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

impl From<Unfit> for CommandError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::MovedOn { expected, now } => Self::MovedOn { expected, now },
            Unfit::Invalid(why) => Self::Invalid(why),
            Unfit::HasSignal { .. } | Unfit::Illegal(_) => Self::Conflict(unfit.to_string()),
        }
    }
}

/// The earlier command of this key, if it asks for the same.
fn same(command: &Command, row: CommandRow) -> Result<(CommandId, CommandState), CommandError> {
    if row.command.verb != command.verb || row.command.by.actor != command.by.actor {
        return Err(CommandError::KeyReused(row.id));
    }
    Ok((row.id, row.state))
}

/// The bounds of the words that go with a command.
fn check_words(command: &Command) -> Result<(), CommandError> {
    check_texts(&command.key, &command.by).map_err(CommandError::Invalid)
}

/// The bounds of the words that go with commands; the sentence says what is wrong.
pub(super) fn check_texts(key: &str, by: &By) -> Result<(), String> {
    let words = [
        ("key", key, 200),
        ("actor", &by.actor, 200),
        ("reason", &by.reason, 1_000),
    ];
    for (field, text, bytes_max) in words {
        if text.trim().is_empty() || text.len() > bytes_max {
            return Err(format!("`{field}` must be 1 to {bytes_max} bytes of text"));
        }
    }
    if by.actor == By::ENGINE {
        return Err(format!(
            "`actor` must not be `{}`: so is called what the engine does by itself",
            By::ENGINE
        ));
    }
    Ok(())
}
