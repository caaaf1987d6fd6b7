//! Lists: newest first, page by page, by status and definition, without a gap or a repeat.

use std::sync::Arc;

use engine::WorkflowId;
use engine::runtime::Timestamp;
use engine::store::{Head, JournalPosition, ListFilter, Status};

use crate::harness::{Fixture, on_both};
use crate::samples::{definition, following, head, id, starting, update};

on_both!(
    pages_follow_each_other_without_gap_or_repeat,
    filters_narrow_a_list,
    workflows_of_the_same_instant_are_all_listed,
    statuses_are_counted,
    an_empty_store_lists_nothing,
);

const DEFINITIONS: [&str; 3] = ["claim", "opening", "purchase"];

/// 60 workflows over three definitions, five statuses, and 20 instants.
async fn fill(fixture: &Fixture) -> Vec<Head> {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let mut batch = starting(JournalPosition::default(), &[]);
    for number in 0..60_u32 {
        // The order of the idents is not that of the instants.
        let mut one = head(id(lease.partition, number.wrapping_mul(2_654_435_761)), 0);
        one.created_at = Timestamp(i64::from(number / 3));
        one.definition = definition(DEFINITIONS[number as usize % 3]);
        batch.workflows.push(one);
    }
    journal.commit(&batch).await.expect("committed");
    let mut heads = batch.workflows;
    let mut batch = following(journal.position().await.expect("read"));
    for (number, one) in heads.iter_mut().enumerate() {
        one.status = Status::ALL[number / 2 % 5];
        batch
            .heads
            .push(update(one.id, one.status, one.updated_at.0));
    }
    journal.commit(&batch).await.expect("committed");
    heads.sort_by_key(|head| std::cmp::Reverse((head.created_at, head.id.ident())));
    heads
}

async fn all_pages(fixture: &Fixture, mut filter: ListFilter) -> Vec<WorkflowId> {
    let mut listed = Vec::new();
    loop {
        let page = fixture.store.list(&filter).await.expect("listed");
        assert!(page.items.len() <= usize::from(filter.limit));
        listed.extend(page.items.iter().map(|head| head.id));
        let Some(next) = page.next else { return listed };
        assert!(
            !page.items.is_empty(),
            "a page that is not the last has items"
        );
        filter.after = Some(next);
    }
}

async fn pages_follow_each_other_without_gap_or_repeat(fixture: Arc<Fixture>) {
    let expected: Vec<_> = fill(&fixture).await.iter().map(|head| head.id).collect();
    for limit in [1, 7, 30, 59, 60, 500] {
        let filter = ListFilter {
            limit,
            ..ListFilter::default()
        };
        assert_eq!(
            all_pages(&fixture, filter).await,
            expected,
            "in pages of {limit}"
        );
    }
}

async fn filters_narrow_a_list(fixture: Arc<Fixture>) {
    let heads = fill(&fixture).await;
    let statuses = Status::ALL.into_iter().map(Some).chain([None]);
    for status in statuses {
        for name in DEFINITIONS
            .into_iter()
            .map(Some)
            .chain([None, Some("unknown")])
        {
            let expected: Vec<_> = heads
                .iter()
                .filter(|head| status.is_none_or(|status| head.status == status))
                .filter(|head| name.is_none_or(|name| head.definition.name == name))
                .map(|head| head.id)
                .collect();
            let definition = name.map(ToOwned::to_owned);
            let filter = ListFilter {
                status,
                definition,
                after: None,
                limit: 4,
            };
            assert_eq!(
                all_pages(&fixture, filter).await,
                expected,
                "{status:?} {name:?}"
            );
        }
    }
}

async fn workflows_of_the_same_instant_are_all_listed(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let ids: Vec<_> = (0..40).map(|number| id(lease.partition, number)).collect();
    journal
        .commit(&starting(JournalPosition::default(), &ids))
        .await
        .expect("committed");
    let filter = ListFilter {
        limit: 9,
        ..ListFilter::default()
    };
    let mut listed = all_pages(&fixture, filter).await;
    listed.reverse();
    assert_eq!(listed, ids);
}

async fn statuses_are_counted(fixture: Arc<Fixture>) {
    let heads = fill(&fixture).await;
    let counts = fixture.store.count_by_status().await.expect("counted");
    assert_eq!(counts.len(), 5);
    for (status, count) in counts {
        let expected = heads.iter().filter(|head| head.status == status).count();
        assert_eq!(count, expected as u64, "{status}");
    }
}

async fn an_empty_store_lists_nothing(fixture: Arc<Fixture>) {
    let page = fixture
        .store
        .list(&ListFilter::default())
        .await
        .expect("listed");
    assert!(page.items.is_empty() && page.next.is_none());
    assert!(
        fixture
            .store
            .count_by_status()
            .await
            .expect("counted")
            .is_empty()
    );
}
