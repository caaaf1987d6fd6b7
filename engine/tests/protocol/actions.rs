//! What can happen, in words, and which of it is a fault.

use super::state::{Driver, Effect, Kind, Late, Row, Stage, State, Writer};
use super::{Defect, Protocol};

/// One step of the model. Nodes and workflows are places in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The lease runs out by the database's clock.
    LeaseRunsOut,
    Renew(usize),
    /// A node finds that its lease has ended, and closes the partition.
    StepDown(usize),
    /// A process ends and is started anew under its name.
    Crash(usize),
    /// A process ends for good.
    Die(usize),
    Take(usize),
    /// The journal is opened, and its position read.
    OpenJournal(usize),
    Recover(usize),
    Start(usize, usize),
    /// The writer sends what is next and gets its answer. Entries go by workflow; `None` is the watermark alone, or the batch
    /// that is sent again.
    Commit(usize, Option<usize>),
    /// The writer sends it and hears nothing; it may arrive later.
    CommitUnanswered(usize, Option<usize>),
    /// The same, to know what became of a batch.
    OpenAgain(usize),
    /// The same, and nothing is heard; the statement may arrive later.
    OpenUnanswered(usize),
    Publish(usize),
    /// The bus has the event, and the relay does not hear of it.
    PublishUnanswered(usize),
    /// The step is attempted, or asked about where that is due: the key makes it one.
    Act(usize, usize, Answer),
    /// The request is sent and nothing is heard; it may arrive later.
    ActUnanswered(usize, usize),
    /// A deadline, an operator, or an attempt that stays unknown.
    TurnBack(usize, usize),
    Compensate(usize, usize),
    /// What was sent long ago arrives: its place among the late.
    Arrive(usize),
}

/// What the outside says to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused,
    /// It could not be attempted.
    NotAttempted,
}

impl Action {
    /// Whether it is a fault, of which there are only so many.
    pub fn is_fault(self, state: &State) -> bool {
        match self {
            Self::LeaseRunsOut => state
                .partition
                .owner
                .is_some_and(|owner| state.is_current(usize::from(owner))),
            Self::Crash(_)
            | Self::Die(_)
            | Self::CommitUnanswered(..)
            | Self::OpenUnanswered(_)
            | Self::ActUnanswered(..)
            | Self::Act(_, _, Answer::NotAttempted) => true,
            _ => false,
        }
    }

    /// What happened, for a reader of a trace.
    pub fn words(self, protocol: &Protocol, state: &State) -> String {
        let name = |node: usize| char::from(state.names[node]);
        let under = |node: usize| state.session(node).map_or(0, |session| session.epoch);
        let workflow = |workflow: usize| workflow + 1;
        match self {
            Self::LeaseRunsOut => "the lease runs out by the database's clock".to_owned(),
            Self::Renew(node) => format!("{} renews its lease", name(node)),
            Self::StepDown(node) => {
                format!("{} finds that its lease has ended, and stops", name(node))
            }
            Self::Crash(node) => format!("{} crashes and starts anew", name(node)),
            Self::Die(node) => format!("{} dies for good", name(node)),
            Self::Take(node) => {
                let kept = protocol.has(Defect::EpochKept) && state.partition.epoch > 0;
                let raised = state.partition.epoch + u8::from(!kept);
                format!("{} takes the partition, under epoch {raised}", name(node))
            }
            Self::OpenJournal(node) => format!(
                "{} opens the journal: {} events, published up to {}",
                name(node),
                state.events.len(),
                state.journal.published
            ),
            Self::Recover(node) => format!("{} drives what is open", name(node)),
            Self::Start(node, it) => format!(
                "a client asks {} to start workflow {}",
                name(node),
                workflow(it)
            ),
            Self::Commit(node, it) => {
                format!("{} sends {}", name(node), sent(protocol, state, node, it))
            }
            Self::CommitUnanswered(node, it) => {
                format!(
                    "{} sends {} and hears nothing",
                    name(node),
                    sent(protocol, state, node, it)
                )
            }
            Self::OpenAgain(node) => format!(
                "{} opens the journal again, to know what became of its batch",
                name(node)
            ),
            Self::OpenUnanswered(node) => {
                format!("{} opens the journal again and hears nothing", name(node))
            }
            Self::Publish(node) => format!(
                "{} publishes the next event and hears that the bus has it",
                name(node)
            ),
            Self::PublishUnanswered(node) if protocol.has(Defect::WatermarkAhead) => {
                format!(
                    "{} takes the next event as published before it is",
                    name(node)
                )
            }
            Self::PublishUnanswered(node) => format!(
                "{} publishes the next event and does not hear that the bus has it",
                name(node)
            ),
            Self::Act(node, it, answer) => {
                let says = match (answer, state.outside[it].effect) {
                    (Answer::NotAttempted, _) => "could not be attempted",
                    (_, Effect::Done) => "is done already",
                    (_, Effect::Refused) => "was refused already",
                    (_, Effect::Undone) => "was undone already",
                    (Answer::Accepted, Effect::None) => "is done",
                    (Answer::Refused, Effect::None) => "is refused",
                };
                format!(
                    "{} (epoch {}) attempts the step of workflow {}: it {says}",
                    name(node),
                    under(node),
                    workflow(it)
                )
            }
            Self::ActUnanswered(node, it) => {
                format!(
                    "{} (epoch {}) attempts the step of workflow {} and hears nothing",
                    name(node),
                    under(node),
                    workflow(it)
                )
            }
            Self::TurnBack(node, it) => {
                format!("{} turns workflow {} back", name(node), workflow(it))
            }
            Self::Compensate(node, it) => format!(
                "{} undoes the step of workflow {}",
                name(node),
                workflow(it)
            ),
            Self::Arrive(place) => arrival(state.late[place]),
        }
    }
}

