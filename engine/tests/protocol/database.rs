//! The database and the outside: what they do with what arrives, whoever sent it and whenever.

use super::state::{Batch, Broken, Effect, Kind, Late, State, small};
use super::{Defect, Protocol};

/// What the database says to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Written,
    /// The epoch has passed, or the lease has run out.
    Fenced,
    /// The journal was opened again, or stands elsewhere.
    DoesNotContinue,
    /// The workflow exists.
    Exists,
}

impl Protocol {
    /// One transaction: the fence, then the rows.
    pub fn write(&self, state: &mut State, batch: Batch) -> Reply {
        let is_stale = batch.epoch != state.partition.epoch;
        if (is_stale || !state.partition.held) && !self.has(Defect::FenceNotChecked) {
            return Reply::Fenced;
        }
        let is_closed = batch.opened != state.journal.opened;
        let continues = batch.number == state.journal.batch + 1
            && (batch.row.is_none() || usize::from(batch.partition_seq) == state.events.len() + 1);
        let checks = !self.has(Defect::NumbersNotChecked);
        if checks && ((is_closed && !self.has(Defect::OpeningNotChecked)) || !continues) {
            return Reply::DoesNotContinue;
        }
        if let Some(row) = batch.row {
            let last = state.last_kind(usize::from(row.workflow));
            match (row.kind, last) {
                (Kind::Started, Some(_)) if checks => return Reply::Exists,
                // The unique key of `events`.
                (kind, last) if checks && last.is_some_and(|last| last.seq() >= kind.seq()) => {
                    return Reply::DoesNotContinue;
                }
                _ => state.events.push(row),
            }
        }
        let earlier = state.partition.written_by.replace(batch.by);
        if is_stale {
            state.broken.get_or_insert(Broken::StaleRow);
        } else if earlier.is_some_and(|earlier| earlier != batch.by) {
            state.broken.get_or_insert(Broken::SecondWriter);
        }
        state.journal.written_under = batch.epoch;
        state.journal.batch = batch.number;
        state.journal.published = batch.published;
        Reply::Written
    }

    /// The statement that opens a journal. It raises the number only from where its sender read it, so that it does so once.
    pub fn open(&self, state: &mut State, epoch: u8, read: u8) {
        let guarded = state.journal.opened == read || self.has(Defect::OpeningNotGuarded);
        if epoch == state.partition.epoch && guarded {
            state.journal.opened += 1;
        }
    }

    /// A request for the workflow's step comes to the outside. Returns the record that its sender would make of the answer.
    pub fn act(&self, state: &mut State, workflow: usize, epoch: u8, accepts: bool) -> Kind {
        let has_own_keys = self.has(Defect::KeyOfOwner);
        let outside = &mut state.outside[workflow];
        match outside.effect {
            Effect::None if accepts => {
                outside.effect = Effect::Done;
                outside.times += 1;
                outside.by_epoch = epoch;
                Kind::StepDone
            }
            Effect::None => {
                if !self.has(Defect::RefusalForgotten) {
                    outside.effect = Effect::Refused;
                }
                Kind::StepRefused
            }
            Effect::Done => {
                outside.times += u8::from(has_own_keys && outside.by_epoch != epoch);
                Kind::StepDone
            }
            Effect::Undone | Effect::Refused => Kind::StepRefused,
        }
    }

    /// A compensation comes to the outside: whatever comes after it does nothing.
    pub fn undo(&self, state: &mut State, workflow: usize) {
        let outside = &mut state.outside[workflow];
        outside.effect = match outside.effect {
            Effect::Done => Effect::Undone,
            Effect::None if !self.has(Defect::NoTombstone) => Effect::Undone,
            other => other,
        };
    }

    pub fn arrive(&self, state: &mut State, place: usize) {
        match state.late.remove(place) {
            Late::Batch(batch) => {
                let _nobody_hears = self.write(state, batch);
            }
            Late::Open { epoch, opened } => self.open(state, epoch, opened),
            Late::Act { workflow, epoch } => {
                let _nobody_hears = self.act(state, usize::from(workflow), epoch, true);
            }
        }
    }

    /// The guarded UPDATE by which the partition changes hands.
    pub fn take(&self, state: &mut State, node: usize) -> bool {
        let partition = &mut state.partition;
        let node = small(node);
        if partition.held && partition.owner != Some(node) {
            return false;
        }
        if !self.has(Defect::EpochKept) || partition.epoch == 0 {
            partition.epoch += 1;
            partition.written_by = None;
        }
        partition.owner = Some(node);
        partition.held = true;
        true
    }
}
