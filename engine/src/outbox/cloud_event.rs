//! The CloudEvents attributes of an event (CloudEvents 1.0.2, Kafka protocol binding 1.0.2, section 3.2: binary mode).

use super::Refused;
use crate::store::StoredEvent;

/// The headers of an event: the `ce_` attributes and the content type of its value.
#[must_use]
pub fn headers(event: &StoredEvent) -> [(&'static str, String); 7] {
    [
        ("ce_specversion", "1.0".to_owned()),
        // Unique per source, and what consumers deduplicate by.
        ("ce_id", format!("{}/{}", event.workflow, event.seq)),
        ("ce_source", "/holdfast".to_owned()),
        ("ce_type", format!("holdfast.workflow.{}", event.kind)),
        ("ce_subject", event.workflow.to_string()),
        ("ce_time", rfc3339(event.at.0)),
        ("content-type", "application/json".to_owned()),
    ]
}

/// The headers of a dead letter: which event it stands for, where that is in the journal, and why nobody else got it. It has no
/// value, so there is no content type.
#[must_use]
pub fn dead_letter_headers(refused: &Refused<'_>) -> Vec<(&'static str, String)> {
    let Refused { event, reason } = refused;
    let of_event = headers(event).into_iter();
    let mut headers: Vec<_> = of_event.filter(|(key, _)| key.starts_with("ce_")).collect();
    headers.extend([
        ("holdfast_workflow", event.workflow.to_string()),
        ("holdfast_seq", event.seq.to_string()),
        ("holdfast_partition", event.workflow.partition().to_string()),
        ("holdfast_reason", reason.clone()),
    ]);
    headers
}

/// RFC 3339, in UTC, to the microsecond.
fn rfc3339(micros: i64) -> String {
    let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{instant:.6}")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn instants_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
    }
}
