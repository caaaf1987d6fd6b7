//! The event bus in production: Kafka, by an idempotent producer that waits for all replicas.
//!
//! Events are CloudEvents 1.0 in the Kafka protocol binding's binary mode: attributes in `ce_` headers, the record as the
//! value, the workflow's id as the key, so that one workflow's events share a Kafka partition and keep their order.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use tokio::sync::OnceCell;

use super::{BusError, EventBus, Refused, cloud_event};
use crate::planted;
use crate::store::StoredEvent;

/// Bytes of a batch, but for one event that alone has more: more does not make it faster. A broker refuses a batch as a whole, so
/// [`KafkaBus::fitted`] makes them no larger than the topic takes. Then an event that is too large is alone in the batch that is
/// refused, and nothing that was sent with it is overtaken by what follows.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// The topic's setting.
const TOPIC_TAKES: &str = "max.message.bytes";

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
    settings: KafkaSettings,
    batch_bytes_max: usize,
    producer: FutureProducer,
    /// Puts nothing into one batch with anything else. Made when it is needed first.
    one_by_one: OnceCell<FutureProducer>,
    dead_letters: String,
}

impl KafkaBus {
    /// A producer for these brokers. Nothing is sent yet: see [`KafkaBus::check`].
    pub fn new(settings: &KafkaSettings) -> Result<Self, BusError> {
        Self::with_batches(settings, BATCH_BYTES_MAX)
    }

    /// The same with batches that are no larger than what the topic takes now, as far as the brokers tell that within `limit`.
    pub async fn fitted(self, limit: Duration) -> Result<Self, BusError> {
        match topic_takes(&self.settings, limit).await {
            Some(bytes) if bytes < self.batch_bytes_max => {
                Self::with_batches(&self.settings, bytes)
            }
            _ => Ok(self),
        }
    }

    fn with_batches(settings: &KafkaSettings, batch_bytes_max: usize) -> Result<Self, BusError> {
        let batches = [
            ("linger.ms", "2"),
            ("batch.size", &batch_bytes_max.to_string()),
        ];
        Ok(Self {
            producer: producer(settings, &batches)?,
            batch_bytes_max,
            one_by_one: OnceCell::new(),
            dead_letters: format!("{}.dead-letters", settings.topic),
            settings: settings.clone(),
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

    async fn one_by_one(&self) -> Result<&FutureProducer, BusError> {
        let alone = [("linger.ms", "0"), ("batch.num.messages", "1")];
        let made = async || producer(&self.settings, &alone);
        self.one_by_one.get_or_try_init(made).await
    }

    /// Puts one event into the producer's queue, which is the bound: when it is full, this fails and the relay tries again.
    fn hand_over(
        &self,
        producer: &FutureProducer,
        event: &StoredEvent,
    ) -> Result<DeliveryFuture, KafkaError> {
        let key = event.workflow.to_string();
        let record = FutureRecord::to(&self.settings.topic)
            .key(&key)
            .payload(&*event.payload)
            .timestamp(event.at.0 / 1_000)
            .headers(owned(&cloud_event::headers(event)));
        producer.send_result(record).map_err(|(error, _)| error)
    }

    /// Those that the brokers refuse also when nothing else is sent with them.
    async fn refused_alone<'events>(
        &self,
        suspects: Vec<&'events StoredEvent>,
    ) -> Result<Vec<Refused<'events>>, BusError> {
        let mut refused = Vec::new();
        for event in suspects {
            let producer = self.one_by_one().await?;
            match delivered(self.hand_over(producer, event)).await {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => refused.push(Refused {
                    event,
                    reason: error.to_string(),
                }),
                Err(error) => return Err(unacknowledged(&error)),
            }
        }
        Ok(refused)
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
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        let mut deliveries = Vec::with_capacity(events.len());
        // Handed over one by one, in order, before any acknowledgement is awaited.
        for event in events {
            let handed_over = self.hand_over(&self.producer, event);
            if let Err(error) = &handed_over
                && !is_refusal(error)
            {
                return Err(unacknowledged(error));
            }
            deliveries.push(delivered(handed_over));
        }
        let mut suspects = Vec::new();
        let mut failed: HashMap<String, usize> = HashMap::new();
        for (event, outcome) in events.iter().zip(join_all(deliveries).await) {
            match outcome {
                Ok(()) => {}
                Err(error) if is_refusal(&error) || is_beside_a_refusal(&error) => {
                    suspects.push(event);
                }
                Err(error) => *failed.entry(error.to_string()).or_default() += 1,
            }
        }
        match failed.into_iter().max_by_key(|(_, count)| *count) {
            None => self.refused_alone(suspects).await,
            Some((error, count)) => Err(BusError::Unacknowledged(format!(
                "{count} of {}: {error}",
                events.len()
            ))),
        }
    }

    async fn publish_dead_letter(&self, refused: &Refused<'_>) -> Result<(), BusError> {
        let key = refused.event.workflow.to_string();
        let record = FutureRecord::<str, [u8]>::to(&self.dead_letters)
            .key(&key)
            .timestamp(refused.event.at.0 / 1_000)
            .headers(owned(&cloud_event::dead_letter_headers(refused)));
        let producer = self.one_by_one().await?;
        let handed_over = producer.send_result(record).map_err(|(error, _)| error);
        delivered(handed_over).await.map_err(|error| {
            BusError::Unacknowledged(format!("a dead letter to {}: {error}", self.dead_letters))
        })
    }
}

fn client(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "holdfast");
    config
}

