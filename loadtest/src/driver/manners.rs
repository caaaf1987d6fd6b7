//! What kind of buyer each of the crowd is: fixed by the crowd's seed and the buyer's number.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::client::{Order, Payment};

/// The shares of the crowd's kinds of buyers, 0 to 1 each. Who is none of the last three pays by a stored means that works.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// Send everything twice.
    pub repeat: f64,
    /// Claim their coupon before they buy.
    pub claim_ahead: f64,
    /// Pay by a stored means that is declined.
    pub declined: f64,
    /// Pay by a stored means with which the gateway misbehaves, one of [`Manners::faulty_tokens`].
    pub faulty: f64,
    /// Pay at the gateway, each in one of these ways with the same chance.
    pub redirect: f64,
    /// The ways of those who pay at the gateway; all of them when it is empty.
    pub visits: Vec<Visit>,
    /// Come back again and again when units or coupons are gone, in case somebody gives one back.
    pub persistent: f64,
    /// The beginnings of the tokens that make a simulated gateway misbehave.
    pub faulty_tokens: Vec<String>,
}

/// What a buyer does who is sent to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Authorises the payment and comes back.
    Returns,
    /// Authorises it and comes back twice at the same time.
    ReturnsTwice,
    /// Authorises it and closes the window: only the gateway's webhook tells.
    ClosesWindow,
    /// Declines it on the page.
    Declines,
    /// Cancels the purchase.
    Cancels,
    /// Authorises it, and cancels the purchase at the same time.
    CancelsLate,
    /// Never comes to the page.
    WalksAway,
}

impl Visit {
    /// All ways.
    pub const ALL: [Self; 7] = [
        Self::Returns,
        Self::ReturnsTwice,
        Self::ClosesWindow,
        Self::Declines,
        Self::Cancels,
        Self::CancelsLate,
        Self::WalksAway,
    ];
}

/// One buyer's character.
#[derive(Clone, Debug)]
pub(super) struct Character {
    pub repeats: bool,
    pub claims_ahead: bool,
    pub persists: bool,
    /// What it does at the gateway, if it is sent there.
    pub visit: Option<Visit>,
    pub key: String,
    pub order: Order,
}

impl Character {
    /// The character of buyer `number` in the crowd of `seed`.
    pub fn of(manners: &Manners, order: &Order, seed: u64, number: usize) -> Self {
        let index = u64::try_from(number).unwrap_or(u64::MAX);
        let mut dice = StdRng::seed_from_u64(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let repeats = dice.random::<f64>() < manners.repeat;
        let claims_ahead = dice.random::<f64>() < manners.claim_ahead;
        let persists = dice.random::<f64>() < manners.persistent;
        let key = format!("order-{:016x}", dice.random::<u64>());
        let (payment, visit) = payment(manners, number, &mut dice);
        Self {
            repeats,
            claims_ahead,
            persists,
            visit,
            key,
            order: Order {
                payment,
                ..order.clone()
            },
        }
    }
}

fn payment(manners: &Manners, number: usize, dice: &mut StdRng) -> (Payment, Option<Visit>) {
    let stored = |card: &str| Payment::stored(format!("{card}-{number}"));
    let mut share = dice.random::<f64>();
    let mut falls_to = |part: f64| {
        let falls = share < part;
        share -= part;
        falls
    };
    if falls_to(manners.declined) {
        return (stored("tok-declined"), None);
    }
    if falls_to(manners.faulty) && !manners.faulty_tokens.is_empty() {
        // In turn, so that each is met equally often.
        let which = number % manners.faulty_tokens.len();
        return (stored(&manners.faulty_tokens[which]), None);
    }
    if falls_to(manners.redirect) {
        let visits = if manners.visits.is_empty() {
            &Visit::ALL[..]
        } else {
            &manners.visits
        };
        let visit = visits[dice.random_range(0..visits.len())];
        return (Payment::Redirect, Some(visit));
    }
    (stored("tok-card"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            sale: "s".to_owned(),
            lines: Vec::new(),
            campaign: None,
            payment: Payment::Redirect,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_crowd() {
        let manners = Manners {
            repeat: 0.5,
            claim_ahead: 0.5,
            declined: 0.2,
            faulty: 0.2,
            redirect: 0.4,
            faulty_tokens: vec!["tok-a".to_owned(), "tok-b".to_owned()],
            persistent: 0.1,
            visits: vec![Visit::Returns, Visit::Declines],
        };
        let crowd = |seed| {
            let one = |number| format!("{:?}", Character::of(&manners, &order(), seed, number));
            (0..500).map(one).collect::<Vec<_>>()
        };
        assert_eq!(crowd(7), crowd(7));
        assert_ne!(crowd(7), crowd(8));
    }

    #[test]
    fn every_kind_of_buyer_comes_about_as_often_as_asked_for() {
        let manners = Manners {
            declined: 0.25,
            redirect: 0.5,
            ..Manners::default()
        };
        let crowd: Vec<Character> = (0..4_000)
            .map(|number| Character::of(&manners, &order(), 1, number))
            .collect();
        let redirected = crowd.iter().filter(|buyer| buyer.visit.is_some()).count();
        assert!((1_800..2_200).contains(&redirected), "{redirected}");
        for visit in Visit::ALL {
            let count = crowd
                .iter()
                .filter(|buyer| buyer.visit == Some(visit))
                .count();
            assert!((200..400).contains(&count), "{visit:?}: {count}");
        }
    }
}
