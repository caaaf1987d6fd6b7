//! What of a look's operations is a difference: pure, so that every case can be shown.
//!
//! # What is on its way is no difference
//! A purchase reserves in the gate before its hold is durable, gives back in the gate before its rows go, and is confirmed in the
//! gate after its goods are issued. So a hold that only the gate has is right as long as its workflow is open, or could still become
//! durable; one that only the database has is right as long as its workflow is being undone.
//!
//! # Why a hold without a workflow may be released
//! The gate keeps the epoch of the partition under which a hold was made (a repeat under a higher one raises it). A workflow becomes
//! durable by a batch of its partition, and the batch is refused when the partition has another epoch by then. So once the
//! partition's epoch has passed the hold's, and the workflow is not there, it never will be under that epoch, however long its
//! owner was paused. No clock and no lease takes part in this: a lease that has ended may be renewed as long as nobody took the
//! partition, so it proves nothing; and whoever lives takes over what has ended, which raises the epoch, within a heart-beat.
//! The release leaves a tombstone, so that a copy of the reservation that is still on its way is refused. A client that repeats the
//! start where the partition is now raises the epoch that the gate keeps, so the script that releases asks for the epoch that was
//! seen: what was repeated between the look and the repair stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::store::Status;
use engine::{WorkflowId, planted};

use super::figures;
use super::finding::{Finding, Restored};
use super::look::{Look, workflow_in};
use crate::domain::ids::{BuyerId, CampaignId, ProductId};
use crate::ports::reservations::{
    ClaimPurpose, ClaimSnapshot, ClaimState, Line, Lines, OperationKey, OperationState,
    StoredOperation,
};
use crate::purchase::{StockReserve, coupon_operation, stock_operation};
use crate::reconcile::difference::{Kind, Repair};

/// Both sides of a look, by operation.
pub(super) struct Sides<'a> {
    look: &'a Look,
    holds: BTreeMap<OperationKey, (&'a BuyerId, Option<Lines>)>,
    claims: BTreeMap<&'a OperationKey, (&'a CampaignId, &'a ClaimSnapshot)>,
    /// The claims ahead that purchases have taken, in the database or in the gate.
    taken: BTreeSet<&'a OperationKey>,
}

impl<'a> Sides<'a> {
    pub(super) fn of(look: &'a Look) -> Self {
        let holds = look.there.holds.iter().map(|(workflow, (buyer, lines))| {
            let operation = stock_operation(*workflow);
            (operation, (buyer, Lines::new(lines.clone()).ok()))
        });
        let claims: Vec<_> = look
            .there
            .claims
            .iter()
            .flat_map(|(campaign, claims)| claims.iter().map(move |claim| (campaign, claim)))
            .collect();
        let taken_in_gate = look.gate.values().filter_map(|stored| match &stored.what {
            OperationState::Coupon { taken_from, .. } => taken_from.as_ref(),
            _ => None,
        });
        let taken = claims
            .iter()
            .filter_map(|(_, claim)| claim.taken_from.as_ref());
        Self {
            look,
            holds: holds.collect(),
            taken: taken.chain(taken_in_gate).collect(),
            claims: claims
                .into_iter()
                .map(|(campaign, claim)| (&claim.operation, (campaign, claim)))
                .collect(),
        }
    }

    /// The workflows of everything that the two sides do not agree on.
    pub(super) fn odd(&self) -> Vec<WorkflowId> {
        let in_gate = self
            .look
            .gate
            .values()
            .filter(|stored| !self.is_as_it_should_be(stored))
            .map(|stored| &stored.operation);
        let lost = self.lost_holds().map(|(operation, _)| operation);
        let lost_claims = self.lost_claims().map(|(operation, _)| *operation);
        let nothing = self.look.nothing.iter();
        let odd: BTreeSet<WorkflowId> = in_gate
            .chain(lost)
            .chain(lost_claims)
            .chain(nothing)
            .filter_map(|operation| Some(workflow_in(operation)?.0))
            .collect();
        odd.into_iter().collect()
    }

    fn is_as_it_should_be(&self, stored: &StoredOperation) -> bool {
        match &stored.what {
            OperationState::Holds { buyer, lines, .. } => self
                .holds
                .get(&stored.operation)
                .is_some_and(|(of, there)| *of == buyer && there.as_ref() == Some(lines)),
            OperationState::Coupon {
                campaign,
                buyer,
                state,
                ..
            } => {
                let same = |(of, claim): &(&CampaignId, &ClaimSnapshot)| {
                    *of == campaign && claim.buyer == *buyer && claim.state == *state
                };
                self.taken.contains(&stored.operation)
                    || self.claims.get(&stored.operation).is_some_and(same)
            }
            OperationState::Sold { .. } | OperationState::Nothing => true,
        }
    }

