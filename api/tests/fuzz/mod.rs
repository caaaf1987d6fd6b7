//! What buyers, operators, the gateway and anybody else send is taken or refused by the running program, whatever it is: it answers
//! with a 4xx that says why, and never falls over.

#[path = "../../../engine/tests/fuzz/mutate.rs"]
mod mutate;
mod wire;

mod buyers;
mod operators;
mod seed_files;
mod tokens;

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::support::PATIENCE;
use crate::support::process::Server;
use mutate::{Target, Verdict};
use wire::{Answered, Request, exchange};

/// One of the program's two addresses.
struct Door {
    address: String,
}

impl Door {
    fn of(url: &str) -> Self {
        Self {
            address: url.trim_start_matches("http://").to_owned(),
        }
    }

    /// The answer to this request, which always comes.
    fn answer(&self, request: &Request<'_>) -> Result<Answered, String> {
        let bytes = request.bytes();
        // A crowded machine may say "later"; a defect says it again and again.
        for _ in 0..20 {
            let answered = Handle::current().block_on(exchange(&self.address, &bytes, PATIENCE));
            match answered.ok_or("no answer")? {
                later if later.status == 503 => std::thread::sleep(Duration::from_millis(50)),
                answered => return Ok(answered),
            }
        }
        Err("503 again and again".to_owned())
    }

    fn judge(&self, request: &Request<'_>) -> Verdict {
        self.answer(request)?.judge()
    }
}

/// Tries a target from within an asynchronous test.
fn fuzz(target: Target<'_>, check: impl Fn(&[u8]) -> Verdict) {
    let target = Target {
        is_elsewhere: true,
        ..target
    };
    block_in_place(|| target.fuzz(check));
}

/// The program is as it was: it ends when it is told to, and nothing in it has panicked.
async fn is_sound(server: Server) {
    server.process.signal("TERM").await;
    let (status, said) = server.process.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
