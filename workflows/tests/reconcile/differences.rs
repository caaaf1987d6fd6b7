//! Each kind of difference, planted past the scripts into a gate that is at rest: named once, with its workflow and both figures, and
//! mended so that the gate is exactly as it was.

use std::collections::BTreeMap;

use engine::WorkflowId;
use workflows::campaign::issue_operation;
use workflows::ports::payment_gateway::PaymentToken;
use workflows::ports::reservations::{
    ClaimPurpose, ClaimReply, ClaimRequest, HoldState, Line, Lines, OperationKey, OperationState,
    ReserveReply, ReserveRequest, SaleCounts,
};
use workflows::purchase::{PaymentMeans, coupon_operation, stock_operation};
use workflows::reconcile::difference::{Difference, Kind, Repair, Side};

use crate::support::{
    CAMPAIGN, Disposable, Node, RedisServer, Shop, buyer, campaign_id, database, epoch_of, product,
    sale_id,
};

/// A quiet shop: ann has bought with the coupon that she had claimed, dan's card was declined, bob's purchase waits for him with his
/// coupon, eve keeps hers.
struct Quiet {
    redis: RedisServer,
    disposable: Disposable,
    shop: Shop,
    node: Node,
    sold: WorkflowId,
    declined: WorkflowId,
    open: WorkflowId,
    bobs_claim: WorkflowId,
    eves_claim: WorkflowId,
}

type Gate = (SaleCounts, BTreeMap<OperationKey, OperationState>);

impl Quiet {
    async fn set() -> Option<Self> {
        let redis = RedisServer::start().await?;
        let url = redis.url();
        let disposable = database().await;
        let shop = Shop::open(&disposable.database, &url, 20).await;
        let node = shop.node("one").await;
        node.claim("ann").await;
        let bobs_claim = node.claim("bob").await.head.id;
        let eves_claim = node.claim("eve").await.head.id;
        let anns = shop.request("ann", 2, Some(CAMPAIGN)).await;
        let sold = node.buy(&anns, "k").await.expect("started").head.id;
        let token = PaymentToken::new("declined");
        let dans = shop.order("dan", 1, None, PaymentMeans::Stored { token });
        let declined = node.buy(&dans.await, "k").await.expect("started").head.id;
        let bobs = shop.order("bob", 3, Some(CAMPAIGN), PaymentMeans::Redirect);
        let open = node.start(&bobs.await, "k").await.expect("started");
        let quiet = Self {
            redis,
            disposable,
            shop,
            node,
            sold,
            declined,
            open,
            bobs_claim,
            eves_claim,
        };
        let report = quiet.node.reconcile(true).await;
        assert_eq!((report.found, report.sales), (0, 1), "{report:?}");
        assert!(report.operations > 0 && report.rows > 0, "{report:?}");
        Some(quiet)
    }

