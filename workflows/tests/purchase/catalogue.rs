//! The catalogue's contract, on both databases.

use std::sync::Arc;

use engine::Runtime;
use engine::store::SqlDatabase;
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::domain::ids::SaleId;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{Catalogue, SeedError, Seeded};

use crate::support::{on_both_databases, product, sale, sale_id, seed};

fn catalogue(database: &SqlDatabase) -> Arc<SqlCatalogue> {
    Arc::new(SqlCatalogue::new(database.clone(), Runtime::system()))
}

/// The sound seed under another sale's and campaign's name.
fn other(name: &str) -> SaleSeed {
    let mut other = seed();
    other.sale = name.into();
    other.campaigns[0].campaign = format!("{name}-coupons");
    other
}

async fn a_sale_is_stored_as_it_was_seeded(database: SqlDatabase) {
    let catalogue = catalogue(&database);
    assert_eq!(
        catalogue
            .sale(&SaleId::parse("nothing").unwrap())
            .await
            .unwrap(),
        None
    );
    assert_eq!(catalogue.seed(&seed()).await.unwrap(), Seeded::Created);
    // Past the memory of the one that seeded.
    let stored = self::catalogue(&database).sale(&sale_id()).await.unwrap();
    assert_eq!(stored.as_deref(), Some(&sale()));
    assert_eq!(catalogue.sale(&sale_id()).await.unwrap(), stored);
}

async fn the_same_seed_again_changes_nothing_and_another_is_a_conflict(database: SqlDatabase) {
    let catalogue = catalogue(&database);
    assert_eq!(catalogue.seed(&seed()).await.unwrap(), Seeded::Created);
    let mut shuffled = seed();
    shuffled.products.reverse();
    assert_eq!(catalogue.seed(&shuffled).await.unwrap(), Seeded::Unchanged);
    let mut dearer = seed();
    dearer.products[0].unit_price = 1_001.into();
    assert!(matches!(
        catalogue.seed(&dearer).await,
        Err(SeedError::Conflict(_))
    ));
    assert_eq!(
        self::catalogue(&database)
            .sale(&sale_id())
            .await
            .unwrap()
            .as_deref(),
        Some(&sale())
    );
}

async fn a_campaign_belongs_to_one_sale_and_a_refused_seed_leaves_nothing(database: SqlDatabase) {
    let catalogue = catalogue(&database);
    catalogue.seed(&seed()).await.unwrap();
    let mut second = other("second");
    second.campaigns[0].campaign = "first".into();
    let Err(SeedError::Conflict(sentence)) = catalogue.seed(&second).await else {
        panic!("no conflict")
    };
    assert_eq!(sentence, "campaign first belongs to sale drop already");
    let second = SaleId::parse("second").unwrap();
    assert_eq!(catalogue.sale(&second).await.unwrap(), None);
    assert!(catalogue.stock_left(&second).await.unwrap().is_empty());
}

async fn many_who_seed_the_same_at_once_make_one_sale(database: SqlDatabase) {
    let seeds = (0..8).map(|_| {
        let catalogue = catalogue(&database);
        async move { catalogue.seed(&seed()).await.unwrap() }
    });
    let seeded = futures_util::future::join_all(seeds).await;
    assert_eq!(
        seeded
            .iter()
            .filter(|seeded| **seeded == Seeded::Created)
            .count(),
        1
    );
}

async fn sales_are_listed_by_name_a_page_at_a_time(database: SqlDatabase) {
    let catalogue = catalogue(&database);
    for name in ["c", "a", "b"] {
        catalogue.seed(&other(name)).await.unwrap();
    }
    let names = |sales: Vec<SaleId>| {
        sales
            .iter()
            .map(SaleId::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(catalogue.sales(None, 2).await.unwrap()), "a b");
    let b = SaleId::parse("b").unwrap();
    assert_eq!(names(catalogue.sales(Some(&b), 2).await.unwrap()), "c");
}

async fn the_stock_that_is_left_is_all_of_it_at_first(database: SqlDatabase) {
    let catalogue = catalogue(&database);
    catalogue.seed(&seed()).await.unwrap();
    let left = catalogue.stock_left(&sale_id()).await.unwrap();
    let available: Vec<_> = left
        .iter()
        .map(|left| (left.product.clone(), left.available()))
        .collect();
    assert_eq!(available, [(product("cap"), 5), (product("mug"), 10)]);
}

async fn a_bad_seed_is_refused_by_its_field(database: SqlDatabase) {
    let mut bad = seed();
    bad.products[1].stock = (-1).into();
    let Err(SeedError::Invalid(invalid)) = catalogue(&database).seed(&bad).await else {
        panic!("it was taken");
    };
    assert_eq!(invalid.field, "products[1].stock");
}

on_both_databases!(
    a_sale_is_stored_as_it_was_seeded,
    the_same_seed_again_changes_nothing_and_another_is_a_conflict,
    a_campaign_belongs_to_one_sale_and_a_refused_seed_leaves_nothing,
    many_who_seed_the_same_at_once_make_one_sale,
    sales_are_listed_by_name_a_page_at_a_time,
    the_stock_that_is_left_is_all_of_it_at_first,
    a_bad_seed_is_refused_by_its_field,
);
