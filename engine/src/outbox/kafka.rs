//! The event bus in production: Kafka, by an idempotent producer that waits for all replicas.
//!
//! Events are CloudEvents 1.0 in the Kafka protocol binding's binary mode: attributes in `ce_` headers, the record as the
//! value, the workflow's id as the key, so that one workflow's events share a Kafka partition and keep their order.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::{BusError, EventBus, Refused, cloud_event};
use crate::planted;
use crate::runtime::Runtime;
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
    in_batches: Renewable,
    /// Puts nothing into one batch with anything else.
    one_by_one: Renewable,
    dead_letters: String,
}

/// A producer, made when it is needed first, and again after librdkafka has given one up: whatever is handed to that one fails, for
/// ever (`rd_kafka_fatal_error` in its manual).
struct Renewable {
    config: ClientConfig,
    made: Mutex<Option<FutureProducer>>,
}

impl Renewable {
    const fn new(config: ClientConfig) -> Self {
        Self {
            config,
            made: Mutex::new(None),
        }
    }

    fn get(&self) -> Result<FutureProducer, BusError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*made {
            return Ok(producer.clone());
        }
        let new: FutureProducer = self
            .config
            .create()
            .map_err(|error| BusError::Misconfigured(error.to_string()))?;
        Ok(made.insert(new).clone())
    }

    /// Lets a producer go that was given up; the next one begins anew.
    fn renew(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((code, why)) = made.as_ref().and_then(|made| made.client().fatal_error()) else {
            return;
        };
        tracing::warn!(%code, why, "a producer was given up: events go to a new one");
        let given_up = made.take();
        // It waits for its thread, and for what it has to say.
        tokio::task::spawn_blocking(move || drop(given_up));
    }
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
        let alone = [("linger.ms", "0"), ("batch.num.messages", "1")];
        let in_batches = Renewable::new(producing(settings, &batches));
        let _made = in_batches.get()?;
        Ok(Self {
            in_batches,
            batch_bytes_max,
            one_by_one: Renewable::new(producing(settings, &alone)),
            dead_letters: format!("{}.dead-letters", settings.topic),
            settings: settings.clone(),
        })
    }

    /// The brokers answer within `limit`. Blocks: call it from a thread that may.
    pub fn check(&self, limit: Duration) -> Result<(), BusError> {
        let producer = self.in_batches.get()?;
        let asked = producer.client().fetch_metadata(None, limit);
        asked.map(|_| ()).map_err(|error| unacknowledged(&error))
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
            .timestamp(happened_ms(event))
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
            let producer = self.one_by_one.get()?;
            match delivered(self.hand_over(&producer, event)).await {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => refused.push(Refused {
                    event,
                    reason: error.to_string(),
                }),
                Err(error) => {
                    self.one_by_one.renew();
                    return Err(unacknowledged(&error));
                }
            }
        }
        Ok(refused)
    }

    /// Waits for what is on its way, at most for `limit`. Blocks: call it from a thread that may.
    pub fn flush(&self, limit: Duration) -> Result<(), BusError> {
        let producer = self.in_batches.get()?;
        let flushed = producer.flush(limit);
        flushed.map_err(|error| unacknowledged(&error))
    }

    /// Publishes in batches; returns those that the brokers may refuse for good.
    async fn in_batches<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<&'events StoredEvent>, BusError> {
        let producer = self.in_batches.get()?;
        let mut deliveries = Vec::with_capacity(events.len());
        // Handed over one by one, in order, before any acknowledgement is awaited.
        for event in events {
            let handed_over = self.hand_over(&producer, event);
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
            None => Ok(suspects),
            Some((error, count)) => Err(BusError::Unacknowledged(format!(
                "{count} of {}: {error}",
                events.len()
            ))),
        }
    }
}

