//! What a node does: takes over, writes, publishes, drives. Each function says whether the step is possible, and makes it.

use super::actions::Answer;
use super::database::Reply;
use super::state::{
    Batch, Broken, Driver, Effect, Kind, Late, Row, Session, Stage, State, WORKFLOWS_MAX, Writer,
    small,
};
use super::{Defect, Protocol};

impl Protocol {
    pub fn take_over(&self, state: &mut State, node: usize) -> bool {
        if !state.nodes[node].alive || !self.take(state, node) {
            return false;
        }
        state.nodes[node].session = Some(Session {
            epoch: state.partition.epoch,
            stage: Stage::Taken,
            opened: 0,
            batch: 0,
            last_seq: 0,
            watermark: 0,
            published: 0,
            writer: Writer::Ready,
            drivers: [Driver::Absent; WORKFLOWS_MAX],
        });
        true
    }

    pub fn renew(&self, state: &mut State, node: usize) -> bool {
        let may = state.is_current(node) || self.has(Defect::RenewedBlindly);
        let renews = may && !state.partition.held;
        state.partition.held |= renews;
        renews
    }

    /// Opens the journal, for the first time in this session or because nobody knows about a batch, and reads its position. What
    /// comes between the two changes nothing: a batch of this epoch can't, and one of a later epoch is seen by its epoch.
    pub fn open_journal(&self, state: &mut State, node: usize) -> bool {
        let Some(epoch) = state.session(node).map(|session| session.epoch) else {
            return false;
        };
        let opened = state.journal.opened;
        self.open(state, epoch, opened);
        let events = small(state.events.len());
        let mut journal = state.journal.clone();
        if self.has(Defect::PublishedFromTheEnd) {
            journal.published = events;
        }
        // Once another node has written, the row no longer tells whether a batch of ours was among its ancestors.
        let is_ours = state.is_current(node)
            || journal.written_under == epoch
            || self.has(Defect::PositionOfAnother);
        let Some(session) = &mut state.nodes[node].session else {
            return false;
        };
        match session.writer {
            Writer::MayBeWritten(batch) if is_ours => {
                session.opened = journal.opened;
                session.writer = Writer::Again(batch);
                if journal.batch >= batch.number {
                    Self::is_written(state, node, batch);
                }
                true
            }
            Writer::MayBeWritten(_) => false,
            _ if is_ours => {
                session.stage = Stage::Open;
                session.opened = journal.opened;
                session.batch = journal.batch;
                session.last_seq = events;
                session.watermark = journal.published;
                session.published = journal.published;
                true
            }
            _ => {
                state.nodes[node].session = None;
                true
            }
        }
    }

    /// The statement that opens the journal again is sent, and nothing is heard.
    pub fn open_unanswered(state: &mut State, node: usize) -> bool {
        let opened = state.journal.opened;
        let Some(epoch) = state.session(node).map(|session| session.epoch) else {
            return false;
        };
        state.late.push(Late::Open { epoch, opened });
        true
    }

    /// Drives what the journal has open. Another owner may have made the attempt that a record names. A driver asks its clock
    /// after its workflow was loaded: what was loaded after the epoch had passed is not driven.
    pub fn recover(&self, state: &mut State, node: usize) -> bool {
        if !state.is_current(node) && !self.has(Defect::ClockStoodStill) {
            return false;
        }
        let assumed = self
            .has(Defect::OutcomeAssumed)
            .then_some(Kind::StepRefused);
        let mut drivers = [Driver::Absent; WORKFLOWS_MAX];
        for (workflow, driver) in drivers.iter_mut().enumerate() {
            let last = state.last_kind(workflow).filter(|last| !last.ends());
            if let Some(at) = last.filter(|_| !self.has(Defect::NothingLoaded)) {
                let next = assumed.filter(|_| at == Kind::Started);
                let may_exist = true;
                *driver = Driver::Driven {
                    at,
                    may_exist,
                    next,
                };
            }
        }
        let Some(session) = &mut state.nodes[node].session else {
            return false;
        };
        session.drivers = drivers;
        session.stage = Stage::Recovered;
        true
    }

