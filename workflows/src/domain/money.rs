//! Money: integer minor units with a currency, never a float.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An ISO 4217 alphabetic currency code, such as `KRW`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// The text is not three capital letters.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a currency is three capital letters (ISO 4217), such as KRW; got {0:?}")]
pub struct BadCurrency(pub String);

impl Currency {
    /// The currency that this ISO 4217 code names.
    pub fn parse(code: &str) -> Result<Self, BadCurrency> {
        match code.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()) => {
                Ok(Self([*a, *b, *c]))
            }
            _ => Err(BadCurrency(code.to_owned())),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = BadCurrency;
    fn try_from(code: String) -> Result<Self, BadCurrency> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(f, "{}", *byte as char))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An amount of one currency, in its minor units (won, cents): never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units.
    pub amount: u64,
    /// ISO 4217.
    pub currency: Currency,
}

impl Money {
    /// `amount` minor units of `currency`.
    #[must_use]
    pub const fn new(amount: u64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// What these are together: one sum for each currency, in the order of their codes, and none that is nothing. A sum that is too
    /// large to be told is `u64::MAX`.
    #[must_use]
    pub fn sums(all: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut sums: BTreeMap<Currency, u64> = BTreeMap::new();
        for money in all.into_iter().filter(|money| money.amount > 0) {
            let sum = sums.entry(money.currency).or_default();
            *sum = sum.saturating_add(money.amount);
        }
        let sums = sums.into_iter();
        sums.map(|(currency, amount)| Self::new(amount, currency))
            .collect()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::{Currency, Money};

    #[test]
    fn currencies_are_never_added_up_with_one_another() {
        let money = |amount, code| Money::new(amount, Currency::parse(code).expect("a currency"));
        let all = [
            money(2, "USD"),
            money(1_000, "KRW"),
            money(0, "EUR"),
            money(3, "USD"),
        ];
        assert_eq!(Money::sums(all), [money(1_000, "KRW"), money(5, "USD")]);
        assert_eq!(Money::sums([]), []);
        assert_eq!(
            Money::sums([money(u64::MAX, "KRW"), money(1, "KRW")]),
            [money(u64::MAX, "KRW")]
        );
    }
}
