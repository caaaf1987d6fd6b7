//! Whatever an event's row holds, it is published with attributes that every consumer can read.

use engine::outbox::cloud_event::headers;
use engine::store::StoredEvent;
use engine::{Timestamp, WorkflowId};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::mutate::{cases, seed};

fn stored() -> impl Strategy<Value = StoredEvent> {
    let instant = prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        0..4_000_000_000_000_000_i64
    ];
    (
        any::<[u8; 16]>(),
        any::<u32>(),
        any::<u64>(),
        any::<String>(),
        instant,
    )
        .prop_map(|(id, seq, partition_seq, kind, at)| StoredEvent {
            workflow: WorkflowId::from_bytes(id),
            seq,
            partition_seq,
            kind,
            at: Timestamp(at),
            payload: "{}".into(),
        })
}

#[test]
fn every_event_has_an_id_a_subject_and_a_time() {
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed()),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&stored(), |event| {
        let headers = headers(&event);
        let of = |name: &str| {
            headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.clone())
        };
        prop_assert_eq!(
            of("ce_id"),
            Some(format!("{}/{}", event.workflow, event.seq))
        );
        prop_assert_eq!(
            of("ce_subject").as_deref().and_then(WorkflowId::parse),
            Some(event.workflow)
        );
        let time: jiff::Timestamp = of("ce_time").expect("a time").parse()?;
        if let Ok(instant) = jiff::Timestamp::from_microsecond(event.at.0) {
            prop_assert_eq!(time, instant);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
