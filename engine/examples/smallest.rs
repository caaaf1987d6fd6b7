//! The smallest saga that is worth the name: a table is held, then a deposit is taken. When the card is declined, the table is
//! free again. `cargo run -p engine --example smallest` runs it twice and prints both journals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::definition::{
    Action, Attempt, Compensable, Definition, DefinitionError, Outcome, Saga,
};
use engine::outbox::in_process::InProcessBus;
use engine::testing::MemoryStore;
use engine::testing::kit::line;
use engine::{Engine, Parts, Payload, Runtime, Settings, Start};
use serde::{Deserialize, Serialize};

/// What the workflow is started with.
#[derive(Serialize, Deserialize)]
struct Evening {
    card: String,
}

/// Step `hold-table`.
struct HoldTable(Restaurant);

impl Action for HoldTable {
    type Input = Evening;
    type Output = u32;

    fn name(&self) -> &'static str {
        "hold-table"
    }

    async fn act(&self, attempt: &Attempt, _: Evening) -> Outcome<u32> {
        match self.0.hold(&attempt.key()) {
            Some(table) => Outcome::done(table),
            None => Outcome::refused("no-table", "There is no table for you."),
        }
    }
}

impl Compensable for HoldTable {
    async fn compensate(&self, attempt: &Attempt, _: Evening, _: Option<u32>) -> Outcome<()> {
        self.0.give_back(&attempt.key());
        Outcome::done(())
    }
}

/// Step `take-deposit`: the point of no return.
struct TakeDeposit(Restaurant);

impl Action for TakeDeposit {
    type Input = (Evening, u32);
    type Output = String;

    fn name(&self) -> &'static str {
        "take-deposit"
    }

    async fn act(&self, attempt: &Attempt, (evening, table): (Evening, u32)) -> Outcome<String> {
        if evening.card == "empty" {
            return Outcome::refused("declined", "The card was declined.");
        }
        self.0.charge(&attempt.key());
        Outcome::done(format!("table {table} is yours"))
    }
}

/// The saga: two steps, and a handle from the first to the second.
fn evening(restaurant: &Restaurant) -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<Evening>::new("evening", 1);
    let evening = saga.input();
    let table = saga.compensable(HoldTable(restaurant.clone()), &evening);
    let (saga, receipt) = saga.pivot(TakeDeposit(restaurant.clone()), (&evening, &table));
    saga.finish(&receipt)
}

/// The other side. It knows every request by its key, so a request that comes twice has one effect, and one that comes after it
/// was given up has none.
#[derive(Clone, Default)]
struct Restaurant(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    /// Tables by key; `None` under a key that was given back, whether or not a table had been held under it.
    tables: BTreeMap<String, Option<u32>>,
    deposits: BTreeMap<String, u32>,
}

impl Restaurant {
    fn hold(&self, key: &str) -> Option<u32> {
        let mut books = self.0.lock().expect("nobody panics with the books open");
        let next = u32::try_from(books.tables.len()).unwrap_or(u32::MAX) + 1;
        *books.tables.entry(key.to_owned()).or_insert(Some(next))
    }

    fn give_back(&self, key: &str) {
        let mut books = self.0.lock().expect("nobody panics with the books open");
        books.tables.insert(key.to_owned(), None);
    }

    fn charge(&self, key: &str) {
        let mut books = self.0.lock().expect("nobody panics with the books open");
        books.deposits.insert(key.to_owned(), 50);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let runtime = Runtime::system();
    let engine = Engine::open(Parts {
        runtime: runtime.clone(),
        store: Arc::new(MemoryStore::new(runtime.clone())),
        bus: Arc::new(InProcessBus::new()),
        definitions: vec![Arc::new(evening(&Restaurant::default())?)],
        settings: Settings::default(),
    })
    .await?;
    for card in ["4711", "empty"] {
        let start = Start {
            definition: "evening".to_owned(),
            input: Payload::of(&Evening { card: card.into() })?,
            key: Some(("ann".to_owned(), format!("with card {card}"))),
            request_hash: [0; 32],
            label: None,
        };
        let id = engine.start(start).await?.view().id;
        let deadline = runtime.now().after(Duration::from_secs(5));
        let view = engine.wait(id, deadline).await?;
        println!(
            "card {card}: {}",
            view.map_or("gone", |view| view.head.status.as_str())
        );
        let records = engine.records(id, 0, 100).await?;
        for record in &records {
            println!("  {}", line(record, records[0].at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::testing::kit::{Ending, Kit, World};

    use super::*;

    impl World for Restaurant {
        fn definition(&self) -> Definition {
            evening(self).expect("a sound saga")
        }

        fn input(&self) -> Payload {
            let card = "4711".to_owned();
            Payload::of(&Evening { card }).expect("it is JSON")
        }

        async fn clean(&self) -> Result<(), String> {
            self.has(0, 0)
        }

        async fn complete(&self, _: &Ending) -> Result<(), String> {
            self.has(1, 1)
        }
    }

    impl Restaurant {
        fn has(&self, tables: usize, deposits: usize) -> Result<(), String> {
            let books = self.0.lock().unwrap();
            let held = books.tables.values().flatten().count();
            if (held, books.deposits.len()) == (tables, deposits) {
                return Ok(());
            }
            let taken = books.deposits.len();
            Err(format!(
                "{held} tables are held, and {taken} deposits taken"
            ))
        }
    }

    #[test]
    fn whatever_goes_wrong_there_is_a_table_with_a_deposit_or_neither() {
        Kit::new(|_| async { Restaurant::default() }).check();
    }
}
