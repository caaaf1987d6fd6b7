//! What can go wrong with one payment, by name: in a token, in a field, or by chance.

use std::fmt;
use std::ops::BitOr;
use std::sync::LazyLock;

/// A call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/payments/reserve`.
    Reserve,
    /// `POST /v1/payments/approve`.
    Approve,
    /// `GET /v1/payments`.
    Inquire,
    /// `POST /v1/payments/{payment_id}/cancel`.
    Cancel,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Reserve, Self::Approve, Self::Inquire, Self::Cancel];

    /// What the names of its faults begin with.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Reserve => "reserve-",
            Self::Approve => "",
            Self::Inquire => "inquiry-",
            Self::Cancel => "cancel-",
        }
    }

    /// Where its requests are counted.
    pub(super) const fn number(self) -> usize {
        match self {
            Self::Reserve => 0,
            Self::Approve => 1,
            Self::Inquire => 2,
            Self::Cancel => 3,
        }
    }
}

/// What goes wrong with one call. "Before" has no effect, "after" has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `busy`: no effect, 429 with `Retry-After`.
    Busy,
    /// `in-progress`: no effect, 409 `in-progress`.
    InProgress,
    /// `timeout-before`: no effect, no answer for `hold_ms`, then 504.
    TimeoutBefore,
    /// `500-before`: no effect, 500.
    ErrorBefore,
    /// `reset-before`: no effect, the connection is reset.
    ResetBefore,
    /// `timeout-after`: the effect, and the answer is held back for `hold_ms`.
    TimeoutAfter,
    /// `500-after`: the effect, and a 500.
    ErrorAfter,
    /// `reset-after`: the effect, and the connection is reset.
    ResetAfter,
    /// `empty-body`: the effect, and a 200 that says nothing.
    EmptyBody,
    /// `malformed-body`: the effect, and a 200 that breaks off.
    MalformedBody,
    /// `wrong-amount`: the answer has one minor unit less; an approval really captures that. For good.
    WrongAmount,
    /// `wrong-currency`: the answer has another currency. For good.
    WrongCurrency,
    /// `wrong-order`: the answer names another order. For good.
    WrongOrder,
}

impl Trouble {
    /// In the order in which one call shows them, attempt after attempt.
    const ALL: [Self; 13] = [
        Self::Busy,
        Self::InProgress,
        Self::TimeoutBefore,
        Self::ErrorBefore,
        Self::ResetBefore,
        Self::TimeoutAfter,
        Self::ErrorAfter,
        Self::ResetAfter,
        Self::EmptyBody,
        Self::MalformedBody,
        Self::WrongAmount,
        Self::WrongCurrency,
        Self::WrongOrder,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::InProgress => "in-progress",
            Self::TimeoutBefore => "timeout-before",
            Self::ErrorBefore => "500-before",
            Self::ResetBefore => "reset-before",
            Self::TimeoutAfter => "timeout-after",
            Self::ErrorAfter => "500-after",
            Self::ResetAfter => "reset-after",
            Self::EmptyBody => "empty-body",
            Self::MalformedBody => "malformed-body",
            Self::WrongAmount => "wrong-amount",
            Self::WrongCurrency => "wrong-currency",
            Self::WrongOrder => "wrong-order",
        }
    }

    /// Whether it keeps the call from having its effect.
    pub(super) const fn is_before_effect(self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::InProgress
                | Self::TimeoutBefore
                | Self::ErrorBefore
                | Self::ResetBefore
        )
    }

    /// Whether it goes away after [`super::Rules::faulty_attempts`].
    pub const fn is_transient(self) -> bool {
        !matches!(
            self,
            Self::WrongAmount | Self::WrongCurrency | Self::WrongOrder
        )
    }
}

/// What goes wrong with every webhook of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `webhook-lost`: it is never sent.
    Lost,
    /// `webhook-duplicated`: it is sent twice.
    Duplicated,
    /// `webhook-reordered`: it is sent after the order's next one, or `webhook_late_ms` later when there is none.
    Reordered,
    /// `webhook-early`: it arrives before the answer of the call that caused it.
    Early,
    /// `webhook-late`: it is sent `webhook_late_ms` later.
    Late,
}

