//! Tokens by a clock that stands still until it is told to go on.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use engine::runtime::{Clock, SeededEntropy, TokioSpawner};
use engine::{Runtime, Timestamp};
use futures_util::future::BoxFuture;
use workflows::domain::ids::BuyerId;

use super::*;
use crate::wiring::database;

const OLD: &[u8] = b"the-key-before-of-32-bytes------";
const NEW: &[u8] = b"the-key-that-is-new-of-32-bytes-";

#[derive(Clone, Default)]
struct Standing(Arc<AtomicI64>);

impl Standing {
    fn go_on(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    fn tokens(&self, current: &[u8], previous: Option<&[u8]>) -> Tokens {
        let runtime = Runtime::new(
            Arc::new(self.clone()),
            Arc::new(SeededEntropy::new(7)),
            Arc::new(TokioSpawner),
        );
        Tokens::new(Keys::new(current, previous), runtime)
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }
}

/// A node with families on SQLite.
pub async fn on_sqlite(folder: &Path) -> (Tokens, Families) {
    let database = database::open(&folder.join("test.db")).await.unwrap();
    database::migrate(&database).await.unwrap();
    let tokens = Tokens::new(Keys::new(NEW, None), Runtime::system());
    (tokens.clone(), Families::new(tokens, database))
}

fn alice() -> BuyerId {
    BuyerId::parse("alice").unwrap()
}

#[test]
fn a_token_is_good_from_its_first_second_to_its_last_and_a_few_more() {
    let clock = Standing::default();
    clock.go_on(Duration::from_secs(100));
    let tokens = clock.tokens(NEW, None);
    let behind = Standing::default().tokens(NEW, None);
    let grant = tokens.sign_in(alice()).unwrap();
    let (access, refresh) = (&grant.access_token, &grant.refresh_token);
    assert_eq!(tokens.buyer(access).unwrap(), alice());
    assert!(matches!(behind.buyer(access), Err(TokenError::NotYet)));
    clock.go_on(Duration::from_secs(3_605));
    assert_eq!(tokens.buyer(access).unwrap(), alice());
    clock.go_on(Duration::from_secs(1));
    assert!(matches!(tokens.buyer(access), Err(TokenError::Expired)));
    assert_eq!(tokens.refresh(refresh).unwrap().buyer, alice());
    clock.go_on(Duration::from_hours(30 * 24));
    assert!(matches!(tokens.refresh(refresh), Err(TokenError::Expired)));
}

#[test]
fn the_previous_key_is_believed_and_never_signs() {
    let clock = Standing::default();
    let (before, during, after) = (
        clock.tokens(OLD, None),
        clock.tokens(NEW, Some(OLD)),
        clock.tokens(NEW, None),
    );
    let old = before.sign_in(alice()).unwrap().access_token;
    assert!(during.buyer(&old).is_ok());
    assert!(after.buyer(&old).is_err());
    let new = during.sign_in(alice()).unwrap().access_token;
    assert!(before.buyer(&new).is_err());
    assert!(after.buyer(&new).is_ok());
}

#[test]
fn a_token_is_good_for_one_thing_only() {
    let tokens = Standing::default().tokens(NEW, None);
    let grant = tokens.sign_in(alice()).unwrap();
    let operator = Operator {
        name: "ann".into(),
        role: Role::Admin,
    };
    let lifetime = Duration::from_mins(1);
    let operate = tokens.sign_operator(&operator, lifetime).unwrap().token;
    assert_eq!(tokens.operator(&operate).unwrap(), operator);
    for (token, is_access, is_refresh, is_operate) in [
        (&grant.access_token, true, false, false),
        (&grant.refresh_token, false, true, false),
        (&operate, false, false, true),
    ] {
        assert_eq!(tokens.buyer(token).is_ok(), is_access);
        assert_eq!(tokens.refresh(token).is_ok(), is_refresh);
        assert_eq!(tokens.operator(token).is_ok(), is_operate);
    }
}

#[test]
fn two_guests_are_never_the_same() {
    let tokens = Standing::default().tokens(NEW, None);
    let guest = || tokens.sign_in_anonymously().unwrap();
    let (one, two) = (guest(), guest());
    assert_ne!(one.buyer, two.buyer);
    let family = |grant: &Grant| tokens.refresh(&grant.refresh_token).unwrap().family;
    assert_ne!(family(&one), family(&two));
}

#[test]
fn an_operator_is_named_by_one_short_line() {
    assert!(Operator::is_name("ann@example.com") && Operator::is_name("Ann B."));
    for wrong in ["", " ann", "ann\n", "a\u{7}b", &"a".repeat(101)] {
        assert!(!Operator::is_name(wrong), "{wrong:?}");
    }
}
