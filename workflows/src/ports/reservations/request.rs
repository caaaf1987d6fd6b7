//! What is asked of the reservations: each request names its operation, so that it takes effect once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};

/// The longest operation key, in bytes.
pub const OPERATION_KEY_BYTES_MAX: usize = 100;

/// The most lines of one reservation.
pub const LINES_MAX: usize = 20;

/// Names one operation for ever, such as `<workflow>/<step>`: opaque, 1 to 100 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperationKey(String);

/// The text is no operation key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an operation key has 1 to {OPERATION_KEY_BYTES_MAX} bytes; got {0}")]
pub struct BadOperationKey(usize);

impl OperationKey {
    /// Checks the length.
    pub fn parse(text: impl Into<String>) -> Result<Self, BadOperationKey> {
        let text = text.into();
        if (1..=OPERATION_KEY_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(BadOperationKey(text.len()))
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OperationKey {
    type Error = BadOperationKey;
    fn try_from(text: String) -> Result<Self, BadOperationKey> {
        Self::parse(text)
    }
}

impl From<OperationKey> for String {
    fn from(key: OperationKey) -> Self {
        key.0
    }
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Some units of one product.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// Units, at least one.
    pub quantity: u32,
}

/// The lines of one reservation: 1 to 20, of distinct products, ordered by product, so that equal sets are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

/// The lines can't be reserved together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLines {
    /// None, or too many.
    #[error("a reservation has 1 to {LINES_MAX} lines; got {0}")]
    Count(usize),
    /// A line without units.
    #[error("the line of product {0} has no units")]
    NoUnits(ProductId),
    /// Two lines of one product.
    #[error("product {0} is named by two lines")]
    Twice(ProductId),
}

impl Lines {
    /// Checks and orders the lines.
    pub fn new(mut lines: Vec<Line>) -> Result<Self, BadLines> {
        if !(1..=LINES_MAX).contains(&lines.len()) {
            return Err(BadLines::Count(lines.len()));
        }
        lines.sort();
        if let Some(empty) = lines.iter().find(|line| line.quantity == 0) {
            return Err(BadLines::NoUnits(empty.product.clone()));
        }
        let twice = lines
            .windows(2)
            .find(|pair| pair[0].product == pair[1].product);
        if let Some(pair) = twice {
            return Err(BadLines::Twice(pair[0].product.clone()));
        }
        Ok(Self(lines))
    }

    /// The lines, ordered by product.
    #[must_use]
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }

    /// The units of all lines.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.0.iter().map(|line| u64::from(line.quantity)).sum()
    }
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = BadLines;
    fn try_from(lines: Vec<Line>) -> Result<Self, BadLines> {
        Self::new(lines)
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

/// Claim one coupon of `campaign` for `buyer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The sale that the campaign belongs to.
    pub sale: SaleId,
    /// The campaign.
    pub campaign: CampaignId,
    /// Who gets the coupon.
    pub buyer: BuyerId,
    /// Names this operation.
    pub operation: OperationKey,
    /// Under which epoch of its partition the operation's node works: kept with the operation, so that one whose node can no
    /// longer make it durable is told from one that is just being made durable.
    pub epoch: u64,
    /// For what.
    pub purpose: ClaimPurpose,
    /// As in [`ReserveRequest::remember_refusal`].
    pub remember_refusal: bool,
}

/// What a coupon is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimPurpose {
    /// To be kept by the buyer until a purchase takes it: needs no open sale, but a campaign whose coupons can be claimed now.
    Ahead,
    /// For a purchase: takes the coupon that the buyer holds, or claims one where the campaign allows that. The sale must be open
    /// and the coupon valid.
    Purchase,
}

/// Hold the units of all `lines` for `buyer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The sale that the products belong to.
    pub sale: SaleId,
    /// Who gets the units.
    pub buyer: BuyerId,
    /// Names this operation.
    pub operation: OperationKey,
    /// As in [`ClaimRequest::epoch`].
    pub epoch: u64,
    /// What to hold: all or nothing.
    pub lines: Lines,
    /// The charge follows at once: the hold is made [`HoldState::Paying`], without a later [`super::Reservations::extend`].
    pub hold: HoldState,
    /// Set it when an earlier copy of this operation may still be on its way (any attempt but the first): a refusal is then
    /// stored, so that the late copy gets it too and can't hold what nobody will release. A first attempt leaves it unset,
    /// and its refusal writes nothing: being sold out costs reads only.
    pub remember_refusal: bool,
}

/// Where a hold stands. Either way it is released by a release, and sold by a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// The buyer has not authorised the payment yet.
    Held,
    /// The charge has begun or is about to.
    Paying,
}

/// The hold of `operation` is about to be charged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendRequest {
    /// The sale.
    pub sale: SaleId,
    /// The operation that holds the units.
    pub operation: OperationKey,
}

/// When a sale can be bought in, as of a revision of its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRequest {
    /// The sale.
    pub sale: SaleId,
    /// The schedule's number: an older one than the gate knows changes nothing.
    pub revision: u32,
    /// In Unix milliseconds.
    pub opens_at_ms: i64,
    /// In Unix milliseconds; after it opens.
    pub closes_at_ms: i64,
    /// It does not open any more.
    pub is_cancelled: bool,
}

/// The hold of `operation` was paid for and its goods were issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmRequest {
    /// The sale.
    pub sale: SaleId,
    /// The operation that holds the units.
    pub operation: OperationKey,
    /// The operation that claimed the coupon which the purchase used, if any.
    pub claim: Option<OperationKey>,
}

/// Undo `operation`, whether or not it had its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// The sale.
    pub sale: SaleId,
    /// The operation to undo.
    pub operation: OperationKey,
    /// No copy of the operation is on its way any more: what it held is given back, and the key may be used again. Otherwise the
    /// release is remembered, and a late copy is refused. What was never held is always remembered.
    pub forget: bool,
    /// Only if the operation is there and this is the epoch that it is kept with ([`ClaimRequest::epoch`]): whoever goes by what it
    /// saw of an operation takes nothing from a node that has repeated it since. `None`: whatever the epoch.
    pub only_under: Option<u64>,
}