impl Delivery {
    const ALL: [Self; 5] = [
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Early,
        Self::Late,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Lost => "webhook-lost",
            Self::Duplicated => "webhook-duplicated",
            Self::Reordered => "webhook-reordered",
            Self::Early => "webhook-early",
            Self::Late => "webhook-late",
        }
    }
}

/// One thing that can go wrong with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `declined`: an approval is declined as `insufficient-funds`. For good.
    Declined,
    /// `inquiry-lag`: an inquiry does not see a payment for `inquiry_lag_ms`.
    InquiryLag,
    /// A call goes wrong. The name is the trouble's, behind `reserve-`, `inquiry-`, `cancel-`, or nothing for an approval.
    Call(Operation, Trouble),
    /// Webhooks go wrong.
    Webhook(Delivery),
}

/// Every fault with its name; the place is its bit in [`Faults`].
static ALL: LazyLock<Vec<(String, Fault)>> = LazyLock::new(|| {
    let mut all = vec![
        ("declined".to_owned(), Fault::Declined),
        ("inquiry-lag".to_owned(), Fault::InquiryLag),
    ];
    for operation in Operation::ALL {
        for trouble in Trouble::ALL {
            let name = format!("{}{}", operation.prefix(), trouble.name());
            all.push((name, Fault::Call(operation, trouble)));
        }
    }
    all.extend(
        Delivery::ALL.map(|delivery| (delivery.name().to_owned(), Fault::Webhook(delivery))),
    );
    all
});

impl Fault {
    /// Every fault with its name.
    pub fn all() -> &'static [(String, Self)] {
        &ALL
    }

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter()
            .find(|(other, _)| other == name)
            .map(|(_, fault)| *fault)
    }
}

/// What goes wrong with one order: any number of faults.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Faults(u64);

/// A name that no fault has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault {0:?}")]
pub struct UnknownFault(pub String);

impl Faults {
    /// Those of a token such as `tok-500-after`, `tok-busy+cancel-500-before` or `tok-declined-17`: each name may have more
    /// behind it, and what begins like no fault is none.
    pub fn of_token(token: &str) -> Self {
        let Some(names) = token.strip_prefix("tok-") else {
            return Self::default();
        };
        names.split('+').fold(Self::default(), |faults, part| {
            ALL.iter()
                .find(|(name, _)| part.starts_with(name.as_str()))
                .map_or(faults, |(_, fault)| faults.and(*fault))
        })
    }

    /// Those of a text such as `500-after+webhook-lost`; empty for none.
    pub fn parse(text: &str) -> Result<Self, UnknownFault> {
        text.split('+')
            .filter(|name| !name.is_empty())
            .try_fold(Self::default(), |faults, name| {
                Fault::named(name)
                    .map(|fault| faults.and(fault))
                    .ok_or_else(|| UnknownFault(name.chars().take(64).collect()))
            })
    }

    /// These and one more.
    #[must_use]
    pub fn and(self, fault: Fault) -> Self {
        let place = ALL.iter().position(|(_, other)| *other == fault);
        Self(self.0 | place.map_or(0, |place| 1 << place))
    }

    /// Whether it is one of them.
    pub fn has(self, fault: Fault) -> bool {
        self.and(fault) == self && self.0 != 0
    }

    /// Nothing goes wrong.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is said wrongly in the answer to a call.
    pub(super) fn lies(self, operation: Operation) -> impl Iterator<Item = Trouble> {
        self.troubles(operation)
            .filter(|trouble| !trouble.is_transient())
    }

    /// What goes wrong with a call, in the order in which it shows.
    pub(super) fn troubles(self, operation: Operation) -> impl Iterator<Item = Trouble> {
        Trouble::ALL
            .into_iter()
            .filter(move |trouble| self.has(Fault::Call(operation, *trouble)))
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self::default().and(fault)
    }
}

impl BitOr for Faults {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = ALL
            .iter()
            .filter(|(_, fault)| self.has(*fault))
            .map(|(name, _)| name.as_str());
        f.write_str(names.next().unwrap_or_default())?;
        names.try_for_each(|name| write!(f, "+{name}"))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults({self})")
    }
}
