//! What the reconciler reports: each difference between the gate and the database by name, which side is right, and what mends it.

use engine::{Timestamp, WorkflowId};
use serde::{Deserialize, Serialize};

use crate::domain::ids::SaleId;
use crate::ports::reservations::OperationKey;

/// So many differences of a round are listed; the rest are counted.
pub const DIFFERENCES_LISTED_MAX: usize = 200;

/// What kind of difference it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Units are held for a purchase that was never made durable, and can't be any more.
    HoldWithoutWorkflow,
    /// A coupon is claimed by a workflow that was never made durable, and can't be any more.
    ClaimWithoutWorkflow,
    /// Units are held for a purchase that has ended.
    HoldOfEndedWorkflow,
    /// A coupon is claimed by a workflow that has ended without it.
    ClaimOfEndedWorkflow,
    /// A purchase holds units in the database, and the gate does not know.
    HoldMissingInGate,
    /// A buyer has a coupon in the database, and the gate does not know.
    CouponMissingInGate,
    /// A purchase holds other units in the gate than in the database.
    HoldDiffers,
    /// A coupon is in another state in the gate than in the database.
    CouponDiffers,
    /// The gate counts fewer units as sold than goods were issued.
    SoldMissing,
    /// The gate counts more units as sold than goods were issued.
    SoldExtra,
    /// The gate's own figures contradict each other or the sale.
    CountersDoNotAddUp,
    /// The gate goes by an older schedule than the database's.
    ScheduleBehind,
}

impl Kind {
    /// The word, such as `hold-without-workflow`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HoldWithoutWorkflow => "hold-without-workflow",
            Self::ClaimWithoutWorkflow => "claim-without-workflow",
            Self::HoldOfEndedWorkflow => "hold-of-ended-workflow",
            Self::ClaimOfEndedWorkflow => "claim-of-ended-workflow",
            Self::HoldMissingInGate => "hold-missing-in-gate",
            Self::CouponMissingInGate => "coupon-missing-in-gate",
            Self::HoldDiffers => "hold-differs",
            Self::CouponDiffers => "coupon-differs",
            Self::SoldMissing => "sold-missing",
            Self::SoldExtra => "sold-extra",
            Self::CountersDoNotAddUp => "counters-do-not-add-up",
            Self::ScheduleBehind => "schedule-behind",
        }
    }

    /// Why the database is right. It is in every case: the gate may forget or be told lies, and what is durable is not.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::HoldWithoutWorkflow | Self::ClaimWithoutWorkflow => {
                "nobody was told that this purchase exists: it is not durable, and its node has lost the partition in which it \
                 could have become so"
            }
            Self::HoldOfEndedWorkflow | Self::ClaimOfEndedWorkflow => {
                "the journal says how it ended, and what has ended asks for nothing any more"
            }
            Self::HoldMissingInGate | Self::CouponMissingInGate => {
                "it is durable and the workflow goes on with it; the gate has lost it"
            }
            Self::HoldDiffers | Self::CouponDiffers => {
                "the database changes with the journal, in one transaction"
            }
            Self::SoldMissing | Self::SoldExtra => {
                "goods are issued in the database, and nowhere else"
            }
            Self::CountersDoNotAddUp => {
                "the database's counters are kept by its own guards, and the gate's were changed past its scripts or lost"
            }
            Self::ScheduleBehind => "a schedule is changed in the database first",
        }
    }
}

/// Which side is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The database.
    Database,
}

/// What mends a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The gate takes back what the operation has, and leaves a tombstone.
    Release,
    /// The gate counts what the operation holds as sold.
    Confirm,
    /// The operation is made again in the gate, as its step would make it; where the gate refuses that, the sale is rebuilt.
    Restore,
    /// The gate forgets the sale and loads it from the database.
    Rebuild,
    /// The gate is told the schedule.
    Schedule,
}

impl Repair {
    /// The word, such as `release`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Confirm => "confirm",
            Self::Restore => "restore",
            Self::Rebuild => "rebuild",
            Self::Schedule => "schedule",
        }
    }
}

/// One difference, seen twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What kind.
    pub kind: Kind,
    /// In which sale.
    pub sale: SaleId,
    /// Of which operation of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationKey>,
    /// Of which product or campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Of which workflow.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    pub workflow: Option<WorkflowId>,
    /// What the gate says.
    pub gate: String,
    /// What the database says.
    pub database: String,
    /// Which side is right.
    pub right: Side,
    /// Why it is.
    pub why: String,
    /// What mends it.
    pub repair: Repair,
    /// It was mended in this round.
    pub repaired: bool,
    /// Why it was not, although that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Difference {
    /// One line for a log or a terminal.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = match (&self.operation, &self.item) {
            (Some(operation), _) => format!("{}, operation {operation}", self.sale),
            (None, Some(item)) => format!("{}, {item}", self.sale),
            (None, None) => self.sale.to_string(),
        };
        let Self { gate, database, .. } = self;
        format!("{what}: the gate says {gate}, the database says {database}")
    }
}

/// A sale that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotLookedAt {
    /// Which sale.
    pub sale: SaleId,
    /// Why.
    pub why: String,
}

/// What a round saw and did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileReport {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Whether what it found was to be mended.
    pub repair: bool,
    /// Sales that it looked at.
    pub sales: u64,
    /// Operations of the gate that it looked at, each look counted.
    pub operations: u64,
    /// Holds and coupons in the database that it looked at, each look counted.
    pub rows: u64,
    /// The first [`DIFFERENCES_LISTED_MAX`] differences.
    pub differences: Vec<Difference>,
    /// All differences, the listed ones among them.
    pub found: u64,
    /// Those that were mended.
    pub repaired: u64,
    /// Those that were not.
    pub remaining: u64,
    /// Sales that could not be compared, such as those whose gate is closed.
    pub not_looked_at: Vec<NotLookedAt>,
}

impl ReconcileReport {
    pub(super) const fn begun(started_at: Timestamp, repair: bool) -> Self {
        Self {
            started_at,
            finished_at: started_at,
            repair,
            sales: 0,
            operations: 0,
            rows: 0,
            differences: Vec::new(),
            found: 0,
            repaired: 0,
            remaining: 0,
            not_looked_at: Vec::new(),
        }
    }

    /// Everything was looked at, and nothing is left that differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.remaining == 0 && self.not_looked_at.is_empty()
    }

    pub(super) fn add(&mut self, difference: Difference) {
        self.found += 1;
        if difference.repaired {
            self.repaired += 1;
        } else {
            self.remaining += 1;
        }
        if self.differences.len() < DIFFERENCES_LISTED_MAX {
            self.differences.push(difference);
        }
    }
}

/// A workflow's id as people read it.
mod as_text {
    use engine::WorkflowId;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(
        workflow: &Option<WorkflowId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match workflow {
            Some(workflow) => serializer.collect_str(workflow),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<WorkflowId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| WorkflowId::parse(&text).ok_or_else(|| de::Error::custom("no workflow id")))
            .transpose()
    }
}
