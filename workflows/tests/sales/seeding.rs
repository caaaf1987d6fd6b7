//! Several sales in one seed: all of them, or none.

use engine::Runtime;
use engine::store::SqlDatabase;
use workflows::ports::catalogue::{Catalogue as _, ScheduleChange, SeedError, Seeded};

use crate::support::{catalogue, on_both_databases, product, sale_id, second, seed};

async fn a_seed_is_applied_whole_or_not_at_all(database: SqlDatabase) {
    let catalogue = catalogue(&database, &Runtime::system());
    let hours = (second(0), second(3_600));
    let sound = |name: &str| seed(name, hours.0, hours.1);
    catalogue.seed(&sound("there")).await.unwrap();

    let mut wrong = sound("wrong");
    wrong.products[0].stock = (-1).into();
    let mut thief = sound("thief");
    thief.campaigns[0].campaign = "there".into();
    let mut twin = sound("twin");
    twin.campaigns[0].campaign = "first".into();
    let refused = [
        (
            wrong,
            "sales[1].products[0].stock: must be a whole number from 0 to 100000000",
        ),
        (thief, "campaign there belongs to sale there already"),
        (
            twin,
            "sales[1].campaigns[0].campaign: `first` is named twice",
        ),
        (sound("first"), "sales[1].sale: `first` is named twice"),
    ];
    for (second, sentence) in refused {
        let error = catalogue
            .seed_all(&[sound("first"), second])
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), sentence);
    }
    let first = sale_id("first");
    assert_eq!(catalogue.sale_now(&first).await.unwrap(), None);
    assert!(catalogue.stock_left(&first).await.unwrap().is_empty());

    let all = [sound("there"), sound("first"), sound("second")];
    let (new, old) = (Seeded::Created, Seeded::Unchanged);
    assert_eq!(catalogue.seed_all(&all).await.unwrap(), [old, new, new]);
    assert_eq!(catalogue.seed_all(&all).await.unwrap(), [old, old, old]);
}

async fn an_empty_seed_is_refused(database: SqlDatabase) {
    let catalogue = catalogue(&database, &Runtime::system());
    let error = catalogue.seed_all(&[]).await.unwrap_err();
    assert_eq!(error.to_string(), "sales: must name 1 to 100 sales");
}

async fn a_seed_is_known_again_after_its_sale_was_rescheduled_and_recalled(database: SqlDatabase) {
    let catalogue = catalogue(&database, &Runtime::system());
    let far = (second(3_000_000_000), second(3_000_000_060));
    let moved = (second(3_000_000_010), second(3_000_000_070));
    let seeded = seed("drop", far.0, far.1);
    catalogue.seed(&seeded).await.unwrap();
    let change = ScheduleChange {
        sale: sale_id("drop"),
        revision: 1,
        opens_at: moved.0,
        closes_at: moved.1,
        is_cancelled: false,
    };
    catalogue.reschedule(&change).await.unwrap();
    assert!(
        catalogue
            .recall(&change.sale, &product("mug"), true)
            .await
            .unwrap()
    );

    // What was seeded, and what is true now, are both this sale; anything else is not.
    assert_eq!(catalogue.seed(&seeded).await.unwrap(), Seeded::Unchanged);
    let as_it_is = seed("drop", moved.0, moved.1);
    assert_eq!(catalogue.seed(&as_it_is).await.unwrap(), Seeded::Unchanged);
    let other = seed("drop", far.0, moved.1);
    let error = catalogue.seed(&other).await.unwrap_err();
    assert!(matches!(error, SeedError::Conflict(_)), "{error}");

    // And it did not put the old schedule back.
    let sale = catalogue.sale(&change.sale).await.unwrap().unwrap();
    assert_eq!((sale.opens_at, sale.revision), (moved.0, 2));
    assert!(sale.products[0].is_recalled);
}

async fn many_who_seed_overlapping_sales_at_once_make_each_of_them_once(database: SqlDatabase) {
    let runtime = Runtime::system();
    let seeds = (0..8).map(|number| {
        let catalogue = catalogue(&database, &runtime);
        let names = [format!("a-{}", number % 2), "shared".to_owned()];
        let seeds = names.map(|name| seed(&name, second(0), second(1)));
        async move { catalogue.seed_all(&seeds).await.unwrap() }
    });
    let seeded = futures_util::future::join_all(seeds).await;
    let created = seeded
        .iter()
        .flatten()
        .filter(|one| **one == Seeded::Created);
    assert_eq!(created.count(), 3);
}

on_both_databases!(
    a_seed_is_applied_whole_or_not_at_all,
    an_empty_seed_is_refused,
    a_seed_is_known_again_after_its_sale_was_rescheduled_and_recalled,
    many_who_seed_overlapping_sales_at_once_make_each_of_them_once,
);
