//! Two looks at a sale, and what both of them found: what is just being done shows in one of them at most.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::planted;

use super::ReconcilerParts;
use super::compare::Sides;
use super::finding::Finding;
use super::look::{Eyes, Look, LookError};
use super::task::Task;
use crate::domain::ids::SaleId;
use crate::ports::reservations::SaleCounts;
use crate::reconcile::difference::{Kind, ReconcileReport};

/// What two looks have in common.
pub(super) enum Twice {
    /// Nothing, and the gate's figures.
    Nothing(SaleCounts),
    /// These, as the second look saw them.
    Findings(Box<Look>, Vec<Finding>),
}

impl Task {
    /// The differences that two looks have in common; `None` when there is no such sale.
    pub(super) async fn seen_twice(
        &self,
        sale: &SaleId,
        report: &mut ReconcileReport,
    ) -> Result<Option<Twice>, LookError> {
        let first = match self.seen_once(sale, report).await {
            Ok(None) => return Ok(None),
            Ok(Some((look, findings))) if findings.is_empty() => {
                return Ok(Some(Twice::Nothing(look.after)));
            }
            Ok(Some((look, findings))) => Some((look.before.generation, findings)),
            // Figures without a meaning have to be seen twice, too.
            Err(LookError::Reservations(error)) if error.is_unreadable() => None,
            Err(error) => return Err(error),
        };
        let pause = self.parts.settings.second_look_after;
        self.parts
            .runtime
            .sleep(pause.max(Duration::from_secs(1)))
            .await;
        let Some((look, mut two)) = self.seen_once(sale, report).await? else {
            return Ok(None);
        };
        let (generation, one) = first.unwrap_or((look.before.generation, Vec::new()));
        if look.before.generation != generation {
            let why = "it was loaded anew while it was looked at";
            return Err(LookError::NotNow(why.to_owned()));
        }
        let seen: BTreeSet<(Kind, &str)> = one
            .iter()
            .map(|finding| (finding.kind, finding.same.as_str()))
            .collect();
        two.retain(|finding| {
            seen.contains(&(finding.kind, finding.same.as_str()))
                || planted::is_on("difference-seen-once")
        });
        self.ask_for_goods(&look, &mut two).await?;
        Ok(Some(if two.is_empty() {
            Twice::Nothing(look.after)
        } else {
            Twice::Findings(Box::new(look), two)
        }))
    }

    async fn seen_once(
        &self,
        sale: &SaleId,
        report: &mut ReconcileReport,
    ) -> Result<Option<(Look, Vec<Finding>)>, LookError> {
        let eyes = self.eyes();
        let Some(look) = eyes.look(sale).await? else {
            return Ok(None);
        };
        report.operations += look.operations;
        let claims: usize = look.there.claims.values().map(Vec::len).sum();
        report.rows += (look.there.holds.len() + claims) as u64;
        let sides = Sides::of(&look);
        let statuses = eyes.statuses(&sides.odd()).await?;
        let findings = sides.findings(&statuses);
        Ok(Some((look, findings)))
    }

    /// Goods decide whether an ended purchase's hold was sold or is free.
    async fn ask_for_goods(
        &self,
        look: &Look,
        findings: &mut Vec<Finding>,
    ) -> Result<(), LookError> {
        let asking = findings.iter().filter(|finding| finding.asks_for_goods);
        let purchases: Vec<_> = asking.filter_map(|finding| finding.workflow).collect();
        if purchases.is_empty() {
            return Ok(());
        }
        let eyes = self.eyes();
        let issued = eyes.with_goods(&look.sale.sale, &purchases).await?;
        findings.retain_mut(|finding| finding.knows_of_goods(&issued));
        Ok(())
    }

    fn eyes(&self) -> Eyes<'_> {
        let ReconcilerParts {
            runtime,
            database,
            catalogue,
            reservations,
            ..
        } = &self.parts;
        Eyes {
            runtime,
            database,
            catalogue: catalogue.as_ref(),
            reservations: reservations.as_ref(),
        }
    }
}
