//! A topic, and somebody who listens to all of it from its beginning, up to where it ends when asked, and notes when everything came.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use engine::Runtime;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::oneshot;

use super::PATIENCE;
use super::servers::Servers;

/// Partitions of a test's topic.
const PARTITIONS: i32 = 4;
/// How long one look for a message takes at most.
const LOOK: Duration = Duration::from_millis(100);

/// An event as it came.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The topic's partition.
    pub partition: i32,
    /// The key: whose event it is.
    pub workflow: String,
    /// Its number in its workflow.
    pub seq: u64,
    /// All its headers.
    pub headers: BTreeMap<String, String>,
    /// What it says beside its headers.
    pub value: Option<Value>,
    /// When it happened, in microseconds since 1970.
    happened_us: i64,
    /// When it came, by the same clock.
    came_us: i64,
}

impl Arrived {
    /// How long it took to come.
    pub fn delay(&self) -> Duration {
        Duration::from_micros(self.came_us.abs_diff(self.happened_us))
    }
}

/// Those of one workflow without repeats, in their order: as a consumer takes them, who goes by their numbers.
pub fn taken<'a>(heard: impl IntoIterator<Item = &'a Arrived>, workflow: &str) -> Vec<&'a Arrived> {
    let mut taken: Vec<&Arrived> = Vec::new();
    for event in heard {
        let last = taken.last().map_or(0, |last| last.seq);
        if event.workflow == workflow && event.seq > last {
            taken.push(event);
        }
    }
    taken
}

/// Somebody who listens.
pub struct Listener {
    asks: mpsc::Sender<oneshot::Sender<Vec<Arrived>>>,
}

impl Listener {
    /// Makes the topic with these settings, and listens from now on.
    pub async fn to(servers: &Servers, settings: &[(&str, &str)]) -> Self {
        Self::to_topic(servers, &servers.topic, settings).await
    }

    /// The same with the topic of its dead letters.
    pub async fn to_dead_letters(servers: &Servers) -> Self {
        let topic = format!("{}.dead-letters", servers.topic);
        Self::to_topic(servers, &topic, &[]).await
    }

    async fn to_topic(servers: &Servers, name: &str, settings: &[(&str, &str)]) -> Self {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &servers.kafka_brokers)
            .create()
            .expect("a client");
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let topic = settings
            .iter()
            .fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await;
        let made = made.expect("an answer");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        Self::to_partitions(servers, name.to_owned(), PARTITIONS)
    }

    /// Listens to the topic that somebody else has made.
    pub async fn to_what_is_there(servers: &Servers) -> Self {
        let (consumer, topic) = (consumer(servers), servers.topic.clone());
        let partitions = tokio::task::spawn_blocking(move || {
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE);
            let metadata = metadata.expect("the topic is there");
            metadata.topics()[0].partitions().len()
        });
        let partitions = partitions.await.expect("no panic");
        let partitions = i32::try_from(partitions).expect("few");
        Self::to_partitions(servers, servers.topic.clone(), partitions)
    }

    fn to_partitions(servers: &Servers, topic: String, partitions: i32) -> Self {
        let consumer = consumer(servers);
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(&topic, partition, Offset::Beginning)
                .expect("a partition");
        }
        consumer.assign(&all).expect("they are there");
        let (asks, asked) = mpsc::channel();
        thread::spawn(move || listen(&consumer, &topic, partitions, &asked));
        Self { asks }
    }

    /// Everything that is in the topic by now, in the order of each partition.
    pub async fn heard(&self) -> Vec<Arrived> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(answer).expect("it listens");
        answered.await.expect("it listens")
    }
}

fn consumer(servers: &Servers) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &servers.kafka_brokers)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer")
}

/// Listens until nobody can ask any more. Whoever asks is told all up to where each partition ends at that moment.
fn listen(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: i32,
    asked: &mpsc::Receiver<oneshot::Sender<Vec<Arrived>>>,
) {
    let runtime = Runtime::system();
    let mut heard = Vec::new();
    let mut next = BTreeMap::new();
    let mut asking = None;
    loop {
        if asking.is_none() {
            asking = match asked.try_recv() {
                Ok(answer) => {
                    let until = runtime.now().after(PATIENCE);
                    Some((answer, ends_of(consumer, topic, partitions), until))
                }
                Err(mpsc::TryRecvError::Empty) => None,
                Err(mpsc::TryRecvError::Disconnected) => return,
            };
        }
        if let Some((answer, ends, until)) = asking.take() {
            let is_through = |(partition, end)| next.get(partition).unwrap_or(&0) >= end;
            if ends.iter().all(is_through) {
                // Who asked may have gone.
                let _ = answer.send(heard.clone());
                continue;
            }
            assert!(runtime.now() < until, "heard up to {next:?} of {ends:?}");
            asking = Some((answer, ends, until));
        }
        if let Some(message) = consumer.poll(LOOK) {
            let now_us = runtime.now().0;
            let message = message.expect("a message");
            next.insert(message.partition(), message.offset() + 1);
            heard.push(read(&message, now_us));
        }
    }
}

/// The number that the next message of each partition will have.
fn ends_of(consumer: &BaseConsumer, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
    let end = |partition| {
        let marks = consumer.fetch_watermarks(topic, partition, PATIENCE);
        (partition, marks.expect("the marks of a partition").1)
    };
    (0..partitions).map(end).collect()
}

fn read(message: &BorrowedMessage<'_>, came_us: i64) -> Arrived {
    let headers = message.headers().expect("headers").iter();
    let headers: BTreeMap<String, String> = headers
        .map(|header| {
            let value = header.value.expect("a value");
            let value = String::from_utf8(value.to_vec()).expect("UTF-8");
            (header.key.to_owned(), value)
        })
        .collect();
    let (workflow, seq) = headers["ce_id"]
        .rsplit_once('/')
        .map(|(workflow, seq)| (workflow.to_owned(), seq.parse().expect("a number")))
        .expect("an id");
    assert_eq!(
        message.key(),
        Some(workflow.as_bytes()),
        "the key is its workflow"
    );
    let value = message.payload();
    let at: jiff::Timestamp = headers["ce_time"].parse().expect("RFC 3339");
    Arrived {
        partition: message.partition(),
        workflow,
        seq,
        headers,
        value: value.map(|value| serde_json::from_slice(value).expect("JSON")),
        happened_us: at.as_microsecond(),
        came_us,
    }
}
