//! A running shop with a sale in it: embedded in a folder that goes away afterwards, or on real servers when their URLs are
//! given, in a database of its own that goes away as well. So what is checked in the end is this sale and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use engine::{Runtime, Timestamp};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use workflows::opening::NAME as OPENING;

use super::opening::{self, Opening};
use super::report::Invariant;
use crate::cli::Demo;
use crate::clock::rfc3339;
use crate::config::{Backend, Secret};
use crate::exit::{Code, Failure};
use crate::serve::{Listeners, Serving, stop_in_order};
use crate::wiring::{System, database};

/// What is sold.
pub const PRODUCT: &str = "mug";
/// What is sold besides, with serial numbers from a pool that is too small.
pub const POSTER: &str = "poster";
/// How many posters there are, and how many of them have a serial number.
pub const POSTERS: usize = 5;
const POSTER_SERIALS: usize = 3;

const QUIET_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
const SALE_LASTS: Duration = Duration::from_hours(24);
/// Long enough to come too early, short enough to wait for.
const OPENS_AFTER: Duration = Duration::from_secs(2);

/// The shop.
pub struct Stage {
    runtime: Runtime,
    system: System,
    serving: Serving,
    http: Client,
    sale: String,
    opens_at: Timestamp,
    operator: String,
    description: String,
    database: Option<OwnDatabase>,
    folder: Folder,
}

/// A MySQL database that is dropped in the end.
struct OwnDatabase {
    url: Secret,
    name: String,
}

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a temporary directory is left behind");
        }
    }
}

