//! What a person sees while the buyers are at work: bars on a terminal, a line a second elsewhere.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use loadtest::driver::{Progress, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::report::thousands;
use crate::cli::Demo;

const BARS_EVERY: Duration = Duration::from_millis(100);
const LINES_EVERY: Duration = Duration::from_secs(1);

/// The one who watches.
pub struct Watching {
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
}

/// Shows the progress on standard error until [`Watching::end`].
pub fn watch(progress: Arc<Progress>, arguments: &Demo, description: &str) -> Watching {
    let (stop, stopped) = watch::channel(false);
    let (buyers, stock) = (u64::from(arguments.buyers), u64::from(arguments.stock));
    eprintln!(
        "{} buyers for {} units and {} coupons; {description}",
        thousands(buyers),
        thousands(stock),
        thousands(u64::from(arguments.coupons))
    );
    let mut task = JoinSet::new();
    if std::io::stderr().is_terminal() {
        task.spawn(show(
            Bars::new(buyers, stock),
            BARS_EVERY,
            progress,
            stopped,
        ));
    } else {
        task.spawn(show(
            Lines { buyers, seconds: 0 },
            LINES_EVERY,
            progress,
            stopped,
        ));
    }
    Watching { stop, task }
}

impl Watching {
    /// Shows the last state, and ends.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        while self.task.join_next().await.is_some() {}
    }
}

trait Show: Send {
    fn show(&mut self, now: Snapshot);
    fn end(&mut self, last: Snapshot);
}

async fn show(
    mut view: impl Show,
    every: Duration,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => view.show(progress.snapshot()),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    view.end(progress.snapshot());
}

struct Bars {
    buyers: ProgressBar,
    sold: ProgressBar,
    refused: ProgressBar,
}

impl Bars {
    fn new(buyers: u64, stock: u64) -> Self {
        let all = MultiProgress::new();
        let bar = |name: &'static str, length: u64, template: &str| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            all.add(ProgressBar::new(length))
                .with_style(style.progress_chars("█▉▊▋▌▍▎▏ "))
                .with_prefix(name)
        };
        let template = "{prefix:>10} {bar:40.cyan} {human_pos:>9} of {human_len} {msg}";
        Self {
            buyers: bar("buyers", buyers, template),
            sold: bar("sold", stock, template),
            refused: bar(
                "refused",
                buyers,
                "{prefix:>10} {bar:40.yellow} {human_pos:>9} {msg}",
            ),
        }
    }
}

impl Show for Bars {
    fn show(&mut self, now: Snapshot) {
        self.buyers.set_position(now.buyers);
        self.sold.set_position(now.completed);
        self.refused.set_position(now.refused);
        self.refused
            .set_message(format!("and {} declined", thousands(now.turned_back)));
        if now.unavailable > 0 {
            self.buyers.set_message(format!(
                "({} answers 503 or none)",
                thousands(now.unavailable)
            ));
        }
    }

    fn end(&mut self, last: Snapshot) {
        self.show(last);
        for bar in [&self.buyers, &self.sold, &self.refused] {
            bar.abandon();
        }
    }
}

struct Lines {
    buyers: u64,
    seconds: u64,
}

impl Show for Lines {
    fn show(&mut self, now: Snapshot) {
        self.seconds += 1;
        self.line(now);
    }

    fn end(&mut self, last: Snapshot) {
        self.line(last);
    }
}

impl Lines {
    fn line(&self, now: Snapshot) {
        let Snapshot {
            buyers,
            completed,
            turned_back,
            refused,
            unavailable,
        } = now;
        eprintln!(
            "{:>3} s  buyers {buyers} of {}  completed {completed}  declined {turned_back}  refused {refused}  \
             unavailable {unavailable}",
            self.seconds, self.buyers
        );
    }
}
