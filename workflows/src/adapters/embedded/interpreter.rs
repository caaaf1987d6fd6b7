//! A Lua that treats a script as Redis does: the same globals, the same conversions of arguments and answers.
//!
//! The rules of conversion are those of Redis' documentation "Redis Lua API reference", section "Data type conversion".

use std::sync::{Arc, Mutex, PoisonError};

use mlua::{Function, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value, Variadic};

use crate::adapters::scripts::{Call, Reply, Script};

use super::MicrosecondClock;
use super::keyspace::{Dump, Keyspace};

/// Arrays in an answer may be nested so deep.
const ANSWER_DEPTH_MAX: usize = 8;

/// The scripts, compiled, over a keyspace of their own.
#[derive(Debug)]
pub struct Interpreter {
    lua: Lua,
    keyspace: Arc<Mutex<Keyspace>>,
    compiled: Vec<Function>,
}

impl Interpreter {
    /// An empty keyspace. Fails when a script does not compile.
    pub fn new(clock: MicrosecondClock) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let keyspace = Arc::new(Mutex::new(Keyspace::default()));
        let redis = lua.create_table()?;
        redis.set("call", redis_call(&lua, Arc::clone(&keyspace), clock)?)?;
        redis.set("error_reply", answer_with(&lua, "err")?)?;
        redis.set("status_reply", answer_with(&lua, "ok")?)?;
        lua.globals().set("redis", redis)?;
        lua.globals().set("KEYS", Value::Nil)?;
        forbid_new_globals(&lua)?;
        let compile = |script: &Script| lua.load(script.text()).into_function();
        let compiled = Script::ALL
            .iter()
            .map(compile)
            .collect::<mlua::Result<_>>()?;
        Ok(Self {
            lua,
            keyspace,
            compiled,
        })
    }

    /// Runs one of the scripts.
    pub fn run(&mut self, call: &Call) -> Reply {
        let compiled = self.compiled[call.script as usize].clone();
        self.run_function(&compiled, &call.keys, &call.arguments)
    }

    /// Runs any text, as `EVAL` does.
    pub fn eval(&mut self, text: &str, keys: &[String], arguments: &[String]) -> Reply {
        match self.lua.load(text).into_function() {
            Ok(function) => self.run_function(&function, keys, arguments),
            Err(error) => Reply::error(&format!("ERR Error compiling script {error}")),
        }
    }

    /// All keys with their fields and values.
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.keyspace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dump()
    }

    fn run_function(&self, function: &Function, keys: &[String], arguments: &[String]) -> Reply {
        let answer = self
            .set_arguments(keys, arguments)
            .and_then(|()| function.call(()));
        answer
            .and_then(|value| answer_of(&value, 0))
            .unwrap_or_else(|error| raised(&error))
    }

    fn set_arguments(&self, keys: &[String], arguments: &[String]) -> mlua::Result<()> {
        let globals = self.lua.globals();
        globals.raw_set(
            "KEYS",
            self.lua
                .create_sequence_from(keys.iter().map(String::as_str))?,
        )?;
        globals.raw_set(
            "ARGV",
            self.lua
                .create_sequence_from(arguments.iter().map(String::as_str))?,
        )
    }
}

/// An error reply that ended the script, on its way through Lua.
#[derive(Debug, thiserror::Error)]
#[error("{code} {text}")]
struct Raised {
    code: String,
    text: String,
}

fn redis_call(
    lua: &Lua,
    keyspace: Arc<Mutex<Keyspace>>,
    clock: MicrosecondClock,
) -> mlua::Result<Function> {
    // Lua's own `printf` writes a number as Redis' does.
    let format: Function = lua.globals().get::<Table>("string")?.get("format")?;
    lua.create_function(move |lua, arguments: Variadic<Value>| {
        let command = arguments
            .iter()
            .map(|argument| argument_bytes(argument, &format))
            .collect::<mlua::Result<Vec<_>>>()?;
        let reply = {
            let mut keyspace = keyspace.lock().unwrap_or_else(PoisonError::into_inner);
            keyspace.run(&command, clock())
        };
        value_of(lua, reply)
    })
}

