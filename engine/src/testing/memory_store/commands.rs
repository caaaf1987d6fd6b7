//! The inbox.

use async_trait::async_trait;

use super::{MemoryStore, Rows, next_id};
use crate::ids::{PartitionId, WorkflowId};
use crate::store::{
    CommandId, CommandRow, CommandState, CommandStore, NewCommand, StoreError, Submitted,
};

#[async_trait]
impl CommandStore for MemoryStore {
    async fn submit(&self, command: &NewCommand) -> Result<Submitted, StoreError> {
        const DOING: &str = "submitting a command";
        const KEY_BYTES_MAX: usize = 200;
        let mut tables = self.up(DOING)?;
        if command.key.len() > KEY_BYTES_MAX {
            let cause = "the key is too long".to_owned();
            return Err(StoreError::Corrupt {
                doing: DOING,
                cause,
            });
        }
        if let Some(existing) = of_key(&tables, command.workflow, &command.key) {
            return Ok(Submitted::Existing(Box::new(existing.clone())));
        }
        let id = next_id(&tables.commands);
        let row = CommandRow {
            id: CommandId(id),
            command: command.clone(),
            state: CommandState::Pending,
            answered_at: None,
        };
        tables.commands.insert(id, row);
        Ok(Submitted::New(CommandId(id)))
    }

    async fn pending_commands(
        &self,
        partition: PartitionId,
        after: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let tables = self.up("reading pending commands")?;
        let pending = tables.commands.values().filter(|row| {
            row.command.workflow.partition() == partition
                && row.state == CommandState::Pending
                && after.is_none_or(|after| row.id > after)
        });
        Ok(pending.take(limit as usize).cloned().collect())
    }

    async fn command(&self, id: CommandId) -> Result<Option<CommandRow>, StoreError> {
        Ok(self.up("reading commands")?.commands.get(&id.0).cloned())
    }

    async fn command_of_key(
        &self,
        workflow: WorkflowId,
        key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        let tables = self.up("reading a command")?;
        Ok(of_key(&tables, workflow, key).cloned())
    }

    async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        batch: Option<u64>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let tables = self.up("reading commands")?;
        let found = tables.commands.values().rev().filter(|row| {
            workflow.is_none_or(|workflow| row.command.workflow == workflow)
                && batch.is_none_or(|batch| row.command.batch == Some(batch))
                && before.is_none_or(|before| row.id < before)
        });
        Ok(found.take(limit as usize).cloned().collect())
    }
}

fn of_key<'a>(tables: &'a Rows, workflow: WorkflowId, key: &str) -> Option<&'a CommandRow> {
    let mut rows = tables.commands.values();
    rows.find(|row| row.command.workflow == workflow && row.command.key == key)
}
