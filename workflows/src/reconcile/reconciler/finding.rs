//! A difference of one look, not seen twice yet: what it has in common with itself in another look, and what mends it.

use std::collections::HashSet;

use engine::WorkflowId;

use super::look::workflow_in;
use crate::domain::ids::{BuyerId, CampaignId, SaleId};
use crate::ports::reservations::{ClaimPurpose, Lines, OperationKey};
use crate::reconcile::difference::{Difference, Kind, Repair, Side};

/// What a look found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub kind: Kind,
    /// What it has in common with the same difference in another look. For figures, these figures: while they change, nothing
    /// is known.
    pub same: String,
    pub operation: Option<OperationKey>,
    pub item: Option<String>,
    pub workflow: Option<WorkflowId>,
    pub gate: String,
    pub database: String,
    pub repair: Repair,
    /// What [`Repair::Restore`] makes again.
    pub restored: Option<Restored>,
    /// It is one only if the purchase has goods; if it is a hold, goods decide how it is mended.
    pub asks_for_goods: bool,
}

/// What an operation is to have again.
#[derive(Clone, Debug)]
pub(super) enum Restored {
    /// Units.
    Hold { buyer: BuyerId, lines: Lines },
    /// A coupon.
    Coupon {
        campaign: CampaignId,
        buyer: BuyerId,
        purpose: ClaimPurpose,
    },
}

impl Finding {
    /// Of an operation of the gate.
    pub(super) fn of(kind: Kind, operation: &OperationKey, repair: Repair) -> Self {
        Self {
            kind,
            same: operation.to_string(),
            operation: Some(operation.clone()),
            item: None,
            workflow: workflow_in(operation).map(|(workflow, _)| workflow),
            gate: String::new(),
            database: String::new(),
            repair,
            restored: None,
            asks_for_goods: false,
        }
    }

    /// About a product, a campaign or the schedule.
    pub(super) fn about(kind: Kind, item: &str, repair: Repair) -> Self {
        Self {
            kind,
            same: item.to_owned(),
            operation: None,
            item: Some(item.to_owned()),
            workflow: None,
            gate: String::new(),
            database: String::new(),
            repair,
            restored: None,
            asks_for_goods: false,
        }
    }

    /// What each side says.
    pub(super) fn says(mut self, gate: impl Into<String>, database: impl Into<String>) -> Self {
        (self.gate, self.database) = (gate.into(), database.into());
        self
    }

    /// It is the same one only as long as these figures are.
    pub(super) fn while_figures_are(mut self, figures: &str) -> Self {
        self.same = format!("{} {figures}", self.same);
        self
    }

    /// What is made again to mend it.
    pub(super) fn restoring(mut self, what: Option<Restored>) -> Self {
        self.restored = what;
        self
    }

    /// Goods decide about it.
    pub(super) fn asking_for_goods(mut self) -> Self {
        self.asks_for_goods = true;
        self
    }

    /// Given who has goods: whether this is a difference at all, and what mends it.
    pub(super) fn knows_of_goods(&mut self, issued: &HashSet<WorkflowId>) -> bool {
        if !self.asks_for_goods {
            return true;
        }
        let has_goods = self
            .workflow
            .is_some_and(|workflow| issued.contains(&workflow));
        if self.kind == Kind::SoldMissing {
            return has_goods;
        }
        if has_goods {
            self.repair = Repair::Confirm;
            "its goods are issued".clone_into(&mut self.database);
        }
        true
    }

    /// As it is reported.
    pub(super) fn difference(&self, sale: &SaleId) -> Difference {
        Difference {
            kind: self.kind,
            sale: sale.clone(),
            operation: self.operation.clone(),
            item: self.item.clone(),
            workflow: self.workflow,
            gate: self.gate.clone(),
            database: self.database.clone(),
            right: Side::Database,
            why: self.kind.why().to_owned(),
            repair: self.repair,
            repaired: false,
            failed: None,
        }
    }
}
