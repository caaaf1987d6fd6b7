//! Filling a pool: the numbers are checked as a whole, and those that are not in it yet are added, all of them or none.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use engine::store::change::ChangeKind;
use engine::store::{Change, SqlDatabase, StoreError, Value};
use engine::workflow::Refusal;

use super::written;
use crate::domain::ids::{ProductId, SaleId};
use crate::ports::serials::FillError;
use crate::rows::slug;
use crate::tables::SERIALS;

pub const FILLING: &str = "filling a pool of serial numbers";
/// The longest number, in bytes.
const SERIAL_BYTES_MAX: usize = 100;
/// Numbers that are put in at once.
const SERIALS_MAX: usize = 5_000;
/// Numbers that one query looks up.
const CHUNK: usize = 200;

static OWNERS: LazyLock<String> = LazyLock::new(|| {
    let places = vec!["?"; CHUNK].join(", ");
    format!("SELECT serial, product FROM serials WHERE sale = ? AND serial IN ({places})")
});

/// Each must be 1 to 100 printable ASCII characters without blanks, and be named once.
pub fn check(serials: &[String]) -> Result<(), FillError> {
    let invalid = |field: String, problem: String| Err(FillError::Invalid { field, problem });
    if !(1..=SERIALS_MAX).contains(&serials.len()) {
        return invalid(
            "serials".to_owned(),
            format!("must be 1 to {SERIALS_MAX} numbers"),
        );
    }
    let mut seen = HashSet::with_capacity(serials.len());
    for (index, serial) in serials.iter().enumerate() {
        let sound = (1..=SERIAL_BYTES_MAX).contains(&serial.len())
            && serial.bytes().all(|byte| byte.is_ascii_graphic());
        let problem = if !sound {
            format!(
                "must be 1 to {SERIAL_BYTES_MAX} printable ASCII characters, none of them a blank"
            )
        } else if !seen.insert(serial.as_str()) {
            "is there twice".to_owned()
        } else {
            continue;
        };
        return invalid(format!("serials[{index}]"), problem);
    }
    Ok(())
}

/// How many were added; `None` when somebody else was adding.
pub async fn try_fill(
    database: &SqlDatabase,
    sale: &SaleId,
    product: &ProductId,
    serials: &[String],
) -> Result<Option<u64>, FillError> {
    let owners = owners(database, sale, serials).await?;
    let refusal = Refusal::new("serial-exists", "The serial number is there already.");
    let mut rows = Vec::with_capacity(serials.len());
    for serial in serials {
        match owners.get(serial) {
            Some(owner) if owner != product => {
                return Err(FillError::Taken {
                    serial: serial.clone(),
                    product: owner.clone(),
                });
            }
            Some(_) => {}
            None => rows.push(Change {
                table: &SERIALS,
                key: vec![sale.as_str().into(), serial.as_str().into()],
                kind: ChangeKind::Insert(vec![product.as_str().into()]),
                refusal: refusal.clone(),
            }),
        }
    }
    if rows.is_empty() {
        return Ok(Some(0));
    }
    let added = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let is_written = written(FILLING, database.transact(FILLING, &rows).await)?;
    Ok(is_written.then_some(added))
}

/// Those that are there, with the products that have them.
async fn owners(
    database: &SqlDatabase,
    sale: &SaleId,
    serials: &[String],
) -> Result<HashMap<String, ProductId>, StoreError> {
    let mut owners = HashMap::new();
    for chunk in serials.chunks(CHUNK) {
        let last = chunk.last().map_or("", String::as_str);
        let named = chunk.iter().map(String::as_str);
        // The text is the same for every chunk: a short one ends with repeats.
        let mut parameters: Vec<Value> = vec![sale.as_str().into()];
        parameters.extend(
            named
                .chain(std::iter::repeat(last))
                .take(CHUNK)
                .map(Value::from),
        );
        for row in database.query(FILLING, &OWNERS, &parameters).await? {
            owners.insert(row.text(0)?.to_owned(), slug(&row, 1, ProductId::parse)?);
        }
    }
    Ok(owners)
}
