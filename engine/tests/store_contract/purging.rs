//! Retention's side of the store: what has ended, is old and is published can be removed, nothing else can, and a removal takes
//! place as a whole or not at all.

use std::sync::Arc;

use engine::command::Verb;
use engine::ids::Ident;
use engine::runtime::Timestamp;
use engine::store::{
    Batch, CommandId, Journal, Migration, NewCommand, ParkedRow, Purged, Status, StoreError,
    Submitted, migrations,
};
use engine::workflow::By;
use engine::{PartitionId, WorkflowId};
use sqlx::Connection as _;

use crate::harness::{Fixture, Ground, SHOP, on_all};
use crate::samples::{event, following, head, id, record};

on_all!(
    only_what_has_ended_is_old_and_published_can_be_removed,
    what_is_removed_takes_its_events_and_commands_along,
    nothing_open_or_unpublished_is_removed_whoever_asks,
    what_has_to_stay_is_not_in_the_way_of_what_can_go,
    two_who_remove_the_same_remove_it_once,
    too_many_at_once_are_refused,
);

/// A workflow to write.
#[derive(Clone, Copy)]
struct Old {
    number: u32,
    status: Status,
    created_at: i64,
    updated_at: i64,
    events: u32,
}

/// One that can go.
const OLD: Old = Old {
    number: 0,
    status: Status::Completed,
    created_at: 10,
    updated_at: 20,
    events: 2,
};

/// Before this instant.
const BEFORE: Timestamp = Timestamp(100);

/// Writes workflows with their events, all of them published.
async fn write(journal: &mut Box<dyn Journal>, partition: PartitionId, workflows: &[Old]) {
    let mut batch = batch(journal, partition, workflows).await;
    batch.published_seq = batch.events.last().map_or(0, |event| event.partition_seq);
    journal.commit(&batch).await.expect("committed");
}

async fn batch(journal: &mut Box<dyn Journal>, partition: PartitionId, workflows: &[Old]) -> Batch {
    let position = journal.position().await.expect("read");
    let mut batch = following(position);
    let mut place = position.last_seq;
    for one in workflows {
        let mut head = head(id(partition, one.number), one.created_at);
        head.status = one.status;
        head.updated_at = Timestamp(one.updated_at);
        for seq in 1..=one.events {
            place += 1;
            let record = record(seq, &format!("{} of {}", seq, one.number));
            batch.events.push(event(head.id, &record, place));
        }
        batch.workflows.push(head);
    }
    batch
}

async fn begin(ground: &Ground) -> (Box<dyn Journal>, PartitionId) {
    let lease = ground.lease("a").await;
    let journal = ground.store.open_journal(&lease).await;
    (journal.expect("opened"), lease.partition)
}

/// The numbers of what can be removed.
async fn purgeable(ground: &Ground, before: Timestamp, limit: u16) -> Vec<WorkflowId> {
    let found = ground.store.purgeable(before, limit).await.expect("read");
    found.into_iter().map(|(head, _)| head.id).collect()
}

