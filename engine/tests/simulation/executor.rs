//! One thread, one clock, one seed. Every task of a run is polled here: which of those that may run comes next is drawn from the
//! seed, and time passes only when nobody can run. A task has an owner, so that a process can be stopped for a while, or killed
//! wherever it stands.
//!
//! Who may run is a set and not a queue: the order in which a channel wakes those who wait for it (Tokio draws it from a generator
//! of its own) changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A run that needs more than this runs in circles.
const POLLS_MAX: u64 = 3_000_000;

/// Whose task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The world's: no fault of a process touches it.
    World,
    /// That of one life of a process.
    Life(u32),
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    owner: Owner,
    /// Absent while it is polled.
    work: Option<Work>,
    waker: Waker,
}

#[derive(Default)]
struct Inner {
    now_us: u64,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    next_timer: u64,
    stopped: BTreeSet<Owner>,
    /// Tasks of stopped owners that would run.
    waiting: BTreeSet<u64>,
    random: u64,
    hash: u64,
    polls: u64,
    panicked: Option<String>,
    /// What happened, in words, if anybody wants to read it.
    trace: Option<Vec<String>>,
}

/// The simulation. Clones are the same one.
#[derive(Clone)]
pub struct Simulation {
    inner: Arc<Mutex<Inner>>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

struct Ready {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.lock().unwrap().insert(self.task);
    }
}

impl Simulation {
    /// The run that `seed` stands for; `traced`: what happens is kept in words.
    pub fn new(seed: u64, traced: bool) -> Self {
        let inner = Inner {
            random: seed,
            trace: traced.then(Vec::new),
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            ready: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.lock().now_us
    }

    pub fn spawn(&self, owner: Owner, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(owner, Box::pin(work));
    }

    pub fn spawn_boxed(&self, owner: Owner, work: Work) {
        let mut inner = self.lock();
        inner.next_task += 1;
        let task = inner.next_task;
        let ready = Arc::clone(&self.ready);
        let waker = Waker::from(Arc::new(Ready { task, ready }));
        let work = Some(work);
        inner.tasks.insert(task, Task { owner, work, waker });
        drop(inner);
        self.ready.lock().unwrap().insert(task);
    }

    /// Completes after `duration`, and never at once: who sleeps for no time lets the others run.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let wait_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4);
        Sleep {
            simulation: self.clone(),
            at_us: self.now_us().saturating_add(wait_us),
            timer: None,
        }
    }

