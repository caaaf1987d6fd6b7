//! A partition's relay: publishes committed events in their order. It gets them from the writer's memory at once, and from the
//! table after a crash or when it fell behind: what it can't hold in memory it reads back. An event that the bus refuses for good
//! stops none of the others: a dead letter says so in its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{BusError, EventBus, Refused};
use crate::ids::PartitionId;
use crate::journal::Committed;
use crate::metrics::Metrics;
use crate::planted;
use crate::runtime::Runtime;
use crate::store::{Store, StoredEvent};

/// How often a relay looks at the table when nothing comes in although something is unpublished.
const SWEEP: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Relay {
    pub(crate) runtime: Runtime,
    pub(crate) partition: PartitionId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn EventBus>,
    /// Committed events, as long as there is room for them.
    pub(crate) batches: mpsc::Receiver<Vec<StoredEvent>>,
    pub(crate) events_max: u32,
    pub(crate) committed: Arc<Committed>,
    /// Turns true when the partition is no longer ours: another node publishes from here on.
    pub(crate) closed: watch::Receiver<bool>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Relay {
    /// Publishes until the writer has ended and everything is published, or until the partition is closed.
    pub(crate) async fn run(mut self) {
        let mut closed = self.closed.clone();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => {}
            () = self.publish_all() => {}
        }
    }

    async fn publish_all(&mut self) {
        let mut writer_ended = false;
        // The next owner publishes from where this one was seen to be: whoever was stopped for long has nothing to add.
        while !self.committed.lease_has_ended(self.runtime.now()) {
            let mut events = Vec::new();
            if !self.is_behind() && !writer_ended {
                match self.runtime.within(SWEEP, self.batches.recv()).await {
                    Some(Some(batch)) => events.extend(batch),
                    Some(None) => writer_ended = true,
                    None => {}
                }
            }
            while events.len() < self.events_max as usize {
                let Ok(batch) = self.batches.try_recv() else {
                    break;
                };
                events.extend(batch);
            }
            self.publish_next(events).await;
            if writer_ended && !self.is_behind() {
                return;
            }
        }
    }

    /// Publishes those of `events` that follow what is published, and where there are none, the next ones from the table.
    async fn publish_next(&mut self, events: Vec<StoredEvent>) {
        let published = self.published_seq();
        let mut events = following(published, events);
        if events.is_empty() {
            events = self.read_table(published).await;
        }
        if !events.is_empty() {
            self.publish(&events).await;
        }
    }

    async fn read_table(&self, published: u64) -> Vec<StoredEvent> {
        if !self.is_behind() {
            return Vec::new();
        }
        match self
            .store
            .events_after(self.partition, published, self.events_max)
            .await
        {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(partition.id = %self.partition, %error, "the relay can't read the journal");
                self.runtime.sleep(RETRY_PAUSE_MAX).await;
                Vec::new()
            }
        }
    }

    /// Publishes these events, as often as it takes: a bus that is down stops nothing but the relay, and the backlog is
    /// durable. Ends with the partition.
    async fn publish(&self, events: &[StoredEvent]) {
        let last = events.last().map_or(0, |event| event.partition_seq);
        if planted::is_on("watermark-ahead") {
            self.committed.published_seq.store(last, Ordering::Release);
        }
        let mut pause = RETRY_PAUSE;
        let refused = loop {
            match self.bus.publish(events).await {
                Ok(refused) => break refused,
                Err(error) => self.rest(&mut pause, &error).await,
            }
        };
        for refused in &refused {
            if !planted::is_on("dead-letter-not-written") {
                self.publish_dead_letter(refused).await;
            }
        }
        self.committed.published_seq.store(last, Ordering::Release);
    }

    /// Says that this event is not published, as often as it takes: until then nothing that was sent with it is published either.
    async fn publish_dead_letter(&self, refused: &Refused<'_>) {
        let mut pause = RETRY_PAUSE;
        while let Err(error) = self.bus.publish_dead_letter(refused).await {
            self.rest(&mut pause, &error).await;
        }
        self.metrics.dead_letters.add(1);
        tracing::error!(
            partition.id = %self.partition,
            workflow.id = %refused.event.workflow,
            event.seq = refused.event.seq,
            reason = %refused.reason,
            "the event bus refuses an event for good: it is in the journal, and a dead letter says so"
        );
    }

    async fn rest(&self, pause: &mut Duration, error: &BusError) {
        tracing::warn!(
            partition.id = %self.partition,
            events.waiting = self.waiting(),
            %error,
            "publishing is tried again"
        );
        self.runtime.sleep(*pause).await;
        *pause = (*pause * 2).min(RETRY_PAUSE_MAX);
    }

    fn is_behind(&self) -> bool {
        self.published_seq() < self.durable_seq() && self.batches.is_empty()
    }

    /// How many events wait to be published.
    fn waiting(&self) -> u64 {
        let published = self.published_seq();
        self.durable_seq().saturating_sub(published)
    }

    fn durable_seq(&self) -> u64 {
        self.committed.durable_seq.load(Ordering::Acquire)
    }

    fn published_seq(&self) -> u64 {
        self.committed.published_seq.load(Ordering::Acquire)
    }
}

/// Those that follow `published`, up to the first gap. Batches that came when the memory was full are missing anywhere: in front of
/// what is remembered, or between that and what came when there was room again. What follows a gap is read from the table.
fn following(published: u64, events: Vec<StoredEvent>) -> Vec<StoredEvent> {
    let mut last = published;
    let unpublished = events
        .into_iter()
        .skip_while(|event| event.partition_seq <= published);
    let following = unpublished.take_while(|event| {
        let follows = event.partition_seq == last + 1
            || planted::is_on("gap-skipped-by-the-relay")
            || (last > published && planted::is_on("gap-overlooked-in-memory"));
        last = event.partition_seq;
        follows
    });
    following.collect()
}
