//! What lists and error groups go by: heads with their reasons and waking times, and the rows of what is parked.

use std::sync::Arc;

use engine::WorkflowId;
use engine::runtime::Timestamp;
use engine::store::{CommitError, ErrorGroup, HeadUpdate, JournalPosition, ParkedRow, Status};

use crate::harness::{Ground, on_all};
use crate::samples::{following, head, id, ids, starting, update};

on_all!(
    a_row_says_why_a_workflow_is_parked_for_as_long_as_it_is,
    a_workflow_that_is_parked_again_has_its_last_reason,
    within_a_batch_the_last_word_on_a_workflow_counts,
    a_refused_batch_parks_nothing,
    texts_that_are_too_long_are_cut_between_characters,
    each_head_is_woken_at_its_own_time,
);

fn row(id: WorkflowId, class: &str) -> ParkedRow {
    ParkedRow {
        id,
        definition: "purchase".into(),
        step: Some("payment".into()),
        class: class.into(),
        message: "no answer within # ms".into(),
        since: Timestamp(10),
    }
}

fn parked(id: WorkflowId, class: &str) -> HeadUpdate {
    HeadUpdate {
        reason: Some(class.into()),
        ..update(id, Status::Parked, 10)
    }
}

async fn groups(ground: &Ground) -> Vec<ErrorGroup> {
    ground.store.error_groups(100).await.expect("read")
}

/// Class and number of each group, sorted.
async fn classes(ground: &Ground) -> Vec<(String, u64)> {
    let groups = groups(ground).await.into_iter();
    let mut classes: Vec<_> = groups.map(|group| (group.class, group.count)).collect();
    classes.sort();
    classes
}

async fn a_row_says_why_a_workflow_is_parked_for_as_long_as_it_is(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 3);
    let mut batch = starting(JournalPosition::default(), &workflows);
    // In the very batch in which it starts, too.
    batch.parked = vec![row(workflows[0], "timeout")];
    batch.workflows[0].status = Status::Parked;
    journal.commit(&batch).await.expect("committed");
    let mut batch = following(journal.position().await.expect("read"));
    batch.heads = vec![
        parked(workflows[1], "timeout"),
        parked(workflows[2], "paused"),
    ];
    let mut late = row(workflows[1], "timeout");
    late.since = Timestamp(30);
    let paused = ParkedRow {
        step: None,
        message: String::new(),
        ..row(workflows[2], "paused")
    };
    batch.parked = vec![late, paused];
    journal.commit(&batch).await.expect("committed");
    let timeout = ErrorGroup {
        definition: "purchase".into(),
        step: Some("payment".into()),
        class: "timeout".into(),
        message: "no answer within # ms".into(),
        count: 2,
        first_since: Timestamp(10),
        last_since: Timestamp(30),
    };
    let paused = ErrorGroup {
        definition: "purchase".into(),
        step: None,
        class: "paused".into(),
        message: String::new(),
        count: 1,
        first_since: Timestamp(10),
        last_since: Timestamp(10),
    };
    assert_eq!(groups(&ground).await, [timeout, paused]);

    let mut batch = following(journal.position().await.expect("read"));
    batch.heads = workflows[..2]
        .iter()
        .map(|id| update(*id, Status::Running, 40))
        .collect();
    batch.unparked = workflows[..2].to_vec();
    // One that is not parked is no harm.
    batch.unparked.push(id(lease.partition, 99));
    journal.commit(&batch).await.expect("committed");
    assert_eq!(classes(&ground).await, [("paused".into(), 1)]);
}

async fn a_workflow_that_is_parked_again_has_its_last_reason(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 100);
    let batch = starting(JournalPosition::default(), &workflows);
    journal.commit(&batch).await.expect("committed");
    for class in ["one", "two"] {
        let mut batch = following(journal.position().await.expect("read"));
        batch.heads = workflows.iter().map(|id| parked(*id, class)).collect();
        batch.parked = workflows.iter().map(|id| row(*id, class)).collect();
        journal.commit(&batch).await.expect("committed");
        assert_eq!(classes(&ground).await, [(class.to_owned(), 100)]);
    }
    let mut batch = following(journal.position().await.expect("read"));
    batch.heads = workflows
        .iter()
        .map(|id| update(*id, Status::Abandoned, 50))
        .collect();
    batch.unparked = workflows;
    journal.commit(&batch).await.expect("committed");
    assert_eq!(classes(&ground).await, []);
}

