//! Commands to workflows, from the one who gives them to the one who carries them out. Any node takes a command for any
//! workflow and makes it durable; the node that owns the workflow finds it in its inbox, brings the workflow into memory if need
//! be, and answers in the transaction of the event.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::Node;
use super::partition::OpenPartition;
use super::starts::RECORDS_MAX;
use crate::command::{Command, Verb};
use crate::engine::{CommandError, Commanded, Preview, View};
use crate::executor::{Origin, Resident, Seen};
use crate::ids::WorkflowId;
use crate::inbox::Handed;
use crate::journal::Entry;
use crate::runtime::Timestamp;
use crate::store::{
    Answer, CommandId, CommandRow, CommandState, NewCommand, StoreError, Submitted,
};
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
        self.rehearse(command, &view)
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
        if let Verb::Signal(signal) = &command.verb
            && let Some(state) = &view.state
            && state.has_signal(&signal.id)
        {
            let seq = state.seq;
            let earlier = self.earlier(&command).await?;
            return Ok(earlier.unwrap_or((CommandId(0), CommandState::Done { seq })));
        }
        if let Err(why) = self.rehearse(&command, &view) {
            // It may be what an earlier sending of this command has done.
            return self.earlier(&command).await?.ok_or(why);
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

    /// Carries the command out on a copy.
    fn rehearse(&self, command: &Command, view: &View) -> Result<Preview, CommandError> {
        let Some(state) = &view.state else {
            let why = format!(
                "this program does not have {}, which the workflow runs",
                view.head.definition
            );
            return Err(CommandError::Conflict(why));
        };
        if let Some(expected) = command.expected_seq
            && expected != state.seq
        {
            let now = state.seq;
            return Err(CommandError::MovedOn { expected, now });
        }
        command
            .verb
            .check(state.definition())
            .map_err(CommandError::Invalid)?;
        let event = command.verb.event(&command.by, state);
        let at = self.runtime.now().max(state.at);
        let record = Record::new(state.seq + 1, at, event);
        let after = (**state)
            .clone()
            .apply(&record)
            .map_err(|illegal| CommandError::Conflict(illegal.why))?;
        let (after, record) = follow(after, record, &|_| false, false)
            .map_err(|error| CommandError::Conflict(crate::workflow::event::with_causes(&error)))?;
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
            for row in rows {
                let workflow = row.command.workflow;
                if handed.contains(&row.id) || skipped.contains(&workflow) {
                    continue;
                }
                let Some(handed) = self.inbox.hand(row) else {
                    continue;
                };
                if !self.deliver(partition, handed).await? {
                    skipped.push(workflow);
                }
            }
        }
    }

    /// Gives the command to the workflow's driver, which is started for it if there is none. `false`: not now.
    async fn deliver(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        mut handed: Handed,
    ) -> Result<bool, StoreError> {
        let id = handed.row().command.workflow;
        // Whoever accepted it had the definition: another node may get the partition that has it, too.
        if partition.quarantine.lacks_definition(&id.ident()) {
            return Ok(false);
        }
        loop {
            let seen = self.registry.get(&id.ident());
            let driven = |resident: &&Resident| resident.is_driven() && resident.id == id;
            if let Some(resident) = seen.as_ref().filter(driven) {
                match resident.commands.try_send(handed) {
                    Ok(()) => return Ok(true),
                    // It settled at this moment or has much to do: the command is found again.
                    Err(_) => return Ok(false),
                }
            }
            let head = self.store.find(&id.ident()).await?;
            let Some(head) = head.filter(|head| head.id == id) else {
                return Ok(self
                    .refuse(partition, &handed, "there is no such workflow")
                    .await);
            };
            if head.status.is_terminal() {
                let why = format!("the workflow has ended: it is {}", head.status);
                return Ok(self.refuse(partition, &handed, &why).await);
            }
            let records = self.store.records(id, 0, RECORDS_MAX).await?;
            let Some(state) = self.fold_or_quarantine(partition, &head, &records) else {
                if partition.quarantine.lacks_definition(&id.ident()) {
                    return Ok(false);
                }
                let why = "its journal can't be read: it is quarantined".to_owned();
                return Ok(self.refuse(partition, &handed, &why).await);
            };
            let origin = Origin::Journal;
            let seen = Seen::Exactly(seen);
            match self.drive(partition, head, state, origin, &seen, Some(handed)) {
                Ok(()) | Err((_, None)) => return Ok(true),
                // Somebody else was faster: what was read may be old.
                Err((_, Some(not_taken))) => handed = not_taken,
            }
        }
    }

    /// Answers a command to a workflow that can't be told anything. `false`: not written, and found again.
    async fn refuse(&self, partition: &OpenPartition, handed: &Handed, why: &str) -> bool {
        let (reply, written) = oneshot::channel();
        let answer = Answer {
            id: handed.id(),
            state: CommandState::Refused {
                why: why.to_owned(),
            },
            at: self.runtime.now(),
        };
        let entry = Entry {
            workflow: handed.row().command.workflow,
            start: None,
            staged: Vec::new(),
            head: None,
            parking: None,
            answers: vec![answer.clone()],
            reply,
        };
        if partition.journal.append(entry).await.is_err() {
            return false;
        }
        let written = self
            .runtime
            .within(self.settings.start_timeout, written)
            .await;
        if matches!(written, Some(Ok(Ok(())))) {
            self.inbox.answered(&answer);
            return true;
        }
        false
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
    Ok(())
}
