//! Inputs for parsers that outsiders reach: what is kept in a corpus, as it is, and then the same spoilt in every way that a
//! seed comes to. An input that a parser falls over is made as small as possible and kept in the corpus.

use std::cell::Cell;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// Cases of a target that costs next to nothing.
const CASES: u32 = 512;
/// No input is longer, in bytes: longer ones are a matter of the limits, not of the parsers.
const INPUT_BYTES_MAX: usize = 256 * 1024;
/// All targets of a process together may make it larger by so much, in KiB.
const GROWTH_KIB_MAX: u64 = 96 * 1024;

/// What becomes of an input: it was taken, or refused as it should be, or the parser is wrong.
pub type Verdict = Result<bool, String>;

/// Words that parsers have fallen over.
const WORDS: [&[u8]; 43] = [
    b"null",
    b"true",
    b"0",
    b"-0",
    b"-1",
    b"1.5",
    b"1e3",
    b"1e999999",
    b"-1e999999",
    b"NaN",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999",
    b"\"\"",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"\"\\udfff\\ud800\"",
    b"\"\\ud83d\\ude00\"",
    b"\"\\",
    b"\"",
    b"[]",
    b"{}",
    b"[",
    b"{\"a\":",
    b"]",
    b"}",
    b",",
    b":",
    b"\0",
    b"\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\"9999-12-30T22:00:00.999999999Z\"",
    b"\"-009999-01-02T01:59:59Z\"",
    b"\"2016-12-31T23:59:60Z\"",
    b"\"1970-01-01T00:00:00-25:59\"",
    b"\"+10000-01-01T00:00:00Z\"",
];

/// One way to spoil an input. Places are shares of what is there.
#[derive(Clone, Debug)]
enum Spoil {
    /// One bit.
    Flip(Index, u8),
    /// Some bytes are missing.
    Cut(Index, usize),
    /// It ends there.
    End(Index),
    /// Some bytes come again, so many times.
    Repeat(Index, usize, usize),
    /// A part of another input stands there.
    Splice(Index, Index, Index, usize),
    /// A token is something else.
    Word(Index, Index),
    /// A token is another of its kind, from somewhere in the corpus.
    Like(Index, Index, Index),
    /// There is something more.
    Insert(Index, Index),
    /// A token is missing.
    Drop(Index),
    /// Some tokens come twice: a field, an element.
    Twice(Index, usize),
    /// Two tokens have changed places.
    Swap(Index, Index),
    /// So many brackets.
    Deep(Index, bool, usize),
    /// A line is missing, or comes again elsewhere.
    Line(Index, Option<Index>),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let place = any::<Index>;
    let times = prop_oneof![6 => 2..4_usize, 1 => 2..2_000_usize];
    let depth = prop_oneof![3 => 1..200_usize, 1 => Just(100_000_usize)];
    prop_oneof![
        3 => (place(), 0..8_u8).prop_map(|(at, bit)| Spoil::Flip(at, bit)),
        2 => (place(), 1..40_usize).prop_map(|(at, length)| Spoil::Cut(at, length)),
        1 => place().prop_map(Spoil::End),
        2 => (place(), 1..40_usize, times).prop_map(|(at, length, times)| Spoil::Repeat(at, length, times)),
        2 => (place(), place(), place(), 1..80_usize)
            .prop_map(|(at, other, from, length)| Spoil::Splice(at, other, from, length)),
        6 => (place(), place()).prop_map(|(at, word)| Spoil::Word(at, word)),
        8 => (place(), place(), place()).prop_map(|(at, other, which)| Spoil::Like(at, other, which)),
        2 => (place(), place()).prop_map(|(at, word)| Spoil::Insert(at, word)),
        2 => place().prop_map(Spoil::Drop),
        2 => (place(), 1..8_usize).prop_map(|(at, count)| Spoil::Twice(at, count)),
        2 => (place(), place()).prop_map(|(one, other)| Spoil::Swap(one, other)),
        1 => (place(), any::<bool>(), depth).prop_map(|(at, square, depth)| Spoil::Deep(at, square, depth)),
        2 => (place(), proptest::option::of(place())).prop_map(|(line, to)| Spoil::Line(line, to)),
    ]
}