/// How many bytes the topic takes at once; `None` when it is not there yet or nobody tells.
async fn topic_takes(settings: &KafkaSettings, limit: Duration) -> Option<usize> {
    let admin: AdminClient<DefaultClientContext> = client(settings).create().ok()?;
    let topic = [ResourceSpecifier::Topic(&settings.topic)];
    let options = AdminOptions::new().request_timeout(Some(limit));
    let described = admin.describe_configs(&topic, &options).await.ok()?;
    let config = described.into_iter().next()?.ok()?;
    let bytes: usize = config.get(TOPIC_TAKES)?.value.as_ref()?.parse().ok()?;
    (bytes > 0).then_some(bytes)
}

fn producer(
    settings: &KafkaSettings,
    batches: &[(&str, &str)],
) -> Result<FutureProducer, BusError> {
    let mut config = client(settings);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set(
            "delivery.timeout.ms",
            settings.delivery_timeout.as_millis().to_string(),
        )
        .set("compression.type", "none");
    for (name, value) in batches {
        config.set(*name, *value);
    }
    let made = config.create();
    made.map_err(|error| BusError::Misconfigured(error.to_string()))
}

fn owned(headers: &[(&'static str, String)]) -> OwnedHeaders {
    let insert = |owned: OwnedHeaders, (key, value): &(&'static str, String)| {
        owned.insert(Header {
            key,
            value: Some(value),
        })
    };
    headers.iter().fold(OwnedHeaders::new(), insert)
}

async fn delivered(handed_over: Result<DeliveryFuture, KafkaError>) -> Result<(), KafkaError> {
    match handed_over?.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}

fn unacknowledged(error: &KafkaError) -> BusError {
    BusError::Unacknowledged(error.to_string())
}

/// It is about this message (or the batch that it was in), and librdkafka does not try again because the next time would be no
/// different. Not a time-out, nor anything about the brokers, the topic or who may write to it: all of that can pass.
fn is_refusal(error: &KafkaError) -> bool {
    let is_refusal = matches!(
        error,
        KafkaError::MessageProduction(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidRecord
        )
    );
    is_refusal && !planted::is_on("poison-blocks-its-partition")
}

/// Another message of its batch was refused.
fn is_beside_a_refusal(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageProduction(RDKafkaErrorCode::InvalidDifferentRecord)
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::is_refusal;

    #[test]
    fn only_what_is_about_the_message_is_a_refusal() {
        let refuses = |code| is_refusal(&KafkaError::MessageProduction(code));
        assert!(refuses(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(refuses(RDKafkaErrorCode::InvalidRecord));
        for passing in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::QueueFull,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::NotEnoughReplicas,
            RDKafkaErrorCode::InvalidMessage,
            RDKafkaErrorCode::OutOfOrderSequenceNumber,
            RDKafkaErrorCode::Fatal,
        ] {
            assert!(!refuses(passing), "{passing:?}");
        }
        assert!(!is_refusal(&KafkaError::Canceled));
    }
}