fn arrival(late: Late) -> String {
    match late {
        Late::Batch(batch) => format!(
            "batch {} of epoch {} arrives late",
            batch.number, batch.epoch
        ),
        Late::Open { epoch, .. } => {
            format!("the statement of epoch {epoch} that opens the journal arrives late")
        }
        Late::Act { workflow, epoch } => {
            format!(
                "the request of epoch {epoch} for the step of workflow {} arrives late",
                workflow + 1
            )
        }
    }
}

fn sent(protocol: &Protocol, state: &State, node: usize, entry: Option<usize>) -> String {
    let Some(batch) = protocol.next_batch(state, node, entry) else {
        return "nothing".to_owned();
    };
    let what = batch
        .row
        .map_or_else(String::new, |Row { workflow, kind }| {
            format!(", {kind:?} of workflow {}", workflow + 1)
        });
    format!(
        "batch {} under epoch {}{what}, published up to {}",
        batch.number, batch.epoch, batch.published
    )
}

/// All that may happen in this state; what turns out to be impossible is left out later.
pub fn possible(state: &State, actions: &mut Vec<Action>) {
    actions.push(Action::LeaseRunsOut);
    actions.extend((0..state.late.len()).map(Action::Arrive));
    for (index, node) in state.nodes.iter().enumerate() {
        let Some(session) = &node.session else {
            actions.push(Action::Take(index));
            continue;
        };
        actions.extend([
            Action::Crash(index),
            Action::Die(index),
            Action::StepDown(index),
            Action::Renew(index),
        ]);
        match session.stage {
            Stage::Taken => actions.push(Action::OpenJournal(index)),
            Stage::Open => actions.push(Action::Recover(index)),
            Stage::Recovered => {}
        }
        if session.stage < Stage::Open {
            continue;
        }
        actions.extend([Action::Publish(index), Action::PublishUnanswered(index)]);
        if let Writer::MayBeWritten(_) = session.writer {
            actions.extend([Action::OpenAgain(index), Action::OpenUnanswered(index)]);
        }
        actions.extend([
            Action::Commit(index, None),
            Action::CommitUnanswered(index, None),
        ]);
        let workflows = session.drivers.iter().take(state.outside.len());
        for (workflow, driver) in workflows.enumerate() {
            possible_for(index, workflow, *driver, session.stage, actions);
        }
    }
}

fn possible_for(
    node: usize,
    workflow: usize,
    driver: Driver,
    stage: Stage,
    actions: &mut Vec<Action>,
) {
    if stage == Stage::Recovered && driver != Driver::Starting {
        actions.push(Action::Start(node, workflow));
    }
    match driver {
        Driver::Absent => {}
        Driver::Starting | Driver::Driven { next: Some(_), .. } => {
            actions.extend([
                Action::Commit(node, Some(workflow)),
                Action::CommitUnanswered(node, Some(workflow)),
            ]);
            if let Driver::Driven {
                at: Kind::Started,
                next: Some(Kind::TurnedBack),
                ..
            } = driver
            {
                actions.push(Action::Compensate(node, workflow));
            }
        }
        Driver::Driven {
            at: Kind::TurnedBack,
            ..
        } => actions.push(Action::Compensate(node, workflow)),
        Driver::Driven { .. } => {
            let answers = [Answer::Accepted, Answer::Refused, Answer::NotAttempted];
            actions.extend(answers.map(|answer| Action::Act(node, workflow, answer)));
            actions.extend([
                Action::ActUnanswered(node, workflow),
                Action::TurnBack(node, workflow),
            ]);
        }
    }
}