#[async_trait]
impl EventBus for KafkaBus {
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        match self.in_batches(events).await {
            Ok(suspects) => self.refused_alone(suspects).await,
            Err(error) => {
                self.in_batches.renew();
                Err(error)
            }
        }
    }

    async fn publish_dead_letter(&self, refused: &Refused<'_>) -> Result<(), BusError> {
        let key = refused.event.workflow.to_string();
        let record = FutureRecord::<str, [u8]>::to(&self.dead_letters)
            .key(&key)
            .timestamp(happened_ms(refused.event))
            .headers(owned(&cloud_event::dead_letter_headers(refused)));
        let producer = self.one_by_one.get()?;
        let handed_over = producer.send_result(record).map_err(|(error, _)| error);
        delivered(handed_over).await.map_err(|error| {
            self.one_by_one.renew();
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

/// One request at a time is on its way to a broker. With more, the first may be refused (the broker is not the leader yet) while the
/// second is taken: a broker takes any sequence number as the first of a producer that it does not know. librdkafka then takes the
/// first for written, too (`rd_kafka_dr_implicit_ack`), and it is on no topic.
fn producing(settings: &KafkaSettings, batches: &[(&str, &str)]) -> ClientConfig {
    let mut config = client(settings);
    let on_their_way = planted::either("requests-overtake", "1", "5");
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", on_their_way)
        .set(
            "delivery.timeout.ms",
            settings.delivery_timeout.as_millis().to_string(),
        )
        .set("compression.type", "none");
    for (name, value) in batches {
        config.set(*name, *value);
    }
    config
}

/// When an event happened, in milliseconds since 1970, and never later than now. A broker takes nothing that is more than an hour
/// ahead of its clock (`log.message.timestamp.after.max.ms`): what a node wrote whose clock was wrong for a while would hold up its
/// partition until that hour has come. Its `ce_time` says what the journal says.
fn happened_ms(event: &StoredEvent) -> i64 {
    let no_later_than_now = event.at.min(Runtime::system().now());
    let at = planted::either("clock-ahead-holds-up-events", no_later_than_now, event.at);
    at.0 / 1_000
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

/// Acknowledged is what the brokers say where it lies. What librdkafka only infers to have been written has no offset.
async fn delivered(handed_over: Result<DeliveryFuture, KafkaError>) -> Result<(), KafkaError> {
    match handed_over?.await {
        Ok(Ok(delivery)) if delivery.offset < 0 && !planted::is_on("inferred-is-acknowledged") => {
            Err(KafkaError::MessageProduction(
                RDKafkaErrorCode::Inconsistent,
            ))
        }
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
    use std::sync::Arc;
    use std::time::Duration;

    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::{KafkaBus, KafkaSettings, is_refusal};
    use crate::ids::{PartitionId, WorkflowId};
    use crate::outbox::EventBus as _;
    use crate::outbox::kafka_log::KafkaLog;
    use crate::outbox::log::PublishedLog as _;
    use crate::runtime::Runtime;
    use crate::store::StoredEvent;

    const TOPIC: &str = "events";
    /// The broker's answer takes so long that several batches are on their way before the first is answered.
    const ROUND_TRIP: Duration = Duration::from_millis(50);
    /// Room for a few events.
    const BATCH_BYTES: usize = 2_000;
    const EVENTS: u32 = 20;

    type Brokers = MockCluster<'static, DefaultProducerContext>;

    /// A broker with an empty topic of one part, and a bus that puts a few events into a batch.
    fn bus() -> (Brokers, KafkaBus, KafkaLog) {
        let brokers = Brokers::new(1).expect("a broker");
        let settings = KafkaSettings {
            brokers: brokers.bootstrap_servers(),
            topic: TOPIC.to_owned(),
            delivery_timeout: Duration::from_secs(10),
        };
        let made = brokers.create_topic(TOPIC, 1, 1);
        made.expect("a topic");
        let bus = KafkaBus::with_batches(&settings, BATCH_BYTES).expect("a bus");
        let log = KafkaLog::new(&settings.brokers, TOPIC);
        (brokers, bus, log)
    }

    fn events() -> Vec<StoredEvent> {
        let workflow = WorkflowId::new(PartitionId(7), [1; 12]);
        let event = |seq| StoredEvent {
            workflow,
            seq,
            partition_seq: seq.into(),
            kind: "step-done".to_owned(),
            at: Runtime::system().now(),
            payload: Arc::from("x".repeat(BATCH_BYTES / 4)),
        };
        (1..=EVENTS).map(event).collect()
    }

    /// The numbers of the events on the topic in their order, without repeats.
    async fn came(log: &KafkaLog) -> Vec<u32> {
        let mut reading = log.read().await.expect("a topic");
        let mut came = Vec::new();
        while let Some(page) = reading.pages.recv().await {
            for one in page.expect("a page") {
                let (_workflow, seq) = one.event.expect("an event");
                if !came.contains(&seq) {
                    came.push(seq);
                }
            }
        }
        came
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_acknowledged_is_on_the_topic_also_when_only_a_later_batch_was_taken() {
        let (brokers, bus, log) = bus();
        let slow = brokers.broker_round_trip_time(1, ROUND_TRIP);
        slow.expect("slow");
        let not_yet = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION];
        brokers.request_errors(RDKafkaApiKey::Produce, &not_yet);
        let events = events();
        let refused = bus.publish(&events).await.expect("acknowledged");
        assert!(refused.is_empty());
        let all: Vec<u32> = (1..=EVENTS).collect();
        assert_eq!(came(&log).await, all);
    }

    /// Nothing is acknowledged, and nothing is on the topic, when the broker says this to an event; and it is, once it is published again.
    async fn is_published_again_after(said: RDKafkaRespErr) {
        let (brokers, bus, log) = bus();
        brokers.request_errors(RDKafkaApiKey::Produce, &[said]);
        let event = &events()[..1];
        bus.publish(event).await.expect_err("it is nowhere");
        assert!(came(&log).await.is_empty());
        bus.publish(event).await.expect("acknowledged");
        assert_eq!(came(&log).await, [1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_only_inferred_to_be_written_is_published_again() {
        is_published_again_after(RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_that_was_given_up_is_replaced() {
        is_published_again_after(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER)
            .await;
    }

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