    /// A client asks for the workflow, for the first time or again.
    pub fn start(&self, state: &mut State, node: usize, workflow: usize) -> bool {
        let outside = &mut state.outside[workflow];
        let Some(session) = &mut state.nodes[node].session else {
            return false;
        };
        if outside.acknowledged {
            return false;
        }
        match session.drivers[workflow] {
            Driver::Absent => {
                session.drivers[workflow] = Driver::Starting;
                outside.acknowledged = self.has(Defect::AcknowledgedEarly);
                true
            }
            Driver::Driven { .. } => {
                outside.acknowledged = true;
                true
            }
            Driver::Starting => false,
        }
    }

    /// What the writer sends next.
    pub fn next_batch(&self, state: &State, node: usize, entry: Option<usize>) -> Option<Batch> {
        let session = state.session(node)?;
        let row = match (session.writer, entry) {
            (Writer::Again(batch), None) => {
                let opened = session.opened;
                return Some(Batch { opened, ..batch });
            }
            (Writer::Ready, Some(workflow)) => Some(pending(session, workflow)?),
            (Writer::Ready, None) => {
                let entries = 0..session.drivers.len();
                let is_idle = entries.filter_map(|it| pending(session, it)).count() == 0;
                let has_moved = session.published > session.watermark;
                (is_idle && has_moved).then_some(None)?
            }
            _ => return None,
        };
        Some(Batch {
            epoch: session.epoch,
            opened: session.opened,
            number: session.batch + 1,
            partition_seq: session.last_seq + 1,
            row,
            published: session.published,
            by: small(node),
        })
    }

    pub fn commit(&self, state: &mut State, node: usize, entry: Option<usize>) -> bool {
        let Some(batch) = self.send(state, node, entry) else {
            return false;
        };
        match self.write(state, batch) {
            Reply::Written => Self::is_written(state, node, batch),
            Reply::Fenced => state.nodes[node].session = None,
            Reply::DoesNotContinue => {
                // The writer takes it for the row's fault: the workflow is parked, or its start discarded.
                state.broken.get_or_insert(Broken::FalseAnswer);
            }
            Reply::Exists => {
                let session = state.nodes[node].session.as_mut();
                let (Some(session), Some(row)) = (session, batch.row) else {
                    return false;
                };
                session.writer = Writer::Ready;
                session.drivers[usize::from(row.workflow)] = Driver::Absent;
                state.outside[usize::from(row.workflow)].acknowledged = true;
            }
        }
        true
    }

    pub fn commit_unanswered(&self, state: &mut State, node: usize, entry: Option<usize>) -> bool {
        let Some(batch) = self.send(state, node, entry) else {
            return false;
        };
        state.late.push(Late::Batch(batch));
        if let Some(session) = &mut state.nodes[node].session {
            session.writer = Writer::MayBeWritten(batch);
        }
        true
    }

    fn send(&self, state: &mut State, node: usize, entry: Option<usize>) -> Option<Batch> {
        let batch = self.next_batch(state, node, entry)?;
        if let (Some(row), true) = (batch.row, self.has(Defect::PublishedEarly)) {
            state.topic.push(row);
        }
        Some(batch)
    }

    /// The writer knows that the batch is durable.
    fn is_written(state: &mut State, node: usize, batch: Batch) {
        let Some(session) = &mut state.nodes[node].session else {
            return;
        };
        session.writer = Writer::Ready;
        session.batch = batch.number;
        session.watermark = batch.published;
        let Some(Row { workflow, kind }) = batch.row else {
            return;
        };
        session.last_seq += 1;
        let workflow = usize::from(workflow);
        state.outside[workflow].acknowledged |= kind == Kind::Started;
        session.drivers[workflow] = if kind.ends() {
            Driver::Absent
        } else {
            Driver::Driven {
                at: kind,
                may_exist: false,
                next: None,
            }
        };
    }

