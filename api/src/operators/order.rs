//! What an operator sends to have something done, to one workflow or to many: why, and what the verb needs. Who it is says
//! the token.

use clap::ValueEnum;
use engine::Payload;
use engine::command::Verb;
use engine::workflow::{By, Refusal, Resolution, Signal};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::filter::Filter;
use super::headers::is_key;
use super::shown::without_secrets;
use crate::auth::Operator;
use crate::problem::Problem;

const NAME_BYTES_MAX: usize = 200;
const REASON_BYTES_MAX: usize = 1_000;
const CODE_BYTES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 1_000;
/// A signal's id goes into a key of 200 bytes.
const SIGNAL_ID_BYTES_MAX: usize = 128;

/// The name of a verb, as URLs, bodies and the command line have it.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbName {
    Retry,
    Compensate,
    Resolve,
    Skip,
    Pause,
    Resume,
    Abandon,
    Signal,
}

impl VerbName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Retry,
        Self::Compensate,
        Self::Resolve,
        Self::Skip,
        Self::Pause,
        Self::Resume,
        Self::Abandon,
        Self::Signal,
    ];

    /// Such as `retry`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Compensate => "compensate",
            Self::Resolve => "resolve",
            Self::Skip => "skip",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abandon => "abandon",
            Self::Signal => "signal",
        }
    }

    /// The verb of this name.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let found = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Problem::invalid("verb", format!("must be one of {names}"))
        })
    }

    /// The fields of the body that belong to it.
    const fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Resolve => &["step", "done", "refused", "undone"],
            Self::Skip => &["step", "output"],
            Self::Signal => &["name", "id", "payload"],
            _ => &[],
        }
    }
}

/// The body of an order. One structure for all verbs, so that whatever is wrong in it has a name; what a verb has no use for
/// is refused and not ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Order {
    reason: String,
    /// Of a batch: what each workflow is told.
    #[serde(default)]
    verb: Option<String>,
    /// Of a batch: which workflows.
    #[serde(default)]
    filter: Option<Filter>,
    /// Of a batch: how fast.
    #[serde(default)]
    per_second: Option<u32>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default, deserialize_with = "given")]
    output: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    done: Option<Value>,
    #[serde(default)]
    refused: Option<Refused>,
    #[serde(default)]
    undone: Option<bool>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    payload: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Refused {
    code: String,
    message: String,
}

/// `null` is something that was given.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// What a batch has beside its verb.
pub struct BatchPart {
    pub verb: VerbName,
    pub filter: Filter,
    pub per_second: Option<u32>,
}

impl Order {
    /// An order to one workflow.
    pub fn for_one(self, verb: VerbName, operator: Operator) -> Result<(Verb, By), Problem> {
        for (name, is_given) in [
            ("verb", self.verb.is_some()),
            ("filter", self.filter.is_some()),
            ("per_second", self.per_second.is_some()),
        ] {
            if is_given {
                return Err(Problem::invalid(name, "belongs to a batch"));
            }
        }
        self.checked(verb, operator)
    }

    /// An order to many.
    pub fn for_many(mut self, operator: Operator) -> Result<(BatchPart, Verb, By), Problem> {
        let verb = self.verb.take().ok_or_else(|| missing("verb"))?;
        let part = BatchPart {
            verb: VerbName::parse(&verb)?,
            filter: self.filter.take().ok_or_else(|| missing("filter"))?,
            per_second: self.per_second.take(),
        };
        let (verb, by) = self.checked(part.verb, operator)?;
        Ok((part, verb, by))
    }

    fn checked(self, verb: VerbName, operator: Operator) -> Result<(Verb, By), Problem> {
        check_text("reason", &self.reason, REASON_BYTES_MAX)?;
        self.check_others(verb)?;
        let by = By {
            actor: operator.name,
            reason: self.reason.clone(),
        };
        Ok((self.verb(verb)?, by))
    }

