//! SQL text that can't be injected into: it is built from text of the program, numbers, and hexadecimal literals only.
//! That makes it safe to send many statements in one round trip without preparing any.

use std::fmt::Write as _;

use super::dialect::Dialect;
use crate::store::change::Value;

const HEX: [u8; 16] = *b"0123456789abcdef";

/// A statement in the making.
#[derive(Debug)]
pub(crate) struct SqlText {
    dialect: Dialect,
    text: String,
}

impl SqlText {
    /// Nothing yet.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            text: String::new(),
        }
    }

    /// Which SQL this is.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Text of the program: its type says that it never comes from outside.
    pub fn sql(&mut self, sql: &'static str) -> &mut Self {
        self.text.push_str(sql);
        self
    }

    /// The name of a table or a column, which may be a reserved word.
    pub fn name(&mut self, name: &'static str) -> &mut Self {
        self.text.push('`');
        self.text.push_str(name);
        self.text.push('`');
        self
    }

    /// A whole number.
    pub fn number(&mut self, number: impl Into<i128>) -> &mut Self {
        let number: i128 = number.into();
        // Writing to a `String` can't fail.
        let _ = write!(self.text, "{number}");
        self
    }

    /// A whole number, or NULL.
    pub fn optional_number(&mut self, number: Option<impl Into<i128>>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.sql("NULL"),
        }
    }

    /// Bytes, as a hexadecimal literal.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.text.reserve(bytes.len() * 2 + 3);
        self.text.push_str("x'");
        for byte in bytes {
            self.text.push(char::from(HEX[usize::from(byte >> 4)]));
            self.text.push(char::from(HEX[usize::from(byte & 0x0f)]));
        }
        self.text.push('\'');
        self
    }

    /// UTF-8 text, as the hexadecimal literal of its bytes with a type.
    pub fn text(&mut self, text: &str) -> &mut Self {
        match self.dialect {
            Dialect::MySql => self.sql("_utf8mb4 ").bytes(text.as_bytes()),
            Dialect::Sqlite => self.sql("CAST(").bytes(text.as_bytes()).sql(" AS TEXT)"),
        }
    }

    /// UTF-8 text, or NULL.
    pub fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.sql("NULL"),
        }
    }

    /// A value of the domain.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.sql("NULL"),
            Value::Integer(number) => self.number(*number),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
        }
    }

    /// Each item by `write`, with commas between them.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.sql(", ");
            }
            write(self, item);
        }
        self
    }

    /// How long the text is by now.
    pub const fn len_bytes(&self) -> usize {
        self.text.len()
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A query of the program with each `?` replaced by its parameter. Inside `'quotes'` a `?` is text.
pub(crate) fn bind(
    dialect: Dialect,
    sql: &'static str,
    parameters: &[Value],
) -> Result<String, String> {
    let mut text = SqlText::new(dialect);
    let mut remaining = parameters.iter();
    // Every second piece lies between quotes; a doubled quote only adds an empty piece.
    for (index, piece) in sql.split('\'').enumerate() {
        if index > 0 {
            text.sql("'");
        }
        if index % 2 == 1 {
            text.sql(piece);
            continue;
        }
        for (index, fragment) in piece.split('?').enumerate() {
            if index > 0 {
                let parameter = remaining.next().ok_or_else(|| {
                    format!("the query has more than {} placeholders", parameters.len())
                })?;
                text.value(parameter);
            }
            text.sql(fragment);
        }
    }
    match remaining.len() {
        0 => Ok(text.finish()),
        left => Err(format!(
            "{left} of {} parameters have no placeholder",
            parameters.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_written_as_it_is() {
        let mut text = SqlText::new(Dialect::MySql);
        text.sql("SELECT ")
            .text("'; DROP")
            .sql(", ")
            .value(&Value::Integer(i64::MIN));
        assert_eq!(
            text.finish(),
            "SELECT _utf8mb4 x'273b2044524f50', -9223372036854775808"
        );
        let mut text = SqlText::new(Dialect::Sqlite);
        text.text("é").sql(" ").bytes(&[]);
        assert_eq!(text.finish(), "CAST(x'c3a9' AS TEXT) x''");
    }

    #[test]
    fn parameters_take_the_place_of_their_question_marks() {
        let bound = bind(
            Dialect::MySql,
            "SELECT '?''?' FROM t WHERE a = ? AND b IN (?, ?)",
            &[Value::Integer(1), Value::Null, Value::Bytes(vec![7])],
        );
        assert_eq!(
            bound.as_deref(),
            Ok("SELECT '?''?' FROM t WHERE a = 1 AND b IN (NULL, x'07')")
        );
    }

    #[test]
    fn a_wrong_number_of_parameters_is_told() {
        assert!(bind(Dialect::MySql, "SELECT ?", &[]).is_err());
        assert!(bind(Dialect::MySql, "SELECT 1", &[Value::Null]).is_err());
    }
}
