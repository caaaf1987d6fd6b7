//! What one client hears: the present state, then what changes, and a heart-beat when nothing does.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use engine::{Runtime, Timestamp};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;

use super::picture::{EventId, Picture};
use super::streams::Subscription;
use crate::http::stopped;

/// A comment, so that a connection that broke is noticed on both sides.
const HEART_BEAT: Bytes = Bytes::from_static(b": heart-beat\n\n");
const HEART_BEAT_EVERY: Duration = Duration::from_secs(15);
/// A client whose connection ended comes back after one to so many seconds more, so that not all come at the same instant.
const RECONNECT_SPREAD_MS: u64 = 3_000;

struct Client {
    subscription: Subscription,
    known: Option<EventId>,
    known_stock: u64,
    heart_beat_at: Timestamp,
    runtime: Runtime,
    stopping: watch::Receiver<bool>,
}

/// The events for one client that knows `known` already, until the listeners stop.
pub fn events(
    subscription: Subscription,
    known: Option<EventId>,
    runtime: Runtime,
    stopping: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let client = Client {
        subscription,
        known,
        known_stock: 0,
        heart_beat_at: runtime.now().after(HEART_BEAT_EVERY),
        runtime,
        stopping,
    };
    let pause_ms = 1_000 + client.runtime.next_u64() % RECONNECT_SPREAD_MS;
    let hello = Bytes::from(format!("retry: {pause_ms}\n\n"));
    unfold((Some(hello), client), |(hello, mut client)| async {
        let event = match hello {
            Some(hello) => hello,
            None => client.next().await?,
        };
        Some((Ok(event), (None, client)))
    })
}

impl Client {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(news) = self.news() {
                return Some(news);
            }
            tokio::select! {
                changed = self.subscription.pictures.changed() => changed.ok()?,
                () = stopped(&mut self.stopping) => return None,
                () = self.runtime.sleep_until(self.heart_beat_at) => {
                    self.heart_beat_at = self.runtime.now().after(HEART_BEAT_EVERY);
                    return Some(HEART_BEAT);
                }
            }
        }
    }

    /// What the client does not know yet.
    fn news(&mut self) -> Option<Bytes> {
        let picture = self.subscription.pictures.borrow_and_update();
        let Picture { id, sale, stock } = &*picture;
        if self.known != Some(*id) {
            self.known = Some(*id);
            return Some(sale.clone());
        }
        let stock = stock.as_ref()?;
        if self.known_stock == stock.version {
            return None;
        }
        self.known_stock = stock.version;
        Some(stock.event.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::Timestamp;

    use super::super::picture::EventId;
    use super::super::rehearsal::Rehearsal;

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_is_told_what_it_does_not_know() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut informed = stage.client(EventId::parse("1-0"));
        assert_eq!(informed.sale().await, (10_000, 1, "open"));
        let mut outdated = stage.client(EventId::parse("1-0"));
        assert_eq!(outdated.sale().await, (10_000, 1, "open"));
        let mut confused = stage.client(EventId::parse("77-7"));
        assert_eq!(confused.sale().await, (10_000, 1, "open"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_the_latest_and_nothing_that_came_between() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        for revision in 2..50 {
            stage.source.everywhere(|sale| {
                sale.revision = revision;
                sale.opens_at = Timestamp(sale.opens_at.0 + 1);
            });
            stage.runtime.sleep(Duration::from_secs(1)).await;
        }
        let (_, latest, word) = client.sale().await;
        assert_eq!((latest, word), (49, "closed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_beats_every_fifteen_seconds() {
        let stage = Rehearsal::new(3_600_000, 7_200_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        for beat in 1..=3 {
            assert_eq!(client.heart_beat().await, beat * 15_000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_the_listeners_stop() {
        let stage = Rehearsal::new(10_000, 20_000);
        let mut client = stage.client(None);
        assert_eq!(client.sale().await, (0, 1, "scheduled"));
        stage.stop();
        assert!(client.has_ended().await);
    }
}
