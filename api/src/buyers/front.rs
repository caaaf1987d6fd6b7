//! What the buyers' routes share beyond the services: the open event streams, and what was read a moment ago.

use std::sync::Arc;

use axum::extract::FromRef;

use super::events::{Shop, Streams};
use super::recent::Recent;
use crate::auth::Tokens;
use crate::wiring::{Services, Shared};

/// The state of the buyers' routes. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    /// Everything that runs.
    pub services: Shared,
    /// Who listens to which sale.
    pub streams: Streams,
    /// What was read a moment ago.
    pub recent: Arc<Recent>,
}

impl Front {
    /// Nobody listens yet, and nothing was read.
    pub fn new(services: Shared) -> Self {
        let shop = Shop {
            catalogue: Arc::clone(&services.catalogue),
            reservations: Arc::clone(&services.reservations),
        };
        Self {
            streams: Streams::new(services.runtime.clone(), Arc::new(shop)),
            recent: Arc::new(Recent::new(Arc::clone(&services))),
            services,
        }
    }
}

impl FromRef<Front> for Arc<Services> {
    fn from_ref(front: &Front) -> Self {
        Self::clone(&front.services)
    }
}

impl FromRef<Front> for Tokens {
    fn from_ref(front: &Front) -> Self {
        front.services.tokens.clone()
    }
}
