//! One sale on both adapters at once: every call is made on each, and replies and keyspaces must be equal.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use workflows::adapters::embedded::{Dump, EmbeddedReservations};
use workflows::adapters::redis::RedisReservations;
use workflows::adapters::scripts::keys_of;
use workflows::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use workflows::ports::reservations::{
    CampaignSnapshot, ClaimPurpose, ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest,
    ExtendReply, ExtendRequest, HoldState, Line, Lines, OperationKey, OperationPage,
    ProductSnapshot, ReleaseReply, ReleaseRequest, ReservationError, Reservations, ReserveReply,
    ReserveRequest, SaleCounts, SaleSnapshot, ScheduleReply, ScheduleRequest,
};

use crate::patience::answer;
use crate::redis_server::raw_connection;

/// What the embedded adapter is told as the time; the windows used here mean the same to a server's own clock.
pub const NOW_MS: i64 = 1_800_000_000_000;
pub const LONG_AGO_MS: i64 = 1_000;
pub const FAR_AHEAD_MS: i64 = 9_000_000_000_000;

/// The most operations of one page.
const PAGE_MAX: u32 = 5_000;

/// An error without its cause: what two adapters can agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    NotSent,
    MaybeSent,
    Unavailable,
    OtherIncarnation,
    /// With the code that the script gave.
    Misuse(String),
}

impl From<ReservationError> for Failure {
    fn from(error: ReservationError) -> Self {
        match error {
            ReservationError::NotSent(_) => Self::NotSent,
            ReservationError::MaybeSent(_) => Self::MaybeSent,
            ReservationError::Unavailable(_) => Self::Unavailable,
            ReservationError::OtherIncarnation(_) => Self::OtherIncarnation,
            ReservationError::Misuse(text) => {
                Self::Misuse(text.split(' ').next().unwrap_or_default().to_owned())
            }
        }
    }
}

pub type Outcome<T> = Result<T, Failure>;

/// The URL of the shared server, if there is one; in CI there must be.
pub fn redis_url() -> Option<String> {
    let url = std::env::var("REDIS_URL")
        .ok()
        .filter(|url| !url.is_empty());
    if url.is_none() {
        skip_unless_ci("REDIS_URL is not set: only the embedded adapter is tested");
    }
    url
}

/// Says that something was left out; in CI nothing may be.
pub fn skip_unless_ci(what: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "with CI=true nothing is skipped: {what}"
    );
    println!("skipped: {what}");
}

struct OnRedis {
    adapter: RedisReservations,
    raw: MultiplexedConnection,
}

pub struct Pair {
    pub sale: SaleId,
    embedded: EmbeddedReservations,
    redis: Option<OnRedis>,
}

impl Pair {
    /// Both adapters, attached; the sale has no generation yet.
    pub async fn new() -> Self {
        let embedded = EmbeddedReservations::new("test", Arc::new(|| NOW_MS * 1_000)).unwrap();
        embedded.attach().await.unwrap();
        let redis = match redis_url() {
            Some(url) => Some(OnRedis::connect(&url).await),
            None => None,
        };
        Self {
            sale: random_sale(),
            embedded,
            redis,
        }
    }

    /// Both adapters with `snapshot` loaded, its sale set to this pair's.
    pub async fn with(snapshot: SaleSnapshot) -> Self {
        let pair = Self::new().await;
        pair.rebuild(snapshot).await.unwrap();
        pair
    }

    /// Makes the call on each adapter; compares results and keyspaces.
    async fn both<T: std::fmt::Debug + PartialEq>(
        &self,
        call: impl AsyncFn(&dyn Reservations) -> Result<T, ReservationError>,
    ) -> Outcome<T> {
        let embedded = call(&self.embedded).await;
        if let Some(redis) = &self.redis {
            let on_redis = answer(|| call(&redis.adapter)).await;
            assert_eq!(
                format!("{on_redis:?}"),
                format!("{embedded:?}"),
                "Redis left, embedded right"
            );
            assert_eq!(
                redis.dump(&self.sale).await,
                self.embedded_dump().await,
                "Redis left"
            );
        }
        embedded.map_err(Failure::from)
    }

    pub async fn claim(&self, request: &ClaimRequest) -> Outcome<ClaimReply> {
        self.both(async |adapter| adapter.claim(request).await)
            .await
    }

    pub async fn reserve(&self, request: &ReserveRequest) -> Outcome<ReserveReply> {
        self.both(async |adapter| adapter.reserve(request).await)
            .await
    }

    pub async fn extend(&self, name: &str) -> Outcome<ExtendReply> {
        let request = ExtendRequest {
            sale: self.sale.clone(),
            operation: operation(name),
        };
        self.both(async |adapter| adapter.extend(&request).await)
            .await
    }

