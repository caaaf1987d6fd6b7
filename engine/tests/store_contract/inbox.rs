//! The inbox: a command is durable once per key, waits in its order, and keeps the answer that it got first.

use std::sync::Arc;

use engine::command::Verb;
use engine::payload::Payload;
use engine::runtime::Timestamp;
use engine::store::{
    Answer, CommandId, CommandRow, CommandState, CommitError, JournalPosition, NewCommand,
    StoreError, Submitted,
};
use engine::workflow::{By, Refusal, Resolution, Signal};
use engine::{PartitionId, WorkflowId};
use futures_util::FutureExt as _;

use crate::harness::{Ground, LONG, on_all};
use crate::samples::{following, id, ids, node, starting};

on_all!(
    commands_of_every_verb_come_back_as_they_were_submitted,
    a_key_names_one_command_of_a_workflow,
    submissions_at_once_under_one_key_are_one_command,
    a_submission_that_is_given_up_halfway_can_be_repeated,
    a_key_that_is_too_long_is_an_error,
    pending_commands_come_in_their_order_page_by_page,
    an_answer_is_written_with_its_batch_and_stays,
    many_answers_of_one_batch_each_find_their_command,
    answers_under_a_passed_epoch_are_refused_with_their_batch,
    answers_of_a_refused_batch_are_not_written,
    commands_are_listed_newest_first,
);

/// A command under this key.
pub fn command(workflow: WorkflowId, key: &str) -> NewCommand {
    NewCommand {
        workflow,
        key: key.to_owned(),
        verb: Verb::Retry,
        by: By {
            actor: "operator".to_owned(),
            reason: "it works again".to_owned(),
        },
        expected_seq: None,
        batch: None,
        accepted_at: Timestamp(5),
    }
}

async fn submit(ground: &Ground, command: &NewCommand) -> CommandId {
    match ground.store.submit(command).await.expect("submitted") {
        Submitted::New(id) => id,
        Submitted::Existing(row) => panic!("there was {row:?}"),
    }
}

async fn state(ground: &Ground, id: CommandId) -> CommandState {
    let row = ground.store.command(id).await.expect("read");
    row.expect("there").state
}

fn done(id: CommandId, seq: u32) -> Answer {
    Answer {
        id,
        state: CommandState::Done { seq },
        at: Timestamp(100 + i64::from(seq)),
    }
}

fn refused(id: CommandId, why: &str) -> Answer {
    Answer {
        id,
        state: CommandState::Refused { why: why.into() },
        at: Timestamp(200),
    }
}

fn verbs() -> Vec<Verb> {
    let payload = |text: &str| Payload::of(text).expect("JSON");
    let step = || "payment".to_owned();
    let text = "'quoted' \"twice\" \\ ; -- \u{1F389} \u{0} ?";
    vec![
        Verb::Retry,
        Verb::Compensate,
        Verb::Resolve {
            step: step(),
            resolution: Resolution::Done(payload(text)),
        },
        Verb::Resolve {
            step: step(),
            resolution: Resolution::Refused(Refusal::new("sold-out", text)),
        },
        Verb::Resolve {
            step: step(),
            resolution: Resolution::Undone,
        },
        Verb::Skip {
            step: step(),
            output: Payload::null(),
        },
        Verb::Pause,
        Verb::Resume,
        Verb::Abandon,
        Verb::Signal(Signal {
            name: "paid".into(),
            id: text.into(),
            payload: payload(text),
        }),
    ]
}

async fn commands_of_every_verb_come_back_as_they_were_submitted(ground: Arc<Ground>) {
    let workflow = id(PartitionId(7), 1);
    for (number, verb) in verbs().into_iter().enumerate() {
        let submitted = NewCommand {
            key: format!("'key' \"{number}\" \u{1F389} "),
            verb,
            by: By {
                actor: "o'perator \\".to_owned(),
                reason: "\u{1F389}".repeat(1000),
            },
            expected_seq: (number > 3).then_some(u32::MAX),
            batch: (number > 5).then_some(i64::MAX.unsigned_abs()),
            accepted_at: Timestamp(1_700_000_000_123_456),
            ..command(workflow, "")
        };
        let id = submit(&ground, &submitted).await;
        let row = CommandRow {
            id,
            command: submitted.clone(),
            state: CommandState::Pending,
            answered_at: None,
        };
        let found = ground.store.command(id).await.expect("read");
        assert_eq!(found.as_ref(), Some(&row));
        let of_key = ground.store.command_of_key(workflow, &submitted.key).await;
        assert_eq!(of_key.expect("read"), Some(row));
    }
    let absent = [
        ground.store.command(CommandId(99)).await,
        ground.store.command_of_key(workflow, "absent").await,
        ground
            .store
            .command_of_key(id(PartitionId(7), 2), "'key' \"1\" \u{1F389} ")
            .await,
    ];
    for found in absent {
        assert_eq!(found.expect("read"), None);
    }
}

