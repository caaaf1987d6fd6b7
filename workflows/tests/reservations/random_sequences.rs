//! Any sequence of calls is answered as the plain model answers it, by both adapters.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use workflows::domain::ids::CampaignId;
use workflows::ports::reservations::{
    CampaignSnapshot, ClaimPurpose, ClaimRequest, HoldState, ReleaseRequest, ReserveRequest,
    SaleSnapshot, ScheduleRequest,
};

use crate::harness::{FAR_AHEAD_MS, LONG_AGO_MS, Pair, operation, small_sale};
use crate::model::Model;

/// Few names, so that calls meet: of operations, buyers, products and campaigns; some are of nothing in the sale.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        name: u8,
        who: u8,
        lines: [u32; 3],
        hold: HoldState,
        epoch: u64,
        remember: bool,
    },
    Claim {
        name: u8,
        who: u8,
        campaign: u8,
        purpose: ClaimPurpose,
        epoch: u64,
        remember: bool,
    },
    Extend {
        name: u8,
    },
    Confirm {
        name: u8,
        claim: Option<u8>,
    },
    Release {
        name: u8,
        forget: bool,
        only_under: Option<u64>,
    },
    ReleaseClaim {
        name: u8,
        forget: bool,
        only_under: Option<u64>,
    },
    Schedule {
        revision: u32,
        hours: Hours,
    },
    Rebuild {
        all_ended: bool,
    },
    CloseGate,
}

#[derive(Clone, Copy, Debug)]
enum Hours {
    Open,
    Ahead,
    Over,
    Cancelled,
}

fn step() -> impl Strategy<Value = Step> {
    let (holds, claims, who) = (0..8_u8, 4..14_u8, 0..4_u8);
    let lines = prop_oneof![
        6 => (1..4_u32).prop_map(|cap| [cap, 0, 0]),
        4 => (0..3_u32, 1..3_u32).prop_map(|(cap, tee)| [cap, tee, 0]),
        1 => (0..3_u32, 0..3_u32, 1..3_u32).prop_map(|(cap, tee, mug)| [cap, tee, mug]),
    ];
    let campaign = prop_oneof![6 => 0..2_u8, 1 => 2..6_u8];
    let hours = prop_oneof![
        6 => Just(Hours::Open), 1 => Just(Hours::Ahead), 1 => Just(Hours::Over), 1 => Just(Hours::Cancelled),
    ];
    let epoch = 1..4_u64;
    let only_under = proptest::option::weighted(0.3, epoch.clone());
    let hold = prop_oneof![Just(HoldState::Held), Just(HoldState::Paying)];
    let purpose = prop_oneof![Just(ClaimPurpose::Ahead), Just(ClaimPurpose::Purchase)];
    prop_oneof![
        16 => (holds.clone(), who.clone(), lines, hold, epoch.clone(), any::<bool>())
            .prop_map(|(name, who, lines, hold, epoch, remember)| {
                Step::Reserve { name, who, lines, hold, epoch, remember }
            }),
        18 => (claims.clone(), who, campaign, purpose, epoch, any::<bool>())
            .prop_map(|(name, who, campaign, purpose, epoch, remember)| {
                Step::Claim { name, who, campaign, purpose, epoch, remember }
            }),
        4 => holds.clone().prop_map(|name| Step::Extend { name }),
        8 => (holds.clone(), proptest::option::of(claims.clone()))
            .prop_map(|(name, claim)| Step::Confirm { name, claim }),
        8 => (holds, proptest::bool::weighted(0.3), only_under.clone())
            .prop_map(|(name, forget, only_under)| Step::Release { name, forget, only_under }),
        9 => (claims, proptest::bool::weighted(0.4), only_under)
            .prop_map(|(name, forget, only_under)| Step::ReleaseClaim { name, forget, only_under }),
        2 => (1..8_u32, hours).prop_map(|(revision, hours)| Step::Schedule { revision, hours }),
        2 => any::<bool>().prop_map(|all_ended| Step::Rebuild { all_ended }),
        1 => Just(Step::CloseGate),
    ]
}

fn key(name: u8) -> String {
    format!("w{name}")
}

fn buyer_name(who: u8) -> &'static str {
    ["ann", "bob", "cid", "dee"][usize::from(who)]
}

fn campaign_name(campaign: u8) -> &'static str {
    ["early", "vip", "none", "later", "past", "soon"][usize::from(campaign)]
}

fn wanted(lines: [u32; 3]) -> Vec<(&'static str, u32)> {
    ["cap", "tee", "mug"]
        .into_iter()
        .zip(lines)
        .filter(|(_, quantity)| *quantity > 0)
        .collect()
}

