//! Whether an earlier life of a workflow is in the store: a start of which nothing is durable by this one undoes nothing before it
//! knows that, since the effects of both are under the same keys. The store says it, or whoever refused the start.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Driver;
use crate::executor::registry::Discarded;
use crate::planted;
use crate::store::{Head, StoreError};
use crate::workflow::{Earlier, StepError, turned_back_because};

/// Whether an earlier life of a workflow, of which nothing is durable by this one, is in the store.
pub(super) enum EarlierLife {
    /// Nobody has asked: there was nothing to undo.
    Unasked,
    /// The store is being asked.
    Asked(BoxFuture<'static, Result<Option<Head>, StoreError>>),
    /// There is none: what was done may be undone.
    None,
}

impl Driver {
    /// Whether what was done may be undone: it is durable, or nothing of it ever was. Asks the store if need be.
    pub(super) fn may_undo_without_trace(&mut self) -> bool {
        if self.durable.is_some() {
            return true;
        }
        // No journal tells us that the partition has a new owner, who may be making the same attempts forward.
        if self
            .context
            .committed
            .lease_has_ended(self.context.runtime.now())
        {
            self.given_back(Discarded::Lost, Vec::new());
            return false;
        }
        let rules_it_out = turned_back_because(&self.state)
            .is_some_and(|refusal| refusal.earlier == Earlier::RuledOut);
        if rules_it_out
            || matches!(self.earlier_life, EarlierLife::None)
            || planted::is_on("earlier-life-not-asked")
        {
            return true;
        }
        if matches!(self.earlier_life, EarlierLife::Unasked) {
            let (store, ident) = (Arc::clone(&self.context.store), self.id.ident());
            self.earlier_life =
                EarlierLife::Asked(Box::pin(async move { store.find(&ident).await }));
        }
        false
    }

    /// The store has said whether an earlier life of this workflow is durable.
    pub(super) fn earlier_life_found(&mut self, found: Result<Option<Head>, StoreError>) {
        self.earlier_life = EarlierLife::Unasked;
        // What is on its way to the journal meanwhile, or there by now, says more.
        if !self.is_volatile() {
            return;
        }
        match found {
            Ok(Some(head)) if head.id == self.id => self.given_back(Discarded::Exists, Vec::new()),
            Ok(_) => self.earlier_life = EarlierLife::None,
            Err(error) => {
                let error = StepError::caused_by("store-unavailable", &error);
                self.given_back(Discarded::Unavailable(error), Vec::new());
            }
        }
    }
}

/// The answer of the store about an earlier life; never completes when it is not being asked.
pub(super) async fn earlier_life(asked: &mut EarlierLife) -> Result<Option<Head>, StoreError> {
    match asked {
        EarlierLife::Asked(answer) => answer.await,
        EarlierLife::Unasked | EarlierLife::None => std::future::pending().await,
    }
}
