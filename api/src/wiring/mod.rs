//! Putting it together: the same engine, workflows and scripts, embedded in one process or over MySQL, Redis and Kafka.

mod data_dir;
pub mod database;
mod gateway;
mod servers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::outbox::EventBus;
use engine::outbox::in_process::InProcessBus;
use engine::outbox::kafka::KafkaBus;
use engine::retention::{Archive, JsonLinesArchive};
use engine::store::{SqlDatabase, Store};
use engine::{Drained, Engine, NodeName, Parts, Runtime, Settings, Timestamp};
use tokio::sync::watch;
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::domain::ids::SaleId;
use workflows::domain::sale::Sale;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{Catalogue, Seeded};
use workflows::ports::payment_gateway::PaymentGateway;
use workflows::ports::reservations::Reservations;
use workflows::purchase::{self, Gate, GateAlarm};
use workflows::reconcile::gate::{GateKeeper, GateParts, GateState};

use crate::auth::Tokens;
use crate::cli::StoreKind;
use crate::config::Backend;
use crate::exit::{Code, Failure, with_causes};
use crate::problem::{Kind, Problem};

pub use data_dir::DataDir;
use gateway::Gateway;

/// A node that starts waits so long for the gate; then it serves, and says 503 until it is open.
const GATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The last things to end, after the time for draining has passed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a request may need. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Time and randomness.
    pub runtime: Runtime,
    /// The engine.
    pub engine: Engine,
    /// Buyers' tokens.
    pub tokens: Tokens,
    /// The engine's store: asked whether it is there.
    pub store: Arc<dyn Store>,
    /// The database with the shop's tables.
    pub database: SqlDatabase,
    /// The gate.
    pub reservations: Arc<dyn Reservations>,
    /// The gate's keeper.
    pub keeper: GateKeeper,
    /// The gateway, by its URL: its ledger is the oracle of the invariants.
    pub gateway_url: String,
    /// Turns true when the listeners stop: whoever waits should answer now.
    pub stopping: watch::Receiver<bool>,
    /// What is sold: see [`Services::sale`] and [`Services::seed`].
    pub catalogue: Arc<dyn Catalogue>,
}

/// The services as routes share them: one count for each request, not one for each of them.
pub type Shared = Arc<Services>;

impl axum::extract::FromRef<Shared> for Tokens {
    fn from_ref(services: &Shared) -> Self {
        services.tokens.clone()
    }
}

impl Services {
    /// The sale of this name.
    pub async fn sale(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, Problem> {
        Ok(self.catalogue.sale(sale).await?)
    }

    /// Stores a sale and loads it into the gate.
    pub async fn seed(&self, seed: &SaleSeed) -> Result<Seeded, Problem> {
        let seeded = self.catalogue.seed(seed).await?;
        let sale =
            SaleId::parse(seed.sale.as_str()).map_err(|error| Problem::invalid("sale", error))?;
        self.keeper.warm(&sale, seeded).await.map_err(|error| {
            tracing::warn!(sale = %sale, error = %with_causes(&error), "a sale is stored and not loaded yet");
            Problem::new(
                Kind::UNAVAILABLE,
                "the sale is stored, and its gate could not be opened yet: that is tried on and on; send it again to see",
            )
        })?;
        Ok(seeded)
    }
}

/// Everything that runs, and the order in which it ends.
pub struct System {
    services: Services,
    kafka: Option<Arc<KafkaBus>>,
    gateway: Gateway,
    description: String,
    // The last to go: the folder is held until everything in it is closed.
    _data_dir: Option<DataDir>,
}

/// What is asked in common by both ways to run.
struct Foundation {
    database: SqlDatabase,
    reservations: Arc<dyn Reservations>,
    bus: Arc<dyn EventBus>,
    kafka: Option<Arc<KafkaBus>>,
    settings: Settings,
    description: String,
    is_alone: bool,
}

impl System {
    /// Connects, migrates, recovers and runs.
    pub async fn open(backend: &Backend, runtime: Runtime) -> Result<Self, Failure> {
        let servers = backend.servers()?;
        let given_key = backend.given_token_key()?;
        if servers.is_some() && given_key.is_none() {
            return Err(Failure::new(
                Code::Configuration,
                "HOLDFAST_TOKEN_KEY is not set: with servers every node needs the same key of at least 32 random bytes, \
                 for example from `openssl rand -hex 32`",
            ));
        }
        let needs_folder = servers.is_none() || backend.pg_url.is_none();
        let data_dir = needs_folder
            .then(|| DataDir::take(&backend.data_dir))
            .transpose()?;
        let tokens = match (given_key, &data_dir) {
            (Some(key), _) => Tokens::new(key.expose().as_bytes(), runtime.clone()),
            (None, Some(data_dir)) => Tokens::new(&data_dir.token_key(&runtime)?, runtime.clone()),
            (None, None) => {
                return Err(Failure::new(
                    Code::Configuration,
                    "HOLDFAST_TOKEN_KEY is not set",
                ));
            }
        };
        let foundation = match (&servers, &data_dir) {
            (Some(servers), _) => servers::connect(servers, backend).await?,
            (None, Some(data_dir)) => embedded(data_dir, backend, &runtime).await?,
            (None, None) => {
                return Err(Failure::new(
                    Code::Configuration,
                    "no data directory was given",
                ));
            }
        };
        database::migrate(&foundation.database).await?;
        let ledger = data_dir.as_ref().map(DataDir::ledger);
        let gateway = Gateway::open(backend.pg_url.as_ref(), ledger, &runtime).await?;
        Self::assemble(foundation, gateway, tokens, data_dir, runtime).await
    }

