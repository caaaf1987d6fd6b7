//! Which run of the server this is, and the scripts as they exist only there.

use ::redis::Cmd;

use engine::planted;

use crate::adapters::scripts::{Reply, Script};
use crate::ports::reservations::ReservationError;

use super::RedisReservations;
use super::link::Connected;

/// The scripts on the one server run that they were loaded on.
#[derive(Debug)]
pub struct Attached {
    shas: [String; Script::ALL.len()],
}

impl Attached {
    pub fn sha_of(&self, script: Script) -> &str {
        &self.shas[script as usize]
    }
}

/// The server's `run_id`: new with every start, and another on every replica.
pub async fn read(
    server: &RedisReservations,
    connection: &mut Connected,
) -> Result<String, ReservationError> {
    let mut info = Cmd::new();
    info.arg("INFO").arg("server");
    let reply = text(server.send(connection, &info).await?)?;
    let run_id = reply
        .lines()
        .find_map(|line| line.trim_end().strip_prefix("run_id:"));
    run_id
        .map(str::to_owned)
        .ok_or_else(|| ReservationError::MaybeSent("INFO server names no run_id".into()))
}

/// Loads each script under a first line that names the run, so that it has another SHA on every other server.
pub async fn load_scripts(
    server: &RedisReservations,
    connection: &mut Connected,
    run_id: &str,
) -> Result<Attached, ReservationError> {
    let mut shas: [String; Script::ALL.len()] = std::array::from_fn(|_| String::new());
    let run_id = planted::either("scripts-run-on-any-server", run_id, "any");
    for script in Script::ALL {
        if !script.needs_checked_store() {
            continue;
        }
        let mut load = Cmd::new();
        let text_with_run = format!("-- incarnation {run_id}\n{}", script.text());
        load.arg("SCRIPT").arg("LOAD").arg(text_with_run);
        shas[script as usize] = text(server.send(connection, &load).await?)?;
    }
    Ok(Attached { shas })
}

/// The text that a command of the server itself answers with.
fn text(reply: Reply) -> Result<String, ReservationError> {
    if let Some(text) = reply.as_text() {
        return Ok(text.to_owned());
    }
    match reply {
        Reply::Error { code, text } => match code.as_str() {
            "NOAUTH" | "WRONGPASS" => Err(ReservationError::NotSent(
                super::ConnectError::Password(text).into(),
            )),
            _ => Err(ReservationError::Unavailable(format!("{code} {text}"))),
        },
        other => Err(ReservationError::MaybeSent(
            format!("an unexpected answer: {other:?}").into(),
        )),
    }
}
