//! Pools of serial numbers: each number has one owner, and none is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::store::SqlDatabase;
use engine::{PartitionId, Runtime, WorkflowId};
use workflows::adapters::serials::SqlSerials;
use workflows::ports::serials::{FillError, PoolLevel, SerialLine, Serials as _};

use crate::support::{on_both_databases, product, sale_id};

fn pools(database: &SqlDatabase) -> SqlSerials {
    SqlSerials::new(database.clone(), Runtime::system())
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("SN-{number:05}")).collect()
}

fn line(purchase: u32, line: u32, units: u32) -> SerialLine {
    let mut ident = [0; 12];
    ident[..4].copy_from_slice(&purchase.to_be_bytes());
    SerialLine {
        sale: sale_id("drop"),
        product: product("mug"),
        workflow: WorkflowId::new(PartitionId(1), ident),
        line,
        units,
    }
}

async fn filled(database: &SqlDatabase, count: usize) -> SqlSerials {
    let pools = pools(database);
    let (drop, mug) = (sale_id("drop"), product("mug"));
    assert_eq!(
        pools.fill(&drop, &mug, &numbers(count)).await.unwrap(),
        count as u64
    );
    pools
}

async fn level(pools: &SqlSerials) -> (u64, u64) {
    let level = pools.level(&sale_id("drop"), &product("mug")).await;
    let PoolLevel { filled, taken } = level.unwrap();
    (filled, taken)
}

async fn a_line_gets_the_same_numbers_every_time(database: SqlDatabase) {
    let pools = filled(&database, 10).await;
    let first = pools.take(&line(1, 0, 3)).await.unwrap().unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(
        pools.take(&line(1, 0, 3)).await.unwrap(),
        Some(first.clone())
    );
    let elsewhere = self::pools(&database);
    assert_eq!(elsewhere.take(&line(1, 0, 3)).await.unwrap(), Some(first));
    pools.take(&line(1, 1, 2)).await.unwrap().unwrap();
    assert_eq!(level(&pools).await, (10, 5));
}

async fn a_pool_that_is_too_small_gives_nothing_at_all(database: SqlDatabase) {
    let pools = filled(&database, 3).await;
    assert_eq!(pools.take(&line(1, 0, 4)).await.unwrap(), None);
    assert_eq!(level(&pools).await, (3, 0));
    assert!(pools.take(&line(1, 0, 3)).await.unwrap().is_some());
    assert_eq!(pools.take(&line(2, 0, 1)).await.unwrap(), None);
    let mut cap = line(3, 0, 1);
    cap.product = product("cap");
    assert_eq!(pools.take(&cap).await.unwrap(), None);
}

async fn what_is_given_back_is_taken_again_and_nothing_else_is_given_back(database: SqlDatabase) {
    let pools = filled(&database, 5).await;
    for units in [(1, 0, 2), (1, 1, 1), (2, 0, 2)] {
        let taken = pools.take(&line(units.0, units.1, units.2)).await.unwrap();
        assert!(taken.is_some());
    }
    let first = line(1, 0, 2).workflow;
    for _ in 0..2 {
        pools.give_back(&sale_id("drop"), first).await.unwrap();
        assert_eq!(level(&pools).await, (5, 2));
    }
    assert!(pools.take(&line(3, 0, 3)).await.unwrap().is_some());
    // A late repeat gives back nothing of the one who has them now.
    pools.give_back(&sale_id("drop"), first).await.unwrap();
    assert_eq!(level(&pools).await, (5, 5));
}

// An attempt that was given up on, and arrives after its purchase was refunded.
async fn a_purchase_that_gave_its_numbers_back_never_takes_any_again(database: SqlDatabase) {
    let pools = filled(&database, 5).await;
    pools.take(&line(1, 0, 2)).await.unwrap().unwrap();
    let elsewhere = self::pools(&database);
    for workflow in [line(1, 0, 2).workflow, line(2, 0, 1).workflow] {
        elsewhere
            .give_back(&sale_id("drop"), workflow)
            .await
            .unwrap();
        elsewhere
            .give_back(&sale_id("drop"), workflow)
            .await
            .unwrap();
    }
    for late in [line(1, 0, 2), line(1, 1, 1), line(2, 0, 1)] {
        assert_eq!(pools.take(&late).await.unwrap(), None);
    }
    assert_eq!(level(&pools).await, (5, 0));
    // At the same time: either it has them before, and they are given back, or it gets none.
    for purchase in 10..30 {
        let line = line(purchase, 0, 3);
        let sale = sale_id("drop");
        let (taken, given) = futures_util::future::join(
            pools.take(&line),
            elsewhere.give_back(&sale, line.workflow),
        )
        .await;
        assert!(taken.is_ok() && given.is_ok(), "{taken:?}, {given:?}");
        assert_eq!(level(&pools).await, (5, 0), "purchase {purchase}");
    }
}