    async fn assemble(
        foundation: Foundation,
        gateway: Gateway,
        tokens: Tokens,
        data_dir: Option<DataDir>,
        runtime: Runtime,
    ) -> Result<Self, Failure> {
        let Foundation {
            database,
            reservations,
            bus,
            kafka,
            settings,
            description,
            is_alone,
        } = foundation;
        let alarm = GateAlarm::default();
        let gate = Gate {
            reservations: Arc::clone(&reservations),
            alarm: alarm.clone(),
        };
        let client: Arc<dyn PaymentGateway> = gateway.client();
        let definition = purchase::definition(&gate, &client)
            .map_err(|error| Failure::internal("defining the purchase saga", &error))?;
        let store = database.store();
        let engine = Engine::open(Parts {
            runtime: runtime.clone(),
            store: Arc::clone(&store),
            bus,
            definitions: vec![Arc::new(definition)],
            settings,
        })
        .await
        .map_err(|error| {
            Failure::caused_by(Code::Server, "the engine could not be opened", &error)
        })?;
        let catalogue: Arc<dyn Catalogue> =
            Arc::new(SqlCatalogue::new(database.clone(), runtime.clone()));
        let keeper = GateKeeper::start(GateParts {
            runtime: runtime.clone(),
            engine: Arc::new(engine.clone()),
            database: database.clone(),
            catalogue: Arc::clone(&catalogue),
            reservations: Arc::clone(&reservations),
            alarm,
            rebuild_at_start: is_alone,
        });
        if let GateState::Closed(why) = keeper.ensure_open(GATE_TIMEOUT).await {
            tracing::warn!(error = %why, "serving with a closed gate: purchases are answered with 503 until it is open");
        }
        let (_, stopping) = watch::channel(false);
        let services = Services {
            runtime,
            engine,
            tokens,
            store,
            database,
            reservations,
            keeper,
            gateway_url: gateway.url(),
            stopping,
            catalogue,
        };
        Ok(Self {
            services,
            kafka,
            gateway,
            description,
            _data_dir: data_dir,
        })
    }

    /// What requests need.
    pub fn services(&self) -> Services {
        self.services.clone()
    }

    /// Where it runs, in words.
    pub fn description(&self) -> String {
        self.description.clone()
    }

    /// The payment gateway's URL, with a word when it is simulated.
    pub fn gateway_url(&self) -> String {
        self.gateway.description()
    }

    /// Takes a sale out of the gate, for one that nobody will come back to.
    pub async fn forget(&self, sale: &str) {
        let Ok(sale) = SaleId::parse(sale) else {
            return;
        };
        if let Err(error) = self.services.reservations.close_gate(&sale).await {
            tracing::warn!(error = %with_causes(&error), "a sale is left behind in the gate");
        }
    }

    /// Finishes what it can until `deadline`; what is left is durable, and taken up at the next start.
    pub async fn close(self, deadline: Timestamp) -> Result<(), Failure> {
        let Self {
            services,
            kafka,
            gateway,
            _data_dir,
            ..
        } = self;
        let Drained { open, unpublished } = services.engine.drain(deadline).await;
        let left = deadline.since(services.runtime.now()).max(CLOSE_TIMEOUT);
        if let Some(kafka) = kafka {
            flush(kafka, left).await;
        }
        gateway.close(CLOSE_TIMEOUT).await;
        if open > 0 || unpublished > 0 {
            tracing::info!(
                open,
                unpublished,
                "stopped; what is left is durable and goes on at the next start"
            );
        } else {
            tracing::info!("stopped; nothing is left to do");
        }
        Ok(())
    }
}

/// Events that are not acknowledged in the end are published again at the next start.
async fn flush(kafka: Arc<KafkaBus>, limit: Duration) {
    let flushed = tokio::task::spawn_blocking(move || kafka.flush(limit)).await;
    if let Ok(Err(error)) = flushed {
        tracing::warn!(%error, "some events wait for the next start");
    }
}

async fn embedded(
    data_dir: &DataDir,
    backend: &Backend,
    runtime: &Runtime,
) -> Result<Foundation, Failure> {
    let clock = {
        let runtime = runtime.clone();
        Arc::new(move || runtime.now().0)
    };
    let incarnation = format!("embedded-{:016x}", runtime.next_u64());
    let reservations = EmbeddedReservations::new(incarnation, clock)
        .map_err(|error| Failure::internal("starting the embedded reservations", &error))?;
    Ok(Foundation {
        database: database::open(&data_dir.database()).await?,
        reservations: Arc::new(reservations),
        bus: Arc::new(InProcessBus::new()),
        kafka: None,
        settings: settings(backend, "embedded", StoreKind::Sqlite.partitions())?,
        description: format!(
            "embedded (SQLite, Lua and events in this process), data in {}",
            shown(&backend.data_dir)
        ),
        is_alone: true,
    })
}

fn settings(backend: &Backend, node: &str, partitions: u16) -> Result<Settings, Failure> {
    let defaults = Settings::default();
    let archive = backend.archive.as_ref().map(JsonLinesArchive::open);
    let archive = archive.transpose().map_err(|error| {
        let path = backend.archive.as_deref().map(shown).unwrap_or_default();
        Failure::new(
            Code::Configuration,
            format!("--archive {path}: {}", with_causes(&error)),
        )
    })?;
    Ok(Settings {
        node: NodeName(node.to_owned()),
        partitions: backend.partitions.unwrap_or(partitions),
        lease: backend.lease,
        in_flight_max: usize::try_from(backend.in_flight_max).unwrap_or(defaults.in_flight_max),
        retention: backend.retention,
        archive: archive.map(|archive| Arc::new(archive) as Arc<dyn Archive>),
        ..defaults
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
