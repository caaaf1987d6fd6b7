//! The points of the event bus and of the payment gateway.

use async_trait::async_trait;
use engine::outbox::{BusError, EventBus, Refused};
use engine::store::StoredEvent;
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, Cancellation, GatewayError, LostAnswer,
    PaymentGateway, PaymentRecord, PrepareRequest, Prepared,
};

use super::{Pointed, between};

fn unacknowledged() -> BusError {
    BusError::Unacknowledged("a crash point".to_owned())
}

/// Known to have had no effect.
fn turned_away() -> GatewayError {
    GatewayError::Busy { retry_after: None }
}

fn unheard() -> GatewayError {
    GatewayError::MaybeSent(LostAnswer::TimedOut)
}

#[async_trait]
impl EventBus for Pointed<dyn EventBus> {
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        between!(
            self,
            "bus",
            publish(events),
            unacknowledged(),
            unacknowledged()
        )
    }

    async fn publish_dead_letter(&self, refused: &Refused<'_>) -> Result<(), BusError> {
        between!(
            self,
            "bus",
            publish_dead_letter(refused),
            unacknowledged(),
            unacknowledged()
        )
    }
}

#[async_trait]
impl PaymentGateway for Pointed<dyn PaymentGateway> {
    async fn prepare(&self, request: &PrepareRequest) -> Result<Prepared, GatewayError> {
        between!(self, "gateway", prepare(request), turned_away(), unheard())
    }

    async fn approve(&self, request: &ApproveRequest) -> Result<Approval, GatewayError> {
        between!(self, "gateway", approve(request), turned_away(), unheard())
    }

    async fn inquire(&self, order_id: &str) -> Result<Option<PaymentRecord>, GatewayError> {
        between!(self, "gateway", inquire(order_id), turned_away(), unheard())
    }

    async fn cancel(&self, request: &CancelRequest) -> Result<Cancellation, GatewayError> {
        between!(self, "gateway", cancel(request), turned_away(), unheard())
    }
}
