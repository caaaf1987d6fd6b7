//! What a gateway or a buyer does wrong, as the buyer, the operator and the gateway's ledger see it afterwards.

use serde_json::{Value, json};

use super::market::{Market, mugs};
use super::stack::{Stack, on_both_stacks};
use crate::support::eventually;
use crate::support::rounds::instant_of;

on_both_stacks! {
    failed_attempts_leave_a_record,
    unpaid_purchases_expire_while_their_node_is_dead,
    another_guest_cant_confirm,
    an_authorisation_of_another_order_buys_nothing,
    a_paid_amount_that_is_not_ours_is_never_paid,
    a_charge_that_is_tried_again_captures_once,
}

/// The steps of a workflow by name, as an operator sees them.
async fn step(market: &Market, id: &str, name: &str) -> Value {
    let workflow = market.look(&format!("workflows/{id}")).await;
    let steps = workflow["steps"].as_array().expect("steps").clone();
    let found = steps.into_iter().find(|step| step["name"] == name);
    found.unwrap_or_else(|| panic!("no step {name}: {workflow:#}"))
}

/// The journal of a workflow.
async fn journal(market: &Market, id: &str) -> Vec<Value> {
    let events = market
        .look(&format!("workflows/{id}/events?limit=500"))
        .await;
    events["events"].as_array().expect("a list").clone()
}

/// Each failed attempt is in the journal with its reason and its time, also after a crash, and also when all went well in the end.
async fn failed_attempts_leave_a_record(stack: Stack) {
    let mut market = Market::open(&stack, &mugs(10)).await;
    market.rules(&json!({ "faulty_attempts": 2 })).await;
    let (token, healed) = market.shop().bought("k", "tok-500-before").await;
    assert_eq!(
        market.shop().settled(&token, &healed).await["state"],
        "COMPLETED"
    );
    let (declined_by, declined) = market.shop().bought("k", "tok-declined").await;
    let settled = market.shop().settled(&declined_by, &declined).await;
    assert_eq!(settled["state"], "COMPENSATED", "{settled}");
    let (_, mismatched) = market.shop().bought("k", "tok-wrong-amount").await;
    market.is_parked(&mismatched).await;
    market.shop().quiet().await;

    for node in 0..stack.nodes().len() {
        market.kill(node).await;
    }
    for node in 0..stack.nodes().len() {
        market.start_again(node).await;
    }
    let attempts = step(&market, &healed, "payment").await["attempts"].clone();
    assert!(attempts.as_u64() >= Some(2), "{attempts}");
    let failures: Vec<Value> = journal(&market, &healed)
        .await
        .into_iter()
        .filter(|event| event.to_string().contains("500"))
        .collect();
    assert!(failures.len() >= 2, "{failures:#?}");
    for failure in &failures {
        assert!(failure["at"].is_string(), "{failure:#}");
    }
    // What was refused, and what waits for a person, say why.
    let refused = market.look(&format!("workflows/{declined}")).await;
    let why = &refused["turned_back_because"];
    assert_eq!(why["code"], "payment-declined", "{refused:#}");
    let parked = step(&market, &mismatched, "payment").await;
    let message = parked["last_error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("10000") || message.contains("10,000"),
        "{parked:#}"
    );
    let groups = market.look("errors").await;
    assert!(groups.to_string().contains("payment"), "{groups:#}");
}

/// The node that held the timer is killed before it is due, and nobody has it for a while.
async fn unpaid_purchases_expire_while_their_node_is_dead(stack: Stack) {
    let mut sale = mugs(5);
    sale["hold_seconds"] = json!(10);
    let mut market = Market::open(&stack, &sale).await;
    let (payer, page) = market.payer().await;
    assert_eq!(market.left().await, [4, 4]);
    let until = market.ask(&payer.token, &payer.id).await.body["hold_until"].clone();
    market.kill(0).await;
    if stack.nodes().len() == 1 {
        market.start_again(0).await;
    }
    let settled = market.shop().settled(&payer.token, &payer.id).await;
    assert_eq!(settled["stage"], "expired", "{settled}");
    assert_eq!(settled["reason"]["code"], "hold-expired", "{settled}");
    // Not before its time, by the clock that told it.
    let instant = |text: &Value| instant_of(text.as_str().expect("a time"));
    let (expired, until) = (instant(&settled["updated_at"]), instant(&until));
    assert!(expired >= until, "{expired:?} {until:?}");
    market.left_comes_to(&[5, 5]).await;
    // Who authorises now has paid for nothing and is told so.
    let body = json!({ "decision": "authorise" });
    let decided = crate::support::http::answered(market.shop().http.post(&page).json(&body)).await;
    let authorization = decided.body["authorization"]
        .as_str()
        .unwrap_or("auth-too-late");
    let path = format!("{}/confirm", payer.id);
    let late = market.tell(&payer.token, &path, authorization).await;
    late.expect_problem(409, "payment-over");
    assert_eq!(market.ledger_of(&payer.id).await, [0, 0, 0]);
    // The buyer may buy again, with the coupon.
    let again = market.shop().order("tok-1");
    let id = market.shop().accepted(&payer.token, "again", &again).await;
    market.shop().settled(&payer.token, &id).await;
    market.adds_up().await;
}

