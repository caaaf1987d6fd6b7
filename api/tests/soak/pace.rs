//! How long things fail, and how often each of them: from the environment, so that a run of any length is the same program.

use std::fmt;
use std::time::Duration;

use engine::runtime::{Entropy as _, SeededEntropy};

/// How long things fail.
const MINUTES: &str = "HOLDFAST_SOAK_MINUTES";
/// No run is longer.
const MINUTES_MAX: f64 = 24.0 * 60.0;
/// How long things fail where nobody says so, as in `make test`.
const SHORT: Duration = Duration::from_secs(26);
/// Nothing happens less often.
const EVERY_MAX_S: f64 = 86_400.0;
/// So long Kafka is stopped at the most, and such a part of the run in a short one.
const KAFKA_STOPPED_MAX: Duration = Duration::from_mins(1);
const KAFKA_STOPPED_PART: u32 = 5;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A node is killed.
    Kill,
    /// A node stands still for more than two leases.
    Pause,
    /// The answer to a COMMIT is cut.
    Cut,
    /// A node and the database do not hear each other.
    Partition,
    /// They hear each other late.
    Slow,
    /// MySQL is killed.
    Mysql,
    /// Redis forgets something.
    Redis,
    /// Kafka is stopped for a while.
    Kafka,
    /// The payment gateway is away, slow or wrong.
    Gateway,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Pause,
        Self::Cut,
        Self::Partition,
        Self::Slow,
        Self::Mysql,
        Self::Redis,
        Self::Kafka,
        Self::Gateway,
    ];

    /// The variable that says how often, and the seconds from one to the next where it does not.
    const fn default(self) -> (&'static str, f64, f64) {
        match self {
            Self::Kill => ("HOLDFAST_SOAK_KILL_EVERY", 2.0, 8.0),
            Self::Pause => ("HOLDFAST_SOAK_PAUSE_EVERY", 4.0, 9.0),
            Self::Cut => ("HOLDFAST_SOAK_CUT_EVERY", 1.0, 5.0),
            Self::Partition => ("HOLDFAST_SOAK_PARTITION_EVERY", 8.0, 25.0),
            Self::Slow => ("HOLDFAST_SOAK_SLOW_EVERY", 8.0, 25.0),
            Self::Mysql => ("HOLDFAST_SOAK_MYSQL_EVERY", 40.0, 80.0),
            Self::Redis => ("HOLDFAST_SOAK_REDIS_EVERY", 6.0, 16.0),
            Self::Kafka => ("HOLDFAST_SOAK_KAFKA_EVERY", 120.0, 240.0),
            Self::Gateway => ("HOLDFAST_SOAK_GATEWAY_EVERY", 8.0, 20.0),
        }
    }
}

/// From one to the next at least, and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from: Duration,
    to: Duration,
}

/// The pace of a run.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How long things fail.
    pub lasts: Duration,
    every: Vec<(Kind, Span)>,
}

/// A variable that can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPace {
    name: &'static str,
    value: String,
    wanted: &'static str,
}

impl fmt::Display for BadPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            wanted,
        } = self;
        write!(f, "{name} is {value:?}, and has to be {wanted}")
    }
}

impl Pace {
    /// What these variables ask for.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, BadPace> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let lasts = match given(MINUTES) {
            None => SHORT,
            Some(value) => minutes(value)?,
        };
        let mut every = Vec::new();
        for kind in Kind::ALL {
            let (name, from, to) = kind.default();
            let span = match given(name) {
                None => Span::of(from, to).expect("the defaults are right"),
                Some(value) => span(name, value)?,
            };
            every.push((kind, span));
        }
        Ok(Self { lasts, every })
    }

    /// How often this happens.
    pub fn every(&self, kind: Kind) -> Span {
        let found = self.every.iter().find(|(one, _)| *one == kind);
        found.expect("every kind has its pace").1
    }

    /// How long Kafka is stopped.
    pub fn kafka_is_stopped_for(&self) -> Duration {
        KAFKA_STOPPED_MAX.min(self.lasts / KAFKA_STOPPED_PART)
    }
}

