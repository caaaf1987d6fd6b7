//! A clock that nobody waits for: when nothing is left to do at one instant, it jumps to the next one for which somebody sleeps.
//! It stands still while a step is at work, so that real work never looks like a time-out.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::runtime::{Clock, Timestamp};

/// The instant at which each world begins: 2020-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_577_836_800_000_000);
/// So many rounds in which no task moves mean that nothing is left to do at this instant.
const QUIET_ROUNDS: u32 = 2;

tokio::task_local! {
    /// Set while a step is at work: if it sleeps by this clock, it is not.
    static AT_WORK: ();
}

struct Inner {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
    next_sleeper: u64,
    /// Steps that are at work.
    at_work: u32,
    /// Grows with everything that happens.
    moves: u64,
}

/// The clock. Clones are the same clock.
#[derive(Clone)]
pub(super) struct JumpingClock {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
}

impl JumpingClock {
    pub(super) fn new() -> Self {
        let inner = Inner {
            now: BEGINNING,
            sleepers: BTreeMap::new(),
            next_sleeper: 0,
            at_work: 0,
            moves: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            changed: Arc::default(),
        }
    }

    /// Sets the clock to `instant`, be it later, with everybody waking at once who sleeps until then, or earlier.
    pub(super) fn set(&self, instant: Timestamp) {
        let mut inner = self.lock();
        inner.now = instant;
        inner.moves += 1;
        let later = inner.sleepers.split_off(&(instant, u64::MAX));
        let awake = std::mem::replace(&mut inner.sleepers, later);
        drop(inner);
        for waker in awake.into_values() {
            waker.wake();
        }
    }

    /// Jumps whenever nothing is left to do, for as long as it is polled.
    pub(super) async fn jump_for_ever(&self) {
        let mut seen = 0;
        let mut quiet = 0;
        loop {
            let changed = self.changed.notified();
            let (moves, at_work, next) = self.glance();
            quiet = if moves == seen { quiet + 1 } else { 0 };
            seen = moves;
            match next {
                Some(instant) if at_work == 0 && quiet >= QUIET_ROUNDS => {
                    self.set(instant);
                    quiet = 0;
                }
                Some(_) if at_work == 0 => tokio::task::yield_now().await,
                _ => changed.await,
            }
        }
    }

    /// Runs a step's own code: the clock stands still until it is over.
    pub(super) async fn at_work<T>(&self, work: impl Future<Output = T>) -> T {
        self.enter();
        let _at_work = AtWork(self.clone());
        AT_WORK.scope((), work).await
    }

    /// `task`, such that the clock sees it move.
    pub(super) fn watched(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let clock = self.clone();
        let mut task = Box::pin(task);
        std::future::poll_fn(move |context| {
            clock.moved();
            task.as_mut().poll(context)
        })
    }

    fn glance(&self) -> (u64, u32, Option<Timestamp>) {
        let inner = self.lock();
        let next = inner.sleepers.keys().next().map(|(instant, _)| *instant);
        (inner.moves, inner.at_work, next)
    }

    fn enter(&self) {
        self.lock().at_work += 1;
    }

    fn leave(&self) {
        self.lock().at_work -= 1;
        self.moved();
    }

    fn moved(&self) {
        self.lock().moves += 1;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let sleep = Sleep {
            clock: clock.clone(),
            instant,
            number: None,
        };
        Box::pin(async move {
            if AT_WORK.try_with(|()| ()).is_err() {
                return sleep.await;
            }
            // A step that sleeps is not at work.
            clock.leave();
            let _back_at_work = BackAtWork(clock);
            sleep.await;
        })
    }
}

/// A step is at work until this is dropped.
struct AtWork(JumpingClock);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A step sleeps until this is dropped.
struct BackAtWork(JumpingClock);

impl Drop for BackAtWork {
    fn drop(&mut self) {
        self.0.enter();
    }
}

struct Sleep {
    clock: JumpingClock,
    instant: Timestamp,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let instant = self.instant;
        let clock = self.clock.clone();
        let mut inner = clock.lock();
        if inner.now >= instant {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            inner.next_sleeper += 1;
            inner.next_sleeper
        });
        let waker = context.waker().clone();
        if inner.sleepers.insert((instant, number), waker).is_none() {
            drop(inner);
            clock.moved();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.lock().sleepers.remove(&(self.instant, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    fn run<T>(clock: &JumpingClock, test: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::select! {
                biased;
                value = test => value,
                () = clock.jump_for_ever() => unreachable!("it jumps for ever"),
            }
        })
    }

    fn after(seconds: u64) -> Timestamp {
        BEGINNING.after(Duration::from_secs(seconds))
    }

    #[test]
    fn it_jumps_from_sleeper_to_sleeper_in_their_order() {
        let clock = JumpingClock::new();
        let woken = Mutex::new(Vec::new());
        let sleep = |seconds| {
            let (clock, woken) = (&clock, &woken);
            async move {
                clock.sleep_until(after(seconds)).await;
                let woken_at = clock.now().since(BEGINNING).as_secs();
                woken.lock().unwrap().push((seconds, woken_at));
            }
        };
        run(&clock, join_all([86_400, 2, 1, 3_000_000].map(sleep)));
        let seconds = [1, 2, 86_400, 3_000_000];
        assert_eq!(woken.into_inner().unwrap(), seconds.map(|at| (at, at)));
    }

    #[test]
    fn it_stands_still_while_a_step_is_at_work_elsewhere() {
        let clock = JumpingClock::new();
        let worked = run(&clock, async {
            let (answer, asked) = tokio::sync::oneshot::channel();
            let thread = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                answer.send(()).expect("somebody waits");
            });
            let work = clock.at_work(async { asked.await.expect("answered") });
            let in_time = tokio::select! {
                biased;
                () = work => true,
                () = clock.sleep_until(after(1)) => false,
            };
            thread.join().expect("it ended");
            in_time
        });
        assert!(worked, "the time-out came first");
    }

    #[test]
    fn a_step_that_sleeps_by_it_does_not_stop_it() {
        let clock = JumpingClock::new();
        run(&clock, clock.at_work(clock.sleep_until(after(5))));
        assert_eq!(clock.now(), after(5));
        assert_eq!(clock.glance().1, 0);
    }
}
