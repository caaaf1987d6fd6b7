//! Which points there are, and what is tried at each: the cells of the matrix, always in the same order.

use std::fmt;

/// What a node is told to do at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// End by SIGKILL.
    Kill,
    /// Freeze by SIGSTOP; the test lets it go on after two leases.
    Stop,
    /// Before a call: it fails without having been made. After it: its answer is lost.
    Fail,
}

impl Word {
    const ALL: [Self; 3] = [Self::Kill, Self::Stop, Self::Fail];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Fail => "fail",
        }
    }
}

/// A point, armed for one life of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    /// Such as `gate.reserve.after`.
    pub point: String,
    /// So often nothing happens first.
    pub skip: u32,
    /// What happens then, once.
    pub word: Word,
}

impl Armed {
    /// As the variable `FAILPOINTS` has it.
    pub fn variable(&self) -> String {
        let Self { point, skip, word } = self;
        let once = format!("1*return({})", word.as_str());
        match skip {
            0 => format!("{point}={once}"),
            _ => format!("{point}={skip}*off->{once}"),
        }
    }

    /// It comes with time, whatever the crowds do and however soon they are through.
    pub fn is_of_the_heartbeat(&self) -> bool {
        OF_THE_HEARTBEAT
            .iter()
            .any(|call| self.point.starts_with(call))
    }

    /// What the node says when it fires.
    pub fn announcement(&self) -> String {
        format!("crash point {}: {}", self.point, self.word.as_str())
    }
}

impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word.as_str(), self.point)?;
        if self.skip > 0 {
            write!(f, " #{}", self.skip + 1)?;
        }
        Ok(())
    }
}

/// What happens to one node while it serves a crowd: in its first life, and in its second, when it takes up what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// In its first life.
    pub first: Armed,
    /// In its second.
    pub second: Option<Armed>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.second {
            None => write!(f, "{}", self.first),
            Some(second) => write!(f, "{}, then {second}", self.first),
        }
    }
}

/// The calls that a node makes while it starts, serves a crowd and stops, and how many of each pass before the one that counts.
const CALLS: [(&str, u32); 31] = [
    ("store.register_definitions", 0),
    ("store.acquire", 0),
    ("store.open_journal", 0),
    ("store.open_workflows", 0),
    ("store.renew", 0),
    ("store.renew", 1),
    ("store.adopt_expired", 1),
    ("store.pending_commands", 0),
    ("store.submit", 0),
    ("store.find", 0),
    ("store.release", 0),
    ("journal.commit", 0),
    ("journal.commit", 5),
    ("journal.commit", 20),
    ("bus.publish", 0),
    ("bus.publish", 7),
    ("gate.incarnation", 0),
    ("gate.attach_checked", 0),
    ("gate.rebuild", 0),
    ("gate.claim", 2),
    ("gate.reserve", 2),
    ("gate.extend", 0),
    ("gate.confirm", 1),
    ("gate.confirm", 6),
    ("gate.release", 0),
    ("gate.release_claim", 0),
    ("gate.counts", 0),
    ("gateway.prepare", 0),
    ("gateway.approve", 2),
    ("gateway.inquire", 0),
    ("gateway.cancel", 0),
];

/// Those of them that a node makes three times a lease.
const OF_THE_HEARTBEAT: [&str; 2] = ["store.renew.", "store.adopt_expired."];

/// Where a node dies whose second life is armed as well: with much under way, in different stages.
const FIRST_DEATHS: [(&str, u32); 7] = [
    ("journal.commit.before", 8),
    ("journal.commit.after", 8),
    ("gate.reserve.after", 6),
    ("gate.confirm.before", 3),
    ("gateway.approve.after", 4),
    ("bus.publish.before", 5),
    ("bus.publish.after", 5),
];
/// What only a node does that died with events which were not published, or of which it does not know.
const OF_THE_RELAY: &str = "store.events_after";

/// The calls with which a node takes up what it left.
const RECOVERY: [(&str, u32); 12] = [
    ("store.register_definitions", 0),
    ("store.acquire", 0),
    ("store.open_journal", 0),
    ("store.open_workflows", 0),
    ("store.load", 0),
    ("store.events_after", 0),
    ("store.pending_commands", 0),
    ("journal.commit", 0),
    ("journal.commit", 3),
    ("bus.publish", 0),
    ("gate.attach_checked", 0),
    ("gate.confirm", 0),
];

/// Every cell.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (call, skip) in CALLS {
        for side in ["before", "after"] {
            for word in Word::ALL {
                let point = format!("{call}.{side}");
                let first = Armed { point, skip, word };
                cells.push(Cell {
                    first,
                    second: None,
                });
            }
        }
    }
    for (point, skip) in FIRST_DEATHS {
        let first = Armed {
            point: point.to_owned(),
            skip,
            word: Word::Kill,
        };
        let died_publishing = point.starts_with("bus.publish");
        for (call, skip) in RECOVERY {
            if call == OF_THE_RELAY && !died_publishing {
                continue;
            }
            for side in ["before", "after"] {
                let second = Armed {
                    point: format!("{call}.{side}"),
                    skip,
                    word: Word::Kill,
                };
                cells.push(Cell {
                    first: first.clone(),
                    second: Some(second),
                });
            }
        }
    }
    cells
}
