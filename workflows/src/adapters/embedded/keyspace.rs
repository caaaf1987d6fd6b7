//! The part of Redis that the reservation scripts use: hashes, and the time. Anything else is an error, so that a script
//! can't rely on what was not compared with a real server.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::adapters::scripts::Reply;

/// Every key, with its fields and their values.
pub type Dump = BTreeMap<String, BTreeMap<String, String>>;

type Bytes = Vec<u8>;
type Hash = HashMap<Bytes, Bytes>;

/// Hashes by key; an empty hash is no hash.
#[derive(Debug, Default)]
pub struct Keyspace {
    hashes: HashMap<Bytes, Hash>,
}

impl Keyspace {
    /// Runs one command, its name first. `now_us` is the time in Unix microseconds.
    pub fn run(&mut self, command: &[Bytes], now_us: i64) -> Reply {
        let Some((name, arguments)) = command.split_first() else {
            return Reply::error("ERR Please specify at least one argument for this redis.call()");
        };
        match (name.to_ascii_uppercase().as_slice(), arguments) {
            (b"HGET", [key, field]) => self.hget(key, field),
            (b"HMGET", [key, fields @ ..]) if !fields.is_empty() => {
                Reply::Array(fields.iter().map(|field| self.hget(key, field)).collect())
            }
            (b"HGETALL", [key]) => self.hgetall(key),
            (b"HSET", [key, pairs @ ..]) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
                self.hset(key, pairs)
            }
            (b"HINCRBY", [key, field, by]) => self.hincrby(key, field, by),
            (b"HDEL", [key, fields @ ..]) if !fields.is_empty() => self.hdel(key, fields),
            (b"HSCAN", [key, cursor, count, limit]) if count.eq_ignore_ascii_case(b"COUNT") => {
                self.hscan(key, cursor, limit)
            }
            (b"UNLINK", keys) if !keys.is_empty() => count(
                keys.iter()
                    .filter(|key| self.hashes.remove(*key).is_some())
                    .count(),
            ),
            (b"TIME", []) => Reply::Array(vec![
                bulk(now_us.div_euclid(1_000_000)),
                bulk(now_us.rem_euclid(1_000_000)),
            ]),
            _ => {
                Reply::error("ERR a command or a form of it that the embedded store does not have")
            }
        }
    }

    pub fn dump(&self) -> Dump {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let fields = |hash: &Hash| {
            hash.iter()
                .map(|(field, value)| (text(field), text(value)))
                .collect::<BTreeMap<_, _>>()
        };
        self.hashes
            .iter()
            .map(|(key, hash)| (text(key), fields(hash)))
            .collect()
    }

    fn hget(&self, key: &Bytes, field: &Bytes) -> Reply {
        let value = self.hashes.get(key).and_then(|hash| hash.get(field));
        value.map_or(Reply::Nil, |value| Reply::Bulk(value.clone()))
    }

    fn hgetall(&self, key: &Bytes) -> Reply {
        let pairs = self.hashes.get(key).into_iter().flatten();
        let bulks = pairs
            .flat_map(|(field, value)| [Reply::Bulk(field.clone()), Reply::Bulk(value.clone())]);
        Reply::Array(bulks.collect())
    }

    /// The fields in the order of a hash of their names, which no write changes: a cursor is where to go on in it.
    fn hscan(&self, key: &Bytes, cursor: &Bytes, limit: &Bytes) -> Reply {
        let Some(from) = std::str::from_utf8(cursor)
            .ok()
            .and_then(|cursor| cursor.parse::<u64>().ok())
        else {
            return Reply::error("ERR invalid cursor");
        };
        let Some(limit) = whole_number(limit)
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0)
        else {
            return Reply::error("ERR syntax error");
        };
        let hash = self.hashes.get(key).into_iter().flatten();
        let mut rest: Vec<_> = hash
            .map(|(field, value)| (place_of(field), field, value))
            .filter(|(place, ..)| *place >= from)
            .collect();
        let mut next = 0;
        if rest.len() > limit {
            let (_, (last, ..), _) =
                rest.select_nth_unstable_by_key(limit - 1, |(place, ..)| *place);
            // Names of one place stay together, as no cursor leads between them.
            let last = *last;
            let before = rest.len();
            rest.retain(|(place, ..)| *place <= last);
            if rest.len() < before {
                next = last + 1;
            }
        }
        let found = rest
            .iter()
            .flat_map(|(_, field, value)| [(*field).clone(), (*value).clone()].map(Reply::Bulk));
        Reply::Array(vec![
            Reply::Bulk(next.to_string().into_bytes()),
            Reply::Array(found.collect()),
        ])
    }

    fn hset(&mut self, key: &Bytes, pairs: &[Bytes]) -> Reply {
        let hash = self.hashes.entry(key.clone()).or_default();
        let (pairs, _) = pairs.as_chunks::<2>();
        let added = pairs
            .iter()
            .filter(|[field, value]| hash.insert(field.clone(), value.clone()).is_none())
            .count();
        count(added)
    }

    fn hincrby(&mut self, key: &Bytes, field: &Bytes, by: &Bytes) -> Reply {
        let Some(by) = whole_number(by) else {
            return Reply::error("ERR value is not an integer or out of range");
        };
        let stored = self.hashes.get(key).and_then(|hash| hash.get(field));
        let Some(before) = stored.map_or(Some(0), whole_number) else {
            return Reply::error("ERR hash value is not an integer");
        };
        let Some(after) = before.checked_add(by) else {
            return Reply::error("ERR increment or decrement would overflow");
        };
        let hash = self.hashes.entry(key.clone()).or_default();
        hash.insert(field.clone(), after.to_string().into_bytes());
        Reply::Integer(after)
    }

    fn hdel(&mut self, key: &Bytes, fields: &[Bytes]) -> Reply {
        let Some(hash) = self.hashes.get_mut(key) else {
            return Reply::Integer(0);
        };
        let removed = fields
            .iter()
            .filter(|field| hash.remove(*field).is_some())
            .count();
        if hash.is_empty() {
            self.hashes.remove(key);
        }
        count(removed)
    }
}

/// Where a field comes in a scan.
fn place_of(field: &Bytes) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(field)
}

/// Redis takes a whole number only in the form that it writes itself: no sign `+`, no leading zero, no space.
fn whole_number(text: &Bytes) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn bulk(number: i64) -> Reply {
    Reply::Bulk(number.to_string().into_bytes())
}

fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
