//! Lists of workflows, newest first.

use super::{MemoryStore, Rows};
use crate::store::{Head, ListCursor, ListFilter, Page, Status, StoreError};

pub(super) fn list(store: &MemoryStore, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
    let tables = store.up("listing workflows")?;
    let all = tables.workflows.values();
    let mut heads: Vec<&Head> = all.filter(|head| passes(&tables, filter, head)).collect();
    heads.sort_by_key(|head| std::cmp::Reverse((head.created_at, head.id.ident())));
    let limit = usize::from(filter.limit.clamp(1, 500));
    let more = heads.len() > limit;
    heads.truncate(limit);
    let next = heads.last().filter(|_| more).map(|head| ListCursor {
        created_at: head.created_at,
        ident: head.id.ident(),
    });
    let items = heads.into_iter().cloned().collect();
    Ok(Page { items, next })
}

/// All that is set holds.
fn passes(tables: &Rows, filter: &ListFilter, head: &Head) -> bool {
    let ident = head.id.ident();
    let place = (head.created_at, ident);
    let step = || tables.parked.get(&ident).and_then(|row| row.step.as_ref());
    let is = |wanted: &Option<String>, found: Option<&String>| {
        wanted.is_none() || wanted.as_ref() == found
    };
    filter.status.is_none_or(|status| head.status == status)
        && is(&filter.definition, Some(&head.definition.name))
        && is(&filter.reason, head.reason.as_ref())
        && is(&filter.label, head.label.as_ref())
        && (filter.step.is_none() || filter.step.as_ref() == step())
        && filter
            .created_from
            .is_none_or(|from| head.created_at >= from)
        && filter
            .created_before
            .is_none_or(|before| head.created_at < before)
        && filter
            .after
            .as_ref()
            .is_none_or(|after| place < (after.created_at, after.ident))
}

pub(super) fn count_by_status(store: &MemoryStore) -> Result<Vec<(Status, u64)>, StoreError> {
    let tables = store.up("counting workflows")?;
    let count = |status| {
        let heads = tables.workflows.values();
        heads.filter(|head| head.status == status).count() as u64
    };
    let counts = Status::ALL.map(|status| (status, count(status)));
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}