/// The tokens of any text that people write: quoted texts, names and numbers, single signs. Blanks belong to none.
fn tokens(bytes: &[u8]) -> Vec<Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte) || byte > 127;
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let begin = at;
        at += 1;
        match bytes[begin] {
            b'"' => {
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                at = (at + 1).min(bytes.len());
            }
            byte if is_word(byte) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
            }
            byte if byte.is_ascii_whitespace() => continue,
            _ => {}
        }
        found.push(begin..at);
    }
    found
}

/// Texts, numbers, names and signs are not taken for each other.
fn kind(first: u8) -> u8 {
    match first {
        b'0'..=b'9' | b'-' => b'0',
        b'a'..=b'z' | b'A'..=b'Z' => b'a',
        other => other,
    }
}

/// The inputs and the words of a target.
struct Larder<'a> {
    corpus: &'a [Vec<u8>],
    words: Vec<&'a [u8]>,
}

impl Larder<'_> {
    fn spoilt(&self, which: Index, spoils: &[Spoil]) -> Vec<u8> {
        let mut bytes = which.get(self.corpus).clone();
        for spoil in spoils {
            self.apply(&mut bytes, spoil);
            bytes.truncate(INPUT_BYTES_MAX);
        }
        bytes
    }

    fn apply(&self, bytes: &mut Vec<u8>, spoil: &Spoil) {
        if bytes.is_empty() {
            return bytes.extend_from_slice(self.words[0]);
        }
        let part = |at: &Index, length: usize, of: usize| {
            let from = at.index(of);
            from..(from + length).min(of)
        };
        let tokens = tokens(bytes);
        let token = |at: &Index| {
            let whole = 0..bytes.len();
            tokens
                .get(at.index(tokens.len().max(1)))
                .map_or(whole, Clone::clone)
        };
        match spoil {
            Spoil::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Spoil::Cut(at, length) => drop(bytes.drain(part(at, *length, bytes.len()))),
            Spoil::End(at) => bytes.truncate(at.index(bytes.len())),
            Spoil::Repeat(at, length, times) => {
                let part = part(at, *length, bytes.len());
                let again = bytes[part.clone()].repeat(*times);
                bytes.splice(part, again);
            }
            Spoil::Splice(at, other, from, length) => {
                let other = other.get(self.corpus);
                if !other.is_empty() {
                    let foreign = other[part(from, *length, other.len())].to_vec();
                    bytes.splice(part(at, *length, bytes.len()), foreign);
                }
            }
            Spoil::Word(at, word) => drop(bytes.splice(token(at), self.word(*word))),
            Spoil::Like(at, other, which) => {
                let place = token(at);
                let other = other.get(self.corpus);
                let kind = kind(bytes[place.start]);
                let mut alike = self::tokens(other);
                alike.retain(|token| self::kind(other[token.start]) == kind);
                if let Some(token) = alike.get(which.index(alike.len().max(1))) {
                    bytes.splice(place, other[token.clone()].to_vec());
                }
            }
            Spoil::Insert(at, word) => {
                let at = token(at).start;
                bytes.splice(at..at, self.word(*word));
            }
            Spoil::Drop(at) => drop(bytes.drain(token(at))),
            Spoil::Twice(at, count) => {
                let last = at.index(tokens.len().max(1)) + count - 1;
                let end = tokens.get(last).map_or(bytes.len(), |last| last.end);
                let again = bytes[token(at).start.min(end)..end].to_vec();
                bytes.splice(end..end, again);
            }
            Spoil::Swap(one, other) => {
                let (one, other) = (token(one), token(other));
                let (one, other) = if one.start <= other.start {
                    (one, other)
                } else {
                    (other, one)
                };
                if one.end <= other.start {
                    let (early, late) =
                        (bytes[one.clone()].to_vec(), bytes[other.clone()].to_vec());
                    bytes.splice(other, early);
                    bytes.splice(one, late);
                }
            }
            Spoil::Deep(at, square, depth) => {
                let brackets: &[u8] = if *square { b"[" } else { b"{\"a\":" };
                bytes.splice(token(at), brackets.repeat(*depth));
            }
            Spoil::Line(line, to) => {
                let mut lines: Vec<Vec<u8>> = bytes
                    .split_inclusive(|byte| *byte == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect();
                let line = line.index(lines.len());
                match to {
                    Some(to) => lines.insert(to.index(lines.len()), lines[line].clone()),
                    None => drop(lines.remove(line)),
                }
                *bytes = lines.concat();
            }
        }
    }

    fn word(&self, word: Index) -> Vec<u8> {
        word.get(&self.words).to_vec()
    }
}

