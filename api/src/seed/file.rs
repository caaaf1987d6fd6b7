//! A seed file, with the place of each value, so that whatever is wrong with it has a line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde_json::{Map, Number, Value};
use toml::de::{DeInteger, DeTable, DeValue};
use workflows::domain::seed::SaleSeed;

/// A file that can be read; whether it makes sense is [`SeedFile::check`]'s to say.
pub struct SeedFile {
    sales: Vec<SaleSeed>,
    places: Places,
}

/// Something is wrong with the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    line: usize,
    /// Which value, such as `sales[0].products[1].stock`; empty when it is no value but the text.
    field: String,
    problem: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            field,
            problem,
        } = self;
        if field.is_empty() {
            write!(f, "{line}: {problem}")
        } else {
            write!(f, "{line}: {field}: {problem}")
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    sales: Vec<SaleSeed>,
}

impl SeedFile {
    /// Reads the text: what is missing, unknown or of another type is wrong.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let lines = Lines::of(text);
        let table = DeTable::parse(text).map_err(|error| Wrong {
            line: lines.at(error.span().unwrap_or_default().start),
            field: String::new(),
            problem: error.message().replace('\n', ", "),
        })?;
        let mut places = Places {
            lines,
            starts: HashMap::new(),
        };
        let json = places.table("", table.get_ref());
        let content: Content = serde_path_to_error::deserialize(json).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            places.wrong(path, error.inner().to_string())
        })?;
        Ok(Self {
            sales: content.sales,
            places,
        })
    }

    /// The sales, if they are sound together.
    pub fn check(self) -> Result<Vec<SaleSeed>, Wrong> {
        match SaleSeed::check_all(&self.sales) {
            Ok(_) => Ok(self.sales),
            Err(invalid) => Err(self.places.wrong(invalid.field, invalid.problem)),
        }
    }
}

/// The longest path that is remembered, in bytes: no value of a sale has one as long, and a file must not grow in memory by the names
/// in it.
const PATH_BYTES_MAX: usize = 200;

/// Where each value begins, by its path.
struct Places {
    lines: Lines,
    starts: HashMap<String, usize>,
}

impl Places {
    /// The value at this path, which is remembered with its place.
    fn value(&mut self, path: &str, span: Range<usize>, value: &DeValue<'_>) -> Value {
        if path.len() <= PATH_BYTES_MAX {
            self.starts.insert(path.to_owned(), span.start);
        }
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => integer(number),
            DeValue::Float(number) => {
                let parsed = number.as_str().replace('_', "").parse::<f64>();
                let finite = parsed.ok().and_then(Number::from_f64);
                finite.map_or_else(|| Value::String(number.to_string()), Value::Number)
            }
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(instant) => Value::String(instant.to_string()),
            DeValue::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let place = within(path, format_args!("[{index}]"));
                    self.value(&place, item.span(), item.get_ref())
                });
                Value::Array(items.collect())
            }
            DeValue::Table(table) => self.table(path, table),
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) -> Value {
        let members = table.iter().map(|(key, value)| {
            let name = key.get_ref();
            let dot = if path.is_empty() { "" } else { "." };
            let path = within(path, format_args!("{dot}{name}"));
            let value = self.value(&path, value.span(), value.get_ref());
            if path.len() <= PATH_BYTES_MAX {
                // The key is where a person looks, also for what is written as [[a table]].
                self.starts.insert(path.into_owned(), key.span().start);
            }
            (name.to_string(), value)
        });
        Value::Object(members.collect::<Map<_, _>>())
    }

    /// What is wrong at this path. What is not there is told at the nearest value around it that is.
    fn wrong(&self, field: String, problem: String) -> Wrong {
        let mut path = field.as_str();
        let start = loop {
            if let Some(start) = self.starts.get(path) {
                break *start;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => break 0,
            }
        };
        Wrong {
            line: self.lines.at(start),
            field,
            problem,
        }
    }
}

/// The path of something below this one; below one that is too long, that one.
fn within<'p>(path: &'p str, rest: fmt::Arguments<'_>) -> Cow<'p, str> {
    if path.len() > PATH_BYTES_MAX {
        return Cow::Borrowed(path);
    }
    Cow::Owned(format!("{path}{rest}"))
}

