//! What is held and was never made durable comes back, and only then; and whoever lost a lock can't give it away.

use std::sync::Arc;
use std::time::Duration;

use engine::store::{Change, Table, change::ChangeKind};
use engine::workflow::Refusal;
use engine::{NodeName, WorkflowId};
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::adapters::scripts::{Call, Reply, RunScript, Script};
use workflows::ports::reservations::{
    ClaimPurpose, ClaimReply, ClaimRequest, HoldState, Line, Lines, ReservationError, Reservations,
    ReserveReply, ReserveRequest,
};
use workflows::purchase::{coupon_operation, stock_operation};
use workflows::reconcile::difference::Kind;

use crate::support::{
    RedisServer, Shop, buyer, campaign_id, database, epoch_of, product, sale_id, sqlite,
};

/// The engine's, as far as they are tampered with here.
static PARTITIONS: Table = Table {
    name: "partitions",
    key: &["id"],
    columns: &["lease_until_us"],
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_reserve_and_commit_leaks_nothing() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let url = redis.url();
    let disposable = database().await;
    let shop = Shop::open(&disposable.database, &url, 10).await;
    let node = shop.node("one").await;
    let request = shop.request("ann", 1, None).await;
    let partition = node
        .buy(&request, "k")
        .await
        .expect("started")
        .head
        .id
        .partition();
    // Reserved, as the step does it before its workflow is durable; and there the node dies.
    let lost = WorkflowId::new(partition, [42; 12]);
    let epoch = epoch_of(&disposable.database, lost).await;
    let reserve = LostStart::of(lost, epoch).hold;
    let held = node.reservations.reserve(&reserve).await.unwrap();
    assert_eq!((held, node.mugs().await.held), (ReserveReply::Held, 4));
    // As long as its partition has not changed hands, it may be written down at any moment, however long its lease has ended.
    let over = Change {
        table: &PARTITIONS,
        key: vec![i64::from(partition.0).into()],
        kind: ChangeKind::Set(vec![("lease_until_us", 1.into())]),
        refusal: Refusal::new("a-test", ""),
    };
    shop.write(&[over]).await;
    let report = node.reconcile(true).await;
    assert_eq!((report.found, node.mugs().await.held), (0, 4), "{report:?}");
    // Its node comes back and takes its partitions under the next epoch: what was not written down never will be.
    node.close().await;
    let node = shop.node("one").await;
    assert!(epoch_of(&disposable.database, lost).await > epoch);
    let report = node.reconcile(true).await;
    assert_eq!((report.found, report.repaired), (1, 1), "{report:?}");
    let difference = &report.differences[0];
    assert_eq!(difference.kind, Kind::HoldWithoutWorkflow);
    assert_eq!(difference.workflow, Some(lost));
    assert_eq!(
        (node.mugs().await.held, node.mugs().await.available),
        (0, 9)
    );
    // A copy of the reservation that was still on its way holds nothing.
    let late = node.reservations.reserve(&reserve).await.unwrap();
    assert!(matches!(late, ReserveReply::Refused { .. }), "{late:?}");
    shop.is_sound(&node).await;
    node.close().await;
    disposable.dispose().await;
}

/// A start that was lost, as far as its steps got in the gate.
#[derive(Clone)]
struct LostStart {
    hold: ReserveRequest,
    claim: ClaimRequest,
}

impl LostStart {
    /// Of bob, for four mugs.
    fn of(workflow: WorkflowId, epoch: u64) -> Self {
        let line = Line {
            product: product("mug"),
            quantity: 4,
        };
        Self {
            hold: ReserveRequest {
                sale: sale_id(),
                buyer: buyer("bob"),
                operation: stock_operation(workflow),
                epoch,
                lines: Lines::new(vec![line]).unwrap(),
                hold: HoldState::Paying,
                remember_refusal: false,
            },
            claim: ClaimRequest {
                sale: sale_id(),
                campaign: campaign_id(),
                buyer: buyer("bob"),
                operation: coupon_operation(workflow),
                epoch,
                purpose: ClaimPurpose::Purchase,
                remember_refusal: false,
            },
        }
    }

    /// Both steps hold what they ask for.
    async fn holds_in(&self, gate: &dyn Reservations) {
        let claimed = gate.claim(&self.claim).await.unwrap();
        assert!(matches!(claimed, ClaimReply::Held { .. }), "{claimed:?}");
        let held = gate.reserve(&self.hold).await.unwrap();
        assert_eq!(held, ReserveReply::Held);
    }
}

/// A gate to which a start is repeated right before the first release.
struct RepeatedBeforeRelease {
    gate: EmbeddedReservations,
    repeat: tokio::sync::Mutex<Option<LostStart>>,
}

