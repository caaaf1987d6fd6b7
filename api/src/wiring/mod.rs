//! Putting it together: the same engine, workflows and scripts, embedded in one process or over MySQL, Redis and Kafka.

#[cfg(feature = "crash-points")]
mod crash_points;
mod data_dir;
pub mod database;
mod gateway;
mod servers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Definition, DefinitionError};
use engine::outbox::EventBus;
use engine::outbox::in_process::InProcessBus;
use engine::outbox::kafka::KafkaBus;
use engine::outbox::log::PublishedLog;
use engine::retention::{Archive, JsonLinesArchive};
use engine::store::{SqlDatabase, Store};
use engine::{Drained, Engine, NodeName, Parts, Runtime, Settings, Timestamp};
use tokio::sync::watch;
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::adapters::serials::SqlSerials;
use workflows::campaign;
use workflows::domain::ids::SaleId;
use workflows::domain::sale::Sale;
use workflows::domain::seed::SaleSeed;
use workflows::opening::{self, Openings};
use workflows::ports::catalogue::{Catalogue, Seeded};
use workflows::ports::payment_gateway::PaymentGateway;
use workflows::ports::reservations::Reservations;
use workflows::ports::serials::Serials;
use workflows::purchase::{self, Gate, GateAlarm, Ports};
use workflows::reconcile::gate::{GateKeeper, GateParts, GateState};
use workflows::reconcile::reconciler::{self, Reconciler, ReconcilerParts};

use crate::auth::{Families, Keys, Operator, Role, Tokens};
use crate::cli::StoreKind;
use crate::config::{Backend, WebhookSecrets};
use crate::exit::{Code, Failure, with_causes};
use crate::operators::Verifier;
use crate::problem::{Kind, Problem};

pub use data_dir::{DataDir, kept_token_key, operator_token_path};
use gateway::Gateway;

/// A node that starts waits so long for the gate; then it serves, and says 503 until it is open.
const GATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The last things to end, after the time for draining has passed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a token is good for that the program makes for itself.
const OWN_TOKEN_LIFETIME: Duration = Duration::from_hours(24);

/// What a request may need. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Time and randomness.
    pub runtime: Runtime,
    /// The engine.
    pub engine: Engine,
    /// Everybody's tokens.
    pub tokens: Tokens,
    /// Which refresh tokens are good.
    pub families: Families,
    /// What the payment gateway signs its webhooks with.
    pub webhook_secrets: Arc<WebhookSecrets>,
    /// The engine's store: asked whether it is there.
    pub store: Arc<dyn Store>,
    /// The database with the shop's tables.
    pub database: SqlDatabase,
    /// The gate.
    pub reservations: Arc<dyn Reservations>,
    /// The gate's keeper.
    pub keeper: GateKeeper,
    /// Who compares the gate with the database.
    pub reconciler: Reconciler,
    /// The gateway, by its URL: its ledger is the oracle of the invariants.
    pub gateway_url: String,
    /// The gateway: asked about orders where it shows no ledger.
    pub gateway: Arc<dyn PaymentGateway>,
    /// What was published, where it can be read again.
    pub published: Option<Arc<dyn PublishedLog>>,
    /// Who checks the invariants.
    pub verifier: Verifier,
    /// Turns true when the listeners stop: whoever waits should answer now.
    pub stopping: watch::Receiver<bool>,
    /// What is sold: see [`Services::sale`] and [`Services::seed`].
    pub catalogue: Arc<dyn Catalogue>,
    /// Pools of serial numbers.
    pub serials: Arc<dyn Serials>,
    /// Who starts the openings of sales.
    pub openings: Openings,
}

/// The services as routes share them: one count for each request, not one for each of them.
pub type Shared = Arc<Services>;

impl axum::extract::FromRef<Shared> for Tokens {
    fn from_ref(services: &Shared) -> Self {
        services.tokens.clone()
    }
}

impl Services {
    /// The sale that a URL names, or the 404.
    pub async fn sale_named(&self, name: &str) -> Result<Arc<Sale>, Problem> {
        let not_found = || Problem::not_found("sale", name);
        let id = SaleId::parse(name).map_err(|_| not_found())?;
        self.sale(&id).await?.ok_or_else(not_found)
    }

