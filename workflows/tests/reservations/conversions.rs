//! The embedded Lua converts arguments and answers as Redis does: each line is evaluated by both.

use std::sync::Arc;

use redis::Value;
use workflows::adapters::embedded::interpreter::Interpreter;
use workflows::adapters::scripts::Reply;

use crate::harness::redis_url;
use crate::redis_server::raw_connection;

/// Each with the key `KEYS[1]` and the arguments `a` and `7`; a hash at the key has the fields n=5 and s=text.
const SNIPPETS: [&str; 33] = [
    "return 'text'",
    "return 3",
    "return 3.99",
    "return -3.99",
    "return 2^53",
    "return true",
    "return false",
    "return nil",
    "return",
    "return {}",
    "return {1, 'two', {3, {false, true}}}",
    "return {1, 2, nil, 4}",
    "return {1, false, 3}",
    "return {ok = 'FINE'}",
    "return {err = 'BAD luck'}",
    "return redis.error_reply('CODE and text')",
    "return redis.status_reply('PONG')",
    "return {ARGV[1], ARGV[2], #ARGV, #KEYS, ARGV[3]}",
    "return type(redis.call('HGET', KEYS[1], 'absent'))",
    "return redis.call('HGET', KEYS[1], 'absent')",
    "return redis.call('HMGET', KEYS[1], 'n', 'absent', 's')",
    "return type(redis.call('HMGET', KEYS[1], 'absent')[1])",
    "redis.call('HSET', KEYS[1], 'big', 9007199254740991) return redis.call('HGET', KEYS[1], 'big')",
    "redis.call('HSET', KEYS[1], 'exp', 1e15) return redis.call('HGET', KEYS[1], 'exp')",
    "redis.call('HSET', KEYS[1], 'part', 2.5, 'neg', -4) return redis.call('HMGET', KEYS[1], 'part', 'neg')",
    "return {redis.call('HSET', KEYS[1], 'x', 1, 'n', 6), redis.call('HDEL', KEYS[1], 'x', 'y'), redis.call('HINCRBY', KEYS[1], 'n', '-1')}",
    "return redis.call('HSCAN', KEYS[1], '0', 'COUNT', 5000)[1]",
    "return #redis.call('HSCAN', KEYS[1], '0', 'COUNT', '10')[2]",
    "return redis.call('HSCAN', 'no-such-key', 0, 'COUNT', 10)",
    "redis.call('HDEL', KEYS[1], 's') return redis.call('HSCAN', KEYS[1], '0', 'count', 10)",
    "return {redis.call('UNLINK', KEYS[1], 'no-such-key'), redis.call('HGETALL', KEYS[1])}",
    "return {type(redis.call('HINCRBY', KEYS[1], 'n', 2)), 5 + '2', '10' * 2, tostring(1e15), tostring(1800000000000)}",
    "return {string.match('refused:a-b:c d', '^refused:([^:]*):(.*)$'), #redis.call('TIME'), type(redis.call('TIME')[1])}",
];

/// Each ends the script with an error; the first word of it is compared.
const RAISED: [&str; 11] = [
    "return redis.call('HINCRBY', KEYS[1], 's', 1)",
    "return redis.call('HINCRBY', KEYS[1], 'n', '01')",
    "return redis.call('HINCRBY', KEYS[1], 'n', 1.5)",
    "redis.call('HSET', KEYS[1], 'max', '9223372036854775807') return redis.call('HINCRBY', KEYS[1], 'max', 1)",
    "return redis.call('HSET', KEYS[1], 'field')",
    "return redis.call('HGET', KEYS[1], {})",
    "return redis.call('HSCAN', KEYS[1], 'x', 'COUNT', 10)",
    "return redis.call('HSCAN', KEYS[1], '0', 'COUNT', 0)",
    "return redis.call('HSCAN', KEYS[1], '0', 'COUNT', 'x')",
    "new_global = 1",
    "return no_such_global",
];

#[test]
fn the_embedded_store_has_no_command_that_was_not_compared() {
    let mut interpreter = Interpreter::new(Arc::new(|| 0)).unwrap();
    for text in [
        "return redis.call('SET', 'k', 'v')",
        "return redis.call()",
        "return redis.pcall('TIME')",
    ] {
        let reply = interpreter.eval(text, &[], &[]);
        assert!(
            matches!(&reply, Reply::Error { code, .. } if code == "ERR"),
            "{text}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn values_cross_between_lua_and_redis_alike() {
    for text in SNIPPETS {
        let (embedded, redis) = evaluate(text).await;
        if let Some(redis) = redis {
            assert_eq!(embedded, redis, "{text}; embedded left");
        }
    }
    for text in RAISED {
        let (embedded, redis) = evaluate(text).await;
        let code = |reply: &Reply| match reply {
            Reply::Error { code, .. } => code.clone(),
            other => panic!("{text} did not fail: {other:?}"),
        };
        assert_eq!(code(&embedded), "ERR", "{text}");
        if let Some(redis) = redis {
            assert_eq!(
                code(&embedded),
                code(&redis),
                "{text}: {embedded:?} {redis:?}"
            );
        }
    }
}

async fn evaluate(text: &str) -> (Reply, Option<Reply>) {
    let key = format!("holdfast-test-conversions-{}", std::process::id());
    let fill = "redis.call('UNLINK', KEYS[1]) redis.call('HSET', KEYS[1], 'n', 5, 's', 'text')";
    let clear = "return redis.call('UNLINK', KEYS[1])";
    let arguments = ["a".to_owned(), "7".to_owned()];
    let mut interpreter = Interpreter::new(Arc::new(|| 0)).unwrap();
    interpreter.eval(fill, std::slice::from_ref(&key), &[]);
    let embedded = interpreter.eval(text, std::slice::from_ref(&key), &arguments);
    let Some(url) = redis_url() else {
        return (embedded, None);
    };
    let mut raw = raw_connection(&url).await;
    let eval = |text: &str| {
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(1).arg(&key).arg(&arguments);
        command
    };
    eval(fill).query_async::<Value>(&mut raw).await.unwrap();
    let redis = match eval(text).query_async::<Value>(&mut raw).await {
        Ok(value) => reply_of(value),
        Err(error) => Reply::Error {
            code: error.code().unwrap_or_default().to_owned(),
            text: error.detail().unwrap_or_default().to_owned(),
        },
    };
    eval(clear).query_async::<Value>(&mut raw).await.unwrap();
    (embedded, Some(redis))
}

pub fn reply_of(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Integer(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::SimpleString(text) => Reply::Status(text),
        Value::Okay => Reply::Status("OK".to_owned()),
        Value::Array(values) => Reply::Array(values.into_iter().map(reply_of).collect()),
        other => panic!("unexpected: {other:?}"),
    }
}
