//! Operators' commands to one workflow. It is brought into memory if it waits outside.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Node;
use super::starts::RECORDS_MAX;
use crate::engine::{CommandError, View};
use crate::executor::{Command, Origin, Resident, Verb};
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
        let resident = self.resident_for_command(id).await?;
        let (reply, answer) = oneshot::channel();
        let command = Command { verb, actor: actor.to_owned(), reason: reason.to_owned(), reply };
        let just_settled =
            || CommandError::Conflict("the workflow settled at this moment: look at it and decide again".to_owned());
        let limit = self.settings.start_timeout;
        match self.runtime.within(limit, resident.commands.send(command)).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(just_settled()),
            None => return Err(CommandError::Undecided),
        }
        match self.runtime.within(limit, answer).await {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(CommandError::Undecided),
        }
    }

    async fn resident_for_command(self: &Arc<Self>, id: WorkflowId) -> Result<Resident, CommandError> {
        if let Some(resident) = self.registry.get(&id.ident())
            && !resident.commands.is_closed()
        {
            return if resident.id == id { Ok(resident) } else { Err(CommandError::NotFound(id)) };
        }
        let head = self.store.find(&id.ident()).await?.filter(|head| head.id == id);
        let head = head.ok_or(CommandError::NotFound(id))?;
        if head.status.is_terminal() {
            return Err(CommandError::Conflict(format!("the workflow has ended: it is {}", head.status)));
        }
        let partition = self.partition(id.partition()).ok_or(CommandError::NotHere(id))?;
        let records = self.store.records(id, 0, RECORDS_MAX).await?;
        let state = self.fold(&head, &records).ok_or(CommandError::NotHere(id))?;
        match self.drive(&partition, head, state, Origin::Journal) {
            Ok(resident) | Err(resident) => Ok(resident),
        }
    }
}
