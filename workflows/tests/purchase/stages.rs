//! Where a purchase stands, in words, at every point of every way that it can take.

use std::sync::Arc;

use engine::definition::Definition;
use engine::workflow::{
    AfterFailure, By, Event, Failure, Record, Refusal, Signal, StepError, WorkflowState, follow,
};
use engine::{Payload, Timestamp};
use serde::Serialize;
use workflows::ports::payment_gateway::PaymentToken;
use workflows::purchase::{
    AUTHORISATION, Authorisation, Chargeable, Claim, Fulfilment, Hold, Paid, Prepared,
    PurchaseRequest, Settled, stage,
};

use crate::definition::definitions;
use crate::support::{redirect_request, request};

/// Every word that a stage has.
pub const WORDS: [&str; 12] = [
    "held",
    "awaiting-payment",
    "paying",
    "issuing",
    "undoing",
    "attention",
    "completed",
    "refunded",
    "expired",
    "cancelled",
    "refused",
    "given-up",
];

/// A purchase to which one thing happens after the other.
#[derive(Clone)]
struct Story(WorkflowState);

impl Story {
    fn begins(definition: Definition, input: &impl Serialize) -> Self {
        let definition = Arc::new(definition);
        let started = Event::Started {
            definition: definition.pinned().clone(),
            input: Payload::of(input).expect("it is JSON"),
            deadline: None,
        };
        let record = Record::new(1, Timestamp(1), started);
        let state = WorkflowState::start(&definition, &record).expect("legal");
        let followed = follow(state, record, &|_| false, None);
        Self(followed.expect("readable").0)
    }

    #[track_caller]
    fn then(&self, event: Event) -> Self {
        self.then_at(Timestamp(2), event)
    }

    #[track_caller]
    fn then_at(&self, at: Timestamp, event: Event) -> Self {
        let record = Record::new(self.0.seq + 1, at, event);
        let state = self.0.clone().apply(&record).expect("legal");
        let followed = follow(state, record, &|_| false, None);
        Self(followed.expect("readable").0)
    }

    #[track_caller]
    fn done(&self, step: &str, output: &impl Serialize) -> Self {
        self.then(Event::StepDone {
            step: step.to_owned(),
            attempt: 1,
            output: Payload::of(output).expect("it is JSON"),
        })
    }

    #[track_caller]
    fn refused(&self, step: &str, code: &str, message: &str) -> Self {
        self.then(Event::StepRefused {
            step: step.to_owned(),
            attempt: 1,
            refusal: Refusal::new(code, message),
            effect_may_exist: false,
        })
    }

    #[track_caller]
    fn told(&self, answer: &Authorisation) -> Self {
        self.then(Event::SignalReceived(Signal {
            name: AUTHORISATION.to_owned(),
            id: "1".to_owned(),
            payload: Payload::of(answer).expect("it is JSON"),
        }))
    }

    #[track_caller]
    fn undone(&self) -> Self {
        let undo = |story: &Self, step: &str| {
            story.then(Event::CompensationDone {
                step: step.to_owned(),
                attempt: 1,
            })
        };
        undo(&undo(self, "stock-reserve"), "coupon-claim")
    }

    #[track_caller]
    fn is(&self, word: &str, sentence: &str) -> &Self {
        let stage = stage(&self.0);
        assert_eq!((stage.word(), stage.sentence().as_str()), (word, sentence));
        assert!(WORDS.contains(&word));
        self
    }
}

const HELD: &str = "Your units are held.";
const AWAITING: &str =
    "Your units are held until you have authorised the payment, or until its time is over.";
const PAYING: &str = "Your payment is being made.";
const ISSUING: &str = "You have paid; your goods are being issued.";
const ATTENTION: &str =
    "Something went wrong that a person has to look at. The shop knows; you need not do anything.";

fn by() -> By {
    By {
        actor: "op".to_owned(),
        reason: "so".to_owned(),
    }
}

fn no_claim() -> Claim {
    Claim {
        campaign: None,
        was_claimed_ahead: false,
    }
}

fn paid() -> Paid {
    Paid {
        payment: None,
        captured: request("ann", &[("mug", 1)], None).total,
    }
}

fn issued() -> Fulfilment {
    Fulfilment::Issued { units: Vec::new() }
}

fn refunded(reason: &str) -> Fulfilment {
    Fulfilment::Refunded {
        payment: None,
        amount: paid().captured,
        reason: reason.to_owned(),
    }
}

/// A purchase that holds its units, on the way of stored means of payment.
#[track_caller]
fn stored() -> Story {
    let [stored, _] = definitions();
    let story = Story::begins(stored, &request("ann", &[("mug", 1)], None));
    story.is("held", HELD);
    let story = story.done("coupon-claim", &no_claim());
    story.is("held", HELD);
    story.done("stock-reserve", &Hold { units: 1 })
}

/// A purchase whose buyer is at the gateway.
#[track_caller]
fn at_gateway() -> Story {
    let [_, redirect] = definitions();
    let asked = redirect_request("ann", &[("mug", 1)], None, Timestamp(1));
    let story = Story::begins(redirect, &asked);
    let story = story.done("stock-reserve", &Hold { units: 1 });
    story.is("held", HELD);
    let story = story.done("coupon-claim", &no_claim());
    story.is("held", HELD);
    let prepared = Prepared {
        redirect_url: "https://gateway.example/1".to_owned(),
    };
    let story = story.done("payment-prepare", &prepared);
    story.is("awaiting-payment", AWAITING);
    story
}