/// A parser that outsiders reach.
pub struct Target<'a> {
    /// Its name, and its folder in the corpus.
    pub name: &'a str,
    /// Inputs that are made by the test, beside those of the corpus.
    pub made: Vec<Vec<u8>>,
    /// Words that this parser knows.
    pub words: &'a [&'a str],
    /// It gets one case in so many: some cost more than others.
    pub one_in: u32,
    /// The parser is in another process: what this one has in memory says nothing.
    pub is_elsewhere: bool,
}

impl<'a> Target<'a> {
    /// A target that lives by its corpus.
    pub fn new(name: &'a str, words: &'a [&'a str]) -> Self {
        Self {
            name,
            made: Vec::new(),
            words,
            one_in: 1,
            is_elsewhere: false,
        }
    }

    /// Tries the whole corpus, of which something has to be taken, and then what a seed makes of it.
    pub fn fuzz(&self, check: impl Fn(&[u8]) -> Verdict) {
        let before = peak_kib();
        let folder = folder(self.name);
        let mut corpus = self.made.clone();
        let mut taken = 0;
        for path in files(&folder) {
            corpus.push(fs::read(&path).expect("a file of the corpus can be read"));
        }
        assert!(
            !corpus.is_empty(),
            "{} has nothing in {}",
            self.name,
            folder.display()
        );
        for input in &corpus {
            match check(input) {
                Ok(is_taken) => taken += u32::from(is_taken),
                Err(why) => panic!("{}: {why}\n{}", self.name, shown(input)),
            }
        }
        assert!(taken > 0, "{}: nothing of the corpus is good", self.name);
        let seed = seed();
        let cases = (cases() / self.one_in).max(8);
        let spoilt_and_taken = Cell::new(0_u32);
        let larder = Larder {
            corpus: &corpus,
            words: self
                .words
                .iter()
                .map(|word| word.as_bytes())
                .chain(WORDS)
                .collect(),
        };
        let config = Config {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_iters: 2_000,
            ..Config::default()
        };
        let inputs = (any::<Index>(), proptest::collection::vec(spoil(), 1..5));
        let outcome = TestRunner::new(config).run(&inputs, |(which, spoils)| {
            let is_taken = check(&larder.spoilt(which, &spoils)).map_err(TestCaseError::fail)?;
            spoilt_and_taken.set(spoilt_and_taken.get() + u32::from(is_taken));
            Ok(())
        });
        if let Err(TestError::Fail(why, (which, spoils))) = &outcome {
            let input = larder.spoilt(*which, spoils);
            let kept = keep(&folder, &input);
            panic!(
                "{}: {why}\n{}\nkept as {}",
                self.name,
                shown(&input),
                kept.display()
            );
        }
        outcome.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let grown = peak_kib().saturating_sub(before);
        println!(
            "{}: {taken} of {} of the corpus and {} of {cases} spoilt ones were taken; {grown} KiB more at the peak",
            self.name,
            corpus.len(),
            spoilt_and_taken.get(),
        );
        assert!(
            self.is_elsewhere || grown < GROWTH_KIB_MAX,
            "{}: {grown} KiB more",
            self.name
        );
    }
}

/// `HOLDFAST_FUZZ_CASES`, or as many as take no time.
pub fn cases() -> u32 {
    let set = env::var("HOLDFAST_FUZZ_CASES").ok();
    set.map_or(CASES, |text| {
        text.parse().expect("HOLDFAST_FUZZ_CASES is a number")
    })
}

/// A seed, printed so that a failure can be run again with `HOLDFAST_TEST_SEED`.
pub fn seed() -> u64 {
    let set = env::var("HOLDFAST_TEST_SEED").ok();
    let seed = set.map_or_else(
        || RandomState::new().hash_one("a seed"),
        |text| text.parse().expect("HOLDFAST_TEST_SEED is a number"),
    );
    println!("HOLDFAST_TEST_SEED={seed}");
    seed
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Keeps an input for ever. A folder that can't be written to keeps nothing: the input is printed all the same.
fn keep(folder: &Path, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = folder.join(format!("failed-{:016x}", hasher.finish()));
    let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, input));
    path
}

fn shown(input: &[u8]) -> String {
    format!(
        "{} bytes: {}",
        input.len(),
        input[..input.len().min(600)].escape_ascii()
    )
}

/// The most memory that this process ever had, in KiB; 0 where the system does not say.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
