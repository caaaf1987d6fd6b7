//! The reservation scripts of `lua/`, what they are asked and how their answers read: shared by every adapter that can
//! run a script, so that two of them differ in nothing but where the script runs.

mod answer;
mod defects;
mod page;
mod question;
mod reply;
mod snapshot;

use std::fmt::Write as _;
use std::future::Future;

use async_trait::async_trait;

use crate::domain::ids::SaleId;
use crate::ports::reservations::{
    ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest, ExtendReply, ExtendRequest,
    OperationPage, ReleaseReply, ReleaseRequest, ReservationError, Reservations, ReserveReply,
    ReserveRequest, SaleCounts, SaleSnapshot, ScheduleReply, ScheduleRequest,
};

pub use reply::Reply;

/// One script of `lua/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// `claim.lua`
    Claim,
    /// `reserve.lua`
    Reserve,
    /// `extend.lua`
    Extend,
    /// `confirm.lua`
    Confirm,
    /// `release.lua`
    Release,
    /// `release_claim.lua`
    ReleaseClaim,
    /// `rebuild_begin.lua`
    RebuildBegin,
    /// `rebuild_load.lua`
    RebuildLoad,
    /// `rebuild_finish.lua`
    RebuildFinish,
    /// `schedule.lua`
    Schedule,
    /// `operations.lua`
    Operations,
    /// `counts.lua`
    Counts,
}

macro_rules! script_text {
    ($file:literal) => {
        concat!(
            include_str!("../../../../lua/prelude.lua"),
            include_str!(concat!("../../../../lua/", $file)),
        )
    };
}

impl Script {
    /// Every script, each at the index that it has as a number.
    pub const ALL: [Self; 12] = [
        Self::Claim,
        Self::Reserve,
        Self::Extend,
        Self::Confirm,
        Self::Release,
        Self::ReleaseClaim,
        Self::RebuildBegin,
        Self::RebuildLoad,
        Self::RebuildFinish,
        Self::Schedule,
        Self::Operations,
        Self::Counts,
    ];

    /// What is run: the prelude and the script.
    #[must_use]
    pub fn text(self) -> &'static str {
        defects::planted_in(self, self.written())
    }

    const fn written(self) -> &'static str {
        match self {
            Self::Claim => script_text!("claim.lua"),
            Self::Reserve => script_text!("reserve.lua"),
            Self::Extend => script_text!("extend.lua"),
            Self::Confirm => script_text!("confirm.lua"),
            Self::Release => script_text!("release.lua"),
            Self::ReleaseClaim => script_text!("release_claim.lua"),
            Self::RebuildBegin => script_text!("rebuild_begin.lua"),
            Self::RebuildLoad => script_text!("rebuild_load.lua"),
            Self::RebuildFinish => script_text!("rebuild_finish.lua"),
            Self::Schedule => script_text!("schedule.lua"),
            Self::Operations => script_text!("operations.lua"),
            Self::Counts => script_text!("counts.lua"),
        }
    }

    /// Whether it may run only on a store that was checked. Closing and rebuilding trust nothing that is there.
    #[must_use]
    pub const fn needs_checked_store(self) -> bool {
        match self {
            Self::Claim
            | Self::Reserve
            | Self::Extend
            | Self::Confirm
            | Self::Release
            | Self::ReleaseClaim
            | Self::Schedule
            | Self::Operations => true,
            Self::RebuildBegin | Self::RebuildLoad | Self::RebuildFinish | Self::Counts => false,
        }
    }
}

/// How many keys each script gets.
pub const KEYS_OF_SALE: usize = 7;

/// The keys of a sale in the order that `prelude.lua` names them, all with the tag `{sale}`.
#[must_use]
pub fn keys_of(sale: &SaleId) -> [String; KEYS_OF_SALE] {
    [
        "meta",
        "stock",
        "buyers",
        "operations",
        "campaigns",
        "claims",
        "starts",
    ]
    .map(|part| {
        let mut key = String::with_capacity(sale.as_str().len() + 24);
        // Writing to a string can't fail.
        let _ = write!(key, "holdfast:{{{sale}}}:{part}");
        key
    })
}

/// One run of a script for a sale.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to run.
    pub script: Script,
    /// `KEYS`
    pub keys: [String; KEYS_OF_SALE],
    /// `ARGV`
    pub arguments: Vec<String>,
}

impl Call {
    /// `script` for `sale`.
    #[must_use]
    pub fn new(script: Script, sale: &SaleId, arguments: Vec<String>) -> Self {
        Self {
            script,
            keys: keys_of(sale),
            arguments,
        }
    }
}

/// Whatever can run the scripts is an adapter of the port.
pub trait RunScript: Send + Sync {
    /// Runs one script. An error that the script or the server answered with is a [`Reply::Error`]; what this fails with
    /// says whether the call may have been sent.
    fn run(&self, call: Call) -> impl Future<Output = Result<Reply, ReservationError>> + Send;

    /// As [`Reservations::incarnation`].
    fn incarnation(&self) -> impl Future<Output = Result<String, ReservationError>> + Send;

    /// As [`Reservations::attach_checked`].
    fn attach_checked(
        &self,
        checked: &str,
    ) -> impl Future<Output = Result<(), ReservationError>> + Send;
}

#[async_trait]
impl<R: RunScript> Reservations for R {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, ReservationError> {
        answer::claim(self.run(question::claim(request)).await?)
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveReply, ReservationError> {
        answer::reserve(self.run(question::reserve(request)).await?)
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendReply, ReservationError> {
        answer::extend(self.run(question::extend(request)).await?)
    }

    async fn confirm(&self, request: &ConfirmRequest) -> Result<ConfirmReply, ReservationError> {
        answer::confirm(self.run(question::confirm(request)).await?)
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseReply, ReservationError> {
        answer::release(
            self.run(question::release(Script::Release, request))
                .await?,
        )
    }

    async fn release_claim(
        &self,
        request: &ReleaseRequest,
    ) -> Result<ReleaseReply, ReservationError> {
        answer::release(
            self.run(question::release(Script::ReleaseClaim, request))
                .await?,
        )
    }

    async fn rebuild(&self, snapshot: &SaleSnapshot) -> Result<(), ReservationError> {
        for call in snapshot::calls(snapshot) {
            answer::done(self.run(call).await?)?;
        }
        Ok(())
    }

    async fn close_gate(&self, sale: &SaleId) -> Result<(), ReservationError> {
        let call = Call::new(Script::RebuildBegin, sale, vec![String::new()]);
        answer::done(self.run(call).await?)
    }

    async fn schedule(&self, request: &ScheduleRequest) -> Result<ScheduleReply, ReservationError> {
        answer::schedule(self.run(question::schedule(request)).await?)
    }

    async fn operations(
        &self,
        sale: &SaleId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<OperationPage, ReservationError> {
        page::read(self.run(question::operations(sale, cursor, limit)).await?)
    }

    async fn counts(&self, sale: &SaleId) -> Result<Option<SaleCounts>, ReservationError> {
        let call = Call::new(Script::Counts, sale, Vec::new());
        answer::counts(self.run(call).await?)
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        RunScript::incarnation(self).await
    }

    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError> {
        RunScript::attach_checked(self, checked).await
    }
}
