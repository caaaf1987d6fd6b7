//! One task for each sale that somebody listens to: looks at the schedule, is there at the instant when the sale opens or closes,
//! and looks at the stock once a second.

use std::sync::Arc;
use std::time::Duration;

use engine::{Runtime, Timestamp};
use tokio::sync::watch;
use workflows::domain::ids::SaleId;
use workflows::domain::sale::Sale;

use super::picture::{EventId, Picture, Stock, sale_event, stock_event};
use super::source::Source;
use super::streams::Watched;
use crate::sale::SalePhase;

/// How often the schedule is looked at: so late may it be known that a sale was put off. It is read from memory, which is a second
/// old at most.
const SCHEDULE_EVERY: Duration = Duration::from_millis(500);
/// How long a look at the schedule may take.
const SCHEDULE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the database is waited for at the due instant. Then the schedule counts that was read before: it is younger than
/// [`SCHEDULE_EVERY`] and a second.
const DUE_PATIENCE: Duration = Duration::from_millis(100);
/// How often the stock is told at most.
const STOCK_EVERY: Duration = Duration::from_secs(1);

/// Watches one sale.
pub struct Watcher {
    pub runtime: Runtime,
    pub source: Arc<dyn Source>,
    pub watched: Watched,
    pub sender: watch::Sender<Picture>,
}

/// What the first listener is told.
pub fn first_picture(sale: &Sale, now: Timestamp) -> Picture {
    let phase = SalePhase::of(sale, now);
    Picture {
        id: EventId::of(sale, phase),
        sale: sale_event(sale, phase, now),
        stock: None,
    }
}

impl Watcher {
    /// Until nobody listens.
    pub async fn run(self, sale: Arc<Sale>) {
        let name = sale.sale.clone();
        tokio::select! {
            () = self.unheard(&name) => {}
            () = self.tell_schedule(sale) => {}
            () = self.tell_stock(&name) => {}
        }
    }

    async fn unheard(&self, sale: &SaleId) {
        loop {
            self.sender.closed().await;
            if self.watched.forget_unheard(sale) {
                return;
            }
        }
    }

    async fn tell_schedule(&self, mut sale: Arc<Sale>) {
        loop {
            let now = self.runtime.now();
            let known = SalePhase::of(&sale, now);
            self.tell(&sale, known);
            let next = now.after(SCHEDULE_EVERY);
            let due = known.until(&sale).filter(|due| *due <= next);
            self.runtime.sleep_until(due.unwrap_or(next)).await;
            let read = if due.is_some() {
                let read = self.source.sale_now(&sale.sale);
                self.runtime.within(DUE_PATIENCE, read).await
            } else {
                // The due instant is kept also when the database is slow.
                let left = known.until(&sale).map(|due| due.since(self.runtime.now()));
                let patience = left.map_or(SCHEDULE_PATIENCE, |left| left.min(SCHEDULE_PATIENCE));
                let read = self.source.sale(&sale.sale);
                self.runtime.within(patience, read).await
            };
            match read {
                // Memory may be older than what was read at the due instant.
                Some(Ok(Some(read))) if read.revision >= sale.revision => sale = read,
                Some(Err(error)) => {
                    tracing::debug!(sale = %sale.sale, %error, "a sale's schedule could not be read");
                }
                _ => {}
            }
        }
    }

    /// Tells where the sale stands, if that is news.
    fn tell(&self, sale: &Sale, phase: SalePhase) {
        let id = EventId::of(sale, phase);
        self.sender.send_if_modified(|picture| {
            if picture.id == id {
                return false;
            }
            picture.id = id;
            picture.sale = sale_event(sale, phase, self.runtime.now());
            true
        });
    }

    async fn tell_stock(&self, sale: &SaleId) {
        let (mut known, mut version) = (None, 0);
        loop {
            let read = self
                .runtime
                .within(STOCK_EVERY, self.source.left(sale))
                .await;
            // A gate that is being rebuilt says nothing for a while.
            let left = read.flatten().filter(|left| known.as_ref() != Some(left));
            if let Some(left) = left {
                version += 1;
                let event = stock_event(&left);
                self.sender
                    .send_modify(|picture| picture.stock = Some(Stock { version, event }));
                known = Some(left);
            }
            self.runtime.sleep(STOCK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rehearsal::Rehearsal;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sale_opens_and_closes_at_the_very_instant() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        assert_eq!(client.sale().await, (10_000, 1, "open"));
        assert_eq!(client.sale().await, (20_000, 1, "closed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sale_that_was_put_off_at_the_last_moment_does_not_open() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        // Memory does not know it yet.
        stage.source.in_database(|sale| {
            sale.revision = 2;
            sale.opens_at = Timestamp(15_000_000);
        });
        assert_eq!(client.sale().await, (10_000, 2, "scheduled"));
        assert_eq!(client.sale().await, (15_000, 2, "open"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sale_that_is_cancelled_is_told_within_a_look() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        stage.source.everywhere(|sale| {
            sale.revision = 2;
            sale.is_cancelled = true;
        });
        assert_eq!(client.sale().await, (500, 2, "cancelled"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_database_delays_no_opening_beyond_its_bound() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        stage.source.hang();
        assert_eq!(client.sale().await, (10_100, 1, "open"));
    }

    #[tokio::test(start_paused = true)]
    async fn stock_is_told_when_it_changed_and_once_a_second_at_most() {
        let stage = Rehearsal::new(0, 60_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "open"));
        assert_eq!(client.stock().await, (0, 10));
        stage.source.sell(3);
        stage.source.sell(3);
        assert_eq!(client.stock().await, (1_000, 4));
        stage.runtime.sleep(Duration::from_millis(2_500)).await;
        stage.source.sell(1);
        assert_eq!(client.stock().await, (4_000, 3));
    }
}
