//! A driver that passes everything on and watches the database doing it: before each round trip it has the plans of its
//! statements explained, and after it, it reads how many entries of indexes and tables the server has touched.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::access::{Access, accesses};
use crate::store::sql::dialect::Dialect;
use crate::store::sql::driver::{Connection, Driver, DriverError, Outcome, Role, RunError};
use crate::store::sql::row::Row;

/// What was seen of a round trip.
#[derive(Debug)]
pub(super) struct Seen {
    /// How its statements read the tables.
    pub accesses: Vec<Access>,
    /// How many entries of indexes and tables were read; not known of SQLite.
    pub reads: u64,
}

/// What is seen, and how the database is made to plan.
#[derive(Default)]
pub(super) struct Watch {
    seen: Mutex<Vec<Seen>>,
    /// `optimizer_switch`, if not the server's own.
    switch: Mutex<Option<String>>,
}

impl Watch {
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn switch_to(&self, switch: String) {
        *self.switch.lock().unwrap_or_else(PoisonError::into_inner) = Some(switch);
    }

    fn switch(&self) -> Option<String> {
        let switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        switch.clone()
    }
}

pub(super) struct Recorder {
    pub inner: Arc<dyn Driver>,
    pub watch: Arc<Watch>,
}

struct Recording {
    inner: Box<dyn Connection>,
    dialect: Dialect,
    watch: Arc<Watch>,
}

#[async_trait]
impl Driver for Recorder {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn round_trip_bytes_max(&self) -> usize {
        self.inner.round_trip_bytes_max()
    }

    async fn connection(&self, role: Role) -> Result<Box<dyn Connection>, DriverError> {
        let mut inner = self.inner.connection(role).await?;
        if let Some(switch) = self.watch.switch() {
            let text = format!("SET SESSION optimizer_switch = '{switch}'");
            inner
                .run("switching", text)
                .await
                .map_err(|error| error.error)?;
        }
        Ok(Box::new(Recording {
            inner,
            dialect: self.inner.dialect(),
            watch: Arc::clone(&self.watch),
        }))
    }
}

#[async_trait]
impl Connection for Recording {
    async fn run(&mut self, doing: &'static str, text: String) -> Result<Vec<Outcome>, RunError> {
        let mut found = Vec::new();
        for statement in explainable(&text) {
            let explain = match self.dialect {
                Dialect::MySql => "EXPLAIN FORMAT=TRADITIONAL ",
                Dialect::Sqlite => "EXPLAIN QUERY PLAN ",
            };
            let explained = self
                .inner
                .run("explaining", format!("{explain}{statement}"));
            let plan = explained
                .await?
                .into_iter()
                .flat_map(|outcome| outcome.rows);
            let plan: Vec<Row> = plan.collect();
            found.extend(accesses(self.dialect, statement, &plan));
        }
        // Not by FLUSH STATUS: it would commit what is under way.
        let before = [self.reads().await?, self.reads().await?];
        let outcomes = self.inner.run(doing, text).await?;
        let to_count = before[1] - before[0];
        let reads = self.reads().await? - before[1] - to_count;
        let seen = Seen {
            accesses: found,
            reads,
        };
        let mut all = self
            .watch
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
        Ok(outcomes)
    }

    fn release(self: Box<Self>) {
        self.inner.release();
    }
}

impl Recording {
    /// How many entries this session has read so far.
    async fn reads(&mut self) -> Result<u64, RunError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(0);
        }
        let text = "SHOW SESSION STATUS LIKE 'Handler_read%'".to_owned();
        let outcomes = self.inner.run("counting", text).await?;
        let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
        let counts = rows.map(|row| {
            let count = row.text(1).expect("a text").parse::<u64>();
            count.expect("a number")
        });
        Ok(counts.sum())
    }
}

/// The statements of a text that look for rows in a table.
fn explainable(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").filter(|statement| {
        let looks = |verb: &&str| statement.starts_with(verb);
        let reads = ["SELECT ", "(SELECT ", "INSERT "].iter().any(looks)
            && statement.contains(" FROM ")
            && !statement.contains(" VALUES");
        reads || ["UPDATE ", "DELETE "].iter().any(looks)
    })
}