    /// Whatever is given belongs to the verb.
    fn check_others(&self, verb: VerbName) -> Result<(), Problem> {
        let fields = [
            ("step", self.step.is_some()),
            ("output", self.output.is_some()),
            ("done", self.done.is_some()),
            ("refused", self.refused.is_some()),
            ("undone", self.undone.is_some()),
            ("name", self.name.is_some()),
            ("id", self.id.is_some()),
            ("payload", self.payload.is_some()),
        ];
        let other = fields
            .into_iter()
            .find(|(name, is_given)| *is_given && !verb.takes().contains(name));
        match other {
            Some((name, _)) => {
                let why = format!("does not belong to `{}`", verb.as_str());
                Err(Problem::invalid(name, why))
            }
            None => Ok(()),
        }
    }

    fn verb(self, verb: VerbName) -> Result<Verb, Problem> {
        Ok(match verb {
            VerbName::Retry => Verb::Retry,
            VerbName::Compensate => Verb::Compensate,
            VerbName::Pause => Verb::Pause,
            VerbName::Resume => Verb::Resume,
            VerbName::Abandon => Verb::Abandon,
            VerbName::Skip => Verb::Skip {
                step: required("step", self.step)?,
                output: payload("output", self.output)?,
            },
            VerbName::Signal => Verb::Signal(Signal {
                name: required("name", self.name)?,
                id: signal_id(required("id", self.id)?)?,
                payload: payload("payload", self.payload)?,
            }),
            VerbName::Resolve => Verb::Resolve {
                step: required("step", self.step)?,
                resolution: resolution(self.done, self.refused, self.undone)?,
            },
        })
    }
}

fn resolution(
    done: Option<Value>,
    refused: Option<Refused>,
    undone: Option<bool>,
) -> Result<Resolution, Problem> {
    match (done, refused, undone) {
        (Some(output), None, None) => Ok(Resolution::Done(payload("done", Some(output))?)),
        (None, Some(refused), None) => {
            check_code("refused.code", &refused.code)?;
            check_text("refused.message", &refused.message, MESSAGE_BYTES_MAX)?;
            Ok(Resolution::Refused(Refusal::new(
                refused.code,
                refused.message,
            )))
        }
        (None, None, Some(true)) => Ok(Resolution::Undone),
        (None, None, Some(false)) => Err(Problem::invalid("undone", "must be true, or left out")),
        _ => Err(Problem::invalid(
            "done",
            "say one of `done` (what the action gave), `refused` (code and message) and `undone` (true)",
        )),
    }
}

fn missing(field: &'static str) -> Problem {
    Problem::invalid(field, format!("missing field `{field}`"))
}

fn required(field: &'static str, text: Option<String>) -> Result<String, Problem> {
    let text = text.ok_or_else(|| missing(field))?;
    check_text(field, &text, NAME_BYTES_MAX)?;
    Ok(text)
}

/// The value in one spelling, so that a repeat with other spaces is the same order.
fn payload(field: &'static str, value: Option<Value>) -> Result<Payload, Problem> {
    let value = value.ok_or_else(|| missing(field))?;
    Payload::of(&value).map_err(|error| Problem::invalid(field, error))
}

fn signal_id(id: String) -> Result<String, Problem> {
    if id.len() <= SIGNAL_ID_BYTES_MAX && is_key(&id) {
        return Ok(id);
    }
    let why = format!("must be 1 to {SIGNAL_ID_BYTES_MAX} visible ASCII characters");
    Err(Problem::invalid("id", why))
}

fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Problem> {
    if text.trim().is_empty() || text.len() > bytes_max {
        let why = format!("must be 1 to {bytes_max} bytes of text");
        return Err(Problem::invalid(field, why));
    }
    Ok(())
}

fn check_code(field: &'static str, code: &str) -> Result<(), Problem> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(letters) {
        return Ok(());
    }
    let why = format!("must be 1 to {CODE_BYTES_MAX} lower-case letters, digits and hyphens");
    Err(Problem::invalid(field, why))
}

