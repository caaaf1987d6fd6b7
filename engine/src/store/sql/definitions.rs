//! Which definitions and which partitions there are.

use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::reads::{rows, unsigned};
use super::text::SqlText;
use crate::ids::{Epoch, NodeName, PartitionId};
use crate::store::{PartitionRow, StoreError};
use crate::workflow::DefinitionRef;

const REGISTERING: &str = "registering definitions";
const READING_PARTITIONS: &str = "reading the partitions";

/// Notes those definitions that are not known yet; returns those that are known with another hash, as they are known.
pub(crate) async fn register(
    database: &SqlDatabase,
    definitions: &[DefinitionRef],
) -> Result<Vec<DefinitionRef>, StoreError> {
    let known = known(database, definitions).await?;
    let is_known = |one: &&DefinitionRef| known.iter().any(|known| is_version_of(known, one));
    let (known_ones, new): (Vec<_>, Vec<_>) = definitions.iter().partition(is_known);
    if new.is_empty() {
        return Ok(differing(&known, &known_ones));
    }
    // Each in a statement of its own: nodes that start at once don't wait for each other.
    let mut text = SqlText::new(database.dialect());
    for (index, definition) in new.into_iter().enumerate() {
        text.sql(if index > 0 { ";\n" } else { "" });
        insert(&mut text, definition);
    }
    let noted = database.write(REGISTERING, text.finish()).await;
    // To register twice is to register once.
    noted.map_err(|error| error.without_effect(REGISTERING))?;
    // Another node may have been faster.
    let known = self::known(database, definitions).await?;
    Ok(differing(&known, &definitions.iter().collect::<Vec<_>>()))
}

fn is_version_of(one: &DefinitionRef, other: &DefinitionRef) -> bool {
    (&one.name, one.version) == (&other.name, other.version)
}

/// What is known under a name and version of `asked`, with another hash.
fn differing(known: &[DefinitionRef], asked: &[&DefinitionRef]) -> Vec<DefinitionRef> {
    let differs = |known: &&DefinitionRef| {
        asked
            .iter()
            .any(|asked| is_version_of(known, asked) && known.hash != asked.hash)
    };
    known.iter().filter(differs).cloned().collect()
}

/// The known definitions that have a name of `definitions`, in every version.
async fn known(
    database: &SqlDatabase,
    definitions: &[DefinitionRef],
) -> Result<Vec<DefinitionRef>, StoreError> {
    if definitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT name, version, hash FROM definitions WHERE name IN (");
    text.list(definitions, |text, definition| {
        text.text(&definition.name);
    });
    text.sql(") ORDER BY name, version");
    let rows = rows(database, REGISTERING, text).await?;
    rows.iter()
        .map(|row| {
            Ok(DefinitionRef {
                name: row.text(0)?.to_owned(),
                version: unsigned(row, 1)?,
                hash: row.integer(2)?.cast_unsigned(),
            })
        })
        .collect()
}

fn insert(text: &mut SqlText, definition: &DefinitionRef) {
    text.sql("INSERT INTO definitions (name, version, hash) VALUES (")
        .text(&definition.name)
        .sql(", ")
        .number(definition.version)
        .sql(", ")
        .number(definition.hash.cast_signed());
    let unless_known = match text.dialect() {
        Dialect::MySql => ") ON DUPLICATE KEY UPDATE hash = hash",
        Dialect::Sqlite => ") ON CONFLICT (name, version) DO NOTHING",
    };
    text.sql(unless_known);
}

/// All partitions with their journals' positions.
pub(crate) async fn partitions(database: &SqlDatabase) -> Result<Vec<PartitionRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT p.id, p.owner, p.epoch, p.lease_until_us - ")
        .sql(database.dialect().now_us());
    text.sql(
        " AS lease_left_us, p.retired, j.last_seq, j.published_seq FROM partitions p \
         JOIN journals j ON j.partition_id = p.id ORDER BY p.id",
    );
    let rows = rows(database, READING_PARTITIONS, text).await?;
    rows.iter()
        .map(|row| {
            Ok(PartitionRow {
                id: PartitionId(unsigned(row, 0)?),
                owner: NodeName(row.text(1)?.to_owned()),
                epoch: Epoch(unsigned(row, 2)?),
                lease_left_us: row.integer(3)?,
                retired: row.integer(4)? == 1,
                last_seq: unsigned(row, 5)?,
                published_seq: unsigned(row, 6)?,
            })
        })
        .collect()
}