async fn follow(pair: &Pair, model: &mut Model, step: &Step, generation: u64) {
    match step {
        Step::Reserve {
            name,
            who,
            lines,
            hold,
            epoch,
            remember,
        } => {
            let request = pair.reserve_request(&key(*name), buyer_name(*who), &wanted(*lines));
            let request = ReserveRequest {
                epoch: *epoch,
                hold: *hold,
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
            purpose,
            epoch,
            remember,
        } => {
            let campaign = campaign_name(*campaign);
            let request = pair.claim_request(&key(*name), buyer_name(*who), campaign);
            let request = ClaimRequest {
                epoch: *epoch,
                purpose: *purpose,
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
        Step::Extend { name } => {
            let expected = model.extend(&operation(&key(*name)));
            assert_eq!(pair.extend(&key(*name)).await, expected, "{step:?}");
        }
        Step::Release {
            name,
            forget,
            only_under,
        } => {
            let request = release(pair, *name, *forget, *only_under);
            let released = pair.release_as(&request).await;
            assert_eq!(released, model.release(&request), "{step:?}");
        }
        Step::ReleaseClaim {
            name,
            forget,
            only_under,
        } => {
            let request = release(pair, *name, *forget, *only_under);
            let released = pair.release_claim_as(&request).await;
            assert_eq!(released, model.release_claim(&request), "{step:?}");
        }
        Step::Schedule { revision, hours } => {
            let request = schedule(pair, *revision, *hours);
            let expected = model.schedule(&request);
            assert_eq!(pair.schedule(&request).await, expected, "{step:?}");
        }
        Step::Rebuild { all_ended } => {
            let snapshot = reopened(model.snapshot(generation, *all_ended));
            pair.rebuild(snapshot.clone()).await.unwrap();
            model.rebuild(&snapshot);
        }
        Step::CloseGate => {
            pair.close_gate().await.unwrap();
            model.close_gate();
        }
    }
    model.check(pair.counts().await.unwrap().as_ref());
    assert_eq!(pair.operations().await.ok(), model.operations(), "{step:?}");
}

fn release(pair: &Pair, name: u8, forget: bool, only_under: Option<u64>) -> ReleaseRequest {
    ReleaseRequest {
        forget,
        only_under,
        ..pair.release_request(&key(name))
    }
}

/// Open again, so that a sequence goes on.
fn reopened(snapshot: SaleSnapshot) -> SaleSnapshot {
    SaleSnapshot {
        opens_at_ms: LONG_AGO_MS,
        closes_at_ms: FAR_AHEAD_MS,
        is_cancelled: false,
        ..snapshot
    }
}

fn schedule(pair: &Pair, revision: u32, hours: Hours) -> ScheduleRequest {
    let (opens_at_ms, closes_at_ms) = match hours {
        Hours::Open | Hours::Cancelled => (LONG_AGO_MS, FAR_AHEAD_MS),
        Hours::Ahead => (FAR_AHEAD_MS, FAR_AHEAD_MS + 1),
        Hours::Over => (LONG_AGO_MS - 1, LONG_AGO_MS),
    };
    ScheduleRequest {
        opens_at_ms,
        closes_at_ms,
        is_cancelled: matches!(hours, Hours::Cancelled),
        ..pair.schedule_request(revision)
    }
}

/// Small enough to run out of everything.
fn scarce_sale() -> SaleSnapshot {
    let mut sale = small_sale();
    sale.products[0].total = 7;
    let early = &sale.campaigns[0];
    let named = |name, size| CampaignSnapshot {
        campaign: CampaignId::parse(name).unwrap(),
        size,
        ..early.clone()
    };
    let others = [
        CampaignSnapshot {
            claim_in_purchase: false,
            ..named("vip", 1)
        },
        CampaignSnapshot {
            valid_from_ms: Some(FAR_AHEAD_MS),
            ..named("later", 1)
        },
        CampaignSnapshot {
            valid_until_ms: Some(LONG_AGO_MS),
            ..named("past", 1)
        },
        CampaignSnapshot {
            claims_from_ms: Some(FAR_AHEAD_MS),
            ..named("soon", 1)
        },
    ];
    sale.campaigns.extend(others);
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
            follow(&pair, &mut model, &Step::Rebuild { all_ended: false }, 1).await;
            for (index, step) in steps.iter().enumerate() {
                follow(&pair, &mut model, step, index as u64 + 2).await;
            }
            pair.close_gate().await.unwrap();
        });
        Ok(())
    });
    followed.unwrap_or_else(|error| panic!("HOLDFAST_SEED={seed}: {error}"));
}
