//! What every store does in the same way: the last word on each workflow of a batch counts, and the first answer to each
//! command; texts are cut to what their columns hold; expired partitions are shared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Batch, CommandId, CommandState, HeadUpdate, ParkedRow, Status};
use crate::ids::{Ident, NodeName, WorkflowId};

/// The characters of a head's reason and of a parked row's class.
pub(crate) const REASON_CHARS_MAX: usize = 255;
/// The characters of a parked row's message.
pub(crate) const MESSAGE_CHARS_MAX: usize = 300;
/// The characters of the reason for which a command was refused.
pub(crate) const ANSWER_CHARS_MAX: usize = 1000;

/// The text up to so many characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices()
        .nth(chars_max)
        .map_or(text, |(end, _)| &text[..end])
}

/// A reason code as the head's column holds it.
pub(crate) fn stored_reason(reason: Option<&str>) -> Option<&str> {
    reason.map(|reason| cut(reason, REASON_CHARS_MAX))
}

/// The last update of each head, by ident.
pub(crate) fn heads(updates: &[HeadUpdate]) -> BTreeMap<Ident, &HeadUpdate> {
    updates.iter().map(|head| (head.id.ident(), head)).collect()
}

/// The rows that the batch leaves behind in `parked`, and the workflows whose row goes. A workflow that was parked and let go
/// on within one batch, or the other way round, is parked in the end if its head says so.
pub(crate) fn parked(batch: &Batch) -> (Vec<&ParkedRow>, BTreeSet<Ident>) {
    let heads = heads(&batch.heads);
    let is_parked = |ident: &Ident| {
        heads
            .get(ident)
            .is_none_or(|head| head.status == Status::Parked)
    };
    let rows: BTreeMap<Ident, &ParkedRow> = batch
        .parked
        .iter()
        .map(|row| (row.id.ident(), row))
        .filter(|(ident, _)| is_parked(ident))
        .collect();
    let let_go = batch.parked.iter().map(|row| &row.id);
    let gone = batch.unparked.iter().chain(let_go).map(WorkflowId::ident);
    let gone = gone.filter(|ident| !rows.contains_key(ident)).collect();
    (rows.into_values().collect(), gone)
}

/// The first answer to each command: a command that was answered stays as it is.
pub(crate) fn answers(answers: &[Answer]) -> BTreeMap<CommandId, &Answer> {
    let mut first = BTreeMap::new();
    let given = answers
        .iter()
        .filter(|answer| answer.state != CommandState::Pending);
    for answer in given {
        first.entry(answer.id).or_insert(answer);
    }
    first
}

/// A node's share of what the dead left: an equal part, rounded up, for it and for each other node that is alive. Each begins
/// at a place of its own, so that nodes that share at once do not all want the same.
pub(crate) fn share<'a, T>(
    node: &'a NodeName,
    alive: impl Iterator<Item = &'a str>,
    mut expired: Vec<T>,
) -> Vec<T> {
    let mut nodes: BTreeSet<&str> = alive.collect();
    nodes.insert(&node.0);
    let size = expired.len().div_ceil(nodes.len());
    let rank = nodes
        .iter()
        .take_while(|name| **name < node.0.as_str())
        .count();
    if !expired.is_empty() {
        let first = rank * size % expired.len();
        expired.rotate_left(first);
    }
    expired.truncate(size);
    expired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PartitionId;
    use crate::runtime::Timestamp;

    fn id(number: u8) -> WorkflowId {
        WorkflowId::new(PartitionId(1), [number; 12])
    }

    fn row(number: u8, class: &str) -> ParkedRow {
        ParkedRow {
            id: id(number),
            definition: "purchase".into(),
            step: None,
            class: class.into(),
            message: String::new(),
            since: Timestamp(1),
        }
    }

    fn update(number: u8, status: Status) -> HeadUpdate {
        HeadUpdate {
            id: id(number),
            status,
            reason: None,
            wake_at: None,
            updated_at: Timestamp(1),
        }
    }

    #[test]
    fn shares_cover_all_and_are_equal() {
        let names = ["a", "b", "c"];
        for expired in 0..20 {
            let of = |name: &str| {
                let others = names.into_iter().filter(|other| *other != name);
                let node = NodeName(name.into());
                share(&node, others.chain(["c", "c"]), (0..expired).collect())
            };
            let shares = names.map(of);
            let size = usize::div_ceil(expired, 3);
            assert!(shares.iter().all(|share| share.len() == size));
            let all: BTreeSet<usize> = shares.concat().into_iter().collect();
            assert_eq!(all.len(), expired);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn a_workflow_is_parked_in_the_end_if_its_head_says_so() {
        let batch = Batch {
            heads: vec![
                update(1, Status::Parked),
                update(1, Status::Running),
                update(2, Status::Running),
                update(2, Status::Parked),
            ],
            parked: vec![row(1, "one"), row(2, "two"), row(3, "old"), row(3, "new")],
            unparked: vec![id(1), id(2), id(4)],
            ..Batch::default()
        };
        let (rows, gone) = parked(&batch);
        let classes: Vec<&str> = rows.iter().map(|row| row.class.as_str()).collect();
        assert_eq!(classes, ["two", "new"]);
        assert_eq!(gone, BTreeSet::from([id(1).ident(), id(4).ident()]));
    }

    #[test]
    fn the_first_answer_counts() {
        let answer = |number, seq| Answer {
            id: CommandId(number),
            state: CommandState::Done { seq },
            at: Timestamp(1),
        };
        let all = [answer(1, 7), answer(2, 8), answer(1, 9)];
        let seqs: Vec<_> = answers(&all).into_values().cloned().collect();
        assert_eq!(seqs, [answer(1, 7), answer(2, 8)]);
    }
}