    pub async fn confirm(&self, request: &ConfirmRequest) -> Outcome<ConfirmReply> {
        self.both(async |adapter| adapter.confirm(request).await)
            .await
    }

    pub async fn release(&self, operation: &str) -> Outcome<ReleaseReply> {
        self.release_as(&self.release_request(operation)).await
    }

    pub async fn release_claim(&self, operation: &str) -> Outcome<ReleaseReply> {
        let request = self.release_request(operation);
        self.release_claim_as(&request).await
    }

    pub async fn forget(&self, operation: &str) -> Outcome<ReleaseReply> {
        self.release_as(&self.forget_request(operation)).await
    }

    pub async fn forget_claim(&self, operation: &str) -> Outcome<ReleaseReply> {
        let request = self.forget_request(operation);
        self.release_claim_as(&request).await
    }

    pub async fn release_as(&self, request: &ReleaseRequest) -> Outcome<ReleaseReply> {
        self.both(async |adapter| adapter.release(request).await)
            .await
    }

    pub async fn release_claim_as(&self, request: &ReleaseRequest) -> Outcome<ReleaseReply> {
        self.both(async |adapter| adapter.release_claim(request).await)
            .await
    }

    pub async fn rebuild(&self, snapshot: SaleSnapshot) -> Outcome<()> {
        let snapshot = SaleSnapshot {
            sale: self.sale.clone(),
            ..snapshot
        };
        self.both(async |adapter| adapter.rebuild(&snapshot).await)
            .await
    }

    pub async fn close_gate(&self) -> Outcome<()> {
        self.both(async |adapter| adapter.close_gate(&self.sale).await)
            .await
    }

    pub async fn schedule(&self, request: &ScheduleRequest) -> Outcome<ScheduleReply> {
        self.both(async |adapter| adapter.schedule(request).await)
            .await
    }

    /// All operations in one page, ordered by their keys.
    pub async fn operations(&self) -> Outcome<OperationPage> {
        self.both(async |adapter| {
            let mut page = adapter.operations(&self.sale, None, PAGE_MAX).await?;
            page.operations
                .sort_by(|one, other| one.operation.cmp(&other.operation));
            Ok(page)
        })
        .await
    }

    /// The adapters that there are, each by itself.
    pub fn adapters(&self) -> Vec<&dyn Reservations> {
        let redis = self.redis.as_ref();
        let redis = redis.map(|redis| &redis.adapter as &dyn Reservations);
        std::iter::once(&self.embedded as &dyn Reservations)
            .chain(redis)
            .collect()
    }

    pub async fn counts(&self) -> Outcome<Option<SaleCounts>> {
        self.both(async |adapter| adapter.counts(&self.sale).await)
            .await
    }

    /// The fields of one of the sale's keys, such as `operations`.
    pub async fn fields(&self, part: &str) -> BTreeMap<String, String> {
        let key = format!("holdfast:{{{}}}:{part}", self.sale);
        self.embedded_dump().await.remove(&key).unwrap_or_default()
    }

    /// All keys of the sale.
    pub async fn embedded_dump(&self) -> Dump {
        self.embedded.dump().await.unwrap()
    }

    /// One reservation in a sale with this snapshot, where a server's clock can't be set.
    pub async fn on_embedded_only(
        &self,
        snapshot: SaleSnapshot,
        request: &ReserveRequest,
    ) -> Outcome<ReserveReply> {
        let snapshot = SaleSnapshot {
            sale: self.sale.clone(),
            ..snapshot
        };
        self.embedded.rebuild(&snapshot).await?;
        Ok(self.embedded.reserve(request).await?)
    }

    /// As [`Self::on_embedded_only`], for a claim.
    pub async fn claim_on_embedded_only(
        &self,
        snapshot: SaleSnapshot,
        request: &ClaimRequest,
    ) -> Outcome<ClaimReply> {
        let snapshot = SaleSnapshot {
            sale: self.sale.clone(),
            ..snapshot
        };
        self.embedded.rebuild(&snapshot).await?;
        Ok(self.embedded.claim(request).await?)
    }

    /// Leaves nothing on a shared server.
    pub async fn finish(self) {
        self.close_gate().await.unwrap();
        assert_eq!(self.embedded_dump().await, Dump::new());
    }

    pub fn release_request(&self, name: &str) -> ReleaseRequest {
        ReleaseRequest {
            sale: self.sale.clone(),
            operation: operation(name),
            forget: false,
            only_under: None,
        }
    }

    fn forget_request(&self, name: &str) -> ReleaseRequest {
        ReleaseRequest {
            forget: true,
            ..self.release_request(name)
        }
    }

