//! The topic and its dead letters, read back from their beginning up to where they end now. It joins no consumer group, commits
//! nothing and makes no topic: whoever else listens does not notice.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::BusError;
use super::log::{LogPart, Published, PublishedLog, Reading};
use crate::ids::WorkflowId;
use crate::runtime::Timestamp;

/// Messages that are handed over at a time.
const PAGE: usize = 2_000;
/// Pages that wait for whoever reads: beyond that the broker waits, too.
const PAGES_AHEAD: usize = 2;
/// How long the brokers may take for one answer, and for the next message where there is one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one look for a message takes at most.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in which nothing came, after which nothing will.
const VAIN_LOOKS_MAX: u32 = 100;

/// Reads a topic.
#[derive(Clone, Debug)]
pub struct KafkaLog {
    brokers: String,
    topics: [String; 2],
}

impl KafkaLog {
    /// The topic, and its dead letters, at these brokers. Nobody is asked yet.
    #[must_use]
    pub fn new(brokers: &str, topic: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topics: [format!("{topic}.dead-letters"), topic.to_owned()],
        }
    }

    fn consumer(&self) -> Result<BaseConsumer, BusError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "holdfast-verify")
            // It is assigned what it reads: no group comes into being.
            .set("group.id", "holdfast-verify")
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", "8192")
            .set("enable.partition.eof", "true");
        let made = config.create();
        made.map_err(|error| BusError::Misconfigured(error.to_string()))
    }

    /// What there is to read; nothing of a topic that is not there.
    fn extents(&self) -> Result<Vec<Extent>, BusError> {
        let consumer = self.consumer()?;
        let mut extents = Vec::new();
        for topic in &self.topics {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE);
            let metadata = metadata.map_err(|error| unread(&error))?;
            let of_topic = metadata.topics().iter().filter(|one| one.name() == topic);
            for partition in of_topic.flat_map(MetadataTopic::partitions) {
                let marks = consumer.fetch_watermarks(topic, partition.id(), PATIENCE);
                let (first, end) = marks.map_err(|error| unread(&error))?;
                extents.push(Extent {
                    topic: topic.clone(),
                    partition: partition.id(),
                    first,
                    end,
                });
            }
        }
        Ok(extents)
    }

    /// Hands over everything, one topic after the other, until it is through or nobody wants more.
    fn hand_over(&self, extents: &[Extent], pages: &Pages) -> Result<(), BusError> {
        for topic in &self.topics {
            let of_topic = extents.iter().enumerate();
            let of_topic = of_topic.filter(|(_, one)| &one.topic == topic && one.first < one.end);
            let mut left: HashMap<i32, (usize, i64)> = of_topic
                .map(|(part, one)| (one.partition, (part, one.end)))
                .collect();
            if left.is_empty() {
                continue;
            }
            let consumer = self.consumer()?;
            let mut all = TopicPartitionList::new();
            for partition in left.keys() {
                all.add_partition_offset(topic, *partition, Offset::Beginning)
                    .map_err(|error| unread(&error))?;
            }
            consumer.assign(&all).map_err(|error| unread(&error))?;
            if !read_all(&consumer, &mut left, pages)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

type Pages = mpsc::Sender<Result<Vec<Published>, BusError>>;

/// A partition of a topic, and which messages it has.
struct Extent {
    topic: String,
    partition: i32,
    first: i64,
    end: i64,
}

#[async_trait]
impl PublishedLog for KafkaLog {
    async fn read(&self) -> Result<Reading, BusError> {
        let log = self.clone();
        let panicked = |error: tokio::task::JoinError| BusError::Unacknowledged(error.to_string());
        let extents = spawn_blocking(move || log.extents());
        let extents = extents.await.map_err(panicked)??;
        let part = |one: &Extent| LogPart {
            name: format!("{}/{}", one.topic, one.partition),
            is_cut: one.first > 0,
            messages: u64::try_from(one.end - one.first).unwrap_or_default(),
        };
        let parts = extents.iter().map(part).collect();
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let log = self.clone();
        spawn_blocking(move || {
            if let Err(error) = log.hand_over(&extents, &sender) {
                let _nobody_reads_any_more = sender.blocking_send(Err(error));
            }
        });
        Ok(Reading { parts, pages })
    }
}

/// Reads until nothing is left of these partitions. `false`: nobody wants more.
fn read_all(
    consumer: &BaseConsumer,
    left: &mut HashMap<i32, (usize, i64)>,
    pages: &Pages,
) -> Result<bool, BusError> {
    let mut page = Vec::with_capacity(PAGE);
    let mut vain_looks = 0;
    while !left.is_empty() {
        match consumer.poll(LOOK) {
            None => {
                vain_looks += 1;
                if vain_looks > VAIN_LOOKS_MAX {
                    let why = format!("{} partitions gave nothing any more", left.len());
                    return Err(BusError::Unacknowledged(why));
                }
                continue;
            }
            // What was last in it may be nothing that is handed over.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                left.remove(&partition);
            }
            // librdkafka goes on by itself.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => vain_looks += 1,
            Some(Err(error)) => return Err(unread(&error)),
            Some(Ok(message)) => {
                vain_looks = 0;
                let Some((part, end)) = left.get(&message.partition()).copied() else {
                    continue;
                };
                if message.offset() < end {
                    page.push(published(&message, part));
                }
                if message.offset() + 1 >= end {
                    left.remove(&message.partition());
                }
            }
        }
        let is_full = page.len() >= PAGE || left.is_empty();
        if is_full && pages.blocking_send(Ok(std::mem::take(&mut page))).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn published(message: &BorrowedMessage<'_>, part: usize) -> Published {
    Published {
        event: event_of(message),
        part,
        at: message
            .timestamp()
            .to_millis()
            .map(|millis| Timestamp(millis.saturating_mul(1_000))),
    }
}

/// Which event it says that it is, by its header and its key, which have to agree.
fn event_of(message: &BorrowedMessage<'_>) -> Result<(WorkflowId, u32), String> {
    let place = format!("message {} of {}", message.offset(), message.partition());
    let headers = message.headers().map(|headers| headers.iter());
    let id = headers
        .into_iter()
        .flatten()
        .find(|header| header.key == "ce_id")
        .and_then(|header| std::str::from_utf8(header.value?).ok())
        .ok_or_else(|| format!("{place} has no ce_id"))?;
    let read = id
        .rsplit_once('/')
        .and_then(|(workflow, seq)| Some((WorkflowId::parse(workflow)?, seq.parse::<u32>().ok()?)));
    let (workflow, seq) =
        read.ok_or_else(|| format!("{place} is called {id}, which is no event"))?;
    if message.key() != Some(workflow.to_string().as_bytes()) {
        return Err(format!("{place}, {id}, has another key than its workflow"));
    }
    Ok((workflow, seq))
}

fn unread(error: &KafkaError) -> BusError {
    BusError::Unacknowledged(format!("the topic can't be read: {error}"))
}
