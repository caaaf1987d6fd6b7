//! The points of the gate.

use async_trait::async_trait;
use workflows::domain::ids::SaleId;
use workflows::ports::reservations::{
    ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest, ExtendReply, ExtendRequest,
    OperationPage, ReleaseReply, ReleaseRequest, ReservationError, Reservations, ReserveReply,
    ReserveRequest, SaleCounts, SaleSnapshot, ScheduleReply, ScheduleRequest,
};

use super::{Pointed, between};

/// Known to have had no effect.
fn not_sent() -> ReservationError {
    ReservationError::NotSent("a crash point".into())
}

fn unheard() -> ReservationError {
    ReservationError::MaybeSent("a crash point".into())
}

#[async_trait]
impl Reservations for Pointed<dyn Reservations> {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, ReservationError> {
        between!(self, "gate", claim(request), not_sent(), unheard())
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveReply, ReservationError> {
        between!(self, "gate", reserve(request), not_sent(), unheard())
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendReply, ReservationError> {
        between!(self, "gate", extend(request), not_sent(), unheard())
    }

    async fn confirm(&self, request: &ConfirmRequest) -> Result<ConfirmReply, ReservationError> {
        between!(self, "gate", confirm(request), not_sent(), unheard())
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseReply, ReservationError> {
        between!(self, "gate", release(request), not_sent(), unheard())
    }

    async fn release_claim(
        &self,
        request: &ReleaseRequest,
    ) -> Result<ReleaseReply, ReservationError> {
        between!(self, "gate", release_claim(request), not_sent(), unheard())
    }

    async fn rebuild(&self, snapshot: &SaleSnapshot) -> Result<(), ReservationError> {
        between!(self, "gate", rebuild(snapshot), not_sent(), unheard())
    }

    async fn close_gate(&self, sale: &SaleId) -> Result<(), ReservationError> {
        between!(self, "gate", close_gate(sale), not_sent(), unheard())
    }

    async fn schedule(&self, request: &ScheduleRequest) -> Result<ScheduleReply, ReservationError> {
        between!(self, "gate", schedule(request), not_sent(), unheard())
    }

    async fn operations(
        &self,
        sale: &SaleId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<OperationPage, ReservationError> {
        between!(
            self,
            "gate",
            operations(sale, cursor, limit),
            not_sent(),
            unheard()
        )
    }

    async fn counts(&self, sale: &SaleId) -> Result<Option<SaleCounts>, ReservationError> {
        between!(self, "gate", counts(sale), not_sent(), unheard())
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        between!(self, "gate", incarnation(), not_sent(), unheard())
    }

    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError> {
        between!(self, "gate", attach_checked(checked), not_sent(), unheard())
    }

    async fn attach(&self) -> Result<String, ReservationError> {
        between!(self, "gate", attach(), not_sent(), unheard())
    }
}
