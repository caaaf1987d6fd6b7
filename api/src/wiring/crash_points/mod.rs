//! Named places between two effects at which a test ends, freezes or fails this process: right before and right after each call
//! of a port. Only in builds with the feature `crash-points`.
//!
//! A point is named `<port>.<call>.before` or `<port>.<call>.after` and armed by the variable `FAILPOINTS` of the crate `fail`:
//! `gate.reserve.after=5*off->1*return(kill)` ends the process when the sixth reservation has been made and nobody knows it yet.
//!
//! | Word | What happens at the point |
//! |---|---|
//! | `kill` | the process ends by SIGKILL |
//! | `stop` | the process is frozen by SIGSTOP, until somebody sends SIGCONT |
//! | `fail` | before: the call is not made, and known not to have been; after: it was made, and its answer is lost |
//!
//! Every point that fires says so on standard error, in a line that begins with `crash point `.

mod gate;
mod outside;
mod store;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use engine::outbox::EventBus;
use engine::store::Store;
use rustix::process::{Signal, getpid, kill_process};
use workflows::ports::payment_gateway::PaymentGateway;
use workflows::ports::reservations::Reservations;

/// A signal reaches every thread within this.
const SIGNAL_TIMEOUT: Duration = Duration::from_millis(100);

/// One port and everything behind it, with a point before and after each call.
struct Pointed<Port: ?Sized>(Arc<Port>);

/// Everything through which a node has effects.
type Ports = (
    Arc<dyn Store>,
    Arc<dyn EventBus>,
    Arc<dyn Reservations>,
    Arc<dyn PaymentGateway>,
);

/// All ports, each with its points.
pub fn around((store, bus, reservations, gateway): Ports) -> Ports {
    (
        Arc::new(Pointed(store)),
        Arc::new(Pointed(bus)),
        Arc::new(Pointed(reservations)),
        Arc::new(Pointed(gateway)),
    )
}

/// What an armed point is told; `None` where it is not armed, or not any more.
fn told(point: &str) -> Option<String> {
    fail::fail_point!(point, |word| word);
    None
}

/// Comes to this point. Returns whether the call fails here.
fn fails_at(point: &str) -> bool {
    let Some(word) = told(point) else {
        return false;
    };
    // Not through the log: the next thing may be the end.
    let said = writeln!(std::io::stderr(), "crash point {point}: {word}");
    match word.as_str() {
        "kill" => send_myself(Signal::KILL),
        "stop" => send_myself(Signal::STOP),
        _ => return said.is_ok(),
    }
    false
}

fn send_myself(signal: Signal) {
    if kill_process(getpid(), signal).is_ok() {
        // Another thread may be the one that takes it: this one must not go on meanwhile.
        std::thread::sleep(SIGNAL_TIMEOUT);
    }
}

/// Makes a call of the port behind a [`Pointed`], between its two points: `$refused` and `$lost` are the errors of a call that was
/// not made, and of one whose answer is lost.
macro_rules! between {
    ($self:ident, $port:literal, $call:ident($($argument:expr),*), $refused:expr, $lost:expr) => {{
        if $crate::wiring::crash_points::fails_at(concat!($port, ".", stringify!($call), ".before")) {
            return Err($refused.into());
        }
        let answer = $self.0.$call($($argument),*).await;
        if $crate::wiring::crash_points::fails_at(concat!($port, ".", stringify!($call), ".after")) {
            return Err($lost.into());
        }
        answer
    }};
}
use between;
