//! The real scripts, in this process or in a Redis, behind a line that breaks when a test says so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::adapters::redis::RedisReservations;
use workflows::domain::ids::SaleId;
use workflows::ports::reservations::{
    ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest, ExtendReply, ExtendRequest,
    OperationPage, ReleaseReply, ReleaseRequest, ReservationError, Reservations, ReserveReply,
    ReserveRequest, SaleCounts, SaleSnapshot, ScheduleReply, ScheduleRequest,
};

use super::{RedisServer, answer};

/// What the gate's clock says until a test moves it, in Unix microseconds: a day in 2027.
const GATE_NOW_US: i64 = 1_800_000_000_000_000;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not leave.
    NotSent,
    /// It takes effect and the answer is lost.
    AnswerLost,
    /// It is lost on its way.
    CallLost,
    /// The store can't serve.
    Unavailable,
    /// The store is another one.
    OtherIncarnation,
    /// The store calls it a mistake.
    Misuse,
}

/// The gate of a test. It can be replaced by an empty one, as if its server had been restarted without its data.
#[derive(Clone)]
pub struct FaultyGate(Arc<Mutex<Inner>>);

struct Inner {
    store: Arc<dyn Reservations>,
    faults: VecDeque<Option<Fault>>,
    calls: u64,
    incarnations: u64,
    now_us: Arc<AtomicI64>,
}

impl FaultyGate {
    pub fn new() -> Self {
        let now_us = Arc::new(AtomicI64::new(GATE_NOW_US));
        Self::of(empty(0, &now_us), now_us)
    }

    /// In this Redis, whose clock nobody moves.
    pub async fn over(redis: &RedisServer) -> Self {
        let url = redis.url();
        let store = answer(|| RedisReservations::connect(&url)).await;
        let store = Arc::new(store.expect("connected"));
        Self::of(store, Arc::default())
    }

    fn of(store: Arc<dyn Reservations>, now_us: Arc<AtomicI64>) -> Self {
        let inner = Inner {
            store,
            faults: VecDeque::new(),
            calls: 0,
            incarnations: 0,
            now_us,
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The next calls of steps fail so.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0
            .lock()
            .unwrap()
            .faults
            .extend(faults.into_iter().map(Some));
    }

    /// So many calls succeed, and then one fails so.
    pub fn fail_after(&self, calls: usize, fault: Fault) {
        let mut inner = self.0.lock().unwrap();
        inner.faults.extend(std::iter::repeat_n(None, calls));
        inner.faults.push_back(Some(fault));
    }

    /// No call fails any more.
    pub fn mend(&self) {
        self.0.lock().unwrap().faults.clear();
    }

    /// How many calls steps have made.
    pub fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// Puts an empty store in place of this one.
    pub fn lose_everything(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.incarnations += 1;
        inner.store = empty(inner.incarnations, &inner.now_us);
    }

    /// From now on the gate's clock says this, in Unix microseconds.
    pub fn set_clock(&self, now_us: i64) {
        let inner = self.0.lock().unwrap();
        inner.now_us.store(now_us, Ordering::SeqCst);
    }

    fn store(&self) -> Arc<dyn Reservations> {
        Arc::clone(&self.0.lock().unwrap().store)
    }

    async fn call<T, F: Future<Output = Result<T, ReservationError>>>(
        &self,
        call: impl FnOnce(Arc<dyn Reservations>) -> F,
    ) -> Result<T, ReservationError> {
        let (store, fault) = {
            let mut inner = self.0.lock().unwrap();
            inner.calls += 1;
            (Arc::clone(&inner.store), inner.faults.pop_front().flatten())
        };
        match fault {
            None => call(store).await,
            Some(Fault::NotSent) => Err(ReservationError::NotSent("a test".into())),
            Some(Fault::AnswerLost) => {
                call(store).await?;
                Err(ReservationError::MaybeSent("a test".into()))
            }
            Some(Fault::CallLost) => Err(ReservationError::MaybeSent("a test".into())),
            Some(Fault::Unavailable) => Err(ReservationError::Unavailable("a test".to_owned())),
            Some(Fault::OtherIncarnation) => {
                Err(ReservationError::OtherIncarnation("a test".to_owned()))
            }
            Some(Fault::Misuse) => Err(ReservationError::Misuse("a test".to_owned())),
        }
    }
}

fn empty(incarnation: u64, now_us: &Arc<AtomicI64>) -> Arc<dyn Reservations> {
    let now_us = Arc::clone(now_us);
    let clock = Arc::new(move || now_us.load(Ordering::SeqCst));
    Arc::new(
        EmbeddedReservations::new(format!("run-{incarnation}"), clock).expect("the scripts load"),
    )
}

#[async_trait]
impl Reservations for FaultyGate {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, ReservationError> {
        self.call(|store| async move { store.claim(request).await })
            .await
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveReply, ReservationError> {
        self.call(|store| async move { store.reserve(request).await })
            .await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendReply, ReservationError> {
        self.call(|store| async move { store.extend(request).await })
            .await
    }

    async fn confirm(&self, request: &ConfirmRequest) -> Result<ConfirmReply, ReservationError> {
        self.call(|store| async move { store.confirm(request).await })
            .await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseReply, ReservationError> {
        self.call(|store| async move { store.release(request).await })
            .await
    }

    async fn release_claim(
        &self,
        request: &ReleaseRequest,
    ) -> Result<ReleaseReply, ReservationError> {
        self.call(|store| async move { store.release_claim(request).await })
            .await
    }

    async fn rebuild(&self, snapshot: &SaleSnapshot) -> Result<(), ReservationError> {
        self.store().rebuild(snapshot).await
    }

    async fn close_gate(&self, sale: &SaleId) -> Result<(), ReservationError> {
        self.store().close_gate(sale).await
    }

    async fn schedule(&self, request: &ScheduleRequest) -> Result<ScheduleReply, ReservationError> {
        self.store().schedule(request).await
    }

    async fn operations(
        &self,
        sale: &SaleId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<OperationPage, ReservationError> {
        self.store().operations(sale, cursor, limit).await
    }

    async fn counts(&self, sale: &SaleId) -> Result<Option<SaleCounts>, ReservationError> {
        self.store().counts(sale).await
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        self.store().incarnation().await
    }

    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError> {
        self.store().attach_checked(checked).await
    }
}
