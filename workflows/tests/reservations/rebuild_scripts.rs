//! The scripts called by hand, as a late copy or a broken adapter would: turned away, with nothing written.

use std::sync::Arc;

use redis::Value;
use workflows::adapters::embedded::interpreter::Interpreter;
use workflows::adapters::scripts::{Call, KEYS_OF_SALE, Reply, Script};
use workflows::domain::ids::SaleId;

use crate::harness::{Pair, dump_of, redis_url};
use crate::redis_server::raw_connection;

/// The scripts called by hand on both, replies compared as they are: what a well-behaved adapter never does.
struct ByHand {
    sale: SaleId,
    interpreter: Interpreter,
    redis: Option<redis::aio::MultiplexedConnection>,
}

impl ByHand {
    async fn new(pair: &Pair) -> Self {
        let redis = match redis_url() {
            Some(url) => Some(raw_connection(&url).await),
            None => None,
        };
        let interpreter = Interpreter::new(Arc::new(|| 0)).unwrap();
        Self {
            sale: pair.sale.clone(),
            interpreter,
            redis,
        }
    }

    /// The first word of the answer.
    async fn call(&mut self, script: Script, arguments: &[&str]) -> String {
        let arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let call = Call::new(script, &self.sale, arguments);
        let embedded = match self.interpreter.run(&call) {
            Reply::Error { code, .. } => code,
            Reply::Array(words) => words[0].as_text().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        if let Some(redis) = &mut self.redis {
            let mut command = redis::cmd("EVAL");
            command
                .arg(script.text())
                .arg(KEYS_OF_SALE)
                .arg(&call.keys)
                .arg(&call.arguments);
            let on_redis = match command.query_async::<Value>(redis).await {
                Ok(value) => redis::from_redis_value::<Vec<String>>(value).unwrap()[0].clone(),
                Err(error) => error.code().unwrap_or_default().to_owned(),
            };
            assert_eq!(on_redis, embedded, "{script:?} {:?}", call.arguments);
            assert_eq!(dump_of(redis, &self.sale).await, self.interpreter.dump());
        }
        embedded
    }
}

#[tokio::test]
async fn chunks_of_another_rebuild_or_out_of_turn_are_turned_away() {
    let pair = Pair::new().await;
    let mut scripts = ByHand::new(&pair).await;
    let product = ["product", "tee", "10", "0"];
    let hold = ["hold", "w1/stock", "ann", "1", "tee", "2"];
    let load = |generation, chunk| [&[generation, chunk][..], &product].concat();
    assert_eq!(
        scripts.call(Script::RebuildLoad, &load("1", "0")).await,
        "SUPERSEDED",
        "none begun"
    );
    assert_eq!(scripts.call(Script::RebuildBegin, &["1"]).await, "begun");
    assert_eq!(
        scripts.call(Script::RebuildLoad, &load("2", "0")).await,
        "SUPERSEDED"
    );
    assert_eq!(
        scripts.call(Script::RebuildLoad, &load("1", "1")).await,
        "SUPERSEDED",
        "0 is missing"
    );
    assert_eq!(
        scripts.call(Script::RebuildLoad, &load("1", "x")).await,
        "SUPERSEDED"
    );
    for _ in 0..2 {
        assert_eq!(
            scripts.call(Script::RebuildLoad, &load("1", "0")).await,
            "loaded"
        );
    }
    let finish = |generation, chunks| [generation, chunks, "1", "0", "1000", "2000", "4"];
    assert_eq!(
        scripts.call(Script::RebuildFinish, &finish("1", "2")).await,
        "SUPERSEDED"
    );
    let second = [&["1", "1"][..], &hold].concat();
    for _ in 0..2 {
        assert_eq!(scripts.call(Script::RebuildLoad, &second).await, "loaded");
    }
    assert_eq!(
        scripts.call(Script::RebuildLoad, &load("1", "0")).await,
        "SUPERSEDED",
        "too late"
    );
    assert_eq!(
        scripts.call(Script::RebuildFinish, &finish("2", "2")).await,
        "SUPERSEDED"
    );
    for _ in 0..2 {
        assert_eq!(
            scripts.call(Script::RebuildFinish, &finish("1", "2")).await,
            "finished"
        );
    }
    assert_eq!(
        scripts.call(Script::RebuildLoad, &second).await,
        "SUPERSEDED",
        "it is open"
    );
    assert_eq!(scripts.call(Script::RebuildBegin, &[""]).await, "begun");
    assert_eq!(
        scripts.call(Script::RebuildFinish, &finish("1", "2")).await,
        "SUPERSEDED"
    );
    pair.finish().await;
}

#[tokio::test]
async fn malformed_arguments_are_refused_before_anything_is_written() {
    let pair = Pair::new().await;
    let mut scripts = ByHand::new(&pair).await;
    scripts.call(Script::RebuildBegin, &["1"]).await;
    for record in [
        &["no-such-record"][..],
        &["product"],
        &["product", "tee", "10", "-1"],
        &["product", "tee", "1e3", "0"],
        &["product", "tee", "99999999999", "0"],
        &["campaign", "early", ""],
        &["campaign", "early", "2", "yes", "", "", ""],
        &["campaign", "early", "2", "1", "soon", "", ""],
        &["campaign", "early", "2", "1", "", "1e9", ""],
        &["ended"],
        &["units", "ann", "one"],
        &["hold", "w1", "ann", "0"],
        &["hold", "w1", "ann", "some"],
        &[
            "product", "tee", "9", "0", "hold", "w1", "ann", "1", "tee", "0",
        ],
        &["hold", "w1", "ann", "1", "tee"],
        &["claim", "w1", "ann", "early", "lost"],
        &["claim", "w1", "ann", "early", "held"],
    ] {
        let load = [&["1", "0"][..], record].concat();
        assert_eq!(
            scripts.call(Script::RebuildLoad, &load).await,
            "INVALID",
            "{record:?}"
        );
    }
    scripts
        .call(
            Script::RebuildLoad,
            &["1", "0", "product", "tee", "10", "0"],
        )
        .await;
    for hours in [
        ["1", "0", "x", "2000", "4"],
        ["1", "0", "1000", "x", "4"],
        ["1", "0", "1000", "2000", "many"],
        ["first", "0", "1000", "2000", "4"],
        ["1", "no", "1000", "2000", "4"],
    ] {
        let finish = [&["1", "1"][..], &hours].concat();
        assert_eq!(
            scripts.call(Script::RebuildFinish, &finish).await,
            "INVALID",
            "{hours:?}"
        );
    }
    scripts.call(Script::RebuildBegin, &[""]).await;
    pair.finish().await;
}

#[tokio::test]
async fn malformed_calls_are_refused_before_anything_is_written() {
    let pair = Pair::new().await;
    let mut scripts = ByHand::new(&pair).await;
    scripts.call(Script::RebuildBegin, &["1"]).await;
    let tee = ["1", "0", "product", "tee", "10", "0"];
    scripts.call(Script::RebuildLoad, &tee).await;
    let open = ["1", "1", "1", "0", "0", "9000000000000", "4"];
    scripts.call(Script::RebuildFinish, &open).await;
    let before = scripts.interpreter.dump();
    for lines in [
        &[][..],
        &["tee"],
        &["tee", "0"],
        &["cap", "1", "tee", "0"],
        &["tee", "1.5"],
        &["tee", "-1"],
        &["tee", "1", "tee", "1"],
    ] {
        let reserve = [&["w1", "0", "1", "held", "ann"][..], lines].concat();
        assert_eq!(
            scripts.call(Script::Reserve, &reserve).await,
            "INVALID",
            "{lines:?}"
        );
    }
    for (script, arguments) in [
        (
            Script::Reserve,
            &["w1", "0", "", "held", "ann", "tee", "1"][..],
        ),
        (
            Script::Reserve,
            &["w1", "0", "-1", "held", "ann", "tee", "1"],
        ),
        (
            Script::Reserve,
            &["w1", "0", "1", "sold", "ann", "tee", "1"],
        ),
        (Script::Claim, &["w1", "0", "one", "ahead", "ann", "early"]),
        (Script::Claim, &["w1", "0", "1", "later", "ann", "early"]),
        (Script::Schedule, &["second", "1000", "2000", "0"]),
        (Script::Schedule, &["2", "1000", "1000", "0"]),
        (Script::Schedule, &["2", "1000", "", "0"]),
        (Script::Schedule, &["2", "1000", "2000", "maybe"]),
        (Script::Operations, &["first", "10"]),
        (Script::Operations, &["0", "0"]),
        (Script::Operations, &["0", "5001"]),
    ] {
        assert_eq!(
            scripts.call(script, arguments).await,
            "INVALID",
            "{script:?} {arguments:?}"
        );
    }
    assert_eq!(scripts.interpreter.dump(), before);
    pair.finish().await;
}