    /// The sale of this name.
    pub async fn sale(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, Problem> {
        Ok(self.catalogue.sale(sale).await?)
    }

    /// Stores a sale, loads it into the gate and starts its opening.
    pub async fn seed(&self, seed: &SaleSeed) -> Result<Seeded, Problem> {
        let seeded = self.catalogue.seed(seed).await?;
        self.ready(seed, seeded).await?;
        Ok(seeded)
    }

    /// The same for several sales, of which all are stored or none.
    pub async fn seed_all(&self, seeds: &[SaleSeed]) -> Result<Vec<Seeded>, Problem> {
        let seeded = self.catalogue.seed_all(seeds).await?;
        for (seed, seeded) in seeds.iter().zip(&seeded) {
            self.ready(seed, *seeded).await?;
        }
        Ok(seeded)
    }

    /// Loads a stored sale and starts its opening: both happen by themselves as well, a little later.
    async fn ready(&self, seed: &SaleSeed, seeded: Seeded) -> Result<(), Problem> {
        let sale =
            SaleId::parse(seed.sale.as_str()).map_err(|error| Problem::invalid("sale", error))?;
        self.keeper.warm(&sale, seeded).await.map_err(|error| {
            tracing::warn!(sale = %sale, error = %with_causes(&error), "a sale is stored and not loaded yet");
            Problem::new(
                Kind::UNAVAILABLE,
                "the sale is stored, and its gate could not be opened yet: that is tried on and on; send it again to see",
            )
        })?;
        if let Some(sale) = self.catalogue.sale_now(&sale).await? {
            self.is_changed(&sale).await;
        }
        Ok(())
    }

    /// After a sale was seeded or its schedule changed: starts the opening of the new schedule, and ends that of the old one.
    pub async fn is_changed(&self, sale: &Sale) {
        if let Err(error) = self.openings.changed(sale).await {
            tracing::warn!(sale = %sale.sale, error = %with_causes(&error), "a sale's opening is not under way yet: that is tried on and on");
        }
    }
}

/// Everything that runs, and the order in which it ends.
pub struct System {
    services: Services,
    kafka: Option<Arc<KafkaBus>>,
    gateway: Gateway,
    description: String,
    operator_token_file: Option<PathBuf>,
    // The last to go: the folder is held until everything in it is closed.
    _data_dir: Option<DataDir>,
}

/// What is asked in common by both ways to run.
struct Foundation {
    database: SqlDatabase,
    reservations: Arc<dyn Reservations>,
    bus: Arc<dyn EventBus>,
    kafka: Option<Arc<KafkaBus>>,
    published: Option<Arc<dyn PublishedLog>>,
    settings: Settings,
    description: String,
    is_alone: bool,
}

impl System {
    /// Connects, migrates, recovers and runs.
    pub async fn open(backend: &Backend, runtime: Runtime) -> Result<Self, Failure> {
        let servers = backend.servers()?;
        let (given_key, previous_key) = (backend.given_token_key()?, backend.previous_token_key()?);
        if servers.is_some() && given_key.is_none() {
            return Err(Failure::new(
                Code::Configuration,
                "HOLDFAST_TOKEN_KEY is not set: with servers every node needs the same key of at least 32 random bytes, \
                 for example from `openssl rand -hex 32`",
            ));
        }
        let webhook_secrets = WebhookSecrets::given(backend, &runtime)?;
        let needs_folder = servers.is_none() || backend.pg_url.is_none();
        let data_dir = needs_folder
            .then(|| DataDir::take(&backend.data_dir))
            .transpose()?;
        let keys = match (given_key, &data_dir) {
            (Some(key), _) => Keys::new(key, previous_key),
            (None, Some(data_dir)) => Keys::new(&data_dir.token_key(&runtime)?, previous_key),
            (None, None) => {
                return Err(Failure::new(
                    Code::Configuration,
                    "HOLDFAST_TOKEN_KEY is not set",
                ));
            }
        };
        let tokens = Tokens::new(keys, runtime.clone());
        let operator_token_file = match (&servers, &data_dir) {
            (None, Some(data_dir)) => Some(data_dir.renew_operator_token(&tokens)?),
            _ => None,
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
        let gateway = Gateway::open(backend, ledger, &runtime).await?;
        let system = Self::assemble(
            foundation,
            gateway,
            (tokens, webhook_secrets),
            data_dir,
            runtime,
        )
        .await?;
        Ok(Self {
            operator_token_file,
            ..system
        })
    }

    async fn assemble(
        foundation: Foundation,
        gateway: Gateway,
        (tokens, webhook_secrets): (Tokens, WebhookSecrets),
        data_dir: Option<DataDir>,
        runtime: Runtime,
    ) -> Result<Self, Failure> {
        let Foundation {
            database,
            reservations,
            bus,
            kafka,
            published,
            settings,
            description,
            is_alone,
        } = foundation;
        let client: Arc<dyn PaymentGateway> = gateway.client();
        let store = database.store();
        #[cfg(feature = "crash-points")]
        let (store, bus, reservations, client) =
            crash_points::around((store, bus, reservations, client));
        let alarm = GateAlarm::default();
        let gate = Gate {
            reservations: Arc::clone(&reservations),
            alarm: alarm.clone(),
        };
        let catalogue: Arc<dyn Catalogue> =
            Arc::new(SqlCatalogue::new(database.clone(), runtime.clone()));
        let serials: Arc<dyn Serials> =
            Arc::new(SqlSerials::new(database.clone(), runtime.clone()));
        let ports = Ports {
            gate,
            gateway: client,
            catalogue: Arc::clone(&catalogue),
            serials: Arc::clone(&serials),
        };
        let definitions = definitions(&ports, &database, &runtime)
            .map_err(|error| Failure::internal("defining the sagas", &error))?;
        let node = settings.node.clone();
        let engine = Engine::open(Parts {
            runtime: runtime.clone(),
            store: Arc::clone(&store),
            bus,
            definitions,
            settings,
        })
        .await
        .map_err(|error| {
            Failure::caused_by(Code::Server, "the engine could not be opened", &error)
        })?;
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
        let reconciler = Reconciler::start(ReconcilerParts {
            runtime: runtime.clone(),
            node,
            database: database.clone(),
            catalogue: Arc::clone(&catalogue),
            reservations: Arc::clone(&reservations),
            keeper: keeper.clone(),
            settings: reconciler::Settings::default(),
        });
        let openings = Openings::start(engine.clone(), database.clone());
        let services = Services {
            runtime,
            engine,
            families: Families::new(tokens.clone(), database.clone()),
            tokens,
            webhook_secrets: Arc::new(webhook_secrets),
            store,
            database,
            reservations,
            keeper,
            reconciler,
            gateway_url: gateway.url(),
            gateway: gateway.client(),
            published,
            verifier: Verifier::default(),
            stopping: watch::channel(false).1,
            catalogue,
            serials,
            openings,
        };
        Ok(Self {
            services,
            kafka,
            gateway,
            description,
            operator_token_file: None,
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

    /// Where the operators' token of embedded mode is; with servers there is none that anybody makes unasked.
    pub fn operator_token_file(&self) -> Option<&Path> {
        self.operator_token_file.as_deref()
    }

    /// A token for this program itself, an admin's.
    pub fn operator_token(&self) -> Result<String, Failure> {
        let itself = Operator {
            name: "holdfast".to_owned(),
            role: Role::Admin,
        };
        let signed = self
            .services
            .tokens
            .sign_operator(&itself, OWN_TOKEN_LIFETIME);
        let signed = signed.map_err(|error| Failure::internal("signing a token", &error))?;
        Ok(signed.token)
    }

    /// The payment gateway's URL, with a word when it is simulated.
    pub fn gateway_url(&self) -> String {
        self.gateway.description()
    }

    /// A simulated gateway in this process sends its webhooks to the buyers' listener at this URL from now on.
    pub fn send_webhooks_to(&self, buyers_url: &str) -> Result<(), Failure> {
        let url = format!("{buyers_url}/v1/payments/webhook");
        self.gateway
            .send_webhooks_to(&url, self.services.webhook_secrets.now())
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

/// Every saga that a node runs.
fn definitions(
    ports: &Ports,
    database: &SqlDatabase,
    runtime: &Runtime,
) -> Result<Vec<Arc<Definition>>, DefinitionError> {
    let mut definitions = purchase::definitions(ports)?;
    definitions.push(campaign::definition(&ports.gate)?);
    definitions.push(opening::definition(database, runtime)?);
    Ok(definitions.into_iter().map(Arc::new).collect())
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
        published: None,
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
