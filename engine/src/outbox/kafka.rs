//! The event bus in production: Kafka, by an idempotent producer that waits for all replicas.
//!
//! Events are CloudEvents 1.0 in the Kafka protocol binding's binary mode: attributes in `ce_` headers, the record as the
//! value, the workflow's id as the key, so that one workflow's events share a Kafka partition and keep their order.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::{BusError, EventBus, cloud_event};
use crate::store::StoredEvent;

/// How a producer is set up.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The topic that every event goes to.
    pub topic: String,
    /// An event that is not acknowledged after this long is sent again by the relay.
    pub delivery_timeout: Duration,
}

/// Publishes to Kafka.
pub struct KafkaBus {
    producer: FutureProducer,
    topic: String,
}

impl KafkaBus {
    /// A producer for these brokers. Nothing is sent yet: see [`KafkaBus::check`].
    pub fn new(settings: &KafkaSettings) -> Result<Self, BusError> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &settings.brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "2")
            .set(
                "delivery.timeout.ms",
                settings.delivery_timeout.as_millis().to_string(),
            )
            .set("compression.type", "none")
            .set("client.id", "holdfast")
            .create()
            .map_err(|error| BusError::Misconfigured(error.to_string()))?;
        Ok(Self {
            producer,
            topic: settings.topic.clone(),
        })
    }

    /// The brokers answer within `limit`. Blocks: call it from a thread that may.
    pub fn check(&self, limit: Duration) -> Result<(), BusError> {
        self.producer
            .client()
            .fetch_metadata(None, limit)
            .map(|_| ())
            .map_err(|error| BusError::Unacknowledged(error.to_string()))
    }

    /// Puts one event into the producer's queue, which is the bound: when it is full, this fails and the relay tries again.
    fn hand_over(&self, event: &StoredEvent) -> Result<DeliveryFuture, BusError> {
        let key = event.workflow.to_string();
        let headers = cloud_event::headers(event).into_iter().fold(
            OwnedHeaders::new(),
            |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(&value),
                })
            },
        );
        let record = FutureRecord::to(&self.topic)
            .key(&key)
            .payload(&*event.payload)
            .timestamp(event.at.0 / 1_000)
            .headers(headers);
        self.producer
            .send_result(record)
            .map_err(|(error, _)| BusError::Unacknowledged(error.to_string()))
    }

    /// Waits for what is on its way, at most for `limit`. Blocks: call it from a thread that may.
    pub fn flush(&self, limit: Duration) -> Result<(), BusError> {
        self.producer
            .flush(limit)
            .map_err(|error| BusError::Unacknowledged(error.to_string()))
    }
}

#[async_trait]
impl EventBus for KafkaBus {
    async fn publish(&self, events: &[StoredEvent]) -> Result<(), BusError> {
        let mut deliveries = Vec::with_capacity(events.len());
        // Handed over one by one, in order, before any acknowledgement is awaited.
        for event in events {
            deliveries.push(self.hand_over(event)?);
        }
        let mut failed: HashMap<String, usize> = HashMap::new();
        for delivery in join_all(deliveries).await {
            match delivery {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => *failed.entry(error.to_string()).or_default() += 1,
                Err(_) => {
                    *failed
                        .entry("the producer was closed".to_owned())
                        .or_default() += 1;
                }
            }
        }
        match failed.into_iter().max_by_key(|(_, count)| *count) {
            None => Ok(()),
            Some((error, count)) => Err(BusError::Unacknowledged(format!(
                "{count} of {}: {error}",
                events.len()
            ))),
        }
    }
}