async fn only_what_has_ended_is_old_and_published_can_be_removed(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    let mut workflows = Vec::new();
    for (number, status) in (0..).zip(Status::ALL) {
        // The later ones are the older ones.
        let created_at = 50 - i64::from(number);
        workflows.push(Old {
            number,
            status,
            created_at,
            ..OLD
        });
        workflows.push(Old {
            number: 100 + number,
            status,
            created_at: 100,
            updated_at: 101,
            ..OLD
        });
        workflows.push(Old {
            number: 200 + number,
            status,
            updated_at: 100,
            ..OLD
        });
    }
    write(&mut journal, partition, &workflows).await;
    let unpublished = Old { number: 300, ..OLD };
    let half_published = Old {
        number: 301,
        created_at: 5,
        ..OLD
    };
    let mut batch = batch(&mut journal, partition, &[half_published, unpublished]).await;
    batch.published_seq = batch.events[0].partition_seq;
    journal.commit(&batch).await.expect("committed");

    // Abandoned, compensated, completed.
    let expected: Vec<_> = [6, 5, 4].map(|number| id(partition, number)).into();
    assert_eq!(purgeable(&ground, BEFORE, 50).await, expected);
    assert_eq!(purgeable(&ground, BEFORE, 2).await, expected[..2]);
    assert_eq!(purgeable(&ground, Timestamp(10), 50).await, []);
    let with_records = ground.store.purgeable(BEFORE, 1).await.expect("read");
    let (head, records) = &with_records[0];
    assert_eq!(head.status, Status::Abandoned);
    assert_eq!(*records, [record(1, "1 of 6"), record(2, "2 of 6")]);

    // Once the bus has taken the rest, they can go as well.
    let position = journal.position().await.expect("read");
    let mut batch = following(position);
    batch.published_seq = position.last_seq;
    journal.commit(&batch).await.expect("committed");
    let found = purgeable(&ground, BEFORE, 50).await;
    assert_eq!(found.len(), 5);
    assert_eq!(found[..2], [301, 300].map(|number| id(partition, number)));
}

/// Sends the workflow a command; its number.
async fn command(ground: &Ground, workflow: WorkflowId) -> CommandId {
    let command = NewCommand {
        workflow,
        key: "key".into(),
        verb: Verb::Retry,
        by: By {
            actor: "op".into(),
            reason: "why".into(),
        },
        expected_seq: None,
        batch: None,
        accepted_at: Timestamp(1),
    };
    match ground.store.submit(&command).await.expect("accepted") {
        Submitted::New(id) => id,
        Submitted::Existing(row) => panic!("there is {row:?}"),
    }
}

/// Whether all of a workflow is there, or nothing of it.
async fn is_there(ground: &Ground, workflow: WorkflowId, command: CommandId) -> bool {
    let head = ground.store.find(&workflow.ident()).await.expect("read");
    let records = ground.store.records(workflow, 0, 10).await.expect("read");
    let command = ground.store.command(command).await.expect("read");
    let parts = [head.is_some(), !records.is_empty(), command.is_some()];
    assert!(
        parts.iter().all(|part| *part == parts[0]),
        "{workflow}: {parts:?}"
    );
    parts[0]
}

fn idents(ids: &[WorkflowId]) -> Vec<Ident> {
    ids.iter().map(WorkflowId::ident).collect()
}

async fn what_is_removed_takes_its_events_and_commands_along(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    let workflows: Vec<_> = (0..80)
        .map(|number| Old {
            number,
            events: 3,
            ..OLD
        })
        .collect();
    write(&mut journal, partition, &workflows).await;
    let ids: Vec<_> = (0..80).map(|number| id(partition, number)).collect();
    let mut commands = Vec::new();
    for id in &ids {
        commands.push(command(&ground, *id).await);
    }
    // Named twice, or not there, is no harm.
    let mut asked = idents(&ids[..70]);
    asked.push(asked[0]);
    asked.push([9; 12]);
    let purged = ground.store.purge(&asked).await.expect("removed");
    assert_eq!(
        purged,
        Purged {
            workflows: 70,
            events: 210
        }
    );
    for (place, (id, command)) in ids.iter().zip(&commands).enumerate() {
        assert_eq!(
            is_there(&ground, *id, *command).await,
            place >= 70,
            "{place}"
        );
    }
    assert_eq!(purgeable(&ground, BEFORE, 50).await, ids[70..]);
    let again = ground.store.purge(&asked).await.expect("nothing to do");
    assert_eq!(again, Purged::default());
    assert_eq!(
        ground.store.purge(&[]).await.expect("nothing to do"),
        Purged::default()
    );
    // The journal goes on behind the gap.
    write(&mut journal, partition, &[Old { number: 500, ..OLD }]).await;
    assert_eq!(
        ground
            .store
            .events_after(partition, 0, 500)
            .await
            .expect("read")
            .len(),
        32
    );
}