    fn lost_holds(&self) -> impl Iterator<Item = (&OperationKey, &(&'a BuyerId, Option<Lines>))> {
        self.holds
            .iter()
            .filter(|(operation, _)| !self.look.gate.contains_key(*operation))
    }

    fn lost_claims(
        &self,
    ) -> impl Iterator<Item = (&&'a OperationKey, &(&'a CampaignId, &'a ClaimSnapshot))> {
        self.claims.iter().filter(|(operation, _)| {
            !self.look.gate.contains_key(**operation) && !self.taken.contains(**operation)
        })
    }

    /// All differences of the look, given where the [`odd`](Self::odd) workflows stand.
    pub(super) fn findings(&self, statuses: &HashMap<WorkflowId, Status>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut on_the_way: BTreeMap<&ProductId, u64> = BTreeMap::new();
        for stored in self.look.gate.values() {
            if self.is_as_it_should_be(stored) {
                continue;
            }
            findings.extend(self.odd_in_gate(stored, statuses));
            // On its way, or a difference by itself: either way it explains what is sold.
            if let OperationState::Holds { lines, .. } = &stored.what {
                for Line { product, quantity } in lines.as_slice() {
                    *on_the_way.entry(product).or_default() += u64::from(*quantity);
                }
            }
        }
        findings.extend(self.lost(statuses));
        findings.extend(self.given_back_too_early(statuses));
        findings.extend(figures::findings(self.look, &on_the_way));
        findings
    }

    /// What the gate has and the database has not, or has otherwise, unless it is on its way.
    fn odd_in_gate(
        &self,
        stored: &StoredOperation,
        statuses: &HashMap<WorkflowId, Status>,
    ) -> Option<Finding> {
        let operation = &stored.operation;
        let Some((workflow, _)) = workflow_in(operation) else {
            let finding = Finding::of(Kind::HoldWithoutWorkflow, operation, Repair::Release);
            return Some(finding.says(
                "it has something",
                "no workflow of ours has such operations",
            ));
        };
        let status = statuses.get(&workflow).copied();
        let is_expected = self.holds.contains_key(operation) || self.claims.contains_key(operation);
        if !is_expected && status.is_none() && self.may_become_durable(stored, workflow) {
            return None;
        }
        match &stored.what {
            OperationState::Holds { lines, .. } if is_expected => {
                let there = self
                    .holds
                    .get(operation)
                    .and_then(|(_, lines)| lines.as_ref());
                let finding = Finding::of(Kind::HoldDiffers, operation, Repair::Rebuild);
                Some(finding.says(lines_in_words(lines), sound_lines_in_words(there)))
            }
            OperationState::Holds { lines, .. } => {
                let kind = match status {
                    None => Kind::HoldWithoutWorkflow,
                    Some(status) if status.is_terminal() => Kind::HoldOfEndedWorkflow,
                    Some(_) => return None,
                };
                let finding = Finding::of(kind, operation, Repair::Release)
                    .says(lines_in_words(lines), ended_in_words(status, "no hold"));
                Some(finding.asking_for_goods())
            }
            OperationState::Coupon { state, .. } => self.odd_coupon(operation, *state, status),
            OperationState::Sold { .. } | OperationState::Nothing => None,
        }
    }

    fn odd_coupon(
        &self,
        operation: &OperationKey,
        state: ClaimState,
        status: Option<Status>,
    ) -> Option<Finding> {
        if status.is_some_and(|status| !status.is_terminal()) {
            return None;
        }
        let gate = coupon_in_words(state);
        let Some((_, claim)) = self.claims.get(operation) else {
            let kind = match status {
                None => Kind::ClaimWithoutWorkflow,
                Some(_) => Kind::ClaimOfEndedWorkflow,
            };
            let repair = match state {
                ClaimState::Used => Repair::Rebuild,
                ClaimState::Issued | ClaimState::Held => Repair::Release,
            };
            let finding = Finding::of(kind, operation, repair);
            return Some(finding.says(gate, ended_in_words(status, "no coupon")));
        };
        let repair = match (state, claim.state) {
            (ClaimState::Held, ClaimState::Used) => Repair::Confirm,
            _ => Repair::Rebuild,
        };
        let finding = Finding::of(Kind::CouponDiffers, operation, repair);
        Some(finding.says(gate, coupon_in_words(claim.state)))
    }

    /// Whether a batch that makes its workflow durable may still be committed.
    fn may_become_durable(&self, stored: &StoredOperation, workflow: WorkflowId) -> bool {
        let now = self.look.epochs.get(&workflow.partition());
        stored
            .epoch
            .zip(now)
            .is_some_and(|(made, now)| made >= *now && !planted::is_on("hold-released-too-early"))
    }

    /// What the database has and the gate has not.
    fn lost(&self, statuses: &HashMap<WorkflowId, Status>) -> Vec<Finding> {
        let is_being_undone = |operation: &OperationKey| {
            let status = workflow_in(operation).and_then(|(workflow, _)| statuses.get(&workflow));
            status == Some(&Status::Compensating)
        };
        let holds = self
            .lost_holds()
            .filter(|(operation, _)| !is_being_undone(operation))
            .map(|(operation, (buyer, lines))| lost_hold(operation, buyer, lines.as_ref()));
        let claims = self
            .lost_claims()
            .filter(|(operation, _)| !is_being_undone(operation))
            .map(|(operation, (campaign, claim))| lost_claim(operation, campaign, claim));
        holds.chain(claims).collect()
    }

    /// Purchases that are open and have nothing in the gate, nor a hold in the database: a difference if they have goods.
    fn given_back_too_early(&self, statuses: &HashMap<WorkflowId, Status>) -> Vec<Finding> {
        let is_open = |workflow: &WorkflowId| {
            let status = statuses.get(workflow);
            status.is_some_and(|status| !status.is_terminal())
        };
        let nothing = self.look.nothing.iter().filter(|operation| {
            !self.holds.contains_key(*operation)
                && workflow_in(operation).is_some_and(|(workflow, step)| {
                    step == StockReserve::NAME && is_open(&workflow)
                })
        });
        nothing
            .map(|operation| {
                Finding::of(Kind::SoldMissing, operation, Repair::Rebuild)
                    .says("its hold was given back", "its goods are issued")
                    .asking_for_goods()
            })
            .collect()
    }
}

fn lost_hold(operation: &OperationKey, buyer: &BuyerId, lines: Option<&Lines>) -> Finding {
    let repair = match lines {
        Some(_) => Repair::Restore,
        None => Repair::Rebuild,
    };
    Finding::of(Kind::HoldMissingInGate, operation, repair)
        .says("no hold", sound_lines_in_words(lines))
        .restoring(lines.map(|lines| Restored::Hold {
            buyer: buyer.clone(),
            lines: lines.clone(),
        }))
}

fn lost_claim(operation: &OperationKey, campaign: &CampaignId, claim: &ClaimSnapshot) -> Finding {
    let purpose = match claim.state {
        ClaimState::Issued => Some(ClaimPurpose::Ahead),
        ClaimState::Held => Some(ClaimPurpose::Purchase),
        ClaimState::Used => None,
    };
    let repair = match purpose {
        Some(_) => Repair::Restore,
        None => Repair::Rebuild,
    };
    Finding::of(Kind::CouponMissingInGate, operation, repair)
        .says("no coupon", coupon_in_words(claim.state))
        .restoring(purpose.map(|purpose| Restored::Coupon {
            campaign: campaign.clone(),
            buyer: claim.buyer.clone(),
            purpose,
        }))
}

/// The coupon operation of the purchase that this operation is of, when the gate has one.
pub(super) fn claim_of(look: &Look, operation: &OperationKey) -> Option<OperationKey> {
    let (workflow, _) = workflow_in(operation)?;
    let claim = coupon_operation(workflow);
    look.gate.contains_key(&claim).then_some(claim)
}

fn lines_in_words(lines: &Lines) -> String {
    let line = |line: &Line| format!("{} {}", line.quantity, line.product);
    let lines: Vec<String> = lines.as_slice().iter().map(line).collect();
    format!("a hold of {}", lines.join(" and "))
}

/// Lines as the database has them: what can't be read as lines is unsound.
fn sound_lines_in_words(lines: Option<&Lines>) -> String {
    lines.map_or_else(|| "no sound lines".to_owned(), lines_in_words)
}

fn coupon_in_words(state: ClaimState) -> &'static str {
    match state {
        ClaimState::Issued => "coupon claimed ahead",
        ClaimState::Held => "coupon reserved",
        ClaimState::Used => "coupon used",
    }
}

fn ended_in_words(status: Option<Status>, nothing: &str) -> String {
    match status {
        None => format!("{nothing}, and no such workflow"),
        Some(status) => format!("{nothing}, and that the workflow is {status}"),
    }
}