/// Not with the authorisation, not with the buyer's own purchase beside it, at no node.
async fn another_guest_cant_confirm(stack: Stack) {
    let market = Market::open(&stack, &mugs(5)).await;
    let (payer, page) = market.payer().await;
    let (stranger, _) = market.payer().await;
    let authorization = market.authorise(&page).await;
    market.comes_to(&payer.id, "WAITING").await;
    let journal_before = journal(&market, &payer.id).await.len();
    for verb in ["confirm", "cancel"] {
        let path = format!("{}/{verb}", payer.id);
        for shop in &market.shops {
            let url = format!("{}/v1/purchases/{path}", shop.buyers);
            let request = shop.http.post(url).bearer_auth(&stranger.token);
            let request = request.json(&json!({ "authorization": authorization }));
            let answer = crate::support::http::answered(request).await;
            answer.expect_problem(404, "not-found");
        }
        let nobody = market.tell("not-a-token", &path, &authorization).await;
        assert_eq!(nobody.status, 401, "{nobody:?}");
    }
    assert_eq!(journal(&market, &payer.id).await.len(), journal_before);
    assert_eq!(market.ledger_of(&payer.id).await, [0, 0, 0]);
    let path = format!("{}/confirm", payer.id);
    let mine = market.tell(&payer.token, &path, &authorization).await;
    assert_eq!(mine.status, 202, "{mine:?}");
    let settled = market.shop().settled(&payer.token, &payer.id).await;
    assert_eq!(settled["stage"], "completed", "{settled}");
    let path = format!("{}/cancel", stranger.id);
    let cancelled = market.tell(&stranger.token, &path, "").await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    market.left_comes_to(&[4, 4]).await;
    market.adds_up().await;
}

/// A buyer brings the authorisation that another buyer gave, for the same amount: nobody is charged by it, and its owner still
/// can use it.
async fn an_authorisation_of_another_order_buys_nothing(stack: Stack) {
    let market = Market::open(&stack, &mugs(5)).await;
    let (victim, page) = market.payer().await;
    let (thief, _) = market.payer().await;
    let authorization = market.authorise(&page).await;
    let path = format!("{}/confirm", thief.id);
    let stolen = market.tell(&thief.token, &path, &authorization).await;
    assert!([202, 409].contains(&stolen.status), "{stolen:?}");
    let settled = market.shop().settled(&thief.token, &thief.id).await;
    assert_ne!(settled["stage"], "completed", "{settled}");
    assert_eq!(settled["goods"], Value::Null, "{settled}");
    assert_eq!(market.ledger_of(&thief.id).await[0], 0);
    assert_eq!(market.ledger_of(&victim.id).await[0], 0);
    let path = format!("{}/confirm", victim.id);
    let mine = market.tell(&victim.token, &path, &authorization).await;
    assert_eq!(mine.status, 202, "{mine:?}");
    let settled = market.shop().settled(&victim.token, &victim.id).await;
    assert_eq!(settled["stage"], "completed", "{settled}");
    assert_eq!(market.ledger_of(&victim.id).await, [1, 0, 0]);
    market.left_comes_to(&[4, 4]).await;
    market.adds_up().await;
}

