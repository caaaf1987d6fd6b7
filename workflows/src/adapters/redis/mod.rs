//! Reservations in Redis: one EVALSHA an operation over one shared, pipelined connection.
//!
//! Two rules are built in. What fails before a call is handed to a connection is [`ReservationError::NotSent`], whatever
//! fails after is [`ReservationError::MaybeSent`]: the two halves of [`RunScript::run`] can't produce the other's error.
//! And a script is only ever run on a server that was checked: the scripts are loaded with a first line that names the
//! server's run, so their SHA does not exist on any other, and a missing script is never loaded again by itself.

mod incarnation;
mod link;

use std::sync::{Arc, PoisonError, RwLock};

use ::redis::{Cmd, RedisError, Value};

use crate::ports::reservations::ReservationError;

use super::scripts::{Call, KEYS_OF_SALE, Reply, RunScript};
use incarnation::Attached;
use link::{Connected, Link};

pub use link::{CONNECT_TIMEOUT, ConnectError, RECONNECT_PAUSE, RESPONSE_TIMEOUT};

/// The Redis adapter. It reconnects by itself; see [`Reservations`](crate::ports::reservations::Reservations) for when it
/// must be attached again.
#[derive(Debug)]
pub struct RedisReservations {
    link: Link,
    attached: RwLock<Option<Arc<Attached>>>,
}

impl RedisReservations {
    /// Connects to `redis://[user:password@]host:port[/database]` and asks the server who it is. Every failure is
    /// [`ReservationError::NotSent`], whose cause says what to do, or [`ReservationError::Unavailable`].
    pub async fn connect(url: &str) -> Result<Self, ReservationError> {
        let link = Link::open(url).map_err(|error| ReservationError::NotSent(error.into()))?;
        let reservations = Self {
            link,
            attached: RwLock::new(None),
        };
        RunScript::incarnation(&reservations).await?;
        Ok(reservations)
    }

    fn attached(&self) -> Option<Arc<Attached>> {
        self.attached
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The command that runs `call`: by SHA where the store must have been checked, by text where that does not matter.
    fn command(&self, call: &Call) -> Result<Cmd, ReservationError> {
        let mut command = Cmd::new();
        if call.script.needs_checked_store() {
            let attached = self
                .attached()
                .ok_or_else(|| ReservationError::OtherIncarnation("not attached yet".to_owned()))?;
            command.arg("EVALSHA").arg(attached.sha_of(call.script));
        } else {
            command.arg("EVAL").arg(call.script.text());
        }
        command
            .arg(KEYS_OF_SALE)
            .arg(&call.keys)
            .arg(&call.arguments);
        Ok(command)
    }

    async fn connection(&self) -> Result<Connected, ReservationError> {
        self.link
            .connection()
            .await
            .map_err(|error| ReservationError::NotSent(error.into()))
    }

    /// Hands a command to a connection: from here on its effect is unknown until the server says something.
    async fn send(&self, over: &mut Connected, command: &Cmd) -> Result<Reply, ReservationError> {
        let error = match command.query_async::<Value>(&mut over.connection).await {
            Ok(value) => return reply_of(value).map_err(ReservationError::MaybeSent),
            Err(error) => error,
        };
        if let Some(reply) = server_error(&error) {
            return Ok(reply);
        }
        self.link.give_up(over.id);
        Err(ReservationError::MaybeSent(error.into()))
    }
}

impl RunScript for RedisReservations {
    async fn run(&self, call: Call) -> Result<Reply, ReservationError> {
        let command = self.command(&call)?;
        let mut connection = self.connection().await?;
        self.send(&mut connection, &command).await
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        let mut connection = self.connection().await?;
        incarnation::read(self, &mut connection).await
    }

    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError> {
        // One connection for both steps: it can't outlive the server that it leads to.
        let mut connection = self.connection().await?;
        let found = incarnation::read(self, &mut connection).await?;
        if found != checked {
            let text = format!("{checked} was checked, {found} is there");
            return Err(ReservationError::OtherIncarnation(text));
        }
        let attached = incarnation::load_scripts(self, &mut connection, &found).await?;
        *self
            .attached
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(attached));
        Ok(())
    }
}

/// The server's refusal, or nothing when the error is not the server's.
fn server_error(error: &RedisError) -> Option<Reply> {
    let code = error.code()?.to_owned();
    let text = error.detail().unwrap_or_default().to_owned();
    Some(Reply::Error { code, text })
}

fn reply_of(value: Value) -> Result<Reply, crate::ports::reservations::Cause> {
    Ok(match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Integer(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::SimpleString(text) => Reply::Status(text),
        Value::Okay => Reply::Status("OK".to_owned()),
        Value::Array(values) => {
            Reply::Array(values.into_iter().map(reply_of).collect::<Result<_, _>>()?)
        }
        other => return Err(format!("a reply of an unknown kind: {other:?}").into()),
    })
}
