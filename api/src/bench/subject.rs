//! The engine that a benchmark measures, and starts for it.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Definition, DefinitionError};
use engine::outbox::in_process::InProcessBus;
use engine::store::Store;
use engine::{Engine, NodeName, Parts, Payload, Runtime, Settings, Start};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::exit::{Code, Failure, with_causes};

/// Starts that [`start_all`] makes at the same time.
const STARTS_AT_ONCE: u32 = 512;

/// What benchmarks differ in.
pub struct Scale {
    /// Partitions, each with a journal writer and a connection.
    pub partitions: u16,
    /// Workflows in memory at most.
    pub in_flight_max: usize,
    /// A start that takes longer is a defect.
    pub start_timeout: Duration,
}

/// An engine for this one definition, under a name of its own, with a bus that acknowledges at once.
pub async fn open(
    runtime: &Runtime,
    store: Arc<dyn Store>,
    definition: Result<Definition, DefinitionError>,
    scale: Scale,
) -> Result<Engine, Failure> {
    let definition =
        definition.map_err(|error| Failure::internal("defining the benchmark's saga", &error))?;
    let parts = Parts {
        runtime: runtime.clone(),
        store,
        bus: Arc::new(InProcessBus::new()), // nobody listens
        definitions: vec![Arc::new(definition)],
        settings: Settings {
            node: NodeName("bench".to_owned()),
            partitions: scale.partitions,
            in_flight_max: scale.in_flight_max,
            start_timeout: scale.start_timeout,
            ..Settings::default()
        },
    };
    Engine::open(parts)
        .await
        .map_err(|error| Failure::internal("opening the engine", &error))
}

/// A start of its own.
pub fn start(definition: &str, input: &impl Serialize) -> Result<Start, String> {
    Ok(Start {
        definition: definition.to_owned(),
        input: Payload::of(input).map_err(|error| with_causes(&error))?,
        key: None,
        request_hash: [0; 32],
        label: None,
    })
}

/// Starts so many workflows of this definition, each with the input that its number gives, and returns when all are durable.
pub async fn start_all<T: Serialize>(
    engine: &Engine,
    definition: &'static str,
    count: u32,
    input: impl Fn(u32) -> T + Copy + Send + 'static,
) -> Result<(), Failure> {
    let mut starts = JoinSet::new();
    for worker in 0..STARTS_AT_ONCE {
        let engine = engine.clone();
        starts.spawn(async move {
            for number in (worker..count).step_by(STARTS_AT_ONCE as usize) {
                let start = start(definition, &input(number))?;
                let started = engine.start(start).await;
                started.map_err(|error| with_causes(&error))?;
            }
            Ok(())
        });
    }
    while let Some(ended) = starts.join_next().await {
        let ended: Result<(), String> = ended.unwrap_or_else(|error| Err(error.to_string()));
        ended.map_err(|why| failed(&why))?;
    }
    Ok(())
}

/// A benchmark that measured nothing.
pub fn failed(why: &str) -> Failure {
    Failure::new(Code::Internal, format!("the benchmark failed: {why}"))
}