    /// `future`'s output, or `None` when `limit` passed first.
    pub async fn within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep(limit) => None,
        }
    }

    /// The owner's tasks get no time, until it is let go on.
    pub fn stop(&self, owner: Owner) {
        self.lock().stopped.insert(owner);
    }

    pub fn go_on(&self, owner: Owner) {
        let mut inner = self.lock();
        inner.stopped.remove(&owner);
        let waiting = std::mem::take(&mut inner.waiting);
        self.ready.lock().unwrap().extend(waiting);
    }

    /// Ends the owner's tasks where they stand.
    pub fn kill(&self, owner: Owner) {
        let mut inner = self.lock();
        let doomed = inner.tasks.iter().filter(|(_, task)| task.owner == owner);
        let doomed: Vec<u64> = doomed.map(|(id, _)| *id).collect();
        let tasks: Vec<_> = doomed
            .iter()
            .filter_map(|id| inner.tasks.remove(id))
            .collect();
        inner.stopped.remove(&owner);
        drop(inner);
        // What is dropped may wake others.
        drop(tasks);
    }

    /// Ends everything: tasks refer to the simulation that holds them.
    pub fn end(&self) {
        let mut inner = self.lock();
        let tasks = std::mem::take(&mut inner.tasks);
        drop(inner);
        drop(tasks);
        self.lock().timers.clear();
    }

    /// Adds to what tells one run from another.
    pub fn mix(&self, value: u64) {
        let mut inner = self.lock();
        inner.hash = mixed(inner.hash ^ value);
    }

    /// What tells one run from another: which task ran when, and all that was mixed in.
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    pub fn polls(&self) -> u64 {
        self.lock().polls
    }

    /// Notes what happened, if anybody wants to read it.
    pub fn note(&self, words: impl FnOnce() -> String) {
        if self.lock().trace.is_none() {
            return;
        }
        let words = words();
        let mut inner = self.lock();
        let at_us = inner.now_us;
        if let Some(trace) = &mut inner.trace {
            let mut line = String::new();
            let (seconds, micros) = (at_us / 1_000_000, at_us % 1_000_000);
            let _fits = write!(line, "{seconds:>5}.{micros:06} {words}");
            trace.push(line);
        }
    }

    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone().unwrap_or_default()
    }

    /// Runs `main` to its end, and everything else as far as it then is. `Err`: a task panicked, or nothing goes on.
    pub fn run<T: Send + 'static>(
        &self,
        main: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let result: Arc<Mutex<Option<T>>> = Arc::default();
        let place = Arc::clone(&result);
        self.spawn(Owner::World, async move {
            let output = main.await;
            *place.lock().unwrap() = Some(output);
        });
        loop {
            if let Some(output) = result.lock().unwrap().take() {
                return Ok(output);
            }
            if !self.step() && !self.pass_time() {
                return Err("nothing goes on and nobody waits for the clock".to_owned());
            }
            let inner = self.lock();
            if let Some(panicked) = &inner.panicked {
                return Err(panicked.clone());
            }
            if inner.polls > POLLS_MAX {
                return Err(format!("{POLLS_MAX} polls without an end"));
            }
        }
    }

    /// Polls one of those that may run. `false`: nobody may.
    fn step(&self) -> bool {
        let Some((id, mut work, waker, owner)) = self.pick() else {
            return false;
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            work.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        let mut inner = self.lock();
        match polled {
            Ok(Poll::Pending) => {
                if let Some(task) = inner.tasks.get_mut(&id) {
                    task.work = Some(work);
                    return true;
                }
            }
            Ok(Poll::Ready(())) => {
                let ended = inner.tasks.remove(&id);
                drop(inner);
                drop(ended);
                drop(work);
                return true;
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
                let text = text.unwrap_or_default();
                inner.panicked = Some(format!("a task of {owner:?} panicked: {text}"));
            }
        }
        // It was killed while it ran.
        drop(inner);
        drop(work);
        true
    }

    fn pick(&self) -> Option<(u64, Work, Waker, Owner)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut ready = self.ready.lock().unwrap();
        loop {
            if ready.is_empty() {
                return None;
            }
            inner.random = inner.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let place = mixed(inner.random) % ready.len() as u64;
            let id = *ready.iter().nth(usize::try_from(place).ok()?)?;
            ready.remove(&id);
            let Some(task) = inner.tasks.get_mut(&id) else {
                continue;
            };
            if inner.stopped.contains(&task.owner) {
                inner.waiting.insert(id);
                continue;
            }
            let Some(work) = task.work.take() else {
                continue;
            };
            inner.polls += 1;
            inner.hash = mixed(inner.hash ^ id ^ inner.now_us.rotate_left(20));
            return Some((id, work, task.waker.clone(), task.owner));
        }
    }

    /// Lets time pass to the next instant for which anybody waits. `false`: nobody does.
    fn pass_time(&self) -> bool {
        let mut inner = self.lock();
        let Some((&(at_us, _), _)) = inner.timers.first_key_value() else {
            return false;
        };
        inner.now_us = inner.now_us.max(at_us);
        while let Some(first) = inner.timers.first_entry() {
            if first.key().0 > at_us {
                break;
            }
            first.remove().wake();
        }
        true
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
pub const fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// See [`Simulation::sleep`].
pub struct Sleep {
    simulation: Simulation,
    at_us: u64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let simulation = self.simulation.clone();
        let mut inner = simulation.lock();
        match self.timer {
            Some(key) if !inner.timers.contains_key(&key) => {
                self.timer = None;
                return Poll::Ready(());
            }
            Some(key) => {
                inner.timers.insert(key, context.waker().clone());
            }
            None => {
                inner.next_timer += 1;
                let key = (self.at_us, inner.next_timer);
                inner.timers.insert(key, context.waker().clone());
                self.timer = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer.take() {
            self.simulation.lock().timers.remove(&key);
        }
    }
}
