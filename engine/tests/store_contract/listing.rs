//! Lists: newest first, page by page, by every filter alone and by several together, without a gap or a repeat, also while
//! the workflows go on.

use std::sync::Arc;

use engine::WorkflowId;
use engine::runtime::{Entropy, SeededEntropy, Timestamp};
use engine::store::{Batch, Head, Journal, JournalPosition, ListFilter, ParkedRow, Status};

use crate::harness::{Ground, on_all};
use crate::samples::{definition, following, head, id, starting, update};

on_all!(
    pages_follow_each_other_without_gap_or_repeat,
    each_filter_gives_what_passes_it_and_so_do_several_together,
    who_is_let_go_on_is_no_longer_listed_by_its_step,
    what_stays_is_listed_once_while_the_rest_changes,
    workflows_of_many_definitions_are_listed_in_one_order,
    workflows_of_the_same_instant_are_all_listed,
    statuses_are_counted,
    an_empty_store_lists_nothing,
);

const DEFINITIONS: [&str; 3] = ["claim", "opening", "purchase"];
const REASONS: [&str; 2] = ["sold-out", "gateway-timeout"];
const LABELS: [&str; 2] = ["sale-1", "sale-2"];
const STEPS: [&str; 2] = ["pay", "deliver"];

/// A source of randomness that tells where it began.
fn entropy() -> SeededEntropy {
    let seed = SeededEntropy::from_system().next_u64();
    println!("seed {seed}");
    SeededEntropy::new(seed)
}

/// A number below `end`.
fn below(entropy: &impl Entropy, end: usize) -> usize {
    usize::try_from(entropy.next_u64() % end as u64).expect("small")
}

/// One of these, or none.
fn one_or_none(entropy: &impl Entropy, texts: &[&str]) -> Option<String> {
    let chosen = texts.get(below(entropy, texts.len() + 1))?;
    Some((*chosen).to_owned())
}

/// What is in the store, with the step of what is parked.
type Known = Vec<(Head, Option<ParkedRow>)>;

/// Workflows with random properties at few instants.
fn some(entropy: &impl Entropy, ids: &[WorkflowId]) -> Known {
    let random = |id: &WorkflowId| {
        let mut one = head(*id, 0);
        one.created_at = Timestamp(i64::try_from(below(entropy, 40)).expect("small"));
        one.definition = definition(DEFINITIONS[below(entropy, 3)]);
        one.status = Status::ALL[below(entropy, Status::ALL.len())];
        one.reason = one_or_none(entropy, &REASONS);
        one.label = one_or_none(entropy, &LABELS);
        let step = one_or_none(entropy, &STEPS);
        let row = parked_row(&one, step.as_deref(), 0);
        (one, row)
    };
    ids.iter().map(random).collect()
}

fn parked_row(head: &Head, step: Option<&str>, since: i64) -> Option<ParkedRow> {
    (head.status == Status::Parked).then(|| ParkedRow {
        id: head.id,
        definition: head.definition.name.clone(),
        step: step.map(ToOwned::to_owned),
        class: "class".into(),
        message: String::new(),
        since: Timestamp(since),
    })
}

/// Writes them all.
async fn write(journal: &mut Box<dyn Journal>, known: &Known) {
    let position = journal.position().await.expect("read");
    let batch = Batch {
        workflows: known.iter().map(|(head, _)| head.clone()).collect(),
        parked: known.iter().filter_map(|(_, row)| row.clone()).collect(),
        ..following(position)
    };
    journal.commit(&batch).await.expect("committed");
}

/// What the filter lets through, in the list's order.
fn expected(known: &Known, filter: &ListFilter) -> Vec<WorkflowId> {
    let is = |wanted: &Option<String>, text: &Option<String>| wanted.is_none() || wanted == text;
    let passes = |(head, parked): &&(Head, Option<ParkedRow>)| {
        let step = parked.as_ref().and_then(|row| row.step.clone());
        filter.status.is_none_or(|status| head.status == status)
            && is(&filter.definition, &Some(head.definition.name.clone()))
            && is(&filter.reason, &head.reason)
            && is(&filter.label, &head.label)
            && is(&filter.step, &step)
            && filter
                .created_from
                .is_none_or(|from| head.created_at >= from)
            && filter
                .created_before
                .is_none_or(|before| head.created_at < before)
    };
    let mut found: Vec<_> = known.iter().filter(passes).collect();
    found.sort_by_key(|(head, _)| std::cmp::Reverse((head.created_at, head.id.ident())));
    found.into_iter().map(|(head, _)| head.id).collect()
}