    /// The relay publishes the event after the last one that was acknowledged. `hears`: the bus's acknowledgement comes back.
    pub fn publish(&self, state: &mut State, node: usize, hears: bool) -> bool {
        let Some(session) = &mut state.nodes[node].session else {
            return false;
        };
        let next = usize::from(session.published);
        let Some(row) = state.events.get(next) else {
            return false;
        };
        let is_new = state.topic.len() <= next;
        if self.has(Defect::WatermarkAhead) && !hears {
            session.published += 1;
            return true;
        }
        if is_new {
            state.topic.push(*row);
        }
        session.published += u8::from(hears);
        // What is published once more changes nothing.
        is_new || hears
    }

    pub fn attempt(&self, state: &mut State, node: usize, workflow: usize, answer: Answer) -> bool {
        let Some((epoch, may_exist)) = acting(state, node, workflow) else {
            return false;
        };
        let is_known = state.outside[workflow].effect != Effect::None;
        let kind = match answer {
            Answer::Accepted => self.act(state, workflow, epoch, true),
            Answer::Refused if !is_known => self.act(state, workflow, epoch, false),
            Answer::NotAttempted if !may_exist || self.has(Defect::NoEffectBelieved) => {
                Kind::StepRefused
            }
            Answer::Refused | Answer::NotAttempted => return false,
        };
        set_next(state, node, workflow, kind);
        true
    }

    pub fn attempt_unanswered(state: &mut State, node: usize, workflow: usize) -> bool {
        let Some((epoch, _)) = acting(state, node, workflow) else {
            return false;
        };
        let request = Late::Act {
            workflow: small(workflow),
            epoch,
        };
        state.late.push(request);
        if let Some(session) = &mut state.nodes[node].session
            && let Driver::Driven { may_exist, .. } = &mut session.drivers[workflow]
        {
            *may_exist = true;
        }
        true
    }

    pub fn turn_back(state: &mut State, node: usize, workflow: usize) -> bool {
        let is_acting = acting(state, node, workflow).is_some();
        if is_acting {
            set_next(state, node, workflow, Kind::TurnedBack);
        }
        is_acting
    }

    /// Undoes the step once it is durable that the workflow goes back.
    pub fn compensate(&self, state: &mut State, node: usize, workflow: usize) -> bool {
        let driver = state.session(node).map(|session| session.drivers[workflow]);
        let Some(Driver::Driven { at, next, .. }) = driver else {
            return false;
        };
        if at == Kind::Started {
            let has_effect = state.outside[workflow].effect == Effect::Done;
            let early = self.has(Defect::UndoneEarly) && has_effect;
            if early {
                self.undo(state, workflow);
            }
            return early;
        }
        if next.is_some() {
            return false;
        }
        self.undo(state, workflow);
        set_next(state, node, workflow, Kind::CompensationDone);
        true
    }
}

/// The epoch of a driver whose step is to be attempted, and whether an earlier attempt may have had its effect.
fn acting(state: &State, node: usize, workflow: usize) -> Option<(u8, bool)> {
    let session = state.session(node)?;
    match session.drivers[workflow] {
        Driver::Driven {
            at: Kind::Started,
            may_exist,
            next: None,
        } => Some((session.epoch, may_exist)),
        _ => None,
    }
}

fn set_next(state: &mut State, node: usize, workflow: usize, kind: Kind) {
    if let Some(session) = &mut state.nodes[node].session
        && let Driver::Driven { next, .. } = &mut session.drivers[workflow]
    {
        *next = Some(kind);
    }
}

/// The record of this workflow that is to be written.
fn pending(session: &Session, workflow: usize) -> Option<Row> {
    let kind = match session.drivers[workflow] {
        Driver::Starting => Kind::Started,
        Driver::Driven { next, .. } => next?,
        Driver::Absent => return None,
    };
    let workflow = small(workflow);
    Some(Row { workflow, kind })
}
