//! `POST /v1/payments/webhook`: what the payment gateway tells by itself. Whoever can't sign is not listened to, and what is
//! said about money is not believed: a capture counts when the gateway answers an approval or an inquiry.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use engine::WorkflowId;
use engine::workflow::By;
use workflows::ports::payment_gateway::Decline;
use workflows::ports::webhook::{
    BODY_BYTES_MAX, SIGNATURE_HEADER, WINDOW, WebhookEvent, WebhookKind, verify,
};
use workflows::purchase::{Authorisation, is_purchase};

use super::authorisation::{Said, Word, say};
use crate::http::Raw;
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

pub async fn receive(
    State(services): State<Shared>,
    headers: HeaderMap,
    Raw(body): Raw<BODY_BYTES_MAX>,
) -> Result<StatusCode, Problem> {
    let mut signatures = headers.get_all(SIGNATURE_HEADER).iter();
    let signature = match (signatures.next(), signatures.next()) {
        (Some(one), None) => one.to_str().unwrap_or_default(),
        _ => "",
    };
    let secrets = services.webhook_secrets.keys();
    let now = services.runtime.now();
    verify(&secrets, signature, &body, now, WINDOW).map_err(|error| {
        tracing::warn!(%error, "a webhook was turned away");
        Problem::new(
            Kind::BAD_SIGNATURE,
            "the webhook is not signed by the gateway, or was signed too long ago",
        )
        .with_field("Webhook-Signature")
    })?;
    let event = WebhookEvent::parse(&body).map_err(|error| {
        Problem::new(Kind::MALFORMED_BODY, error.to_string()).with_field("body")
    })?;
    let unknown = || Problem::not_found("order", &event.order_id);
    let workflow = WorkflowId::parse(&event.order_id).ok_or_else(unknown)?;
    let view = services.engine.view(workflow).await?;
    let view = view
        .filter(|view| is_purchase(&view.head.definition.name))
        .ok_or_else(unknown)?;
    let says = match event.what {
        WebhookKind::Authorised { authorization, .. } => Authorisation::Authorised {
            token: authorization,
        },
        WebhookKind::Declined(Decline { code, message }) => {
            Authorisation::Declined { code, message }
        }
        // Whoever waits for these asks the gateway.
        WebhookKind::Captured { .. }
        | WebhookKind::Cancelled { .. }
        | WebhookKind::Other { .. } => {
            return Ok(StatusCode::NO_CONTENT);
        }
    };
    let word = Word {
        id: format!("webhook/{}", event.id),
        says,
        by: By {
            actor: "gateway".to_owned(),
            reason: "a webhook".to_owned(),
        },
    };
    if let Said::TooLate { ended, view } = say(&services, view, word).await? {
        tracing::debug!(workflow.id = %view.id, ended, "a webhook came too late");
    }
    Ok(StatusCode::NO_CONTENT)
}