/// The list, by pages of this and that length.
async fn all_pages(
    fixture: &Ground,
    filter: &ListFilter,
    mut limit: impl FnMut() -> u16,
) -> Vec<WorkflowId> {
    let mut filter = filter.clone();
    let mut listed = Vec::new();
    loop {
        filter.limit = limit();
        let page = fixture.store.list(&filter).await.expect("listed");
        assert!(page.items.len() <= usize::from(filter.limit));
        listed.extend(page.items.iter().map(|head| head.id));
        let Some(next) = page.next else { return listed };
        assert_ne!(filter.after.as_ref(), Some(&next), "it stands still");
        filter.after = Some(next);
    }
}

async fn journal_of(fixture: &Ground) -> (Box<dyn Journal>, engine::PartitionId) {
    let lease = fixture.lease("a").await;
    let journal = fixture.store.open_journal(&lease).await;
    (journal.expect("opened"), lease.partition)
}

async fn pages_follow_each_other_without_gap_or_repeat(fixture: Arc<Ground>) {
    let (mut journal, partition) = journal_of(&fixture).await;
    let ids: Vec<_> = (0..60_u32)
        // The order of the idents is not that of the instants.
        .map(|number| id(partition, number.wrapping_mul(2_654_435_761)))
        .collect();
    let known = some(&entropy(), &ids);
    write(&mut journal, &known).await;
    let filter = ListFilter::default();
    let expected = expected(&known, &filter);
    for limit in [1, 7, 30, 59, 60, 500] {
        let listed = all_pages(&fixture, &filter, || limit).await;
        assert_eq!(listed, expected, "in pages of {limit}");
    }
}

/// A filter by a random choice of properties.
fn random_filter(entropy: &impl Entropy) -> ListFilter {
    let instant = |at: usize| Timestamp(i64::try_from(at).expect("small"));
    let mut filter = ListFilter::default();
    for _ in 0..=below(entropy, 3) {
        match below(entropy, 7) {
            0 => filter.status = Some(Status::ALL[below(entropy, Status::ALL.len())]),
            1 => filter.definition = Some(DEFINITIONS[below(entropy, 3)].to_owned()),
            2 => filter.reason = one_or_none(entropy, &REASONS),
            3 => filter.label = one_or_none(entropy, &LABELS),
            4 => filter.step = one_or_none(entropy, &STEPS),
            5 => filter.created_from = Some(instant(below(entropy, 40))),
            _ => filter.created_before = Some(instant(below(entropy, 40))),
        }
    }
    filter
}

async fn each_filter_gives_what_passes_it_and_so_do_several_together(fixture: Arc<Ground>) {
    let entropy = entropy();
    let (mut journal, partition) = journal_of(&fixture).await;
    let ids: Vec<_> = (0..400_u32)
        .map(|number| id(partition, number.wrapping_mul(2_654_435_761)))
        .collect();
    let known = some(&entropy, &ids);
    write(&mut journal, &known).await;
    let mut found = 0;
    for _ in 0..150 {
        let filter = random_filter(&entropy);
        let limit = || u16::try_from(1 + below(&entropy, 60)).expect("small");
        let listed = all_pages(&fixture, &filter, limit).await;
        assert_eq!(listed, expected(&known, &filter), "{filter:?}");
        found += listed.len();
    }
    assert!(found > 1_000, "only {found} workflows passed a filter");
    for unknown in [
        ListFilter {
            definition: Some("unknown".into()),
            ..ListFilter::default()
        },
        ListFilter {
            reason: Some("unknown".into()),
            ..ListFilter::default()
        },
        ListFilter {
            label: Some("sale-1 ".into()),
            ..ListFilter::default()
        },
        ListFilter {
            step: Some("unknown".into()),
            ..ListFilter::default()
        },
    ] {
        let listed = all_pages(&fixture, &unknown, || 9).await;
        assert!(listed.is_empty(), "{unknown:?}");
    }
}

