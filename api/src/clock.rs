//! Times as people and JSON see them: RFC 3339 in UTC. The time itself comes from [`engine::Runtime`].

use engine::Timestamp;

/// The instant in RFC 3339, such as `2026-01-02T03:04:05.678901Z`.
pub fn rfc3339(instant: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(instant.0)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(
            rfc3339(Timestamp(1_700_000_000_123_456)),
            "2023-11-14T22:13:20.123456Z"
        );
        assert_eq!(rfc3339(Timestamp(i64::MAX)), "1970-01-01T00:00:00Z");
    }
}