#[test]
fn a_purchase_with_stored_means_of_payment_is_held_paid_issued_and_completed() {
    let story = stored();
    let story = story.is("paying", PAYING).done("payment", &paid());
    let story = story.is("issuing", ISSUING).done("goods-issue", &issued());
    let story = story
        .is("issuing", ISSUING)
        .done("gate-settle", &Settled {});
    story.is("completed", "The goods are yours.");
}

#[test]
fn one_that_is_authorised_at_the_gateway_awaits_that_in_between() {
    let token = PaymentToken::new("t");
    let story = at_gateway().told(&Authorisation::Authorised {
        token: token.clone(),
    });
    let story = story
        .is("paying", PAYING)
        .done("hold-extend", &Chargeable { token });
    let story = story.is("paying", PAYING).done("payment", &paid());
    let story = story.is("issuing", ISSUING).done("goods-issue", &issued());
    let story = story
        .is("issuing", ISSUING)
        .done("gate-settle", &Settled {});
    story.is("completed", "The goods are yours.");
}

#[test]
fn paid_goods_that_cannot_be_given_are_refunded_for_a_reason() {
    let returning = "The goods can't be given, and your money is being returned. What was held for you is being given back.";
    for (reason, sentence) in [
        (
            "product-recalled",
            "A product was recalled, so that no goods can be given. You got 1000 KRW back, all that you had paid.",
        ),
        (
            "serials-exhausted",
            "There are no serial numbers left for your goods. You got 1000 KRW back, all that you had paid.",
        ),
        (
            "goods-refused",
            "The goods could not be given. You got 1000 KRW back, all that you had paid.",
        ),
    ] {
        let story = stored().done("payment", &paid());
        let story = story.refused("goods-issue", reason, "No.");
        let story = story
            .is("undoing", returning)
            .done("refund", &refunded(reason));
        let story = story
            .is("undoing", returning)
            .done("gate-settle", &Settled {});
        story.is("refunded", sentence);
    }
}

#[test]
fn nobody_authorises_and_it_expires() {
    let story = at_gateway();
    let asked: PurchaseRequest = story.0.input.to().expect("a request");
    let fired = Event::TimerFired {
        step: AUTHORISATION.to_owned(),
    };
    let story = story.then_at(asked.hold_until, fired);
    let undoing = "The payment was not authorised in time; the units are on sale again. What was held for you is being given back.";
    let story = story.is("undoing", undoing).refused(
        "hold-extend",
        "hold-expired",
        "The payment was not authorised in time; the units are on sale again.",
    );
    story.is("undoing", undoing).undone().is(
        "expired",
        "The payment was not authorised in time. You were not charged, and your units are on sale again.",
    );
}

#[test]
fn the_buyer_cancels_and_it_is_cancelled() {
    let story = at_gateway().told(&Authorisation::Cancelled);
    let undoing =
        "You cancelled the purchase before it was paid. What was held for you is being given back.";
    let story = story.is("undoing", undoing).refused(
        "hold-extend",
        "cancelled-by-buyer",
        "You cancelled the purchase before it was paid.",
    );
    story.is("undoing", undoing).undone().is(
        "cancelled",
        "You cancelled the purchase. You were not charged.",
    );
}

#[test]
fn what_is_refused_says_why() {
    let no = "The payment was declined: not enough money";
    let story = stored().refused("payment", "payment-declined", no);
    let undoing = format!("{no} What was held for you is being given back.");
    story.is("undoing", &undoing).undone().is("refused", no);
}

#[test]
fn what_went_wrong_inside_is_told_without_its_insides() {
    let [stored, _] = definitions();
    let asked = request("ann", &[("mug", 1)], None);
    let begun = Story::begins(stored, &asked).done("coupon-claim", &no_claim());
    let sentence = "Something that the shop needs did not answer, and nothing came of it. You were not charged; please try again.";
    let undoing = format!("{sentence} What was held for you is being given back.");
    for class in [
        "gate-unavailable",
        "gate-unanswered",
        "port-unavailable",
        "attempt-timeout",
        "panic",
    ] {
        let turned_back = begun.then(Event::AttemptFailed {
            step: "stock-reserve".to_owned(),
            attempt: 1,
            failure: Failure::NoEffect,
            error: StepError::new(class, "10.0.0.7:6379: connection refused (os error 111)"),
            then: AfterFailure::TurnBack,
        });
        let undone = turned_back
            .is("undoing", &undoing)
            .then(Event::CompensationDone {
                step: "coupon-claim".to_owned(),
                attempt: 1,
            });
        undone.is("refused", sentence);
    }
    let called_off = begun.then(Event::CompensationRequested { by: by() });
    called_off.is(
        "undoing",
        "The shop called it off. You were not charged. What was held for you is being given back.",
    );
}

#[test]
fn what_waits_for_an_operator_says_so_and_what_one_gives_up_too() {
    let poisoned = Event::Poisoned {
        error: StepError::new("payment-mismatch", "1 is not 2"),
    };
    for story in [stored(), at_gateway(), stored().done("payment", &paid())] {
        let parked = story.then(poisoned.clone());
        parked.is("attention", ATTENTION);
        let abandoned = parked.then(Event::Abandoned {
            by: by(),
            left: parked.0.left(),
        });
        abandoned.is(
            "given-up",
            "The shop closed this purchase by hand. Ask it what became of it.",
        );
    }
    stored()
        .then(Event::Paused { by: by() })
        .is("attention", ATTENTION);
}
