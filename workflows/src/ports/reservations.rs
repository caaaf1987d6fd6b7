//! The gate in front of the database: fast, atomic reservations of stock and coupons, that may forget but never guess.
//!
//! An operation is named by its [`OperationKey`] and takes effect once: a repeat gets the stored outcome, a repeat with
//! other parameters is [`ReservationError::Misuse`]. The rules live in the scripts of `lua/`; the adapters run them in
//! Redis or in this process.

mod reply;
mod request;
mod snapshot;

use std::error::Error;

use async_trait::async_trait;

use crate::domain::ids::SaleId;

pub use reply::{
    CampaignCounts, ClaimRefusal, ClaimReply, ConfirmReply, ExtendReply, OperationPage,
    OperationState, ReleaseReply, ReserveRefusal, ReserveReply, SaleCounts, ScheduleReply,
    StockCounts, StoredOperation,
};
pub use request::{
    BadLines, BadOperationKey, ClaimPurpose, ClaimRequest, ConfirmRequest, ExtendRequest,
    HoldState, LINES_MAX, Line, Lines, OPERATION_KEY_BYTES_MAX, OperationKey, ReleaseRequest,
    ReserveRequest, ScheduleRequest,
};
pub use snapshot::{
    CampaignSnapshot, ClaimSnapshot, ClaimState, HoldSnapshot, ProductSnapshot, SaleSnapshot,
    SoldSnapshot,
};

/// The reservations of all sales, behind one store.
///
/// # Opening for business
/// A store is used only after it was checked: read [`incarnation`](Self::incarnation), compare it with the recorded one,
/// [`rebuild`](Self::rebuild) every sale if it differs, then [`attach_checked`](Self::attach_checked). Rebuilding,
/// closing and counting work without being attached; everything else is [`ReservationError::OtherIncarnation`] until then,
/// and again as soon as the server was replaced or restarted.
#[async_trait]
pub trait Reservations: Send + Sync {
    /// Claims one coupon of a campaign for a buyer.
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, ReservationError>;

    /// Holds the units of all lines, or of none.
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveReply, ReservationError>;

    /// Moves a hold from held to paying, right before the charge.
    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendReply, ReservationError>;

    /// Turns a hold into a sale, and its coupon into a used one.
    async fn confirm(&self, request: &ConfirmRequest) -> Result<ConfirmReply, ReservationError>;

    /// Gives a hold back. What was never held gets a tombstone: a late [`reserve`](Self::reserve) of it is refused.
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseReply, ReservationError>;

    /// Gives a coupon back, exactly as it was taken; with a tombstone as [`release`](Self::release). A coupon that was claimed
    /// ahead goes back to that claim, and from there to the campaign. A claim ahead that a purchase has taken over is not given
    /// back as long as the purchase may do so itself ([`ReservationError::Misuse`]); when it is to be forgotten, its coupon goes back
    /// to the campaign with the purchase. Once the purchase has used it there is nothing to give back ([`ReleaseReply::Used`]).
    async fn release_claim(
        &self,
        request: &ReleaseRequest,
    ) -> Result<ReleaseReply, ReservationError>;

    /// Replaces all that is known of a sale. The gate is closed from the first moment, and opens when all is loaded; after
    /// an error it stays closed. Each attempt takes a generation of its own, so that what an earlier one left on its way
    /// is turned away. The caller holds a lease: of two rebuilds at once, the one that began first fails.
    async fn rebuild(&self, snapshot: &SaleSnapshot) -> Result<(), ReservationError>;

    /// Forgets a sale, so that every call for it is [`ReservationError::Unavailable`] until it is rebuilt.
    async fn close_gate(&self, sale: &SaleId) -> Result<(), ReservationError>;

    /// Opens or closes a sale at other times, or cancels it.
    async fn schedule(&self, request: &ScheduleRequest) -> Result<ScheduleReply, ReservationError>;

    /// The operations of a sale after `cursor`, about `limit` of them (1 to 5,000): what the reconciler compares.
    async fn operations(
        &self,
        sale: &SaleId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<OperationPage, ReservationError>;

    /// The counters of a sale, or `None` when its gate is closed.
    async fn counts(&self, sale: &SaleId) -> Result<Option<SaleCounts>, ReservationError>;

    /// The name that this run of the store has for as long as it lives: another name, and its data may be older.
    async fn incarnation(&self) -> Result<String, ReservationError>;

    /// Opens for business if the store still is the `checked` incarnation;
    /// [`ReservationError::OtherIncarnation`] if it is not.
    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError>;

    /// Opens for business on whatever incarnation is there, and names it. The caller vouches for its data.
    async fn attach(&self) -> Result<String, ReservationError> {
        let incarnation = self.incarnation().await?;
        self.attach_checked(&incarnation).await?;
        Ok(incarnation)
    }
}

/// What lies under a transport error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a call has no answer. Only [`MaybeSent`](Self::MaybeSent) may have had an effect.
#[derive(Debug, thiserror::Error)]
pub enum ReservationError {
    /// Nothing was sent: no connection, wrong credentials, a full queue. Known to have had no effect.
    #[error("the reservation store could not be asked")]
    NotSent(#[source] Cause),
    /// The call was on its way when the answer was lost: it may have had its effect, now or later.
    #[error("the reservation store did not answer; the call may have taken effect")]
    MaybeSent(#[source] Cause),
    /// The store said that it can't serve this now: the sale's gate is closed, or the server is loading, read-only or out
    /// of memory. Known to have had no effect.
    #[error("reservations are unavailable: {0}")]
    Unavailable(String),
    /// The store is not the one that was checked (or none was yet): check it, then attach. Known to have had no effect.
    #[error("the reservation store must be checked before use: {0}")]
    OtherIncarnation(String),
    /// The call contradicts an earlier one or itself: a mistake of ours. Known to have had no effect.
    #[error("reservation call refused as a mistake: {0}")]
    Misuse(String),
}

/// An answer that no script gives: the cause of a [`ReservationError::MaybeSent`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer that is not understood: {0}")]
pub struct NotUnderstood(pub String);

impl ReservationError {
    /// Whether the call may have had an effect in spite of the error.
    #[must_use]
    pub const fn may_have_taken_effect(&self) -> bool {
        matches!(self, Self::MaybeSent(_))
    }

    /// Whether there is an answer, and it can't be read: what is stored was changed past the scripts.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::MaybeSent(cause) if cause.is::<NotUnderstood>())
    }
}
