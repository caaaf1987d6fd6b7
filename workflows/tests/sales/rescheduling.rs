//! Schedules: what may be changed when, and by whom of two who try.

use std::sync::Arc;

use engine::runtime::{SeededEntropy, TokioSpawner};
use engine::store::SqlDatabase;
use engine::{Runtime, Timestamp};
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::ports::catalogue::{Catalogue as _, RescheduleError, ScheduleChange};

use crate::support::{HandClock, catalogue, on_both_databases, product, sale_id, second, seed};

struct Desk {
    clock: HandClock,
    catalogue: SqlCatalogue,
}

impl Desk {
    /// A sale `drop` that opens at second 100 and closes at second 200; it is second 0.
    async fn open(database: &SqlDatabase) -> Self {
        let clock = HandClock::at(second(0));
        let runtime = Runtime::new(
            Arc::new(clock.clone()),
            Arc::new(SeededEntropy::new(1)),
            Arc::new(TokioSpawner),
        );
        let catalogue = catalogue(database, &runtime);
        let drop = seed("drop", second(100), second(200));
        catalogue.seed(&drop).await.unwrap();
        Self { clock, catalogue }
    }

    async fn to(&self, revision: u32, opens: i64, closes: i64) -> Result<u32, RescheduleError> {
        self.change(revision, second(opens), second(closes), false)
            .await
    }

    async fn cancel(&self, revision: u32) -> Result<u32, RescheduleError> {
        self.change(revision, second(0), second(1), true).await
    }

    async fn change(
        &self,
        revision: u32,
        opens_at: Timestamp,
        closes_at: Timestamp,
        is_cancelled: bool,
    ) -> Result<u32, RescheduleError> {
        let change = ScheduleChange {
            sale: sale_id("drop"),
            revision,
            opens_at,
            closes_at,
            is_cancelled,
        };
        let changed = self.catalogue.reschedule(&change).await?;
        let stored = self.catalogue.sale_now(&change.sale).await.unwrap();
        assert_eq!(stored, Some(Arc::clone(&changed)));
        Ok(changed.revision)
    }

    #[track_caller]
    fn refused(result: Result<u32, RescheduleError>) -> String {
        result.unwrap_err().to_string()
    }
}

async fn each_change_takes_the_next_revision_and_leaves_the_stock_alone(database: SqlDatabase) {
    let desk = Desk::open(&database).await;
    let before = desk.catalogue.stock_left(&sale_id("drop")).await.unwrap();
    assert_eq!(desk.to(1, 150, 250).await.unwrap(), 2);
    assert_eq!(desk.to(2, 50, 60).await.unwrap(), 3);
    let after = desk.catalogue.stock_left(&sale_id("drop")).await.unwrap();
    assert_eq!(before, after);
}

async fn a_change_of_an_older_schedule_is_refused_and_a_repeat_is_the_same_change(
    database: SqlDatabase,
) {
    let desk = Desk::open(&database).await;
    assert_eq!(desk.to(1, 150, 250).await.unwrap(), 2);
    assert_eq!(desk.to(1, 150, 250).await.unwrap(), 2);
    let refused = Desk::refused(desk.to(1, 160, 250).await);
    assert_eq!(refused, "the schedule has revision 2 by now, not 1");
    let refused = Desk::refused(desk.to(7, 160, 250).await);
    assert_eq!(refused, "the schedule has revision 2 by now, not 7");
}

async fn of_many_who_change_a_schedule_at_once_one_does(database: SqlDatabase) {
    let desk = Desk::open(&database).await;
    let changes = (0..16).map(|number| desk.to(1, 110 + number, 250));
    let results = futures_util::future::join_all(changes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let sale = desk.catalogue.sale_now(&sale_id("drop")).await.unwrap();
    assert_eq!(sale.unwrap().revision, 2);
}

async fn what_has_happened_stays_so(database: SqlDatabase) {
    let desk = Desk::open(&database).await;
    desk.clock.set(second(100));
    let refused = Desk::refused(desk.to(1, 150, 250).await);
    assert_eq!(
        refused,
        "opens_at: the sale has opened: only its closing can be moved, or it can be cancelled"
    );
    assert_eq!(desk.to(1, 100, 150).await.unwrap(), 2);
    desk.clock.set(second(150));
    let refused = Desk::refused(desk.to(2, 100, 300).await);
    assert_eq!(refused, "closes_at: the sale has closed, and stays so");
    let refused = Desk::refused(desk.cancel(2).await);
    assert_eq!(refused, "closes_at: the sale has closed, and stays so");
}

async fn a_cancelled_sale_stays_cancelled_and_keeps_its_hours(database: SqlDatabase) {
    let desk = Desk::open(&database).await;
    assert_eq!(desk.cancel(1).await.unwrap(), 2);
    assert_eq!(desk.cancel(1).await.unwrap(), 2);
    let sale = desk.catalogue.sale(&sale_id("drop")).await.unwrap();
    let sale = sale.unwrap();
    assert_eq!((sale.is_cancelled, sale.opens_at), (true, second(100)));
    let refused = Desk::refused(desk.to(2, 150, 250).await);
    assert_eq!(refused, "cancelled: the sale was cancelled, and stays so");
}

async fn hours_must_be_in_order_and_the_sale_must_be_there(database: SqlDatabase) {
    let desk = Desk::open(&database).await;
    let refused = Desk::refused(desk.to(1, 150, 150).await);
    assert_eq!(refused, "closes_at: must be after opens_at");
    let change = ScheduleChange {
        sale: sale_id("nothing"),
        revision: 1,
        opens_at: second(1),
        closes_at: second(2),
        is_cancelled: false,
    };
    let error = desk.catalogue.reschedule(&change).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no sale nothing");
}

async fn a_product_is_recalled_and_offered_again(database: SqlDatabase) {
    let desk = Desk::open(&database).await;
    let (drop, mug) = (sale_id("drop"), product("mug"));
    for is_recalled in [true, true, false] {
        assert!(
            desk.catalogue
                .recall(&drop, &mug, is_recalled)
                .await
                .unwrap()
        );
        let sale = desk.catalogue.sale(&drop).await.unwrap().unwrap();
        assert_eq!(sale.products[0].is_recalled, is_recalled);
        assert_eq!(sale.revision, 1);
    }
    assert!(
        !desk
            .catalogue
            .recall(&drop, &product("cap"), true)
            .await
            .unwrap()
    );
    assert!(
        !desk
            .catalogue
            .recall(&sale_id("no"), &mug, true)
            .await
            .unwrap()
    );
}

on_both_databases!(
    each_change_takes_the_next_revision_and_leaves_the_stock_alone,
    a_change_of_an_older_schedule_is_refused_and_a_repeat_is_the_same_change,
    of_many_who_change_a_schedule_at_once_one_does,
    what_has_happened_stays_so,
    a_cancelled_sale_stays_cancelled_and_keeps_its_hours,
    hours_must_be_in_order_and_the_sale_must_be_there,
    a_product_is_recalled_and_offered_again,
);
