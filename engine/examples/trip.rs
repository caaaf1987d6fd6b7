//! A trip: flight, hotel and car are reserved at once, the traveller confirms within a day or not at all, then the trip is paid
//! for, and the tickets are sent, or the money is sent back when there can be no tickets. `cargo run -p engine --example trip`
//! books four trips, each with another end, and prints the saga as a diagram and the journals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::command::{Command, Verb};
use engine::definition::{
    Action, Attempt, Awaited, Compensable, Definition, DefinitionError, Outcome, Policy, Probed,
    RetryPolicy, Saga,
};
use engine::outbox::in_process::InProcessBus;
use engine::store::change::ChangeKind;
use engine::store::{Change, Table};
use engine::testing::MemoryStore;
use engine::testing::kit::line;
use engine::workflow::{By, Refusal, Signal};
use engine::{Engine, Parts, Payload, Runtime, Settings, Start, Timestamp, WorkflowId};
use serde::{Deserialize, Serialize};

/// What a workflow is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trip {
    traveller: String,
    to: String,
    price_cents: u64,
    /// How long the traveller may take to confirm.
    confirm_within_s: u64,
}

/// What the traveller says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Confirmation {
    agreed: bool,
}

/// The saga.
fn trip(world: &World) -> Result<Definition, DefinitionError> {
    let reserve = |name| Reserve {
        name,
        world: world.clone(),
    };
    let mut saga = Saga::<Trip>::new("trip", 1);
    saga.deadline(Duration::from_hours(48));
    let trip = saga.input();
    // None of the three waits for another: they are reserved at the same time.
    let flight = saga.compensable(reserve("flight"), &trip);
    let hotel = saga.compensable(reserve("hotel"), &trip);
    let car = saga.compensable(reserve("car"), &trip);
    // The traveller is asked when there is something to confirm.
    let confirmation = saga.await_signal::<Confirmation, _>(
        "confirmation",
        (&trip, &flight, &hotel, &car),
        |(trip, ..), now| Some(now.after(Duration::from_secs(trip.confirm_within_s))),
    );
    let pay = Pay {
        world: world.clone(),
    };
    let (mut saga, paid) = saga.pivot(pay, (&trip, &confirmation));
    let tickets = SendTickets {
        world: world.clone(),
    };
    let sent = saga.retriable(tickets, (&trip, &paid));
    // When there can be no tickets the saga still goes forward, in another way.
    let refund = Refund {
        world: world.clone(),
    };
    let settled = saga.or_else(&sent, refund, &paid);
    saga.finish(&settled)
}

/// Steps `flight`, `hotel` and `car`: a reservation at the one who has it.
struct Reserve {
    name: &'static str,
    world: World,
}

/// What was reserved.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reservation {
    code: String,
}

impl Action for Reserve {
    type Input = Trip;
    type Output = Reservation;

    fn name(&self) -> &str {
        self.name
    }

    fn policy(&self) -> Policy {
        Policy {
            attempt_timeout: Duration::from_secs(5),
            // Patience for a minute; the traveller is waiting.
            retry: RetryPolicy {
                first_delay: Duration::from_millis(200),
                delay_max: Duration::from_secs(5),
                attempts_max: 6,
                elapsed_max: Some(Duration::from_mins(1)),
            },
            port: Some(self.name),
            ..Policy::default()
        }
    }

    async fn act(&self, attempt: &Attempt, trip: Trip) -> Outcome<Reservation> {
        match self.world.reserve(self.name, &attempt.key(), &trip.to) {
            Some(code) => Outcome::done(Reservation { code }),
            None => Outcome::refused(
                format!("no-{}", self.name),
                format!("There is no {} to {}.", self.name, trip.to),
            ),
        }
    }
}

impl Compensable for Reserve {
    /// By key alone, and not by the reservation's code: nobody may know the code, and the request may still be on its way.
    async fn compensate(&self, attempt: &Attempt, _: Trip, _: Option<Reservation>) -> Outcome<()> {
        self.world.cancel(self.name, &attempt.key());
        Outcome::done(())
    }
}

/// Step `pay`, the pivot: money that was taken is not given back behind the traveller's back.
struct Pay {
    world: World,
}

/// What was paid.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Paid {
    cents: u64,
}

impl Action for Pay {
    type Input = (Trip, Awaited<Confirmation>);
    type Output = Paid;

    fn name(&self) -> &'static str {
        "pay"
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (trip, confirmation): (Trip, Awaited<Confirmation>),
    ) -> Outcome<Paid> {
        match confirmation {
            Awaited::Arrived(Confirmation { agreed: true }) => {}
            Awaited::Arrived(Confirmation { agreed: false }) => {
                return Outcome::refused("called-off", "The traveller called the trip off.");
            }
            Awaited::TimedOut => {
                return Outcome::refused("not-confirmed", "The traveller did not confirm in time.");
            }
        }
        let cents = self.world.charge(&attempt.key(), trip.price_cents);
        Outcome::done(Paid { cents })
    }

    /// When nobody knows whether an earlier attempt took the money: the bank does.
    async fn probe(&self, attempt: &Attempt, _: (Trip, Awaited<Confirmation>)) -> Probed<Paid> {
        match self.world.charged(&attempt.key()) {
            Some(cents) => Probed::Done {
                output: Paid { cents },
                changes: Vec::new(),
            },
            None => Probed::NoEffect,
        }
    }
}

