//! `GET /v1/orphans`: the last pass of this node's auditor, which looks for workflows that nobody takes care of.

use axum::Json;
use axum::extract::State;
use engine::audit::{AuditReport, Orphan};
use serde::Serialize;

use crate::clock::rfc3339;
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Shown {
    /// When the pass ended; absent when there was none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// Open workflows that were looked at, and what keeps them.
    looked_at: u64,
    in_progress: u64,
    timers: u64,
    signals: u64,
    parked: u64,
    quarantined: u64,
    /// Those that nothing kept.
    orphans: Vec<Orphan>,
    /// Since the node started.
    orphans_total: u64,
    healed_total: u64,
}

impl From<AuditReport> for Shown {
    fn from(report: AuditReport) -> Self {
        Self {
            at: report.at.map(rfc3339),
            looked_at: report.looked_at,
            in_progress: report.in_progress,
            timers: report.timers,
            signals: report.signals,
            parked: report.parked,
            quarantined: report.quarantined,
            orphans: report.orphans,
            orphans_total: report.orphans_total,
            healed_total: report.healed_total,
        }
    }
}

pub async fn show(State(services): State<Shared>) -> Json<Shown> {
    Json(services.engine.audit().into())
}
