//! What a state of the model is: one partition's rows in the database, what each node thinks, what is on its way, what the topic
//! and the outside have. Time is no part of it: whatever may take long may happen after everything else.

use std::hash::{Hash, Hasher};

/// The most nodes that a model may have.
pub const NODES_MAX: usize = 3;
/// The most workflows.
pub const WORKFLOWS_MAX: usize = 2;

/// A record of a workflow with one step that can be undone. The first names the intent of the step's attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Started,
    /// The step took effect: the workflow is completed.
    StepDone,
    /// The step is known to have had no effect: there is nothing to undo.
    StepRefused,
    /// The workflow goes back, whatever became of the step.
    TurnedBack,
    /// The step was undone, or can't take effect any more.
    CompensationDone,
}

impl Kind {
    /// The number of such a record in its workflow.
    pub const fn seq(self) -> u8 {
        match self {
            Self::Started => 1,
            Self::StepDone | Self::StepRefused | Self::TurnedBack => 2,
            Self::CompensationDone => 3,
        }
    }

    pub const fn ends(self) -> bool {
        !matches!(self, Self::Started | Self::TurnedBack)
    }
}

/// An event in the journal, and on the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    pub workflow: u8,
    pub kind: Kind,
}

/// The row of `partitions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Partition {
    pub epoch: u8,
    pub owner: Option<u8>,
    /// The lease has not run out by the database's clock.
    pub held: bool,
    /// Who has written under this epoch: not in the database, only for the model to judge.
    pub written_by: Option<u8>,
}

/// The row of `journals`. Its `last_seq` is the number of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Journal {
    pub written_under: u8,
    pub opened: u8,
    pub batch: u8,
    pub published: u8,
}

/// What is sent to the database in one transaction: at most one workflow's record, and the relay's watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Batch {
    pub epoch: u8,
    pub opened: u8,
    pub number: u8,
    /// The place of its event in the partition.
    pub partition_seq: u8,
    pub row: Option<Row>,
    pub published: u8,
    /// The sender: not in the database, only for the model to judge.
    pub by: u8,
}

/// What was sent, was given up, and may arrive whenever it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Late {
    Batch(Batch),
    /// The statement that opens a journal, with what it read before.
    Open {
        epoch: u8,
        opened: u8,
    },
    /// A step's request. The epoch is that of its sender.
    Act {
        workflow: u8,
        epoch: u8,
    },
}

/// What a writer knows about its last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Writer {
    Ready,
    /// The reply was lost.
    MayBeWritten(Batch),
    /// It was not written: the same batch is to be sent again.
    Again(Batch),
}

/// How far a take-over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The epoch was raised.
    Taken,
    /// The journal was opened and its position read: writer and relay run.
    Open,
    /// What was open is driven, and workflows are born.
    Recovered,
}

/// What a node does about one workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Driver {
    Absent,
    /// Nothing of it is durable.
    Starting,
    Driven {
        /// The last record that is durable.
        at: Kind,
        /// An attempt may have been made whose outcome is not known.
        may_exist: bool,
        /// The record that is to be written.
        next: Option<Kind>,
    },
}

/// What a node knows about the partition that it thinks is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    pub epoch: u8,
    pub stage: Stage,
    pub opened: u8,
    pub batch: u8,
    pub last_seq: u8,
    /// The watermark that is durable.
    pub watermark: u8,
    /// The last event that the bus has acknowledged.
    pub published: u8,
    pub writer: Writer,
    pub drivers: [Driver; WORKFLOWS_MAX],
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    pub alive: bool,
    pub session: Option<Session>,
}

/// What the outside has under a step's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    None,
    Done,
    /// It was undone, or the compensation came first: what comes later does nothing.
    Undone,
    Refused,
}

/// One workflow as the outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outside {
    pub effect: Effect,
    /// How often the step took effect.
    pub times: u8,
    /// The epoch of the attempt that took effect first.
    pub by_epoch: u8,
    /// The client was told that the workflow is durable.
    pub acknowledged: bool,
}

