//! What operators asked for: each command once, and answered with what became of it.

use std::collections::{BTreeMap, BTreeSet};

use engine::WorkflowId;
use engine::store::{CommandRow, CommandState};
use engine::workflow::{By, Event};

use super::{Records, Verdict, ensure};
use crate::world::World;

/// Each command was carried out at most once, and is answered with what became of it.
pub fn check_commands(world: &World, records: &Records) -> Verdict {
    let commands = world.memory.all_commands();
    let mut carried_out: BTreeMap<(WorkflowId, String), Vec<u32>> = BTreeMap::new();
    let mut signals: BTreeSet<(WorkflowId, String)> = BTreeSet::new();
    for (id, journal) in &records.journals {
        for record in journal {
            if let Event::SignalReceived(signal) = &record.event {
                ensure(signals.insert((*id, signal.id.clone())), || {
                    format!("applied twice: signal {} to {id}", signal.id)
                })?;
            }
            if let Some(by) = by(&record.event) {
                let key = (*id, by.reason.clone());
                carried_out.entry(key).or_default().push(record.seq);
            }
        }
    }
    let twice = carried_out.iter().find(|(_, records)| records.len() > 1);
    if let Some(((id, key), seqs)) = twice {
        return Err(format!(
            "applied twice: command {key} to {id}, by records {seqs:?}\n  {}",
            records.journal(*id)
        ));
    }
    for row in &commands {
        let (id, key) = (row.command.workflow, row.command.by.reason.clone());
        let is_signal = matches!(row.command.verb, engine::command::Verb::Signal(_));
        let record = carried_out.get(&(id, key.clone())).map(|seqs| seqs[0]);
        let agrees = match &row.state {
            CommandState::Done { seq } => is_signal || record == Some(*seq),
            CommandState::Refused { .. } | CommandState::Pending => record.is_none(),
        };
        ensure(agrees, || {
            format!(
                "command {key} to {id} is answered {:?}, and record {record:?} has it",
                row.state
            )
        })?;
        // A signal that had come already is answered with the workflow's version, whatever version it was for (RFC 9110, 13.1.1:
        // what was applied already may be answered as done).
        let had_come = |seq| {
            let answered_alike = |other: &CommandRow| {
                other.command.workflow == id
                    && other.command.by != row.command.by
                    && other.state == row.state
            };
            is_signal && (!records.has_signal_at(id, seq) || commands.iter().any(answered_alike))
        };
        if let (CommandState::Done { seq }, Some(expected)) = (&row.state, row.command.expected_seq)
            && !had_come(*seq)
        {
            ensure(*seq == expected + 1, || {
                format!("command {key} to {id} was for version {expected} and is record {seq}")
            })?;
        }
    }
    let told = world.told.lock().unwrap();
    for ((id, key), number) in &told.commanded {
        let found = commands
            .iter()
            .any(|row| row.id.0 == *number && row.command.key == *key);
        ensure(found, || {
            format!("lost command: {key} to {id} was accepted as {number}")
        })?;
    }
    Ok(())
}

/// Who gave the command that this event carries out.
fn by(event: &Event) -> Option<&By> {
    match event {
        Event::CompensationRequested { by }
        | Event::RetryRequested { by }
        | Event::Resolved { by, .. }
        | Event::Skipped { by, .. }
        | Event::Paused { by }
        | Event::Unpaused { by }
        | Event::Abandoned { by, .. }
            if by.actor != "engine" =>
        {
            Some(by)
        }
        _ => None,
    }
}