impl Stage {
    /// Opens the shop on free ports, and seeds a sale whose name nobody else has.
    pub async fn set(arguments: &Demo, runtime: &Runtime) -> Result<Self, Failure> {
        let unique = format!("demo-{:012x}", runtime.next_u64() >> 16);
        let folder = Folder(std::env::temp_dir().join(format!("holdfast-{unique}")));
        std::fs::create_dir(&folder.0)
            .map_err(|error| Failure::internal("making a temporary directory", &error))?;
        let (backend, database) = backend(arguments, runtime, &unique, &folder)?;
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners = Listeners::bind(anywhere, anywhere).await?;
        let system = System::open(&backend, runtime.clone()).await?;
        let serving = Serving::start(listeners, system.services());
        system.send_webhooks_to(&serving.buyers_url())?;
        let http = Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| Failure::internal("setting up the HTTP client", &error))?;
        let description = system.description();
        let operator = system.operator_token()?;
        let runtime = runtime.clone();
        let stage = Self {
            opens_at: runtime.now().after(OPENS_AFTER),
            operator,
            runtime,
            system,
            serving,
            http,
            sale: unique,
            description,
            database,
            folder,
        };
        match stage.seed(arguments).await {
            Ok(()) => Ok(stage),
            Err(failure) => {
                stage.strike().await?;
                Err(failure)
            }
        }
    }

    async fn seed(&self, arguments: &Demo) -> Result<(), Failure> {
        let now = self.runtime.now();
        let sale = json!({
            "sale": self.sale,
            "name": "A thousand mugs",
            "currency": "KRW",
            "opens_at": rfc3339(self.opens_at),
            "closes_at": rfc3339(now.after(SALE_LASTS)),
            "per_buyer_limit": 1,
            "products": [
                { "product": PRODUCT, "name": "A mug", "unit_price": 19_900, "stock": arguments.stock },
                { "product": POSTER, "name": "A poster", "unit_price": 4_900, "stock": POSTERS, "serials": "pool" },
            ],
            "campaigns": [{
                "campaign": self.sale,
                "name": "First come, first served",
                "size": arguments.coupons,
                "discount": { "amount": 3_000 },
                "claims_from": rfc3339(now),
            }],
        });
        let url = format!("{}/v1/sales", self.serving.operators_url());
        let request = self.http.post(url).bearer_auth(&self.operator).json(&sale);
        let (status, answer) = self.call(request).await?;
        if status != StatusCode::CREATED {
            return Err(unexpected("seeding the sale", status, &answer));
        }
        self.fill_pool().await?;
        self.open_gate().await
    }

    async fn fill_pool(&self) -> Result<(), Failure> {
        let serials: Vec<String> = (1..=POSTER_SERIALS)
            .map(|number| format!("POSTER-{number:03}"))
            .collect();
        let url = format!(
            "{}/v1/sales/{}/products/{POSTER}/serials",
            self.serving.operators_url(),
            self.sale
        );
        let request = self.http.post(url).bearer_auth(&self.operator);
        let (status, answer) = self
            .call(request.json(&json!({ "serials": serials })))
            .await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(unexpected("filling the pool of serials", status, &answer))
        }
    }

    /// Comes too early, and waits for the opening.
    pub async fn opens(&self) -> Result<Opening, Failure> {
        let too_early = self.too_early().await?;
        let url = format!(
            "{}/v1/sales/{}/events",
            self.serving.buyers_url(),
            self.sale
        );
        let late_ms = opening::heard(&self.http, &url, self.opens_at, &self.runtime).await?;
        Ok(Opening { too_early, late_ms })
    }

    /// What a buyer is told who comes before the opening.
    async fn too_early(&self) -> Result<String, Failure> {
        let url = |path: &str| format!("{}{path}", self.serving.buyers_url());
        let (_, guest) = self.call(self.http.post(url("/v1/auth/anonymous"))).await?;
        let order = json!({
            "sale": self.sale,
            "lines": [{ "product": PRODUCT, "quantity": 1 }],
            "payment": { "method": "redirect" },
        });
        let request = self
            .http
            .post(url("/v1/purchases"))
            .bearer_auth(guest["token"].as_str().unwrap_or_default())
            .header("Idempotency-Key", "too-early")
            .json(&order);
        let (status, answer) = self.call(request).await?;
        let code = answer["type"]
            .as_str()
            .and_then(|kind| kind.rsplit('/').next());
        match (status, code) {
            (StatusCode::CONFLICT, Some(code)) => Ok(code.to_owned()),
            _ => Err(unexpected("coming too early", status, &answer)),
        }
    }

    /// Waits until the sale's gate has been built.
    async fn open_gate(&self) -> Result<(), Failure> {
        let url = format!("{}/v1/sales/{}", self.serving.buyers_url(), self.sale);
        self.until("the sale to be sold", || async {
            let (status, _) = self.call(self.http.get(&url)).await?;
            Ok(status == StatusCode::OK)
        })
        .await
    }

    /// Waits until no workflow is under way and every event is published.
    pub async fn quiet(&self) -> Result<(), Failure> {
        self.until("the workflows to end", || async {
            let counters = self.shown("/v1/counters").await?;
            let waiting = self.shown("/v1/workflows?state=WAITING").await?;
            let waits = waiting["workflows"].as_array();
            // The sale's own workflow waits for the closing.
            let is_purchase = |one: &Value| one["definition"] != OPENING;
            Ok(counters["in_flight"] == 0
                && counters["unpublished"] == 0
                && waits.is_some_and(|waits| !waits.iter().any(is_purchase)))
        })
        .await
    }

    /// What the operators' listener shows here.
    async fn shown(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.serving.operators_url());
        let request = self.http.get(url).bearer_auth(&self.operator);
        let (status, answer) = self.call(request).await?;
        if status == StatusCode::OK {
            Ok(answer)
        } else {
            Err(unexpected("looking at the workflows", status, &answer))
        }
    }

    /// The invariants, as the operators' API sees them.
    pub async fn verify(&self) -> Result<Vec<Invariant>, Failure> {
        let url = format!("{}/v1/verify", self.serving.operators_url());
        let request = self.http.post(url).bearer_auth(&self.operator);
        let (status, answer) = self.call(request.json(&json!({ "at_rest": true }))).await?;
        let invariants = answer["invariants"]
            .as_array()
            .filter(|_| status == StatusCode::OK);
        let invariants =
            invariants.ok_or_else(|| unexpected("checking the invariants", status, &answer))?;
        Ok(invariants.iter().map(invariant).collect())
    }

    /// Closes the shop; what it kept goes away.
    pub async fn strike(self) -> Result<(), Failure> {
        let Self {
            system,
            serving,
            database,
            folder,
            sale,
            ..
        } = self;
        system.forget(&sale).await;
        let stopped = stop_in_order(serving, system, STOP_TIMEOUT).await;
        if let Some(OwnDatabase { url, name }) = database {
            database::drop_database(&database::connect(&url).await?, &name).await?;
        }
        drop(folder);
        stopped
    }

    /// Where buyers are served.
    pub fn buyers_url(&self) -> String {
        self.serving.buyers_url()
    }

    /// The sale, which is also the name of its campaign.
    pub fn sale(&self) -> &str {
        &self.sale
    }

    /// What it runs on.
    pub fn description(&self) -> &str {
        &self.description
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Failure> {
        let failed = |error: reqwest::Error| Failure::internal("calling our own server", &error);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        Ok((status, response.json().await.map_err(failed)?))
    }

    async fn until<F>(&self, what: &str, mut look: impl FnMut() -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<bool, Failure>>,
    {
        let deadline = self.runtime.now().after(QUIET_TIMEOUT);
        while !look().await? {
            if self.runtime.now() > deadline {
                let sentence = format!("waited {QUIET_TIMEOUT:?} in vain for {what}");
                return Err(Failure::new(Code::CheckFailed, sentence));
            }
            self.runtime.sleep(POLL).await;
        }
        Ok(())
    }
}

/// The settings as they were given, with what must not be shared with anyone replaced.
fn backend(
    arguments: &Demo,
    runtime: &Runtime,
    unique: &str,
    folder: &Folder,
) -> Result<(Backend, Option<OwnDatabase>), Failure> {
    let mut backend = arguments.backend.clone();
    backend.data_dir = folder.0.join("data");
    backend.node.get_or_insert_with(|| unique.to_owned());
    if backend.token_key.is_none() {
        backend.token_key = Some(Secret::random(runtime));
    }
    let own = match &backend.database_url {
        Some(url) => {
            let name = format!("holdfast_{}", unique.replace('-', "_"));
            Some(OwnDatabase {
                url: database::with_name(url, &name)?,
                name,
            })
        }
        None => None,
    };
    if let Some(own) = &own {
        backend.database_url = Some(own.url.clone());
    }
    Ok((backend, own))
}

fn invariant(value: &Value) -> Invariant {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Invariant {
        id: text(&value["id"]),
        checked: value["checked"].as_u64().unwrap_or_default(),
        not_checked: value["not_checked"].as_str().map(str::to_owned),
        violations: value["violations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect(),
    }
}

fn unexpected(doing: &str, status: StatusCode, answer: &Value) -> Failure {
    let detail = answer["detail"].as_str().unwrap_or("no reason given");
    Failure::new(
        Code::CheckFailed,
        format!("{doing} was answered with {status}: {detail}"),
    )
}
