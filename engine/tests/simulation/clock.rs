//! The clock, the randomness and the tasks of one life of a process. Its clock may be wrong, may jump, and may run fast or slow.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use engine::runtime::{Clock, SeededEntropy, Spawner};
use engine::{Runtime, Timestamp};
use futures_util::future::BoxFuture;

use super::executor::{Owner, Simulation};

/// When every run begins, by the database's clock: some day in 2027.
const BEGINNING_US: i64 = 1_800_000_000_000_000;

/// A clock.
pub struct SimulatedClock {
    simulation: Simulation,
    offset_us: AtomicI64,
    /// How much it runs fast (or slow) by, in microseconds a second.
    drift_ppm: i64,
}

impl SimulatedClock {
    pub fn new(simulation: &Simulation, offset_us: i64, drift_ppm: i64) -> Arc<Self> {
        Arc::new(Self {
            simulation: simulation.clone(),
            offset_us: AtomicI64::new(offset_us),
            drift_ppm,
        })
    }

    /// It is set to another time.
    pub fn jump(&self, by_us: i64) {
        self.offset_us.fetch_add(by_us, Ordering::Relaxed);
    }

    /// It is set right, but for the drift that it has gathered.
    pub fn set_right(&self, offset_us: i64) {
        self.offset_us.store(offset_us, Ordering::Relaxed);
    }

    pub fn offset_us(&self) -> i64 {
        self.offset_us.load(Ordering::Relaxed)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let true_us = i64::try_from(self.simulation.now_us()).unwrap_or(i64::MAX / 4);
        let drift_us = true_us / 1_000 * self.drift_ppm / 1_000;
        Timestamp(BEGINNING_US + true_us + drift_us + self.offset_us())
    }

    /// As by the system's clock: how long is decided now, and a jump of the clock does not change it.
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let wait = instant.since(self.now());
        let wait_us = i128::try_from(wait.as_micros()).unwrap_or(i128::from(u64::MAX));
        let wait_us = wait_us * 1_000_000 / i128::from(1_000_000 + self.drift_ppm);
        let rounded_up_us =
            u64::try_from(wait_us).unwrap_or(u64::MAX / 4) + u64::from(self.drift_ppm != 0) * 1_000;
        Box::pin(self.simulation.sleep(Duration::from_micros(rounded_up_us)))
    }
}

struct LifeClock(Arc<SimulatedClock>);

impl Clock for LifeClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        self.0.sleep_until(instant)
    }
}

struct Tasks {
    simulation: Simulation,
    owner: Owner,
}

impl Spawner for Tasks {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send + 'static>>) {
        self.simulation.spawn_boxed(self.owner, task);
    }
}

/// A runtime whose tasks are this owner's.
pub fn runtime(
    simulation: &Simulation,
    owner: Owner,
    clock: &Arc<SimulatedClock>,
    seed: u64,
) -> Runtime {
    Runtime::new(
        Arc::new(LifeClock(Arc::clone(clock))),
        Arc::new(SeededEntropy::new(seed)),
        Arc::new(Tasks {
            simulation: simulation.clone(),
            owner,
        }),
    )
}