/// A whole number that is too large for JSON's is left to the check, as a text that is no number.
fn integer(number: &DeInteger<'_>) -> Value {
    let digits = number.as_str().replace('_', "");
    let signed = i64::from_str_radix(&digits, number.radix()).map(Number::from);
    let unsigned = || u64::from_str_radix(&digits, number.radix()).map(Number::from);
    signed
        .or_else(|_| unsigned())
        .map_or(Value::String(digits), Value::Number)
}

/// The lines of a text, by where they begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let after_ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self(std::iter::once(0).chain(after_ends).collect())
    }

    /// The number of the line that this byte is in, from 1.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"# two sales
[[sales]]
sale = "first"
name = "First"
currency = "KRW"
opens_at = 2026-05-01T09:00:00Z
closes_at = "2026-05-01T10:00:00+00:00"
per_buyer_limit = 0x2
products = [
  { product = "mug", name = "Mug", unit_price = 12_000, stock = 10 },
]

[[sales]]
sale = "second"
name = "Second"
currency = "KRW"
opens_at = 2026-05-01T09:00:00Z
closes_at = 2026-05-01T10:00:00Z
per_buyer_limit = 2
[[sales.products]]
product = "cap"
name = "Cap"
unit_price = 1
stock = 1
serials = "pool"
[[sales.campaigns]]
campaign = "early"
name = "Early"
size = 3
discount = { percent = 10 }
claims_from = 2026-04-01T00:00:00+09:00
"#;

    fn told(text: &str) -> String {
        let checked = SeedFile::parse(text).and_then(SeedFile::check);
        checked.expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_sound_file_is_read_with_its_times_and_numbers() {
        let sales = SeedFile::parse(SOUND).and_then(SeedFile::check).unwrap();
        assert_eq!(sales[0].opens_at, "2026-05-01T09:00:00Z");
        assert_eq!(sales[0].per_buyer_limit.as_u64(), Some(2));
        assert_eq!(sales[0].products[0].unit_price.as_u64(), Some(12_000));
        assert_eq!(sales[1].campaigns.len(), 1);
    }

    #[test]
    fn what_is_wrong_has_a_line_and_a_field() {
        let cases = [
            (
                "stock = 10",
                "stock = -1",
                "10: sales[0].products[0].stock: must be a whole number from 0 to 100000000",
            ),
            (
                "stock = 10",
                "stock = 1.5",
                "10: sales[0].products[0].stock: must be a whole number from 0 to 100000000",
            ),
            (
                "sale = \"second\"",
                "sale = \"first\"",
                "14: sales[1].sale: `first` is named twice",
            ),
            (
                "percent = 10",
                "percent = 101",
                "30: sales[1].campaigns[0].discount.percent: must be a whole number from 1 to 100",
            ),
            (
                "size = 3",
                "size = 1_000_000_000",
                "29: sales[1].campaigns[0].size: must be a whole number from 0 to 100000000",
            ),
            (
                "closes_at = 2026-05-01T10:00:00Z",
                "closes_at = 2026-05-01T09:00:00Z",
                "18: sales[1].closes_at: must be after opens_at",
            ),
            (
                "opens_at = 2026-05-01T09:00:00Z\ncloses_at = 2026",
                "opens_at = 2026-05-01T09:00:00\ncloses_at = 2026",
                "17: sales[1].opens_at: must be an RFC 3339 time such as 2026-05-01T09:00:00Z, from 1970 on",
            ),
        ];
        for (sound, wrong, expected) in cases {
            assert_eq!(told(&SOUND.replace(sound, wrong)), expected, "{wrong}");
        }
    }

    #[test]
    fn what_is_unknown_missing_or_of_another_type_has_a_line() {
        let unknown =
            told(&SOUND.replace("unit_price = 1\n", "unit_price = 1\ncolour = \"red\"\n"));
        assert!(
            unknown.starts_with("24: sales[1].products[0].colour: unknown field"),
            "{unknown}"
        );
        let missing = told(&SOUND.replace("stock = 1\n", ""));
        assert!(
            missing.starts_with("20: sales[1].products[0]: missing field `stock`"),
            "{missing}"
        );
        let other = told(&SOUND.replace("stock = 1\n", "stock = true\n"));
        assert!(
            other.starts_with("24: sales[1].products[0].stock: invalid type: boolean"),
            "{other}"
        );
        let none = told("");
        assert!(none.starts_with("1: missing field `sales`"), "{none}");
    }

    #[test]
    fn what_is_no_toml_has_a_line() {
        let text = told("[[sales]]\nsale = \n");
        assert!(text.starts_with("2: "), "{text}");
    }
}