async fn who_is_let_go_on_is_no_longer_listed_by_its_step(fixture: Arc<Ground>) {
    let (mut journal, partition) = journal_of(&fixture).await;
    let known: Known = (0..5_u32)
        .map(|number| {
            let mut one = head(id(partition, number), i64::from(number));
            one.status = Status::Parked;
            // Those that were started last were parked first.
            let row = parked_row(&one, Some("pay"), 100 - i64::from(number));
            (one, row)
        })
        .collect();
    write(&mut journal, &known).await;
    let filter = ListFilter {
        step: Some("pay".into()),
        ..ListFilter::default()
    };
    let of = |numbers: &[u32]| {
        numbers
            .iter()
            .map(|n| id(partition, *n))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        all_pages(&fixture, &filter, || 2).await,
        of(&[4, 3, 2, 1, 0])
    );
    // Two go on, of which one is parked again, on another step.
    let (gone, moved) = (id(partition, 3), id(partition, 1));
    let batch = Batch {
        heads: vec![update(gone, Status::Running, 200)],
        unparked: vec![gone],
        parked: parked_row(&known[1].0, Some("deliver"), 200)
            .into_iter()
            .collect(),
        ..following(journal.position().await.expect("read"))
    };
    journal.commit(&batch).await.expect("committed");
    assert_eq!(all_pages(&fixture, &filter, || 2).await, of(&[4, 2, 0]));
    let filter = ListFilter {
        step: Some("deliver".into()),
        ..filter
    };
    assert_eq!(all_pages(&fixture, &filter, || 2).await, [moved]);
}

/// Gives random workflows other statuses and reasons, and starts a few more.
async fn change(
    entropy: &impl Entropy,
    journal: &mut Box<dyn Journal>,
    known: &mut Known,
    new: &[WorkflowId],
) {
    let mut batch = following(journal.position().await.expect("read"));
    for _ in 0..8 {
        let place = below(entropy, known.len());
        let (head, row) = &mut known[place];
        if batch.heads.iter().any(|update| update.id == head.id) {
            continue;
        }
        if row.take().is_some() {
            batch.unparked.push(head.id);
        }
        head.status = Status::ALL[below(entropy, Status::ALL.len())];
        head.reason = one_or_none(entropy, &REASONS);
        *row = parked_row(head, one_or_none(entropy, &STEPS).as_deref(), 1);
        if let Some(parked) = row {
            batch.unparked.retain(|id| *id != head.id);
            batch.parked.push(parked.clone());
        }
        let mut changed = update(head.id, head.status, 1);
        changed.reason.clone_from(&head.reason);
        batch.heads.push(changed);
    }
    let more = some(entropy, new);
    batch.workflows = more.iter().map(|(head, _)| head.clone()).collect();
    batch
        .parked
        .extend(more.iter().filter_map(|(_, row)| row.clone()));
    journal.commit(&batch).await.expect("committed");
    known.extend(more);
}

async fn what_stays_is_listed_once_while_the_rest_changes(fixture: Arc<Ground>) {
    let entropy = entropy();
    let (mut journal, partition) = journal_of(&fixture).await;
    let mut numbers = (0..u32::MAX).map(|number| id(partition, number.wrapping_mul(2_654_435_761)));
    let ids: Vec<_> = numbers.by_ref().take(300).collect();
    let mut known = some(&entropy, &ids);
    write(&mut journal, &known).await;
    for _ in 0..25 {
        let mut filter = random_filter(&entropy);
        let mut listed = Vec::new();
        // Those that pass from the first page to the last, and those that pass at one time.
        let mut always = expected(&known, &filter);
        let mut ever = always.clone();
        loop {
            filter.limit = u16::try_from(1 + below(&entropy, 20)).expect("small");
            let page = fixture.store.list(&filter).await.expect("listed");
            listed.extend(page.items.iter().map(|head| head.id));
            let Some(next) = page.next else { break };
            filter.after = Some(next);
            let new: Vec<_> = numbers.by_ref().take(2).collect();
            change(&entropy, &mut journal, &mut known, &new).await;
            let now = expected(&known, &filter);
            always.retain(|id| now.contains(id));
            ever.extend(now);
        }
        let mut once = listed.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), listed.len(), "one was listed twice: {filter:?}");
        let missed: Vec<_> = always.iter().filter(|id| !listed.contains(id)).collect();
        assert!(missed.is_empty(), "{missed:?} were not listed: {filter:?}");
        assert!(listed.iter().all(|id| ever.contains(id)), "{filter:?}");
    }
}