/// What must never happen and is seen only in the moment in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A row was written under an epoch that had passed.
    StaleRow,
    /// Two nodes wrote under one epoch.
    SecondWriter,
    /// A writer was told that a batch is refused for its rows, which were good.
    FalseAnswer,
}

/// A state. Nodes are in an order that does not depend on their names, so that states that differ by names alone are one.
#[derive(Clone, Debug)]
pub struct State {
    pub partition: Partition,
    pub journal: Journal,
    pub events: Vec<Row>,
    pub topic: Vec<Row>,
    pub nodes: Vec<Node>,
    pub late: Vec<Late>,
    pub outside: Vec<Outside>,
    pub faults: u8,
    /// What happened first of what must not.
    pub broken: Option<Broken>,
    /// A step brought the state no further.
    pub went_back: bool,
    /// The nodes' names, for those who read: no part of what a state is.
    pub names: [u8; NODES_MAX],
}

impl State {
    pub fn new(nodes: usize, workflows: usize) -> Self {
        let outside = Outside {
            effect: Effect::None,
            times: 0,
            by_epoch: 0,
            acknowledged: false,
        };
        let node = Node {
            alive: true,
            session: None,
        };
        Self {
            partition: Partition {
                epoch: 0,
                owner: None,
                held: false,
                written_by: None,
            },
            journal: Journal::default(),
            events: Vec::new(),
            topic: Vec::new(),
            nodes: vec![node; nodes],
            late: Vec::new(),
            outside: vec![outside; workflows],
            faults: 0,
            broken: None,
            went_back: false,
            names: *b"ABC",
        }
    }

    pub fn session(&self, node: usize) -> Option<&Session> {
        self.nodes[node].session.as_ref()
    }

    /// The node holds the partition under the epoch that counts.
    pub fn is_current(&self, node: usize) -> bool {
        self.session(node)
            .is_some_and(|session| session.epoch == self.partition.epoch)
    }

    /// The kind of the workflow's last event.
    pub fn last_kind(&self, workflow: usize) -> Option<Kind> {
        let of_it = |row: &&Row| usize::from(row.workflow) == workflow;
        self.events.iter().rfind(of_it).map(|row| row.kind)
    }

    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.nodes.iter().filter_map(|node| node.session.as_ref())
    }

    /// The same state with the nodes in their order.
    pub fn in_order(mut self) -> Self {
        self.late.sort_unstable();
        // Nodes wander to their places; there are three at most.
        for end in (1..self.nodes.len()).rev() {
            for left in 0..end {
                if self.rank(left) < self.rank(left + 1) {
                    self.swap(left);
                }
            }
        }
        self
    }

    fn rank(&self, node: usize) -> (Node, bool, bool) {
        let is = |other: Option<u8>| other.map(usize::from) == Some(node);
        let partition = &self.partition;
        (
            self.nodes[node],
            is(partition.owner),
            is(partition.written_by),
        )
    }

    /// Lets a node and the one after it change their places.
    fn swap(&mut self, left: usize) {
        self.nodes.swap(left, left + 1);
        self.names.swap(left, left + 1);
        let (left, right) = (small(left), small(left + 1));
        let moved = |node: u8| match node {
            node if node == left => right,
            node if node == right => left,
            node => node,
        };
        self.partition.owner = self.partition.owner.map(moved);
        self.partition.written_by = self.partition.written_by.map(moved);
        for late in &mut self.late {
            if let Late::Batch(batch) = late {
                batch.by = moved(batch.by);
            }
        }
        for session in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.session.as_mut())
        {
            if let Writer::MayBeWritten(batch) | Writer::Again(batch) = &mut session.writer {
                batch.by = moved(batch.by);
            }
        }
    }

    /// All of it but the names.
    fn essence(&self) -> impl Hash + PartialEq + '_ {
        (
            (&self.partition, &self.journal, &self.events, &self.topic),
            (&self.nodes, &self.late, &self.outside),
            (self.faults, self.broken, self.went_back),
        )
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.essence().hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

/// A count as states hold it.
pub fn small(count: usize) -> u8 {
    u8::try_from(count).expect("models are small")
}
