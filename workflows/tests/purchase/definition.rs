//! The saga's shape.

use std::sync::Arc;

use engine::definition::{Durability, Phase};
use engine::{PartitionId, WorkflowId};
use workflows::ports::payment_gateway::PaymentGateway;
use workflows::purchase::{self, Gate, GateAlarm, coupon_operation, stock_operation};

use crate::support::{FaultyGate, ScriptedGateway};

fn definition() -> engine::definition::Definition {
    let gate = Gate {
        reservations: Arc::new(FaultyGate::new()),
        alarm: GateAlarm::default(),
    };
    let gateway: Arc<dyn PaymentGateway> = Arc::new(ScriptedGateway::default());
    purchase::definition(&gate, &gateway).expect("a sound saga")
}

#[test]
fn coupon_and_stock_come_together_then_the_money_then_the_goods_then_the_gate() {
    insta::assert_snapshot!(definition().to_mermaid(), @r#"
    flowchart LR
        s0["coupon-claim"]
        s1["stock-reserve"]
        s2{"payment"}
        s3("goods-issue")
        s4("stock-confirm")
        s0 --> s2
        s1 --> s2
        s2 --> s3
        s3 --> s4
    "#);
}

#[test]
fn only_the_payment_waits_for_the_journal() {
    let definition = definition();
    let barriers: Vec<&str> = definition
        .steps()
        .iter()
        .filter(|step| step.policy.durability == Durability::Barrier)
        .map(|step| &*step.name)
        .collect();
    assert_eq!(barriers, ["payment"]);
    let undoable: Vec<bool> = definition
        .steps()
        .iter()
        .map(|step| step.undoable)
        .collect();
    assert_eq!(undoable, [true, true, false, false, false]);
    assert_eq!(definition.steps()[2].phase, Phase::Pivot);
}

#[test]
fn a_definition_that_workflows_are_pinned_to_does_not_change_unnoticed() {
    // A changed graph needs another version, and the old one beside it.
    insta::assert_snapshot!(definition().pinned(), @"purchase v1");
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
}