fn argument_bytes(argument: &Value, format: &Function) -> mlua::Result<Vec<u8>> {
    match argument {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(format
            .call::<LuaString>(("%.17g", *number))?
            .as_bytes()
            .to_vec()),
        _ => Err(mlua::Error::external(Raised {
            code: "ERR".to_owned(),
            text: "Lua redis lib command arguments must be strings or integers".to_owned(),
        })),
    }
}

/// A command's reply as the script sees it: nothing is `false`, a status is a table with `ok`.
fn value_of(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        // In Lua 5.1 every number is a double.
        #[expect(clippy::cast_precision_loss, reason = "Redis loses the same digits")]
        Reply::Integer(number) => Value::Number(number as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Reply::Status(text) => {
            let table = lua.create_table()?;
            table.raw_set("ok", text)?;
            Value::Table(table)
        }
        Reply::Array(replies) => {
            let table = lua.create_table_with_capacity(replies.len(), 0)?;
            for reply in replies {
                table.raw_push(value_of(lua, reply)?)?;
            }
            Value::Table(table)
        }
        Reply::Error { code, text } => return Err(mlua::Error::external(Raised { code, text })),
    })
}

/// The script's result as the client sees it: numbers are cut to whole ones, `false` is nothing, an array ends at its
/// first `nil`.
fn answer_of(value: &Value, depth: usize) -> mlua::Result<Reply> {
    if depth > ANSWER_DEPTH_MAX {
        return Err(mlua::Error::runtime("reached lua stack limit"));
    }
    Ok(match value {
        Value::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Reply::Integer(*number),
        #[expect(clippy::cast_possible_truncation, reason = "Redis cuts as well")]
        Value::Number(number) => Reply::Integer(*number as i64),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(table) => answer_of_table(table, depth)?,
        _ => Reply::Nil,
    })
}

fn answer_of_table(table: &Table, depth: usize) -> mlua::Result<Reply> {
    if let Value::String(error) = table.raw_get("err")? {
        return Ok(Reply::error(&error.to_string_lossy()));
    }
    if let Value::String(status) = table.raw_get("ok")? {
        return Ok(Reply::Status(status.to_string_lossy()));
    }
    let mut answers = Vec::with_capacity(table.raw_len());
    for index in 1.. {
        let value: Value = table.raw_get(index)?;
        if value.is_nil() {
            break;
        }
        answers.push(answer_of(&value, depth + 1)?);
    }
    Ok(Reply::Array(answers))
}

/// What a client is told of an error that ended the script.
fn raised(error: &mlua::Error) -> Reply {
    match error.downcast_ref::<Raised>() {
        Some(Raised { code, text }) => Reply::Error {
            code: code.clone(),
            text: text.clone(),
        },
        None => Reply::Error {
            code: "ERR".to_owned(),
            text: error.to_string(),
        },
    }
}

/// `redis.error_reply` and `redis.status_reply`: a table with one field.
fn answer_with(lua: &Lua, field: &'static str) -> mlua::Result<Function> {
    lua.create_function(move |lua, text: LuaString| {
        let table = lua.create_table()?;
        table.raw_set(field, text)?;
        Ok(table)
    })
}

/// As in Redis, a script has locals only: a global would outlive it.
fn forbid_new_globals(lua: &Lua) -> mlua::Result<()> {
    let metatable = lua.create_table()?;
    let refuse = |what: &'static str| {
        lua.create_function(
            move |_, (_, name, _): (Value, Value, MultiValue)| -> mlua::Result<()> {
                let name = name.to_string()?;
                Err(mlua::Error::runtime(format!(
                    "Script attempted to {what} global variable '{name}'"
                )))
            },
        )
    };
    metatable.raw_set("__newindex", refuse("create")?)?;
    metatable.raw_set("__index", refuse("access nonexistent")?)?;
    lua.globals().set_metatable(Some(metatable))
}