async fn nothing_open_or_unpublished_is_removed_whoever_asks(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    let mut workflows: Vec<_> = (0..)
        .zip(Status::ALL)
        .map(|(number, status)| Old {
            number,
            status,
            ..OLD
        })
        .collect();
    write(&mut journal, partition, &workflows).await;
    let unpublished = Old { number: 10, ..OLD };
    let mut batch = batch(&mut journal, partition, &[unpublished]).await;
    // One of its two events is.
    batch.published_seq = batch.events[0].partition_seq;
    journal.commit(&batch).await.expect("committed");
    workflows.push(unpublished);
    let ids: Vec<_> = workflows
        .iter()
        .map(|one| id(partition, one.number))
        .collect();
    let mut commands = Vec::new();
    for id in &ids {
        commands.push(command(&ground, *id).await);
    }
    let purged = ground.store.purge(&idents(&ids)).await.expect("removed");
    assert_eq!(
        purged,
        Purged {
            workflows: 3,
            events: 6
        }
    );
    for ((id, command), one) in ids.iter().zip(commands).zip(&workflows) {
        let stays = !one.status.is_terminal() || one.number == 10;
        assert_eq!(
            is_there(&ground, *id, command).await,
            stays,
            "{}",
            one.status
        );
    }
}

async fn what_has_to_stay_is_not_in_the_way_of_what_can_go(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    // Started long ago, ended just now: more than any call looks at.
    let stay = (0..4_200).map(|number| Old {
        number,
        created_at: i64::from(number),
        updated_at: 1_000_000,
        events: 1,
        ..OLD
    });
    let can_go = (0..40).map(|number| Old {
        number: 10_000 + number,
        created_at: 5_000 + i64::from(number) * 10,
        updated_at: 5_500,
        events: 1,
        ..OLD
    });
    write(&mut journal, partition, &stay.collect::<Vec<_>>()).await;
    write(&mut journal, partition, &can_go.collect::<Vec<_>>()).await;
    let mut found = 0;
    for call in 0..40 {
        let old = purgeable(&ground, Timestamp(6_000 + call), 500).await;
        let purged = ground.store.purge(&idents(&old)).await.expect("removed");
        assert_eq!(purged.workflows, old.len() as u64);
        found += old.len();
    }
    assert_eq!(found, 40);
}