/// What a verb carries, in the words in which it was sent, without secrets; `null` when it carries nothing.
pub fn carried(verb: &Verb) -> Value {
    let shown = |payload: &Payload| without_secrets(payload.as_str());
    match verb {
        Verb::Resolve { step, resolution } => match resolution {
            Resolution::Done(output) => json!({ "step": step, "done": shown(output) }),
            Resolution::Refused(Refusal { code, message, .. }) => {
                json!({ "step": step, "refused": { "code": code, "message": message } })
            }
            Resolution::Undone => json!({ "step": step, "undone": true }),
        },
        Verb::Skip { step, output } => json!({ "step": step, "output": shown(output) }),
        Verb::Signal(Signal { name, id, payload }) => {
            json!({ "name": name, "id": id, "payload": shown(payload) })
        }
        Verb::Retry | Verb::Compensate | Verb::Pause | Verb::Resume | Verb::Abandon => Value::Null,
    }
}

/// The field of the body that holds what a step or a signal is given, and the one that names it.
pub const fn fields_of(verb: &Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Signal(_) => ("name", "payload"),
        Verb::Skip { .. } => ("step", "output"),
        _ => ("step", "done"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use crate::http::json;

    fn order(verb: VerbName, rest: &str) -> Result<Verb, String> {
        let body = format!(r#"{{"reason":"a test"{rest}}}"#);
        let alice = Operator {
            name: "alice".into(),
            role: Role::Operator,
        };
        let order: Order = json(body.as_bytes()).map_err(|problem| format!("{problem:?}"))?;
        let (verb, by) = order
            .for_one(verb, alice)
            .map_err(|problem| format!("{problem:?}"))?;
        assert_eq!(by.to_string(), "alice: a test");
        Ok(verb)
    }

    #[test]
    fn each_verb_takes_what_belongs_to_it() {
        for verb in [
            VerbName::Retry,
            VerbName::Compensate,
            VerbName::Pause,
            VerbName::Resume,
            VerbName::Abandon,
        ] {
            assert_eq!(order(verb, "").unwrap().name(), verb.as_str());
            assert!(order(verb, r#","step":"payment""#).is_err());
        }
        for (verb, rest) in [
            (VerbName::Resolve, r#","step":"a","done":null"#),
            (
                VerbName::Resolve,
                r#","step":"a","refused":{"code":"no","message":"No."}"#,
            ),
            (VerbName::Resolve, r#","step":"a","undone":true"#),
            (VerbName::Skip, r#","step":"a","output":{"units":[]}"#),
            (VerbName::Signal, r#","name":"a","id":"1","payload":7"#),
        ] {
            let sent: Value = serde_json::from_str(&format!("{{{}}}", &rest[1..])).unwrap();
            assert_eq!(carried(&order(verb, rest).unwrap()), sent);
        }
    }

    #[test]
    fn what_is_missing_too_much_or_wrong_is_named() {
        for (verb, rest, field) in [
            (VerbName::Skip, r#","step":"a""#, "output"),
            (VerbName::Skip, r#","output":1"#, "step"),
            (VerbName::Skip, r#","step":"a","output":1,"done":1"#, "done"),
            (VerbName::Resolve, r#","step":"a""#, "done"),
            (
                VerbName::Resolve,
                r#","step":"a","done":1,"undone":true"#,
                "done",
            ),
            (VerbName::Resolve, r#","step":"a","undone":false"#, "undone"),
            (
                VerbName::Resolve,
                r#","step":"a","refused":{"code":"No!","message":"x"}"#,
                "refused.code",
            ),
            (
                VerbName::Resolve,
                r#","step":"a","refused":{"code":"no"}"#,
                "refused.message",
            ),
            (VerbName::Signal, r#","name":"a","payload":1"#, "id"),
            (
                VerbName::Signal,
                r#","name":"a","id":"a b","payload":1"#,
                "id",
            ),
            (VerbName::Retry, r#","verb":"retry""#, "verb"),
            (VerbName::Retry, r#","force":true"#, "force"),
            (VerbName::Retry, r#","actor":"bob""#, "actor"),
        ] {
            let problem = order(verb, rest).expect_err(rest);
            let named = format!("field: Some(\"{field}\")");
            assert!(problem.contains(&named), "{field}: {problem}");
        }
    }

    #[test]
    fn what_is_carried_is_shown_without_secrets() {
        let skip = order(
            VerbName::Skip,
            r#","step":"a","output":{"token":"tok-secret"}"#,
        );
        assert!(!carried(&skip.unwrap()).to_string().contains("tok-secret"));
    }
}