    /// Past the scripts.
    async fn tamper(&self, words: &str) {
        let words: Vec<String> = words
            .split(' ')
            .map(|word| match word.strip_prefix('@') {
                Some(part) => format!("holdfast:{{drop}}:{part}"),
                None => word.replace('_', " "),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let _: redis::Value = self.redis.ask(&words).await;
    }

    /// What the gate has, but for its generation and the states of charges.
    async fn gate(&self) -> Gate {
        let mut counts = self.node.counts().await;
        counts.generation = 0;
        let mut holdings = self.node.holdings().await;
        for state in holdings.values_mut() {
            if let OperationState::Holds { hold, .. } = state {
                *hold = HoldState::Held;
            }
        }
        (counts, holdings)
    }

    /// The one difference that is there is found and not mended, then found and mended; then there is none.
    async fn finds(&self, kind: Kind, repair: Repair, before: &Gate) -> Difference {
        let looked = self.node.reconcile(false).await;
        assert_eq!((looked.found, looked.remaining), (1, 1), "{looked:?}");
        let mended = self.node.reconcile(true).await;
        assert_eq!((mended.found, mended.repaired), (1, 1), "{mended:?}");
        let [difference] = mended.differences.as_slice() else {
            panic!("{mended:?}");
        };
        assert_eq!((difference.kind, difference.repair), (kind, repair));
        assert_eq!(
            (&difference.sale, difference.right),
            (&sale_id(), Side::Database)
        );
        println!("{}: {}", kind.word(), difference.sentence());
        let again = self.node.reconcile(true).await;
        assert!(again.is_clean() && again.found == 0, "{again:?}");
        assert_eq!(self.gate().await, *before, "the gate is as it was");
        self.shop.is_sound(&self.node).await;
        let totals = self.node.reconciler.totals();
        assert_eq!((totals.found[&kind], totals.repaired), (2, 1));
        difference.clone()
    }

    async fn end(self) {
        self.node.close().await;
        self.disposable.dispose().await;
    }

    /// A purchase that nobody has made durable, in a partition of the node.
    fn nobody(&self) -> WorkflowId {
        WorkflowId::new(self.sold.partition(), [99; 12])
    }

    async fn hold(&self, workflow: WorkflowId, epoch: u64) {
        let line = Line {
            product: product("mug"),
            quantity: 2,
        };
        let request = ReserveRequest {
            sale: sale_id(),
            buyer: buyer("zoe"),
            operation: stock_operation(workflow),
            epoch,
            lines: Lines::new(vec![line]).unwrap(),
            hold: HoldState::Paying,
            remember_refusal: false,
        };
        let held = self.node.reservations.reserve(&request).await;
        assert_eq!(held.unwrap(), ReserveReply::Held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_without_a_workflow_is_released_once_nobody_can_make_it_durable() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let epoch = epoch_of(&quiet.disposable.database, quiet.nobody()).await;
    quiet.hold(quiet.nobody(), epoch).await;
    let patient = quiet.node.reconcile(true).await;
    assert_eq!(patient.found, 0, "its node may be about to write it down");
    let stored = format!("paying_{}_reserve_zoe_mug:2", epoch - 1);
    let operation = stock_operation(quiet.nobody());
    quiet
        .tamper(&format!("HSET @operations {operation} {stored}"))
        .await;
    let difference = quiet
        .finds(Kind::HoldWithoutWorkflow, Repair::Release, &before)
        .await;
    assert_eq!(difference.workflow, Some(quiet.nobody()));
    assert_eq!(difference.operation, Some(operation));
    assert_eq!(difference.gate, "a hold of 2 mug");
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_without_a_workflow_is_released_once_nobody_can_make_it_durable() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let epoch = epoch_of(&quiet.disposable.database, quiet.nobody()).await;
    for (operation, purpose) in [
        (coupon_operation(quiet.nobody()), ClaimPurpose::Purchase),
        (issue_operation(quiet.nobody()), ClaimPurpose::Ahead),
    ] {
        let request = ClaimRequest {
            sale: sale_id(),
            campaign: campaign_id(),
            buyer: buyer("zoe"),
            operation,
            epoch: epoch - 1,
            purpose,
            remember_refusal: false,
        };
        let claimed = quiet.node.reservations.claim(&request).await.unwrap();
        assert_eq!(claimed, ClaimReply::Held { taken_from: None });
        let report = quiet.node.reconcile(true).await;
        assert_eq!((report.found, report.repaired), (1, 1), "{report:?}");
        assert_eq!(report.differences[0].kind, Kind::ClaimWithoutWorkflow);
        assert_eq!(quiet.gate().await, before);
    }
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_of_a_purchase_that_was_undone_is_released() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let operation = stock_operation(quiet.declined);
    for words in [
        &format!("HSET @operations {operation} paying_1_reserve_dan_mug:1"),
        "HINCRBY @stock mug:available -1",
        "HINCRBY @stock mug:held 1",
        "HINCRBY @buyers dan 1",
    ] {
        quiet.tamper(words).await;
    }
    let difference = quiet
        .finds(Kind::HoldOfEndedWorkflow, Repair::Release, &before)
        .await;
    assert_eq!(difference.workflow, Some(quiet.declined));
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_the_gate_has_lost_is_made_again() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let operation = stock_operation(quiet.sold);
    for words in [
        &format!("HSET @operations {operation} paying_1_reserve_ann_mug:2"),
        "HINCRBY @stock mug:sold -2",
        "HINCRBY @stock mug:held 2",
    ] {
        quiet.tamper(words).await;
    }
    let difference = quiet
        .finds(Kind::HoldOfEndedWorkflow, Repair::Confirm, &before)
        .await;
    assert_eq!(difference.database, "its goods are issued");
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_the_gate_has_lost_is_held_again() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let operation = stock_operation(quiet.open);
    for words in [
        &format!("HDEL @operations {operation}"),
        "HINCRBY @stock mug:available 3",
        "HINCRBY @stock mug:held -3",
        "HDEL @buyers bob",
    ] {
        quiet.tamper(words).await;
    }
    let difference = quiet
        .finds(Kind::HoldMissingInGate, Repair::Restore, &before)
        .await;
    assert_eq!(difference.database, "a hold of 3 mug");
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_was_given_back_past_its_purchase_is_loaded_again() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let request = workflows::ports::reservations::ReleaseRequest {
        sale: sale_id(),
        operation: stock_operation(quiet.open),
        forget: false,
        only_under: None,
    };
    quiet.node.reservations.release(&request).await.unwrap();
    // Its tombstone refuses to hold again.
    quiet
        .finds(Kind::HoldMissingInGate, Repair::Rebuild, &before)
        .await;
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coupon_that_the_gate_has_lost_is_claimed_again() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let operation = issue_operation(quiet.eves_claim);
    for words in [
        &format!("HDEL @operations {operation}"),
        "HDEL @claims first:eve",
        "HINCRBY @campaigns first:issued -1",
    ] {
        quiet.tamper(words).await;
    }
    let difference = quiet
        .finds(Kind::CouponMissingInGate, Repair::Restore, &before)
        .await;
    assert_eq!(difference.workflow, Some(quiet.eves_claim));
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coupon_that_a_purchase_has_taken_is_taken_again() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let (taken, ahead) = (
        coupon_operation(quiet.open),
        issue_operation(quiet.bobs_claim),
    );
    for words in [
        format!("HDEL @operations {taken}"),
        format!("HSET @operations {ahead} issued_1_claim_bob_first_ahead"),
        format!("HSET @claims first:bob {ahead}"),
    ] {
        quiet.tamper(&words).await;
    }
    let difference = quiet
        .finds(Kind::CouponMissingInGate, Repair::Restore, &before)
        .await;
    assert_eq!(difference.workflow, Some(quiet.open));
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_that_were_changed_by_hand_are_loaded_again() {
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let before = quiet.gate().await;
    let cases: [(Kind, &[&str]); 7] = [
        (
            Kind::CountersDoNotAddUp,
            &["HINCRBY @stock mug:available 5"],
        ),
        (
            Kind::CountersDoNotAddUp,
            &["HINCRBY @stock cap:available -5"],
        ),
        (Kind::CountersDoNotAddUp, &["HSET @stock mug:available -7"]),
        (
            Kind::CountersDoNotAddUp,
            &["HDEL @stock cap:available cap:held cap:sold"],
        ),
        (
            Kind::CountersDoNotAddUp,
            &[
                "HINCRBY @stock mug:held 1",
                "HINCRBY @stock mug:available -1",
            ],
        ),
        (
            Kind::CountersDoNotAddUp,
            &["HINCRBY @campaigns first:issued -2"],
        ),
        (
            Kind::SoldMissing,
            &[
                "HINCRBY @stock mug:sold -1",
                "HINCRBY @stock mug:available 1",
            ],
        ),
    ];
    for (kind, words) in cases {
        for words in words {
            quiet.tamper(words).await;
        }
        let report = quiet.node.reconcile(true).await;
        assert_eq!(
            (report.found, report.repaired),
            (1, 1),
            "{words:?}: {report:?}"
        );
        let difference = &report.differences[0];
        println!("{}: {}", kind.word(), difference.sentence());
        assert_eq!(
            (difference.kind, difference.repair),
            (kind, Repair::Rebuild)
        );
        assert_eq!(quiet.gate().await, before, "{words:?}");
    }
    quiet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_gate_is_not_compared_and_a_sale_that_is_not_there_is_told() {
    use workflows::domain::ids::SaleId;
    use workflows::reconcile::reconciler::{Order, ReconcileError};
    let Some(quiet) = Quiet::set().await else {
        return;
    };
    let missing = SaleId::parse("missing").unwrap();
    let order = Order {
        sale: Some(missing.clone()),
        repair: false,
    };
    let told = quiet
        .node
        .reconciler
        .run(order, crate::support::PATIENCE)
        .await;
    assert!(matches!(told, Err(ReconcileError::NoSuchSale(sale)) if sale == missing));
    let before = quiet.gate().await;
    for words in [
        "HINCRBY @stock mug:available 5",
        "HINCRBY @stock mug:sold 5",
    ] {
        quiet.tamper(words).await;
    }
    let order = Order {
        sale: Some(sale_id()),
        repair: true,
    };
    let report = quiet
        .node
        .reconciler
        .run(order, crate::support::PATIENCE)
        .await;
    let report = report.unwrap();
    assert_eq!((report.found, report.repaired), (1, 1), "{report:?}");
    assert_eq!(quiet.gate().await, before);
    quiet.end().await;
}
