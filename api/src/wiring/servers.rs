//! Production: MySQL, Redis and Kafka, each asked at the start so that a wrong setting is one sentence and not a riddle.

use std::sync::Arc;
use std::time::Duration;

use engine::outbox::kafka::{KafkaBus, KafkaSettings};
use engine::outbox::kafka_log::KafkaLog;
use workflows::adapters::redis::RedisReservations;

use super::{Foundation, database, settings};
use crate::cli::StoreKind;
use crate::config::{Backend, Servers};
use crate::exit::{Code, Failure, with_causes};

const KAFKA_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The relay sends again what is not acknowledged by then.
const KAFKA_DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to all three.
pub(super) async fn connect(servers: &Servers, backend: &Backend) -> Result<Foundation, Failure> {
    let node = node_name(backend)?;
    let database = database::connect(&servers.database_url).await?;
    let reservations = RedisReservations::connect(servers.redis_url.expose())
        .await
        .map_err(|error| Failure::new(Code::Server, with_causes(&error)))?;
    let kafka = kafka(servers, backend).await?;
    Ok(Foundation {
        database,
        reservations: Arc::new(reservations),
        bus: Arc::<KafkaBus>::clone(&kafka),
        kafka: Some(kafka),
        published: Some(Arc::new(KafkaLog::new(
            &servers.kafka_brokers,
            &backend.kafka_topic,
        ))),
        settings: settings(backend, &node, StoreKind::Mysql.partitions())?,
        description: format!(
            "node {node} on MySQL, Redis and Kafka (topic {})",
            backend.kafka_topic
        ),
        is_alone: false,
    })
}

async fn kafka(servers: &Servers, backend: &Backend) -> Result<Arc<KafkaBus>, Failure> {
    let brokers = servers.kafka_brokers.clone();
    let bus = KafkaBus::new(&KafkaSettings {
        brokers: brokers.clone(),
        topic: backend.kafka_topic.clone(),
        delivery_timeout: KAFKA_DELIVERY_TIMEOUT,
    })
    .map_err(|error| {
        Failure::caused_by(Code::Configuration, "KAFKA_BROKERS can't be used", &error)
    })?;
    let asked = move || bus.check(KAFKA_CHECK_TIMEOUT).map(|()| bus);
    match tokio::task::spawn_blocking(asked).await {
        Ok(Ok(bus)) => {
            let fitted = bus.fitted(KAFKA_CHECK_TIMEOUT).await;
            let failed = |error| Failure::internal("fitting to the topic of events", &error);
            fitted.map(Arc::new).map_err(failed)
        }
        Ok(Err(error)) => Err(Failure::new(
            Code::Server,
            format!(
                "Kafka does not answer at {brokers}: check that it runs there, or correct KAFKA_BROKERS ({error})"
            ),
        )),
        Err(error) => Err(Failure::internal("asking Kafka", &error)),
    }
}

/// The given name, or the host's.
fn node_name(backend: &Backend) -> Result<String, Failure> {
    if let Some(name) = &backend.node {
        return Ok(name.clone());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => Err(Failure::new(
            Code::Configuration,
            "the host has no name: name this node by HOLDFAST_NODE",
        )),
        host => Ok(host.to_owned()),
    }
}
