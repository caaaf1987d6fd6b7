//! Operators' commands to one workflow. It is brought into memory if it waits outside.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Node;
use super::starts::RECORDS_MAX;
use crate::engine::{CommandError, View};
use crate::executor::{Command, Origin, Resident, Seen, Verb};
use crate::ids::WorkflowId;

impl Node {
    /// Carries out a command and returns the workflow as it then durably is.
    pub(crate) async fn command(
        self: &Arc<Self>,
        id: WorkflowId,
        verb: Verb,
        actor: &str,
        reason: &str,
    ) -> Result<View, CommandError> {
        let (reply, answer) = oneshot::channel();
        let command = Command {
            verb,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            reply,
        };
        let limit = self.settings.start_timeout;
        match self
            .runtime
            .within(limit, self.hand_over(id, command))
            .await
        {
            Some(handed_over) => handed_over?,
            None => return Err(CommandError::Undecided),
        }
        match self.runtime.within(limit, answer).await {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(CommandError::Undecided),
        }
    }

    /// Gives the command to the workflow's driver, which is started for it if there is none.
    async fn hand_over(
        self: &Arc<Self>,
        id: WorkflowId,
        mut command: Command,
    ) -> Result<(), CommandError> {
        loop {
            let seen = self.registry.get(&id.ident());
            let driven = |resident: &&Resident| resident.is_driven() && resident.id == id;
            if let Some(resident) = seen.as_ref().filter(driven) {
                return send(resident, command).await;
            }
            let found = self.store.find(&id.ident()).await?;
            let head = found
                .filter(|head| head.id == id)
                .ok_or(CommandError::NotFound(id))?;
            if head.status.is_terminal() {
                let why = format!("the workflow has ended: it is {}", head.status);
                return Err(CommandError::Conflict(why));
            }
            let partition = self
                .partition(id.partition())
                .ok_or(CommandError::NotHere(id))?;
            let records = self.store.records(id, 0, RECORDS_MAX).await?;
            let state = self
                .fold(&head, &records)
                .ok_or(CommandError::NotHere(id))?;
            let seen = Seen::Exactly(seen);
            match self.drive(
                &partition,
                head,
                state,
                Origin::Journal,
                &seen,
                Some(command),
            ) {
                Ok(()) | Err((_, None)) => return Ok(()),
                // Somebody else was faster: what was read may be old.
                Err((_, Some(not_taken))) => command = not_taken,
            }
        }
    }
}

async fn send(resident: &Resident, command: Command) -> Result<(), CommandError> {
    resident.commands.send(command).await.map_err(|_| {
        let why = "the workflow settled at this moment: look at it and decide again";
        CommandError::Conflict(why.to_owned())
    })
}