    pub fn claim_request(&self, name: &str, who: &str, campaign: &str) -> ClaimRequest {
        ClaimRequest {
            sale: self.sale.clone(),
            campaign: CampaignId::parse(campaign).unwrap(),
            buyer: buyer(who),
            operation: operation(name),
            epoch: 1,
            purpose: ClaimPurpose::Purchase,
            remember_refusal: false,
        }
    }

    pub fn ahead_request(&self, name: &str, who: &str, campaign: &str) -> ClaimRequest {
        ClaimRequest {
            purpose: ClaimPurpose::Ahead,
            ..self.claim_request(name, who, campaign)
        }
    }

    /// Revision 2 and so on of an open sale's schedule.
    pub fn schedule_request(&self, revision: u32) -> ScheduleRequest {
        ScheduleRequest {
            sale: self.sale.clone(),
            revision,
            opens_at_ms: LONG_AGO_MS,
            closes_at_ms: FAR_AHEAD_MS,
            is_cancelled: false,
        }
    }

    pub fn reserve_request(&self, name: &str, who: &str, lines: &[(&str, u32)]) -> ReserveRequest {
        reserve_request(&self.sale, name, who, lines)
    }

    pub fn confirm_request(&self, name: &str, claim: Option<&str>) -> ConfirmRequest {
        let (sale, claim) = (self.sale.clone(), claim.map(operation));
        ConfirmRequest {
            sale,
            operation: operation(name),
            claim,
        }
    }
}

impl OnRedis {
    async fn connect(url: &str) -> Self {
        Self {
            adapter: attached(url).await,
            raw: raw_connection(url).await,
        }
    }

    async fn dump(&self, sale: &SaleId) -> Dump {
        dump_of(&self.raw, sale).await
    }
}

/// The adapter on this server, attached.
pub async fn attached(url: &str) -> RedisReservations {
    let adapter = answer(|| RedisReservations::connect(url)).await.unwrap();
    answer(|| adapter.attach()).await.unwrap();
    adapter
}

/// The sale's keys on a server.
pub async fn dump_of(raw: &MultiplexedConnection, sale: &SaleId) -> Dump {
    let mut pipeline = redis::pipe();
    let keys = keys_of(sale);
    for key in &keys {
        pipeline.cmd("HGETALL").arg(key);
    }
    let hashes: Vec<BTreeMap<String, String>> =
        pipeline.query_async(&mut raw.clone()).await.unwrap();
    keys.into_iter()
        .zip(hashes)
        .filter(|(_, hash)| !hash.is_empty())
        .collect()
}

/// A name that no other test uses on a shared server.
pub fn random_sale() -> SaleId {
    let number = RandomState::new().hash_one("sale");
    SaleId::parse(format!("test-{number:016x}")).unwrap()
}

pub fn operation(name: &str) -> OperationKey {
    OperationKey::parse(name).unwrap()
}

pub fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).unwrap()
}

pub fn product(name: &str) -> ProductId {
    ProductId::parse(name).unwrap()
}

pub fn lines(lines: &[(&str, u32)]) -> Lines {
    let line = |(name, quantity): &(&str, u32)| Line {
        product: product(name),
        quantity: *quantity,
    };
    Lines::new(lines.iter().map(line).collect()).unwrap()
}

pub fn reserve_request(
    sale: &SaleId,
    name: &str,
    who: &str,
    wanted: &[(&str, u32)],
) -> ReserveRequest {
    ReserveRequest {
        sale: sale.clone(),
        buyer: buyer(who),
        operation: operation(name),
        epoch: 1,
        lines: lines(wanted),
        hold: HoldState::Held,
        remember_refusal: false,
    }
}

/// An open sale: 10 of `tee`, 2 of `cap`, a campaign `early` of 2 coupons that can be claimed ahead or by a purchase, 4 units a
/// buyer.
pub fn small_sale() -> SaleSnapshot {
    let stock = |name, total| ProductSnapshot {
        product: product(name),
        total,
        sold: 0,
    };
    SaleSnapshot {
        sale: SaleId::parse("replaced").unwrap(),
        generation: 1,
        revision: 1,
        is_cancelled: false,
        opens_at_ms: LONG_AGO_MS,
        closes_at_ms: FAR_AHEAD_MS,
        per_buyer_limit: 4,
        products: vec![stock("tee", 10), stock("cap", 2)],
        holds: Vec::new(),
        sold: Vec::new(),
        campaigns: vec![CampaignSnapshot {
            campaign: CampaignId::parse("early").unwrap(),
            size: 2,
            valid_from_ms: None,
            valid_until_ms: None,
            claims_from_ms: Some(LONG_AGO_MS),
            claim_in_purchase: true,
            claims: Vec::new(),
        }],
        ended: Vec::new(),
        open: Vec::new(),
    }
}
