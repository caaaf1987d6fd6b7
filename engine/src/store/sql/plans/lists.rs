//! Lists by each filter that has an index, and by several of them, from the beginning and from the middle.

use super::fill::{HUGE_DEFINITION, HUGE_LABEL, id};
use super::probe::{BY_LABEL, BY_REASON, BY_STATUS, BY_STEP, Expected, Probe, WORKFLOW};
use crate::runtime::Timestamp;
use crate::store::{ListCursor, ListFilter, Status, Store};

/// A page, and the entry behind it.
const PAGE: u64 = 50 + 1;
/// A page of one index: its entries and its rows.
const EXACT: u64 = 2 * PAGE + 5;
/// So many entries of an index are looked through when several filters are set.
const ENTRIES: u64 = 2_000;
/// The statuses, and the definitions of this store.
const STATUSES: u64 = 7;
const DEFINITIONS: u64 = 3;
/// To find the definitions takes a step for each status and each of them, and the beginnings of all pairs are sought twice.
const STEPS: u64 = STATUSES * (DEFINITIONS + 1) + 2 * STATUSES * DEFINITIONS;

/// All of them.
pub(super) async fn all(probe: &mut Probe, store: &dyn Store) {
    by_status(probe, store).await;
    by_one_index(probe, store).await;
    by_several(probe, store).await;
}

/// The pages of a list's beginning and of its middle.
async fn list(probe: &mut Probe, store: &dyn Store, expected: Expected, filter: &ListFilter) {
    let middle = ListCursor {
        created_at: Timestamp(i64::from(u32::MAX / 2)),
        ident: id(3).ident(),
    };
    for after in [None, Some(middle)] {
        let filter = ListFilter {
            after,
            ..filter.clone()
        };
        let page = probe.call(expected, store.list(&filter)).await;
        assert!(!page.expect("listed").items.is_empty(), "{filter:?}");
    }
}

fn any() -> ListFilter {
    ListFilter {
        limit: 50,
        ..ListFilter::default()
    }
}

async fn by_status(probe: &mut Probe, store: &dyn Store) {
    let by = &[BY_STATUS, WORKFLOW];
    let pairs = |pairs: u64| pairs * PAGE + PAGE + STEPS;
    let expected = Expected::new("list", by, pairs(STATUSES * DEFINITIONS));
    list(probe, store, expected, &any()).await;
    for status in Status::ALL {
        let expected = Expected::new("list by status", by, pairs(DEFINITIONS));
        let filter = ListFilter {
            status: Some(status),
            ..any()
        };
        list(probe, store, expected, &filter).await;
    }
    let expected = Expected::new("list by definition", by, pairs(STATUSES));
    let by_definition = ListFilter {
        definition: Some(HUGE_DEFINITION.to_owned()),
        ..any()
    };
    list(probe, store, expected, &by_definition).await;
    let expected = Expected::new("list by status and definition", by, EXACT);
    let both = ListFilter {
        status: Some(Status::Completed),
        ..by_definition
    };
    list(probe, store, expected, &both).await;
    let expected = Expected::new("list between instants", by, EXACT);
    let between = ListFilter {
        created_from: Some(Timestamp(i64::from(u32::MAX / 4))),
        created_before: Some(Timestamp(i64::from(u32::MAX / 4 * 3))),
        ..both
    };
    list(probe, store, expected, &between).await;
}

async fn by_one_index(probe: &mut Probe, store: &dyn Store) {
    let expected = Expected::new("list by label", &[BY_LABEL, WORKFLOW], EXACT);
    let by_label = ListFilter {
        label: Some(HUGE_LABEL.to_owned()),
        ..any()
    };
    list(probe, store, expected, &by_label).await;
    let expected = Expected::new("list by reason", &[BY_REASON, WORKFLOW], EXACT);
    let by_reason = ListFilter {
        reason: Some("gateway-timeout".to_owned()),
        ..any()
    };
    list(probe, store, expected, &by_reason).await;
    let expected = Expected::new("list by step", &[BY_STEP, WORKFLOW], EXACT);
    let by_step = ListFilter {
        step: Some("pay".to_owned()),
        ..any()
    };
    list(probe, store, expected, &by_step).await;
    let by = &[BY_STEP, WORKFLOW];
    let expected = Expected::new("list by step and more", by, 2 * ENTRIES);
    let step_and_more = ListFilter {
        reason: Some("bad-data".to_owned()),
        label: Some(HUGE_LABEL.to_owned()),
        created_from: Some(Timestamp(9)),
        created_before: Some(Timestamp(u32::MAX.into())),
        ..by_step
    };
    list(probe, store, expected, &step_and_more).await;
}

/// Every index that leads there is looked into.
async fn by_several(probe: &mut Probe, store: &dyn Store) {
    let by = &[BY_LABEL, BY_STATUS, WORKFLOW];
    let label = ListFilter {
        label: Some(HUGE_LABEL.to_owned()),
        ..any()
    };
    for status in [Status::Completed, Status::Compensated, Status::Parked] {
        let reads_max = ENTRIES * (1 + DEFINITIONS) + STEPS + ENTRIES;
        let expected = Expected::new("list by label and status", by, reads_max);
        let filter = ListFilter {
            status: Some(status),
            ..label.clone()
        };
        list(probe, store, expected, &filter).await;
    }
    let reads_max = ENTRIES * (1 + STATUSES) + STEPS + ENTRIES;
    let expected = Expected::new("list by label and definition", by, reads_max);
    let filter = ListFilter {
        definition: Some("claim".to_owned()),
        ..label.clone()
    };
    list(probe, store, expected, &filter).await;
    let by = &[BY_LABEL, BY_REASON, WORKFLOW];
    let expected = Expected::new("list by label and reason", by, 3 * ENTRIES);
    let label_and_reason = ListFilter {
        reason: Some("sold-out".to_owned()),
        ..label
    };
    list(probe, store, expected, &label_and_reason).await;
    let by = &[BY_LABEL, BY_REASON, BY_STATUS, WORKFLOW];
    let expected = Expected::new("list by all of these", by, 4 * ENTRIES);
    let all = ListFilter {
        status: Some(Status::Compensated),
        definition: Some(HUGE_DEFINITION.to_owned()),
        created_from: Some(Timestamp(1)),
        ..label_and_reason
    };
    list(probe, store, expected, &all).await;
}