async fn a_key_names_one_command_of_a_workflow(ground: Arc<Ground>) {
    let workflow = id(PartitionId(7), 1);
    let first = command(workflow, "key");
    let id_of_first = submit(&ground, &first).await;
    // Whatever it asks for: to compare is its sender's affair.
    let mut other = first.clone();
    other.verb = Verb::Abandon;
    for repeated in [&first, &other] {
        let found = ground.store.submit(repeated).await.expect("submitted");
        let Submitted::Existing(row) = found else {
            panic!("{found:?}")
        };
        assert_eq!((row.id, &row.command), (id_of_first, &first));
    }
    // Another key, if only by a blank or a capital, or another workflow.
    let mut last = id_of_first;
    for (workflow, key) in [
        (workflow, "key "),
        (workflow, "Key"),
        (workflow, ""),
        (id(PartitionId(7), 2), "key"),
        (id(PartitionId(8), 1), "key"),
    ] {
        let next = submit(&ground, &command(workflow, key)).await;
        assert!(next > last, "numbers rise");
        last = next;
    }
}

async fn submissions_at_once_under_one_key_are_one_command(ground: Arc<Ground>) {
    let command = command(id(PartitionId(7), 1), "key");
    let all = (0..8).map(|_| ground.store.submit(&command));
    let all = futures_util::future::try_join_all(all)
        .await
        .expect("submitted");
    let new: Vec<_> = all
        .iter()
        .filter_map(|one| match one {
            Submitted::New(id) => Some(*id),
            Submitted::Existing(_) => None,
        })
        .collect();
    assert_eq!(new.len(), 1, "{all:?}");
    for one in &all {
        if let Submitted::Existing(row) = one {
            assert_eq!((row.id, &row.command), (new[0], &command));
        }
    }
}

async fn a_submission_that_is_given_up_halfway_can_be_repeated(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    for number in 0..5 {
        let command = command(id(lease.partition, 1), &format!("key-{number}"));
        // Polled once, so that it may be under way, and dropped: it left nothing open.
        let _given_up = ground.store.submit(&command).now_or_never();
        let repeated = ground.store.submit(&command).await.expect("submitted");
        let id = match repeated {
            Submitted::New(id) => id,
            Submitted::Existing(row) => row.id,
        };
        let found = ground
            .store
            .command(id)
            .await
            .expect("read")
            .expect("there");
        assert_eq!(found.command, command);
    }
    let all = ground
        .store
        .commands(None, None, None, 100)
        .await
        .expect("read");
    assert_eq!(all.len(), 5);
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let mut batch = following(JournalPosition::default());
    batch.answers = all.iter().map(|row| done(row.id, 1)).collect();
    journal
        .commit(&batch)
        .await
        .expect("no lock was left behind");
}