impl RunScript for RepeatedBeforeRelease {
    async fn run(&self, call: Call) -> Result<Reply, ReservationError> {
        if matches!(call.script, Script::Release | Script::ReleaseClaim) {
            // Every other release waits until it is there.
            let mut repeat = self.repeat.lock().await;
            if let Some(repeat) = repeat.take() {
                repeat.holds_in(&self.gate).await;
            }
        }
        self.gate.run(call).await
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        RunScript::incarnation(&self.gate).await
    }

    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError> {
        RunScript::attach_checked(&self.gate, checked).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_repeated_between_look_and_repair_keeps_what_it_holds() {
    let runtime = engine::Runtime::system();
    let clock = Arc::new(move || runtime.now().0);
    let gate = Arc::new(RepeatedBeforeRelease {
        gate: EmbeddedReservations::new("a test", clock).expect("the scripts load"),
        repeat: tokio::sync::Mutex::default(),
    });
    let disposable = sqlite().await;
    let shop = Shop::behind(&disposable.database, Arc::clone(&gate) as _, 10).await;
    let node = shop.node("one").await;
    let request = shop.request("ann", 1, None).await;
    let view = node.buy(&request, "k").await.expect("started");
    let lost = WorkflowId::new(view.head.id.partition(), [42; 12]);
    let epoch = epoch_of(&disposable.database, lost).await;
    LostStart::of(lost, epoch)
        .holds_in(node.reservations.as_ref())
        .await;
    // Its partition is taken anew: nobody writes it down any more, unless it is repeated where the partition is now.
    node.close().await;
    let node = shop.node("one").await;
    let repeat = LostStart::of(lost, epoch_of(&disposable.database, lost).await);
    assert!(repeat.hold.epoch > epoch);
    *gate.repeat.lock().await = Some(repeat.clone());
    let generation = node.counts().await.generation;
    let report = node.reconcile(true).await;
    let was_repeated = gate.repeat.lock().await.is_none();
    assert!(was_repeated, "nothing was to be released");
    // What may be written down at any moment is no difference, and the sale is not loaded anew for it.
    assert_eq!((report.found, &report.not_looked_at[..]), (0, &[][..]));
    let counts = node.counts().await;
    assert_eq!(counts.generation, generation);
    assert_eq!(counts.products[&product("mug")].held, 4);
    assert_eq!(counts.campaigns[&campaign_id()].issued, 1);
    repeat.holds_in(node.reservations.as_ref()).await;
    let report = node.reconcile(true).await;
    assert_eq!((report.found, node.mugs().await.held), (0, 4), "{report:?}");
    node.close().await;
    disposable.dispose().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_reconciles_by_itself_strands_nothing() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let url = redis.url();
    let disposable = database().await;
    let shop = Shop::open(&disposable.database, &url, 10).await;
    let node = shop.node_with("one", Duration::from_millis(200)).await;
    node.keeper.ensure_open(crate::support::PATIENCE).await;
    let request = shop.request("ann", 1, None).await;
    node.buy(&request, "k").await.expect("started");
    redis
        .command("HINCRBY holdfast:{drop}:stock mug:available -9")
        .await;
    let deadline = node.runtime.now().after(crate::support::PATIENCE);
    // While the sale is loaded anew, its gate is closed.
    let mugs = async || {
        let counts = node.reservations.counts(&sale_id()).await.unwrap()?;
        counts.products.get(&product("mug")).copied()
    };
    while mugs().await.is_none_or(|mugs| mugs.available != 9) {
        assert!(node.runtime.now() < deadline, "nobody mends it");
        node.runtime.sleep(Duration::from_millis(20)).await;
    }
    // The round that mended it ends, too.
    while node.reconciler.last().is_none() {
        assert!(node.runtime.now() < deadline, "no round ends");
        node.runtime.sleep(Duration::from_millis(20)).await;
    }
    node.close().await;
    disposable.dispose().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_released_only_by_its_holder() {
    let disposable = database().await;
    let store = disposable.database.store();
    let (one, two) = (NodeName("one".into()), NodeName("two".into()));
    let short = Duration::from_millis(1);
    let long = Duration::from_mins(1);
    let lost = store.acquire(&one, 1, &[], short).await.unwrap();
    let runtime = engine::Runtime::system();
    let deadline = runtime.now().after(crate::support::PATIENCE);
    let taken = loop {
        let taken = store.adopt_expired(&two, &[], long).await.unwrap();
        if !taken.is_empty() {
            break taken;
        }
        assert!(runtime.now() < deadline, "its lease does not end");
    };
    assert_eq!(taken[0].partition, lost[0].partition);
    assert!(taken[0].epoch > lost[0].epoch);
    // The former holder wakes up: it can neither renew nor release what is another's.
    let gone = store.renew(&lost, long).await.unwrap();
    assert_eq!(gone, [lost[0].partition]);
    store.release(&lost).await.unwrap();
    let rows = store.partitions().await.unwrap();
    assert_eq!((&rows[0].owner, rows[0].epoch), (&two, taken[0].epoch));
    assert!(rows[0].lease_left_us > 0, "its holder still has it");
    store.release(&taken).await.unwrap();
    assert!(store.partitions().await.unwrap()[0].lease_left_us <= 0);
    disposable.dispose().await;
}
