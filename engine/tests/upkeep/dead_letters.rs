//! An event that the bus refuses for good becomes a dead letter, and stops none of the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use engine::WorkflowId;
use engine::outbox::cloud_event::dead_letter_headers;
use engine::outbox::{BusError, EventBus, Refused};
use engine::store::{Status, StoredEvent};

use super::house::{House, Node};

/// The number of the event that is refused, in each workflow.
const REFUSED: u32 = 3;
const REASON: &str = "it is too large";

/// Who has an event: its workflow, and its number there.
type Place = (WorkflowId, u32);

/// A bus that refuses one event of each workflow for good, and takes dead letters unless it is told not to.
#[derive(Default)]
struct Bus {
    keeps_no_letters: AtomicBool,
    taken: Mutex<Vec<Place>>,
    letters: Mutex<Vec<Place>>,
}

impl Bus {
    fn taken_of(&self, id: WorkflowId) -> Vec<u32> {
        let taken = self.taken.lock().unwrap();
        let ours = taken.iter().filter(|(workflow, _)| *workflow == id);
        ours.map(|(_, seq)| *seq).collect()
    }

    fn letters(&self) -> Vec<Place> {
        self.letters.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventBus for Bus {
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        let (refused, taken): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| event.seq == REFUSED);
        let places = taken.iter().map(|event| (event.workflow, event.seq));
        self.taken.lock().unwrap().extend(places);
        let refused = refused.into_iter().map(|event| Refused {
            event,
            reason: REASON.to_owned(),
        });
        Ok(refused.collect())
    }

    async fn publish_dead_letter(&self, refused: &Refused<'_>) -> Result<(), BusError> {
        if self.keeps_no_letters.load(Ordering::Relaxed) {
            return Err(BusError::Unacknowledged("there is no such topic".into()));
        }
        let place = (refused.event.workflow, refused.event.seq);
        self.letters.lock().unwrap().push(place);
        Ok(())
    }
}

fn house() -> (House, Arc<Bus>) {
    let mut house = House::new();
    let bus = Arc::<Bus>::default();
    house.bus = bus.clone();
    (house, bus)
}

async fn completed(house: &House, node: &Node, key: &str) -> WorkflowId {
    let id = house.sleeping(node, key).await;
    house.becomes(id, Status::Completed).await;
    id
}

async fn all_are_published(house: &House, node: &Node) {
    let is_published = |_: &House| node.engine.counters().unpublished == 0;
    house.until("everything is published", is_published).await;
}

async fn all_but_the_refused(house: &House, id: WorkflowId) -> Vec<u32> {
    let records = house.store.records(id, 0, 100).await.unwrap();
    let seqs = records.iter().map(|record| record.seq);
    let left: Vec<u32> = seqs.filter(|seq| *seq != REFUSED).collect();
    assert!(left.len() < records.len() && left.last() > Some(&REFUSED));
    left
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_bus_refuses_for_good_is_a_dead_letter_and_stops_nobody() {
    let (house, bus) = house();
    let node = house.open("a", &[1]).await;
    let ids = [
        completed(&house, &node, "k").await,
        completed(&house, &node, "l").await,
    ];
    all_are_published(&house, &node).await;
    for id in ids {
        assert_eq!(bus.taken_of(id), all_but_the_refused(&house, id).await);
    }
    assert_eq!(bus.letters(), ids.map(|id| (id, REFUSED)));
    assert_eq!(node.engine.counters().dead_letters, 2);
    // It is where the dead letter says.
    let record = house.store.records(ids[0], REFUSED - 1, 1).await.unwrap();
    assert_eq!(record[0].seq, REFUSED);
    node.check();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_its_dead_letter_is() {
    let (house, bus) = house();
    bus.keeps_no_letters.store(true, Ordering::Relaxed);
    let node = house.open("a", &[1]).await;
    let id = completed(&house, &node, "k").await;
    assert!(node.engine.counters().unpublished > 0);
    assert_eq!(node.engine.counters().dead_letters, 0);
    // Whoever comes next sends all of it again.
    node.kill();
    let next = house.open("b", &[1]).await;
    house.runtime.sleep(super::house::MINUTE).await;
    assert!(next.engine.counters().unpublished > 0);
    assert_eq!(bus.letters(), []);
    bus.keeps_no_letters.store(false, Ordering::Relaxed);
    all_are_published(&house, &next).await;
    assert_eq!(bus.letters(), [(id, REFUSED)]);
    let mut taken = bus.taken_of(id);
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken, all_but_the_refused(&house, id).await);
    assert_eq!(next.engine.counters().dead_letters, 1);
    next.check();
}

#[test]
fn a_dead_letter_says_which_event_it_stands_for_and_why() {
    let event = StoredEvent {
        workflow: WorkflowId::parse("00000007-0000-8000-8000-00000000002a").unwrap(),
        seq: REFUSED,
        partition_seq: 12,
        kind: "step-done".into(),
        at: engine::Timestamp(0),
        payload: "{}".into(),
    };
    let headers = dead_letter_headers(&Refused {
        event: &event,
        reason: REASON.to_owned(),
    });
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str())
    };
    let id = event.workflow.to_string();
    assert_eq!(header("ce_id"), Some(format!("{id}/3").as_str()));
    assert_eq!(header("ce_type"), Some("holdfast.workflow.step-done"));
    assert_eq!(header("holdfast_workflow"), Some(id.as_str()));
    assert_eq!(header("holdfast_seq"), Some("3"));
    assert_eq!(header("holdfast_partition"), Some("7"));
    assert_eq!(header("holdfast_reason"), Some(REASON));
    assert_eq!(header("content-type"), None);
}