async fn many_at_once_share_a_pool_as_large_as_their_demand_to_the_last_number(
    database: SqlDatabase,
) {
    const BUYERS: u32 = 96;
    // Two processes, one to three units each, each line asked for twice at the same time.
    let nodes = [pools(&database), pools(&database)].map(Arc::new);
    let demand: u32 = (0..BUYERS).map(|buyer| 1 + buyer % 3).sum();
    filled(&database, demand as usize).await;
    let takes = (0..2 * BUYERS).map(|number| {
        let buyer = number / 2;
        let node = Arc::clone(&nodes[(number % 2) as usize]);
        let line = line(buyer, 0, 1 + buyer % 3);
        async move {
            // A step whose attempt was turned away by others makes the next one.
            for _ in 0..20 {
                if let Ok(taken) = node.take(&line).await {
                    return (buyer, taken.expect("there are as many as are wanted"));
                }
            }
            panic!("purchase {buyer} got nothing in 20 attempts");
        }
    });
    let mut all = BTreeSet::new();
    let mut by_buyer = std::collections::BTreeMap::new();
    for (buyer, serials) in futures_util::future::join_all(takes).await {
        let earlier = by_buyer.entry(buyer).or_insert_with(|| serials.clone());
        assert_eq!(
            *earlier, serials,
            "purchase {buyer} got two sets of numbers"
        );
    }
    for serials in by_buyer.into_values() {
        for serial in serials {
            assert!(all.insert(serial.clone()), "{serial} has two owners");
        }
    }
    assert_eq!(all, numbers(demand as usize).into_iter().collect());
    assert_eq!(level(&nodes[0]).await, (demand.into(), demand.into()));
    assert_eq!(nodes[1].take(&line(BUYERS, 0, 1)).await.unwrap(), None);
}

async fn a_long_pool_is_given_out_page_by_page(database: SqlDatabase) {
    let pools = filled(&database, 1_300).await;
    for purchase in 0..13 {
        let taken = pools.take(&line(purchase, 0, 100)).await.unwrap();
        assert_eq!(taken.map(|taken| taken.len()), Some(100));
    }
    assert_eq!(level(&pools).await, (1_300, 1_300));
}

async fn a_pool_is_filled_with_all_numbers_or_none(database: SqlDatabase) {
    let pools = filled(&database, 3).await;
    let (drop, mug, cap) = (sale_id("drop"), product("mug"), product("cap"));
    // Those that are in it already stay; the others are added.
    assert_eq!(pools.fill(&drop, &mug, &numbers(450)).await.unwrap(), 447);
    assert_eq!(pools.fill(&drop, &mug, &numbers(450)).await.unwrap(), 0);
    let mixed = ["NEW".to_owned(), "SN-00001".to_owned()];
    let error = pools.fill(&drop, &cap, &mixed).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "serial SN-00001 belongs to product mug already"
    );
    assert_eq!(
        pools.level(&drop, &cap).await.unwrap(),
        PoolLevel::default()
    );
    // In another sale it is another number.
    let other = sale_id("other");
    assert_eq!(pools.fill(&other, &cap, &mixed).await.unwrap(), 2);
}

async fn every_bad_number_is_named_by_its_place(database: SqlDatabase) {
    let pools = pools(&database);
    let long = "x".repeat(101);
    let bad: [(&[&str], &str); 6] = [
        (&[], "serials"),
        (&["A", ""], "serials[1]"),
        (&["A", "B", "A"], "serials[2]"),
        (&["A B"], "serials[0]"),
        (&["é"], "serials[0]"),
        (&["A", &long], "serials[1]"),
    ];
    for (serials, place) in bad {
        let serials: Vec<String> = serials.iter().map(|text| (*text).to_owned()).collect();
        let filled = pools
            .fill(&sale_id("drop"), &product("mug"), &serials)
            .await;
        let Err(FillError::Invalid { field, .. }) = filled else {
            panic!("{serials:?}: {filled:?}")
        };
        assert_eq!(field, place);
    }
    assert_eq!(level(&pools).await, (0, 0));
}

on_both_databases!(
    a_line_gets_the_same_numbers_every_time,
    a_pool_that_is_too_small_gives_nothing_at_all,
    what_is_given_back_is_taken_again_and_nothing_else_is_given_back,
    a_purchase_that_gave_its_numbers_back_never_takes_any_again,
    many_at_once_share_a_pool_as_large_as_their_demand_to_the_last_number,
    a_long_pool_is_given_out_page_by_page,
    a_pool_is_filled_with_all_numbers_or_none,
    every_bad_number_is_named_by_its_place,
);