/// How the trip ends for the traveller who has paid.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Settled {
    Tickets { letter: String },
    MoneyBack { cents: u64 },
}

/// Step `send-tickets`: past the pivot, tried until it is done or refused. Besides the letter it has a row of ours, which is
/// written in the very transaction that makes the step durable.
struct SendTickets {
    world: World,
}

static TICKETS: Table = Table {
    name: "tickets",
    key: &["workflow"],
    columns: &["traveller", "cents"],
};

impl Action for SendTickets {
    type Input = (Trip, Paid);
    type Output = Settled;

    fn name(&self) -> &'static str {
        "send-tickets"
    }

    async fn act(&self, attempt: &Attempt, (trip, paid): (Trip, Paid)) -> Outcome<Settled> {
        let letter = format!("tickets to {} for {}", trip.to, trip.traveller);
        if !self.world.send(&attempt.key(), &trip.to, &letter) {
            return Outcome::refused("no-tickets", format!("Nobody flies to {}.", trip.to));
        }
        let cents = i64::try_from(paid.cents).unwrap_or(i64::MAX);
        let row = Change {
            table: &TICKETS,
            key: vec![attempt.workflow.to_string().into()],
            kind: ChangeKind::Insert(vec![trip.traveller.as_str().into(), cents.into()]),
            refusal: Refusal::new("tickets-exist", "The tickets of this trip exist already."),
        };
        Outcome::done_with(Settled::Tickets { letter }, vec![row])
    }
}

/// Step `refund`, in the place of `send-tickets`: only when that was refused, and never because nobody knows what became of it.
struct Refund {
    world: World,
}

impl Action for Refund {
    type Input = Paid;
    type Output = Settled;

    fn name(&self) -> &'static str {
        "refund"
    }

    async fn act(&self, attempt: &Attempt, paid: Paid) -> Outcome<Settled> {
        // The letter may be in the post all the same: the row that goes with it may be what was refused.
        let tickets = format!("{}/send-tickets", attempt.workflow);
        self.world.call_back(&tickets);
        self.world.give_back(&attempt.key(), paid.cents);
        let cents = paid.cents;
        Outcome::done(Settled::MoneyBack { cents })
    }
}

/// The others: airline, hotel, car hire, bank and post office. Each knows every request by its key.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    /// Codes by who reserved them and under which key; `None` once they are cancelled, or were cancelled before they came.
    reservations: BTreeMap<(&'static str, String), Option<String>>,
    charges: BTreeMap<String, u64>,
    refunds: BTreeMap<String, u64>,
    /// By key; `None` once a letter was called back, or before it was sent.
    letters: BTreeMap<String, Option<String>>,
}

impl World {
    fn reserve(&self, what: &'static str, key: &str, to: &str) -> Option<String> {
        if (what, to) == ("hotel", "Atlantis") {
            return None;
        }
        let mut books = self.books();
        let code = format!("{what}-{}", books.reservations.len() + 1);
        books
            .reservations
            .entry((what, key.to_owned()))
            .or_insert(Some(code))
            .clone()
    }

    fn cancel(&self, what: &'static str, key: &str) {
        let key = (what, key.to_owned());
        self.books().reservations.insert(key, None);
    }

    fn charge(&self, key: &str, cents: u64) -> u64 {
        *self.books().charges.entry(key.to_owned()).or_insert(cents)
    }

    fn charged(&self, key: &str) -> Option<u64> {
        self.books().charges.get(key).copied()
    }

    /// `false`: there are no tickets, or they were called back.
    fn send(&self, key: &str, to: &str, letter: &str) -> bool {
        if to == "Laputa" {
            return false;
        }
        let mut books = self.books();
        let letters = books.letters.entry(key.to_owned());
        letters.or_insert_with(|| Some(letter.to_owned())).is_some()
    }

    fn call_back(&self, key: &str) {
        self.books().letters.insert(key.to_owned(), None);
    }