async fn workflows_of_many_definitions_are_listed_in_one_order(fixture: Arc<Ground>) {
    let (mut journal, partition) = journal_of(&fixture).await;
    let known: Known = (0..700_u32)
        .map(|number| {
            let mut one = head(id(partition, number), i64::from(number % 50));
            one.definition = definition(&format!("definition-{:03}", number % 90));
            one.status = Status::ALL[number as usize % 7];
            (one, None)
        })
        .collect();
    write(&mut journal, &known).await;
    let filter = ListFilter::default();
    let expected = expected(&known, &filter);
    assert_eq!(all_pages(&fixture, &filter, || 500).await, expected);
    assert_eq!(all_pages(&fixture, &filter, || 30).await, expected);
}

async fn workflows_of_the_same_instant_are_all_listed(fixture: Arc<Ground>) {
    let (mut journal, partition) = journal_of(&fixture).await;
    let ids: Vec<_> = (0..40).map(|number| id(partition, number)).collect();
    journal
        .commit(&starting(JournalPosition::default(), &ids))
        .await
        .expect("committed");
    let mut listed = all_pages(&fixture, &ListFilter::default(), || 9).await;
    listed.reverse();
    assert_eq!(listed, ids);
}

async fn statuses_are_counted(fixture: Arc<Ground>) {
    let (mut journal, partition) = journal_of(&fixture).await;
    let ids: Vec<_> = (0..60).map(|number| id(partition, number)).collect();
    let known = some(&entropy(), &ids);
    write(&mut journal, &known).await;
    let counts = fixture.store.count_by_status().await.expect("counted");
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    assert_eq!(total, 60);
    for (status, count) in counts {
        let of_status = known.iter().filter(|(head, _)| head.status == status);
        assert_eq!(count, of_status.count() as u64, "{status}");
    }
}

async fn an_empty_store_lists_nothing(fixture: Arc<Ground>) {
    for filter in [
        ListFilter::default(),
        ListFilter {
            step: Some("pay".into()),
            ..ListFilter::default()
        },
        ListFilter {
            label: Some("sale-1".into()),
            status: Some(Status::Running),
            ..ListFilter::default()
        },
    ] {
        let page = fixture.store.list(&filter).await.expect("listed");
        assert!(page.items.is_empty() && page.next.is_none());
    }
    let counts = fixture.store.count_by_status().await.expect("counted");
    assert!(counts.is_empty());
}

/// A store in memory has nothing to spare.
mod bounded {
    use super::*;
    use crate::harness::{Fixture, on_both};

    on_both!(a_page_may_be_short_but_the_list_goes_on_to_its_end);

    /// Many workflows pass each of two filters; those that pass both are few, and the oldest.
    async fn a_page_may_be_short_but_the_list_goes_on_to_its_end(fixture: Arc<Fixture>) {
        let (mut journal, partition) = journal_of(&fixture).await;
        let known: Known = (0..9_000_u32)
            .map(|number| {
                let mut one = head(id(partition, number), i64::from(number));
                let both = number < 5;
                one.label = (both || number % 2 == 0).then(|| "sale-1".into());
                one.reason = (both || number % 2 == 1).then(|| "sold-out".into());
                one.status = Status::Compensated;
                (one, None)
            })
            .collect();
        for known in known.chunks(3_000) {
            write(&mut journal, &known.to_vec()).await;
        }
        let filter = ListFilter {
            label: Some("sale-1".into()),
            reason: Some("sold-out".into()),
            limit: 3,
            ..ListFilter::default()
        };
        let page = fixture.store.list(&filter).await.expect("listed");
        assert!(page.items.is_empty() && page.next.is_some(), "{page:?}");
        let mut calls = 0;
        let limit = || {
            calls += 1;
            3
        };
        assert_eq!(
            all_pages(&fixture, &filter, limit).await,
            expected(&known, &filter)
        );
        assert!(calls <= 5, "{calls} calls for 4,500 entries");
        // Where few pass one of the filters, they are found at once, whatever the other.
        let filter = ListFilter {
            status: Some(Status::Compensated),
            created_before: Some(Timestamp(5)),
            ..filter
        };
        let page = fixture.store.list(&filter).await.expect("listed");
        assert_eq!(page.items.len(), 3);
    }
}