async fn within_a_batch_the_last_word_on_a_workflow_counts(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 3);
    let batch = starting(JournalPosition::default(), &workflows);
    journal.commit(&batch).await.expect("committed");
    let mut batch = following(journal.position().await.expect("read"));
    let (on, off, twice) = (workflows[0], workflows[1], workflows[2]);
    batch.heads = vec![
        update(on, Status::Running, 1),
        parked(on, "on"),
        parked(off, "off"),
        update(off, Status::Running, 2),
        parked(twice, "first"),
        parked(twice, "second"),
    ];
    batch.parked = vec![
        row(on, "on"),
        row(off, "off"),
        row(twice, "first"),
        row(twice, "second"),
    ];
    batch.unparked = vec![on, off];
    journal.commit(&batch).await.expect("committed");
    assert_eq!(
        classes(&ground).await,
        [("on".into(), 1), ("second".into(), 1)]
    );
}

async fn a_refused_batch_parks_nothing(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let mut batch = following(JournalPosition::default());
    let absent = id(lease.partition, 1);
    batch.heads = vec![parked(absent, "one")];
    batch.parked = vec![row(absent, "one")];
    let error = journal
        .commit(&batch)
        .await
        .expect_err("there is no such head");
    assert!(matches!(error, CommitError::RowRefused { .. }), "{error}");
    assert_eq!(classes(&ground).await, []);
}

async fn texts_that_are_too_long_are_cut_between_characters(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 3);
    let (long, cut) = ("\u{1F389}".repeat(300), "\u{1F389}".repeat(255));
    let mut batch = starting(JournalPosition::default(), &workflows);
    batch.workflows[0].reason = Some(long.clone());
    journal.commit(&batch).await.expect("committed");
    let mut batch = following(journal.position().await.expect("read"));
    // Two that are the same after the cut.
    batch.heads = vec![
        parked(workflows[1], &long),
        parked(workflows[2], &format!("{cut}and more")),
    ];
    let mut one = row(workflows[1], &long);
    one.message = "\u{1F389}".repeat(301);
    batch.parked = vec![one];
    journal.commit(&batch).await.expect("committed");
    for workflow in workflows {
        let found = ground.store.find(&workflow.ident()).await.expect("read");
        assert_eq!(found.expect("there").reason.as_ref(), Some(&cut));
    }
    let groups = groups(&ground).await;
    assert_eq!(
        (&groups[0].class, &groups[0].message),
        (&cut, &"\u{1F389}".repeat(300))
    );
}

async fn each_head_is_woken_at_its_own_time(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 150);
    let mut batch = starting(JournalPosition::default(), &workflows);
    batch.workflows[0].wake_at = Some(Timestamp(3));
    journal.commit(&batch).await.expect("committed");
    let first = ground
        .store
        .find(&workflows[0].ident())
        .await
        .expect("read");
    assert_eq!(first, Some(head_woken_at(workflows[0], 3)));
    let same = |_: usize| Some(Timestamp(77));
    let different =
        |number: usize| (!number.is_multiple_of(3)).then_some(Timestamp(1 << number.min(62)));
    let never = |_: usize| None;
    let only_the_first = |number: usize| (number == 0).then_some(Timestamp(-1));
    let cases: [&dyn Fn(usize) -> Option<Timestamp>; 4] =
        [&same, &different, &only_the_first, &never];
    for wake_at in cases {
        let mut batch = following(journal.position().await.expect("read"));
        for (number, workflow) in workflows.iter().enumerate() {
            batch.heads.push(HeadUpdate {
                wake_at: wake_at(number),
                ..update(*workflow, Status::Waiting, 1_000)
            });
        }
        journal.commit(&batch).await.expect("committed");
        for (number, workflow) in workflows.iter().enumerate() {
            let found = ground.store.find(&workflow.ident()).await.expect("read");
            assert_eq!(found.expect("there").wake_at, wake_at(number), "{number}");
        }
    }
}

fn head_woken_at(id: WorkflowId, at: i64) -> engine::store::Head {
    engine::store::Head {
        wake_at: Some(Timestamp(at)),
        ..head(id, 1_000)
    }
}