async fn a_key_that_is_too_long_is_an_error(ground: Arc<Ground>) {
    let workflow = id(PartitionId(7), 1);
    submit(&ground, &command(workflow, &"k".repeat(200))).await;
    // Two hundred characters, but four hundred bytes.
    for key in ["k".repeat(201), "ü".repeat(200)] {
        let error = ground.store.submit(&command(workflow, &key)).await;
        let error = error.expect_err("too long");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    let all = ground
        .store
        .commands(None, None, None, 10)
        .await
        .expect("read");
    assert_eq!(all.len(), 1);
}

async fn pending_commands_come_in_their_order_page_by_page(ground: Arc<Ground>) {
    let [lease, other] = [ground.lease("a").await, ground.lease("b").await];
    let mut expected = Vec::new();
    for number in 0..60_u32 {
        let partition = if number.is_multiple_of(3) {
            &other
        } else {
            &lease
        };
        // Several to a workflow, and not in the order of the workflows.
        let workflow = id(partition.partition, 60 - number / 2);
        let submitted = command(workflow, &format!("key-{number}"));
        let id = submit(&ground, &submitted).await;
        if partition == &lease {
            expected.push(id);
        }
    }
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let mut batch = following(JournalPosition::default());
    let answered: Vec<_> = expected.iter().copied().step_by(4).collect();
    batch.answers = answered.iter().map(|id| done(*id, 1)).collect();
    journal.commit(&batch).await.expect("committed");
    expected.retain(|id| !answered.contains(id));

    for limit in [1, 7, 30, 100] {
        let mut found: Vec<CommandId> = Vec::new();
        loop {
            let after = found.last().copied();
            let page = ground
                .store
                .pending_commands(lease.partition, after, limit)
                .await;
            let page = page.expect("read");
            assert!(page.len() <= limit as usize);
            assert!(page.iter().all(|row| row.state == CommandState::Pending));
            if page.is_empty() {
                break;
            }
            found.extend(page.iter().map(|row| row.id));
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

async fn an_answer_is_written_with_its_batch_and_stays(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflow = id(lease.partition, 1);
    let mut ids = Vec::new();
    for key in ["one", "two", "three"] {
        ids.push(submit(&ground, &command(workflow, key)).await);
    }
    let long = "\u{1F389}".repeat(1001);
    let mut batch = starting(JournalPosition::default(), &[workflow]);
    // The first answer counts, within a batch too; one to nobody is dropped.
    batch.answers = vec![
        done(ids[0], 7),
        refused(ids[0], "too late"),
        refused(ids[1], &long),
        done(ids[1], 8),
        done(CommandId(999), 1),
    ];
    journal.commit(&batch).await.expect("committed");
    let check = async || {
        let first = ground
            .store
            .command(ids[0])
            .await
            .expect("read")
            .expect("there");
        assert_eq!(first.state, CommandState::Done { seq: 7 });
        assert_eq!(first.answered_at, Some(Timestamp(107)));
        let second = ground
            .store
            .command(ids[1])
            .await
            .expect("read")
            .expect("there");
        let why = "\u{1F389}".repeat(1000);
        assert_eq!(second.state, CommandState::Refused { why });
        assert_eq!(second.answered_at, Some(Timestamp(200)));
        assert_eq!(state(&ground, ids[2]).await, CommandState::Pending);
    };
    check().await;
    let mut batch = following(journal.position().await.expect("read"));
    batch.answers = vec![refused(ids[0], "changed"), done(ids[1], 9)];
    journal.commit(&batch).await.expect("committed");
    check().await;
    // Nor does a repeat of the command wake it up.
    let repeated = ground.store.submit(&command(workflow, "one")).await;
    let Submitted::Existing(row) = repeated.expect("submitted") else {
        panic!("it was answered")
    };
    assert_eq!(row.state, CommandState::Done { seq: 7 });
}

async fn many_answers_of_one_batch_each_find_their_command(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let mut answers = Vec::new();
    for number in 0..200_u32 {
        let command = command(id(lease.partition, number), "key");
        let id = submit(&ground, &command).await;
        answers.push(if number.is_multiple_of(3) {
            refused(id, &format!("why {number}"))
        } else {
            done(id, number)
        });
    }
    let mut batch = following(JournalPosition::default());
    batch.answers = answers.iter().rev().cloned().collect();
    journal.commit(&batch).await.expect("committed");
    for answer in answers {
        let row = ground.store.command(answer.id).await.expect("read");
        let row = row.expect("there");
        assert_eq!(
            (row.state, row.answered_at),
            (answer.state, Some(answer.at))
        );
    }
    let pending = ground.store.pending_commands(lease.partition, None, 10);
    assert_eq!(pending.await.expect("read"), []);
}

async fn answers_under_a_passed_epoch_are_refused_with_their_batch(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let id = submit(&ground, &command(id(lease.partition, 1), "key")).await;
    let taken = ground.store.acquire(&node("a"), 1, &[], LONG).await;
    taken.expect("taken back");
    let mut batch = following(JournalPosition::default());
    batch.answers = vec![done(id, 1)];
    let error = journal.commit(&batch).await.expect_err("fenced");
    assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    assert_eq!(state(&ground, id).await, CommandState::Pending);
}

async fn answers_of_a_refused_batch_are_not_written(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 1);
    let batch = starting(JournalPosition::default(), &workflows);
    journal.commit(&batch).await.expect("committed");
    let id = submit(&ground, &command(workflows[0], "key")).await;
    let mut batch = starting(journal.position().await.expect("read"), &workflows);
    batch.answers = vec![done(id, 1)];
    let error = journal.commit(&batch).await.expect_err("refused");
    assert!(matches!(error, CommitError::RowRefused { .. }), "{error}");
    assert_eq!(state(&ground, id).await, CommandState::Pending);
}

async fn commands_are_listed_newest_first(ground: Arc<Ground>) {
    let workflows = [1, 2].map(|number| id(PartitionId(7), number));
    let mut all: Vec<(CommandId, NewCommand)> = Vec::new();
    for number in 0..24_usize {
        let mut command = command(workflows[number % 2], &format!("key-{}", number * 7 % 24));
        command.batch = [None, Some(1), Some(2)][number % 3];
        all.push((submit(&ground, &command).await, command));
    }
    all.reverse();
    for workflow in [None, Some(workflows[0]), Some(workflows[1])] {
        for batch in [None, Some(1), Some(2), Some(3)] {
            let expected: Vec<_> = all
                .iter()
                .filter(|(_, command)| workflow.is_none_or(|one| command.workflow == one))
                .filter(|(_, command)| batch.is_none() || command.batch == batch)
                .map(|(id, _)| *id)
                .collect();
            let mut found: Vec<CommandId> = Vec::new();
            loop {
                let before = found.last().copied();
                let page = ground.store.commands(workflow, batch, before, 5).await;
                let page = page.expect("read");
                if page.is_empty() {
                    break;
                }
                found.extend(page.iter().map(|row| row.id));
            }
            assert_eq!(found, expected, "{workflow:?} {batch:?}");
        }
    }
}
