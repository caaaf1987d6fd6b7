//! Commands to workflows, on the side of who gives them: any node takes a command for any workflow, makes it durable, and waits for
//! the answer of the node that owns the workflow, which finds it in its inbox (`deliveries.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use crate::command::{Command, Unfit};
use crate::engine::{CommandError, Commanded, Preview, View};
use crate::runtime::Timestamp;
use crate::store::{CommandId, CommandRow, CommandState, NewCommand, Submitted};
use crate::workflow::with_causes;
use crate::workflow::{By, follow};

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
