//! Bytes as text, two lower-case digits each.

use std::fmt::Write as _;

/// The bytes in hexadecimal.
pub fn hexadecimal<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes all");
    }
    text
}
