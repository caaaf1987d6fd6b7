//! Pages: how much a page holds, and where the next one begins.

use engine::Timestamp;
use engine::store::ListCursor;

use crate::hexadecimal::hexadecimal;
use crate::problem::Problem;

/// The most that a page holds.
const PAGE_MAX: u16 = 500;
const PAGE_DEFAULT: u16 = 50;

/// The size of a page, as the URL asks for it.
pub fn page_size(text: Option<&str>) -> Result<u16, Problem> {
    let Some(text) = text else {
        return Ok(PAGE_DEFAULT);
    };
    match text.parse() {
        Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::parameter(
            "limit",
            format!("must be a whole number from 1 to {PAGE_MAX}"),
        )),
    }
}

/// The number before which a page of a numbered list begins, newest first.
pub fn number_before(text: Option<&str>) -> Result<Option<u64>, Problem> {
    let parse = |text: &str| match text.parse::<u64>() {
        Ok(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(Problem::parameter("before", "must be a number of the list")),
    };
    text.map(parse).transpose()
}

const CURSOR_BYTES: usize = 8 + 12;

/// Opaque to those who hand it back: the last item's instant and ident, in hexadecimal.
pub fn cursor_text(cursor: &ListCursor) -> String {
    hexadecimal(
        cursor
            .created_at
            .0
            .to_be_bytes()
            .iter()
            .chain(&cursor.ident),
    )
}

/// The place that this text stands for.
pub fn cursor(text: &str) -> Option<ListCursor> {
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() != 2 * CURSOR_BYTES || !is_hexadecimal {
        return None;
    }
    let mut bytes = [0; CURSOR_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    let (created_at, ident) = bytes.split_at(8);
    Some(ListCursor {
        created_at: Timestamp(i64::from_be_bytes(created_at.try_into().ok()?)),
        ident: ident.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_is_one() {
        let there = ListCursor {
            created_at: Timestamp(1_700_000_000_000_000),
            ident: *b"twelve bytes",
        };
        assert_eq!(cursor(&cursor_text(&there)), Some(there));
        for wrong in [
            "",
            "00",
            "zz".repeat(20).as_str(),
            "+f".repeat(20).as_str(),
            "ä".repeat(20).as_str(),
            "0".repeat(41).as_str(),
        ] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }
}
