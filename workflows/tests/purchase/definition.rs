//! The sagas' shapes.

use std::sync::Arc;

use engine::definition::{Definition, Durability, Phase};
use engine::{PartitionId, WorkflowId};
use workflows::campaign::{self, issue_operation};
use workflows::purchase::{
    self, Gate, GateAlarm, PaymentMeans, Ports, coupon_operation, definition_name, is_purchase,
    stock_operation,
};

use crate::support::{
    FaultyGate, ScriptedGateway, StillCatalogue, StillSerials, redirect_request, request, sale,
};

fn ports() -> Ports {
    Ports {
        gate: Gate {
            reservations: Arc::new(FaultyGate::new()),
            alarm: GateAlarm::default(),
        },
        gateway: Arc::new(ScriptedGateway::default()),
        catalogue: Arc::new(StillCatalogue::new(sale())),
        serials: Arc::new(StillSerials::default()),
    }
}

/// The saga of stored means of payment, and that of payments which are authorised at the gateway.
pub fn definitions() -> [Definition; 2] {
    let definitions = purchase::definitions(&ports()).expect("sound sagas");
    let Ok(both) = definitions.try_into() else {
        panic!("there are two of them")
    };
    both
}

fn names_of(definition: &Definition, durability: Durability) -> Vec<&str> {
    definition
        .steps()
        .iter()
        .filter(|step| step.policy.durability == durability)
        .map(|step| &*step.name)
        .collect()
}

#[test]
fn coupon_and_stock_come_together_then_the_money_then_the_goods_or_a_refund_then_the_gate() {
    let [stored, _] = definitions();
    insta::assert_snapshot!(stored.to_mermaid(), @r#"
    flowchart LR
        s0["coupon-claim"]
        s1["stock-reserve"]
        s2{"payment"}
        s3("goods-issue")
        s4("refund")
        s5("gate-settle")
        s0 --> s2
        s1 --> s2
        s2 --> s3
        s3 --> s5
        s4 --> s5
        s3 -. refused .-> s4
    "#);
}

#[test]
fn who_pays_at_the_gateway_holds_first_then_authorises_and_then_it_is_the_same() {
    let [_, redirect] = definitions();
    insta::assert_snapshot!(redirect.to_mermaid(), @r#"
    flowchart LR
        s0["coupon-claim"]
        s1["stock-reserve"]
        s2["payment-prepare"]
        s3>"authorisation"]
        s4["hold-extend"]
        s5{"payment"}
        s6("goods-issue")
        s7("refund")
        s8("gate-settle")
        s0 --> s2
        s1 --> s2
        s2 --> s3
        s3 --> s4
        s4 --> s5
        s5 --> s6
        s6 --> s8
        s7 --> s8
        s6 -. refused .-> s7
    "#);
}

#[test]
fn a_coupon_ahead_of_the_sale_is_one_step() {
    let claim = campaign::definition(&ports().gate).expect("a sound saga");
    insta::assert_snapshot!(claim.to_mermaid(), @r#"
    flowchart LR
        s0["coupon-issue"]
    "#);
    assert!(claim.steps()[0].undoable);
}

#[test]
fn only_the_gateway_waits_for_the_journal() {
    let [stored, redirect] = definitions();
    assert_eq!(
        names_of(&stored, Durability::Barrier),
        ["payment", "refund"]
    );
    let at_gateway = ["payment-prepare", "authorisation", "payment", "refund"];
    assert_eq!(names_of(&redirect, Durability::Barrier), at_gateway);
    for definition in [stored, redirect] {
        let undoable = definition.steps().iter().filter(|step| step.undoable);
        let undoable: Vec<&str> = undoable.map(|step| &*step.name).collect();
        assert_eq!(undoable, ["coupon-claim", "stock-reserve"]);
        let pivots = definition.steps().iter();
        let pivots: Vec<&str> = pivots
            .filter(|step| step.phase == Phase::Pivot)
            .map(|step| &*step.name)
            .collect();
        assert_eq!(pivots, ["payment"]);
    }
}

#[test]
fn a_definition_that_workflows_are_pinned_to_does_not_change_unnoticed() {
    // A changed graph needs another version, and the old one beside it.
    let pinned = definitions().map(|definition| definition.pinned().to_string());
    assert_eq!(pinned, ["purchase v1", "purchase-redirect v1"]);
}

#[test]
fn a_purchase_takes_the_saga_of_its_means_of_payment_and_nothing_to_pay_needs_no_gateway() {
    let stored = request("ann", &[("mug", 1)], None);
    assert_eq!(definition_name(&stored), purchase::NAME);
    let mut redirect = redirect_request("ann", &[("mug", 1)], None, engine::Timestamp(1));
    assert_eq!(redirect.payment, PaymentMeans::Redirect);
    assert_eq!(definition_name(&redirect), purchase::REDIRECT_NAME);
    redirect.total.amount = 0;
    assert_eq!(definition_name(&redirect), purchase::NAME);
    assert!(is_purchase(purchase::NAME) && is_purchase(purchase::REDIRECT_NAME));
    assert!(!is_purchase(campaign::NAME));
}

#[test]
fn an_operation_belongs_to_one_workflow_and_one_step() {
    let [here, there] = [1, 2].map(|partition| WorkflowId::new(PartitionId(partition), [0xab; 12]));
    assert_eq!(
        stock_operation(here).to_string(),
        format!("{here}/stock-reserve")
    );
    assert_ne!(stock_operation(here), stock_operation(there));
    assert_ne!(stock_operation(here), coupon_operation(here));
    assert_ne!(coupon_operation(here), issue_operation(here));
}