async fn two_who_remove_the_same_remove_it_once(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    let workflows: Vec<_> = (0..200).map(|number| Old { number, ..OLD }).collect();
    write(&mut journal, partition, &workflows).await;
    let all: Vec<_> = (0..200).map(|number| id(partition, number)).collect();
    // In opposite orders, and not quite the same.
    let one = idents(&all[..150]);
    let mut other = idents(&all[50..]);
    other.reverse();
    let (one, other) = tokio::join!(ground.store.purge(&one), ground.store.purge(&other));
    let mut removed = Purged::default();
    // Who loses a race for locks has removed nothing, and tries again.
    for purged in [one, other, ground.store.purge(&idents(&all)).await] {
        match purged {
            Ok(purged) => {
                removed.workflows += purged.workflows;
                removed.events += purged.events;
            }
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((removed.workflows, removed.events), (200, 400));
}

async fn too_many_at_once_are_refused(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    write(&mut journal, partition, &[OLD]).await;
    let mut asked = vec![[7; 12]; 500];
    asked.push(id(partition, 0).ident());
    let refused = ground.store.purge(&asked).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
    assert_eq!(purgeable(&ground, BEFORE, 5).await.len(), 1);
}

/// What only a database can do.
mod refused {
    use super::*;
    use crate::harness::on_both;

    on_both!(
        a_removal_that_is_refused_half_way_removes_nothing,
        a_parked_row_that_was_left_goes_too,
    );

    /// Refuses to remove one workflow.
    const REFUSING: Migration = Migration {
        version: 3,
        name: "refusing",
        mysql: "CREATE TRIGGER refuse BEFORE DELETE ON workflows FOR EACH ROW IF OLD.label = 'stays' THEN \
                SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it stays'; END IF",
        sqlite: "CREATE TRIGGER refuse BEFORE DELETE ON workflows WHEN OLD.label = 'stays' BEGIN \
                 SELECT RAISE(ABORT, 'it stays'); END",
    };

    async fn rows(fixture: &Fixture) -> i64 {
        let tables = "SELECT (SELECT COUNT(*) FROM workflows) + (SELECT COUNT(*) FROM events) + \
                      (SELECT COUNT(*) FROM commands) + (SELECT COUNT(*) FROM parked)";
        fixture.count(tables).await
    }

    async fn a_removal_that_is_refused_half_way_removes_nothing(fixture: Arc<Fixture>) {
        let mut all = migrations();
        all.extend([SHOP, REFUSING]);
        fixture.database.migrate(&all).await.expect("migrated");
        let (mut journal, partition) = begin(&fixture).await;
        let workflows: Vec<_> = (0..200).map(|number| Old { number, ..OLD }).collect();
        let mut batch = batch(&mut journal, partition, &workflows).await;
        batch.published_seq = batch.events.last().expect("some").partition_seq;
        // The last one of several rounds.
        batch.workflows[199].label = Some("stays".into());
        journal.commit(&batch).await.expect("committed");
        command(&fixture, id(partition, 3)).await;
        let before = rows(&fixture).await;
        let old = idents(&purgeable(&fixture, BEFORE, 500).await);
        assert_eq!(old.len(), 200);
        let refused = fixture.store.purge(&old).await;
        assert!(
            matches!(refused, Err(StoreError::Corrupt { .. })),
            "{refused:?}"
        );
        assert_eq!(rows(&fixture).await, before);
        // The others can go without it.
        let purged = fixture.store.purge(&old[..199]).await.expect("removed");
        assert_eq!(
            purged,
            Purged {
                workflows: 199,
                events: 398
            }
        );
        assert_eq!(rows(&fixture).await, 3);
    }

    async fn a_parked_row_that_was_left_goes_too(fixture: Arc<Fixture>) {
        let (mut journal, partition) = begin(&fixture).await;
        let mut batch = batch(&mut journal, partition, &[OLD]).await;
        batch.published_seq = 2;
        batch.parked = vec![ParkedRow {
            id: id(partition, 0),
            definition: "purchase".into(),
            step: None,
            class: "class".into(),
            message: String::new(),
            since: Timestamp(0),
        }];
        journal.commit(&batch).await.expect("committed");
        let purged = fixture.store.purge(&[id(partition, 0).ident()]).await;
        assert_eq!(purged.expect("removed").workflows, 1);
        assert_eq!(rows(&fixture).await, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_removal_that_waits_for_a_lock_in_vain_removes_nothing_on_mysql() {
        crate::harness::on_mysql(a_removal_that_waits_in_vain).await;
    }

    async fn a_removal_that_waits_in_vain(fixture: Arc<Fixture>) {
        let (mut journal, partition) = begin(&fixture).await;
        let workflows: Vec<_> = (0..200).map(|number| Old { number, ..OLD }).collect();
        write(&mut journal, partition, &workflows).await;
        let before = rows(&fixture).await;
        let other = sqlx::mysql::MySqlConnection::connect(&fixture.url).await;
        let mut other = other.expect("the server answers");
        // One of the last events: those before it are removed by then.
        let lock = "START TRANSACTION; SELECT 1 FROM events WHERE partition_seq = 399 FOR UPDATE";
        sqlx::raw_sql(lock)
            .execute(&mut other)
            .await
            .expect("locked");
        let old = idents(&purgeable(&fixture, BEFORE, 500).await);
        let refused = fixture.store.purge(&old).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
        assert_eq!(rows(&fixture).await, before);
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut other)
            .await
            .expect("let go");
        let purged = fixture.store.purge(&old).await.expect("removed");
        assert_eq!(purged.workflows, 200);
    }
}