fn minutes(value: String) -> Result<Duration, BadPace> {
    let parsed = value.trim().parse().ok();
    let fits = |minutes: &f64| *minutes > 0.0 && *minutes <= MINUTES_MAX;
    let minutes = parsed.filter(fits).ok_or(BadPace {
        name: MINUTES,
        value,
        wanted: "a number of minutes above 0, up to 1440",
    })?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

fn span(name: &'static str, value: String) -> Result<Span, BadPace> {
    let parsed = value.split_once("..").and_then(|(from, to)| {
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        Span::of(from, to)
    });
    parsed.ok_or(BadPace {
        name,
        value,
        wanted: "two numbers of seconds such as 2..8, the first above 0 and not above the second, up to 86400",
    })
}

impl Span {
    fn of(from_s: f64, to_s: f64) -> Option<Self> {
        let fits = from_s > 0.0 && from_s <= to_s && to_s <= EVERY_MAX_S;
        fits.then(|| Self {
            from: Duration::from_secs_f64(from_s),
            to: Duration::from_secs_f64(to_s),
        })
    }
}

/// Everything that one kind of fault leaves to chance.
pub struct Dice(SeededEntropy);

impl Dice {
    /// The dice of this number for a run of this seed.
    pub fn of(seed: u64, number: u64) -> Self {
        let own = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(SeededEntropy::new(own))
    }

    /// A number.
    pub fn number(&self) -> u64 {
        self.0.next_u64()
    }

    /// A number below this one.
    pub fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("small");
        usize::try_from(self.number() % bound).expect("below a usize")
    }

    /// A time in this span.
    pub fn within(&self, Span { from, to }: Span) -> Duration {
        let width_us = u64::try_from(to.saturating_sub(from).as_micros()).expect("a day at most");
        from + Duration::from_micros(self.number() % (width_us + 1))
    }

    /// A time between so many milliseconds and so many.
    pub fn between_ms(&self, from: u64, to: u64) -> Duration {
        let (from, to) = (Duration::from_millis(from), Duration::from_millis(to));
        self.within(Span { from, to })
    }
}

#[test]
fn a_pace_that_can_not_be_understood_is_told_with_its_variable() {
    for (name, value) in [
        (MINUTES, "soon"),
        (MINUTES, "0"),
        (MINUTES, "-1"),
        (MINUTES, "NaN"),
        (MINUTES, "100000"),
        ("HOLDFAST_SOAK_KILL_EVERY", "2"),
        ("HOLDFAST_SOAK_CUT_EVERY", "8..2"),
        ("HOLDFAST_SOAK_REDIS_EVERY", "0..2"),
        ("HOLDFAST_SOAK_MYSQL_EVERY", "2..inf"),
        ("HOLDFAST_SOAK_PAUSE_EVERY", "a..b"),
    ] {
        let given = |asked: &str| (asked == name).then(|| value.to_owned());
        let error = Pace::of(given).expect_err("it makes no sense");
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[test]
fn a_pace_is_what_its_variables_say() {
    let given = |asked: &str| match asked {
        MINUTES => Some("2.5".to_owned()),
        "HOLDFAST_SOAK_KILL_EVERY" => Some("0.5..1".to_owned()),
        _ => None,
    };
    let pace = Pace::of(given).expect("it makes sense");
    assert_eq!(pace.lasts, Duration::from_secs(150));
    assert_eq!(pace.kafka_is_stopped_for(), Duration::from_secs(30));
    assert_eq!(Some(pace.every(Kind::Kill)), Span::of(0.5, 1.0));
    assert_eq!(Some(pace.every(Kind::Pause)), Span::of(4.0, 9.0));
    let dice = Dice::of(7, 0);
    for _ in 0..100 {
        let pause = dice.within(pace.every(Kind::Kill));
        assert!((500..=1_000).contains(&pause.as_millis()), "{pause:?}");
    }
}