    fn give_back(&self, key: &str, cents: u64) {
        self.books().refunds.insert(key.to_owned(), cents);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let runtime = Runtime::system();
    let definition = Arc::new(trip(&World::default())?);
    println!("{}", definition.to_mermaid());
    let engine = Engine::open(Parts {
        runtime: runtime.clone(),
        store: Arc::new(MemoryStore::new(runtime.clone())),
        bus: Arc::new(InProcessBus::new()),
        definitions: vec![definition],
        settings: Settings::default(),
    })
    .await?;
    let soon = || runtime.now().after(Duration::from_secs(10));

    println!("\nann goes to Lisbon, and confirms:");
    let id = book(&engine, "ann", "Lisbon", 86_400).await?;
    engine.command(confirmation(id), soon()).await?;
    show(&engine, id, soon()).await?;

    println!("\ndot goes to Laputa, which has flown away when she has paid:");
    let id = book(&engine, "dot", "Laputa", 86_400).await?;
    engine.command(confirmation(id), soon()).await?;
    show(&engine, id, soon()).await?;

    println!("\nbob goes to Oslo, and does not confirm within a second:");
    let id = book(&engine, "bob", "Oslo", 1).await?;
    show(&engine, id, soon()).await?;

    println!("\ncyd goes to Atlantis, where there is no hotel:");
    let id = book(&engine, "cyd", "Atlantis", 86_400).await?;
    show(&engine, id, soon()).await
}

/// Starts a workflow.
async fn book(
    engine: &Engine,
    traveller: &str,
    to: &str,
    confirm_within_s: u64,
) -> anyhow::Result<WorkflowId> {
    let trip = Trip {
        traveller: traveller.to_owned(),
        to: to.to_owned(),
        price_cents: 42_000,
        confirm_within_s,
    };
    let start = Start {
        definition: "trip".to_owned(),
        input: Payload::of(&trip)?,
        key: Some((traveller.to_owned(), format!("trip to {to}"))),
        request_hash: [0; 32],
        label: None,
    };
    Ok(engine.start(start).await?.view().id)
}

/// The traveller's word, as a command to the workflow. It counts once, however often it is sent.
fn confirmation(workflow: WorkflowId) -> Command {
    Command {
        workflow,
        verb: Verb::Signal(Signal {
            name: "confirmation".to_owned(),
            id: "by mail".to_owned(),
            payload: Payload::of(&Confirmation { agreed: true })
                .unwrap_or_else(|_| Payload::null()),
        }),
        by: By {
            actor: "ann".to_owned(),
            reason: "the link in the mail".to_owned(),
        },
        expected_seq: None,
        key: "confirmation by mail".to_owned(),
    }
}

/// Waits for the end and prints the journal.
async fn show(engine: &Engine, id: WorkflowId, deadline: Timestamp) -> anyhow::Result<()> {
    let view = engine.wait(id, deadline).await?;
    let records = engine.records(id, 0, 1_000).await?;
    for record in &records {
        println!("  {}", line(record, records[0].at));
    }
    let status = view.map(|view| (view.head.status, view.head.reason));
    println!("  {status:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::testing::kit::{self, Ending, Kit, Scene};

    use super::*;

    impl kit::World for World {
        fn definition(&self) -> Definition {
            trip(self).expect("a sound saga")
        }

        fn input(&self) -> Payload {
            let trip = Trip {
                traveller: "ann".into(),
                to: "Lisbon".into(),
                price_cents: 42_000,
                confirm_within_s: 86_400,
            };
            Payload::of(&trip).expect("it is JSON")
        }

        fn signals(&self) -> Vec<(&'static str, Payload)> {
            let agreed = Payload::of(&Confirmation { agreed: true }).expect("it is JSON");
            vec![("confirmation", agreed)]
        }

        async fn clean(&self) -> Result<(), String> {
            self.has(0, &[], &[], 0)
        }

        async fn complete(&self, ending: &Ending) -> Result<(), String> {
            let output = ending.output.as_ref().and_then(|it| it.to().ok());
            let rows = match output {
                Some(Settled::Tickets { .. }) => 1,
                _ => 0,
            };
            if ending.rows.inserted("tickets") != rows {
                return Err(format!("there are not {rows} rows of tickets"));
            }
            match output {
                Some(Settled::Tickets { .. }) => self.has(3, &[42_000], &[], 1),
                Some(Settled::MoneyBack { .. }) => self.has(3, &[42_000], &[42_000], 0),
                None => Err("it gives nothing".to_owned()),
            }
        }
    }

    impl World {
        fn has(
            &self,
            reserved: usize,
            charges: &[u64],
            refunds: &[u64],
            letters: usize,
        ) -> Result<(), String> {
            let books = self.books();
            let held: Vec<&String> = books.reservations.values().flatten().collect();
            let taken: Vec<u64> = books.charges.values().copied().collect();
            let given: Vec<u64> = books.refunds.values().copied().collect();
            let sent = books.letters.values().flatten().count();
            if (held.len(), &*taken, &*given, sent) == (reserved, charges, refunds, letters) {
                return Ok(());
            }
            Err(format!(
                "{held:?} are reserved, {taken:?} cents charged, {given:?} given back, {sent} letters sent"
            ))
        }
    }

    #[test]
    fn whatever_goes_wrong_the_trip_is_whole_or_there_is_none() {
        let report = Kit::new(|_| async { World::default() }).run();
        report.assert_passed();
        let step = "confirmation".to_owned();
        assert!(report.played.contains(&Scene::NoSignal { step }));
        println!("{report}");
    }
}