/// One minor unit less, another currency, another order: parked with both sides in the reason, nothing issued, and what is held
/// for it stays held until an operator decides. The books say what the gateway holds meanwhile.
async fn a_paid_amount_that_is_not_ours_is_never_paid(stack: Stack) {
    const LIES: [(&str, &str); 3] = [
        ("tok-wrong-amount", "9999 KRW"),
        ("tok-wrong-currency+inquiry-wrong-currency", "10000 XTS"),
        ("tok-wrong-order+inquiry-wrong-order", "another-order"),
    ];
    let mut market = Market::open(&stack, &mugs(50)).await;
    let mut bought = Vec::new();
    for (card, said) in LIES {
        let (token, id) = market.shop().bought("k", card).await;
        bought.push((token, id, card, said));
    }
    for (token, id, card, said) in &bought {
        market.is_parked(id).await;
        let seen = market.ask(token, id).await.body;
        assert_eq!(seen["stage"], "attention", "{card}: {seen}");
        assert_eq!(seen["goods"], Value::Null, "{card}: {seen}");
        let error = step(&market, id, "payment").await["last_error"].clone();
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(said) && message.contains("10000 KRW") | message.contains(id),
            "{card}: {error:#}"
        );
        // The buyer who sends it again is told of the same one, and nothing is captured again.
        let again = market
            .shop()
            .buy(token, "k", &market.shop().order(card))
            .await;
        assert_eq!(again.body["id"], id.as_str(), "{again:?}");
        assert_eq!(market.ledger_of(id).await, [1, 0, 0], "{card}");
    }
    market.shop().quiet().await;
    market.left_comes_to(&[47, 47]).await;
    let ids = bought.iter().map(|(_, id, ..)| id.as_str());
    is_accounted_for(&market, &ids.collect::<Vec<_>>()).await;
    // A gateway that says nothing holds nobody knows what.
    market.kill_gateway().await;
    let undecided = market.books().await["undecided"].clone();
    assert_eq!(undecided["purchases"], 3, "{undecided:#}");
    assert_eq!(undecided["unresolved"], 3, "{undecided:#}");
    assert_eq!(undecided["held"], json!([]), "{undecided:#}");
}

/// What is neither paid nor not paid is in the books as that, by the gateway's word, and where that is about another order nobody
/// guesses. The check of the money says how much is held by the gateway's own ledger, in which the currency was right all along.
async fn is_accounted_for(market: &Market, ids: &[&str]) {
    let books = market.books().await;
    assert_eq!(books["adds_up"], true, "{books:#}");
    let counted = ["paid", "issued", "refunded", "outstanding"].map(|sum| &books[sum]);
    assert_eq!(counted, [0, 0, 0, 0], "{books:#}");
    let undecided = &books["undecided"];
    assert_eq!(undecided["purchases"], 3, "{books:#}");
    assert_eq!(undecided["unresolved"], 1, "{books:#}");
    let held = json!([
        { "amount": 9_999, "currency": "KRW" },
        { "amount": 10_000, "currency": "XTS" },
    ]);
    assert_eq!(undecided["held"], held, "{books:#}");
    let listed = undecided["listed"].as_array().expect("a list");
    let of = |id: &str| {
        let found = listed.iter().find(|one| one["purchase"] == id);
        found.unwrap_or_else(|| panic!("{id} is not listed: {books:#}"))
    };
    for (id, held) in ids.iter().zip([&held[0], &held[1], &Value::Null]) {
        let one = of(id);
        assert_eq!(&one["held"], held, "{one:#}");
        assert_eq!(one["state"], "PARKED", "{one:#}");
        let total = json!({ "amount": 10_000, "currency": "KRW" });
        assert_eq!(one["total"], total, "{one:#}");
        assert!(one["gateway_says"].is_string(), "{one:#}");
    }
    let invariants = market.shop().invariants().await;
    let money = &invariants[2];
    assert_eq!(
        (&money["id"], &money["verdict"]),
        (&json!("I3"), &json!("holds"))
    );
    let note = money["notes"].to_string();
    assert!(
        note.contains("3 purchases") && note.contains("29999 KRW"),
        "{money:#}"
    );
}

/// The answer is lost, empty, cut off, and late; the gateway says that it is busy; and it captures once.
async fn a_charge_that_is_tried_again_captures_once(stack: Stack) {
    let market = Market::open_with(&stack, &mugs(100), &[("HOLDFAST_PG_TIMEOUT", "1s")]).await;
    market
        .rules(&json!({ "faulty_attempts": 2, "hold_ms": 2_000 }))
        .await;
    let faults = [
        "500-before",
        "500-after",
        "reset-before",
        "reset-after",
        "timeout-before",
        "timeout-after",
        "empty-body",
        "malformed-body",
        "busy",
        "in-progress",
        "500-after+inquiry-500-before",
        "empty-body+inquiry-lag",
    ];
    let mut bought = Vec::new();
    for fault in faults {
        let card = format!("tok-{fault}");
        let (token, id) = market.shop().bought("k", &card).await;
        bought.push((fault, token, id));
    }
    for (fault, token, id) in &bought {
        let settled = eventually(&format!("the end of {fault}"), || async {
            let settled = market.shop().settled(token, id).await;
            (settled["state"] != "RUNNING").then_some(settled)
        })
        .await;
        assert_eq!(settled["stage"], "completed", "{fault}: {settled}");
        assert_eq!(market.ledger_of(id).await, [1, 0, 0], "{fault}");
    }
    market.adds_up().await;
}
