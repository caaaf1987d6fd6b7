//! What a bomb does to the program: how much memory it holds at the worst moment, and whether others are still served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::eventually;
use crate::support::http::client;

/// The program may hold so much more than before, in KiB, whatever is thrown at it.
pub const GROWTH_KIB_MAX: u64 = 50 * 1024;
/// Others are answered within this, also on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks at a process while bombs go off.
pub struct Meter {
    process: u32,
    before_kib: u64,
    seen: Arc<Seen>,
    looking: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    most_kib: AtomicU64,
    served: AtomicU64,
    longest_ms: AtomicU64,
    is_over: AtomicBool,
}

impl Meter {
    /// Begins to look. `others` are the addresses that somebody else asks meanwhile.
    pub fn start(process: u32, others: Vec<String>) -> Self {
        let seen = Arc::<Seen>::default();
        let before_kib = resident_kib(process);
        println!("{before_kib} KiB before");
        let looking = Handle::current().spawn(look(process, others, Arc::clone(&seen)));
        Self {
            process,
            before_kib,
            seen,
            looking,
        }
    }

    /// Lets a bomb go off; panics when it made the program too large, or others waited.
    pub async fn bomb<T>(&self, name: &str, bomb: impl Future<Output = T>) -> T {
        self.seen.most_kib.store(0, Ordering::Relaxed);
        self.seen.longest_ms.store(0, Ordering::Relaxed);
        let (served, begun) = (self.seen.served.load(Ordering::Relaxed), Instant::now());
        let outcome = bomb.await;
        let took = begun.elapsed();
        // At least one look falls into each bomb.
        let now_kib = resident_kib(self.process);
        let most_kib = self.seen.most_kib.load(Ordering::Relaxed).max(now_kib);
        let grown = most_kib.saturating_sub(self.before_kib);
        let served = self.seen.served.load(Ordering::Relaxed) - served;
        let longest = Duration::from_millis(self.seen.longest_ms.load(Ordering::Relaxed));
        println!(
            "{name}: {grown} KiB more at the peak, after {took:.1?}; {served} others were served, each within {longest:.1?}"
        );
        assert!(grown < GROWTH_KIB_MAX, "{name}: {grown} KiB more");
        assert!(
            longest < ANSWERED_WITHIN,
            "{name}: others waited for {longest:?}"
        );
        assert!(
            !self.looking.is_finished(),
            "{name}: others were not served"
        );
        outcome
    }

    /// Waits until the program is nearly as it was before.
    pub async fn comes_down(self) {
        let (process, before_kib) = (self.process, self.before_kib);
        eventually("the memory to be given back", || async move {
            (resident_kib(process) < before_kib + GROWTH_KIB_MAX).then_some(())
        })
        .await;
        println!(
            "{before_kib} KiB before, {} KiB in the end",
            resident_kib(process)
        );
        self.seen.is_over.store(true, Ordering::Relaxed);
        self.looking.await.expect("others were served to the end");
    }
}

async fn look(process: u32, others: Vec<String>, seen: Arc<Seen>) {
    let http: Client = client();
    while !seen.is_over.load(Ordering::Relaxed) {
        for url in &others {
            let asked = Instant::now();
            let answer = http.get(url).timeout(2 * ANSWERED_WITHIN).send().await;
            let status = answer.expect("others are answered").status();
            assert_eq!(status, 200, "{url}");
            let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            seen.longest_ms.fetch_max(waited, Ordering::Relaxed);
            seen.served.fetch_add(1, Ordering::Relaxed);
        }
        seen.most_kib
            .fetch_max(resident_kib(process), Ordering::Relaxed);
        sleep(LOOK_EVERY).await;
    }
}

/// What the process has in memory (`proc_pid_status(5)`).
fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.expect("a process")
}
