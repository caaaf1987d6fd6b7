//! Any sequence of calls is answered as the plain model answers it, by both adapters.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use workflows::ports::reservations::{ClaimRequest, ReserveRequest, SaleSnapshot};

use crate::harness::{Pair, operation, small_sale};
use crate::model::Model;

/// Few names, so that calls meet: of operations, buyers, products and campaigns; some are of nothing in the sale.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        name: u8,
        who: u8,
        lines: [u32; 3],
        remember: bool,
    },
    Claim {
        name: u8,
        who: u8,
        campaign: u8,
        remember: bool,
    },
    Confirm {
        name: u8,
        claim: Option<u8>,
    },
    Release {
        name: u8,
    },
    ReleaseClaim {
        name: u8,
    },
    Rebuild,
    CloseGate,
}

fn step() -> impl Strategy<Value = Step> {
    let (holds, claims, who) = (0..8_u8, 4..12_u8, 0..4_u8);
    let lines = prop_oneof![
        6 => (1..4_u32).prop_map(|cap| [cap, 0, 0]),
        4 => (0..3_u32, 1..3_u32).prop_map(|(cap, tee)| [cap, tee, 0]),
        1 => (0..3_u32, 0..3_u32, 1..3_u32).prop_map(|(cap, tee, mug)| [cap, tee, mug]),
    ];
    prop_oneof![
        8 => (holds.clone(), who.clone(), lines, any::<bool>())
            .prop_map(|(name, who, lines, remember)| Step::Reserve { name, who, lines, remember }),
        6 => (claims.clone(), who, 0..3_u8, any::<bool>())
            .prop_map(|(name, who, campaign, remember)| Step::Claim { name, who, campaign, remember }),
        4 => (holds.clone(), proptest::option::of(claims.clone()))
            .prop_map(|(name, claim)| Step::Confirm { name, claim }),
        4 => holds.prop_map(|name| Step::Release { name }),
        3 => claims.prop_map(|name| Step::ReleaseClaim { name }),
        1 => Just(Step::Rebuild),
        1 => Just(Step::CloseGate),
    ]
}

fn key(name: u8) -> String {
    format!("w{name}")
}

fn buyer_name(who: u8) -> &'static str {
    ["ann", "bob", "cid", "dee"][usize::from(who)]
}

async fn follow(pair: &Pair, model: &mut Model, step: &Step, generation: u64) {
    match step {
        Step::Reserve {
            name,
            who,
            lines,
            remember,
        } => {
            let wanted: Vec<_> = ["cap", "tee", "mug"]
                .into_iter()
                .zip(*lines)
                .filter(|(_, quantity)| *quantity > 0)
                .collect();
            let request = pair.reserve_request(&key(*name), buyer_name(*who), &wanted);
            let request = ReserveRequest {
                remember_refusal: *remember,
                ..request
            };
            assert_eq!(
                pair.reserve(&request).await,
                model.reserve(&request),
                "{step:?}"
            );
        }
        Step::Claim {
            name,
            who,
            campaign,
            remember,
        } => {
            let campaign = ["early", "vip", "none"][usize::from(*campaign)];
            let request = pair.claim_request(&key(*name), buyer_name(*who), campaign);
            let request = ClaimRequest {
                remember_refusal: *remember,
                ..request
            };
            assert_eq!(
                pair.claim(&request).await,
                model.claim(&request),
                "{step:?}"
            );
        }
        Step::Confirm { name, claim } => {
            let claim = claim.map(key);
            let request = pair.confirm_request(&key(*name), claim.as_deref());
            assert_eq!(
                pair.confirm(&request).await,
                model.confirm(&request),
                "{step:?}"
            );
        }
        Step::Release { name } => {
            let expected = model.release(&operation(&key(*name)));
            assert_eq!(pair.release(&key(*name)).await, expected, "{step:?}");
        }
        Step::ReleaseClaim { name } => {
            let expected = model.release_claim(&operation(&key(*name)));
            assert_eq!(pair.release_claim(&key(*name)).await, expected, "{step:?}");
        }
        Step::Rebuild => {
            let snapshot = model.snapshot(generation);
            pair.rebuild(snapshot.clone()).await.unwrap();
            model.rebuild(&snapshot);
        }
        Step::CloseGate => {
            pair.close_gate().await.unwrap();
            model.close_gate();
        }
    }
    model.check(pair.counts().await.unwrap().as_ref());
}

/// Small enough to run out of everything.
fn scarce_sale() -> SaleSnapshot {
    let mut sale = small_sale();
    sale.products[0].total = 7;
    let mut vip = sale.campaigns[0].clone();
    vip.campaign = workflows::domain::ids::CampaignId::parse("vip").unwrap();
    vip.size = 1;
    sale.campaigns.push(vip);
    sale
}

#[test]
fn any_sequence_of_calls_is_answered_as_the_model_answers_it() {
    let seed = std::env::var("HOLDFAST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    println!("seed: HOLDFAST_SEED={seed}");
    let config = Config {
        cases: 96,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pair = runtime.block_on(Pair::new());
    let sequences = prop::collection::vec(step(), 1..60);
    let followed = TestRunner::new(config).run(&sequences, |steps| {
        runtime.block_on(async {
            let mut model = Model::closed(scarce_sale());
            follow(&pair, &mut model, &Step::Rebuild, 1).await;
            for (index, step) in steps.iter().enumerate() {
                follow(&pair, &mut model, step, index as u64 + 2).await;
            }
            pair.close_gate().await.unwrap();
        });
        Ok(())
    });
    followed.unwrap_or_else(|error| panic!("HOLDFAST_SEED={seed}: {error}"));
}
