//! What buyers write: addresses, and the names of sales, products, currencies and payments.

use workflows::domain::address::{AddressForm, LINE_CHARS_MAX, PHONE_CHARS_MAX, ZIP_CHARS};
use workflows::domain::ids::{SLUG_BYTES_MAX, SaleId};
use workflows::domain::money::Currency;
use workflows::ports::payment_gateway::PaymentId;
use workflows::ports::reservations::{Lines, OperationKey};

use crate::mutate::{Target, Verdict};
use crate::short;

fn check_address(bytes: &[u8]) -> Verdict {
    let Ok(form) = serde_json::from_slice::<AddressForm>(bytes) else {
        return Ok(false);
    };
    let address = match form.check() {
        Ok(address) => address,
        Err(error) => return short(&error).map(|()| false),
    };
    let again = AddressForm {
        name: address.name.clone(),
        address: address.address.clone(),
        zip: address.zip.clone(),
        phone: address.phone.clone(),
        memo: address.memo.clone(),
    };
    let line =
        |text: &str| text.chars().count() <= LINE_CHARS_MAX && !text.chars().any(char::is_control);
    let bounded = [&address.name, &address.address]
        .into_iter()
        .chain(&address.memo)
        .all(|text| line(text))
        && address.zip.len() <= ZIP_CHARS.1
        && address.phone.len() <= PHONE_CHARS_MAX;
    if bounded && again.check() == Ok(address) {
        return Ok(true);
    }
    Err(format!("taken: {again:?}"))
}

#[test]
fn an_address_is_taken_as_it_is_kept_or_refused() {
    let words = [
        "\"memo\"",
        "\"\u{85}\"",
        "\"\u{a0}\"",
        "\"\u{202e}\"",
        "\"\u{1f600}\"",
        "\"  \"",
        "\"+82 (2) 1\"",
    ];
    Target::new("address", &words).fuzz(check_address);
}

fn check_names(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    let sale = SaleId::parse(&*text).ok();
    let currency = Currency::parse(&text).ok();
    let payment = PaymentId::parse(&*text).ok();
    let operation = OperationKey::parse(&*text).ok();
    let is_same = sale
        .as_ref()
        .is_none_or(|sale| sale.as_str() == text && text.len() <= SLUG_BYTES_MAX)
        && currency.is_none_or(|currency| currency.to_string() == text)
        && payment
            .as_ref()
            .is_none_or(|payment| payment.as_str() == text && !text.contains('/'))
        && operation
            .as_ref()
            .is_none_or(|key| key.as_str() == text && text.len() <= 100);
    if !is_same {
        return Err(format!(
            "another name: {sale:?} {currency:?} {payment:?} {operation:?}"
        ));
    }
    Ok(sale.is_some() || currency.is_some() || payment.is_some())
}

#[test]
fn a_name_is_kept_as_it_is_or_refused() {
    Target::new(
        "slug",
        &["-", "_", ".", "..", "/", "%2f", "KRW", "\u{ff2b}"],
    )
    .fuzz(check_names);
}

#[test]
fn lines_are_kept_in_their_order_or_refused() {
    Target::new("lines", &["\"product\"", "\"quantity\"", "\"mug\""]).fuzz(|bytes| {
        let Ok(lines) = serde_json::from_slice::<Lines>(bytes) else {
            return Ok(false);
        };
        let text = serde_json::to_vec(&lines).map_err(|error| error.to_string())?;
        match serde_json::from_slice::<Lines>(&text) {
            Ok(again) if again == lines && lines.units() >= lines.as_slice().len() as u64 => {
                Ok(true)
            }
            other => Err(format!("{lines:?} is {other:?}")),
        }
    });
}
