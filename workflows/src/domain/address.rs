//! Where goods are shipped to: checked field by field before anything is reserved.

use serde::{Deserialize, Serialize};

/// A shipping address, as [`AddressForm::check`] let it through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The recipient.
    pub name: String,
    /// Street, house, city: 1 to [`LINE_CHARS_MAX`] characters.
    pub address: String,
    /// The postal code.
    pub zip: String,
    /// Digits, spaces, `+`, `-` and brackets.
    pub phone: String,
    /// For whoever delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
}

/// The longest name, address or memo, in characters.
pub const LINE_CHARS_MAX: usize = 200;
/// The shortest and the longest postal code, in characters (UPU S42: 3 in Iceland, 10 in the United States).
pub const ZIP_CHARS: (usize, usize) = (3, 10);
/// The fewest and the most digits of a telephone number (ITU-T E.164 allows 15).
pub const PHONE_DIGITS: (usize, usize) = (5, 15);
/// The longest telephone number with all that people write between its digits, in characters.
pub const PHONE_CHARS_MAX: usize = 30;

/// A shipping address as a buyer wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressForm {
    /// The recipient.
    pub name: String,
    /// Street, house, city.
    pub address: String,
    /// The postal code.
    pub zip: String,
    /// The telephone number.
    pub phone: String,
    /// For whoever delivers; a blank one is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
}

/// A field of an address is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidAddress {
    /// Which, such as `address.zip`.
    pub field: &'static str,
    /// What is wrong, as the end of a sentence that begins with the field.
    pub problem: String,
}

type Checked<T> = Result<T, InvalidAddress>;

impl AddressForm {
    /// The address that this describes, without the blanks around its fields, or the first field that is wrong.
    pub fn check(&self) -> Checked<Address> {
        let memo = self.memo.as_deref().map(str::trim);
        let memo = memo.filter(|memo| !memo.is_empty());
        Ok(Address {
            name: line("address.name", &self.name)?,
            address: line("address.address", &self.address)?,
            zip: zip(&self.zip)?,
            phone: phone(&self.phone)?,
            memo: memo.map(|memo| line("address.memo", memo)).transpose()?,
        })
    }
}

fn line(field: &'static str, text: &str) -> Checked<String> {
    let text = text.trim();
    let chars = text.chars().count();
    if (1..=LINE_CHARS_MAX).contains(&chars) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let problem = format!("must be 1 to {LINE_CHARS_MAX} characters, none of them a control");
    Err(InvalidAddress { field, problem })
}

fn zip(text: &str) -> Checked<String> {
    let text = text.trim();
    let (min, max) = ZIP_CHARS;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b' ' || byte == b'-';
    if (min..=max).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(InvalidAddress {
        field: "address.zip",
        problem: format!("must be {min} to {max} letters, digits, blanks or `-`"),
    })
}

fn phone(text: &str) -> Checked<String> {
    let text = text.trim();
    let (min, max) = PHONE_DIGITS;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let allowed = |byte: u8| byte.is_ascii_digit() || b" +-()".contains(&byte);
    if text.len() <= PHONE_CHARS_MAX && (min..=max).contains(&digits) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(InvalidAddress {
        field: "address.phone",
        problem: format!(
            "must have {min} to {max} digits, and nothing else but blanks, `+`, `-` and brackets"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = Box<dyn Fn(&mut AddressForm)>;

    fn form() -> AddressForm {
        AddressForm {
            name: " Kim Min-ji ".into(),
            address: "12, Sejong-daero, Seoul".into(),
            zip: "04524".into(),
            phone: "+82 (2) 120-4567".into(),
            memo: Some("  ".into()),
        }
    }

    #[test]
    fn a_sound_address_is_taken_without_the_blanks_around_it() {
        let address = form().check().unwrap();
        assert_eq!((address.name.as_str(), address.memo), ("Kim Min-ji", None));
    }

    #[test]
    fn every_bad_field_is_named() {
        let long = "x".repeat(LINE_CHARS_MAX + 1);
        let spoilt: Vec<(&str, Spoil)> = vec![
            ("address.name", Box::new(|form| form.name = "  ".into())),
            (
                "address.name",
                Box::new(|form| form.name = "a\u{7}b".into()),
            ),
            (
                "address.address",
                Box::new(move |form| form.address = long.clone()),
            ),
            ("address.zip", Box::new(|form| form.zip = "12".into())),
            ("address.zip", Box::new(|form| form.zip = "04524<".into())),
            (
                "address.zip",
                Box::new(|form| form.zip = "０４５２４".into()),
            ),
            ("address.phone", Box::new(|form| form.phone = "none".into())),
            (
                "address.phone",
                Box::new(|form| form.phone = "1".repeat(16)),
            ),
            (
                "address.phone",
                Box::new(|form| form.phone = format!("12345{}", "-".repeat(30))),
            ),
            (
                "address.memo",
                Box::new(|form| form.memo = Some("a\nb".into())),
            ),
        ];
        for (field, spoil) in spoilt {
            let mut form = form();
            spoil(&mut form);
            assert_eq!(form.check().unwrap_err().field, field, "{form:?}");
        }
    }
}
