//! I7: no row was written under an epoch that had passed.
//!
//! A row of the journal does not carry its epoch: one row a batch, in `journals`, does, and the fence that writes it is part of the
//! batch's transaction. So what is checked is what a write past the fence would leave: a journal that is ahead of its partition's
//! epoch or fell behind what it was written under, rows that no fenced batch accounts for, and records that name an epoch (those by
//! which a workflow goes on under another owner) that the partition never had.

use std::collections::BTreeMap;

use engine::store::StoreError;

use super::walk::Written;
use super::{Inputs, InvariantReport};
use crate::rows::{narrow, unsigned};

/// Where a partition and its journal stand, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// The partition's.
    epoch: u64,
    /// That of the last batch.
    written_under: u64,
    batch: u64,
    last_seq: u64,
}

/// The check, over one pass.
pub(super) struct Epochs {
    report: InvariantReport,
    before: BTreeMap<u32, Standing>,
    /// The highest epoch that a record of each partition named.
    named: BTreeMap<u32, u64>,
}

impl Epochs {
    pub async fn begin(inputs: &Inputs<'_>) -> Result<Self, StoreError> {
        let title =
            "epochs: no row was written under an epoch that had passed, and no row past the fence";
        Ok(Self {
            report: InvariantReport::new("I7", title),
            before: standings(inputs).await?,
            named: BTreeMap::new(),
        })
    }

    pub fn see(&mut self, page: &[Written]) {
        for written in page {
            self.report.checked += 1;
            // It says when the record was made: what was lost with an owner may be written by the next one as it was.
            if let Some(epoch) = written.epoch {
                let highest = self.named.entry(written.partition).or_default();
                *highest = epoch.max(*highest);
            }
        }
    }

    pub async fn finished(mut self, inputs: &Inputs<'_>) -> Result<InvariantReport, StoreError> {
        // The ends are read before the journals' own word: a row that is there has its batch by then.
        let ends = ends(inputs).await?;
        let after = standings(inputs).await?;
        for (partition, standing) in &after {
            self.report.checked += 1;
            let named = self.named.get(partition).copied();
            let before = self.before.get(partition);
            for what in wrong(before.copied(), *standing, named) {
                self.report
                    .violated(format!("partition {partition}: {what}"));
            }
        }
        for (partition, end) in ends {
            let last_seq = after.get(&partition).map(|standing| standing.last_seq);
            if last_seq.is_none_or(|last_seq| last_seq < end) {
                let accounted = last_seq.unwrap_or_default();
                self.report.violated(format!(
                    "partition {partition}: it has event {end}, and its fenced batches end with {accounted}"
                ));
            }
        }
        Ok(self.report.finished())
    }
}

fn wrong(before: Option<Standing>, now: Standing, named: Option<u64>) -> Vec<String> {
    let Standing {
        epoch,
        written_under,
        batch,
        last_seq,
    } = now;
    let mut wrong = Vec::new();
    if written_under > epoch {
        wrong.push(format!(
            "its journal was written under epoch {written_under}, and it is at epoch {epoch}"
        ));
    }
    if let Some(named) = named.filter(|named| *named > epoch) {
        wrong.push(format!(
            "a record names epoch {named}, and it is at {epoch}"
        ));
    }
    let Some(before) = before else { return wrong };
    if epoch < before.epoch || batch < before.batch || last_seq < before.last_seq {
        wrong.push(format!(
            "it went back from epoch {}, batch {} and event {} to epoch {epoch}, batch {batch} and event {last_seq}",
            before.epoch, before.batch, before.last_seq
        ));
    }
    if batch > before.batch && written_under < before.epoch {
        wrong.push(format!(
            "batch {batch} was written under epoch {written_under}, after epoch {} had begun",
            before.epoch
        ));
    }
    wrong
}

async fn standings(inputs: &Inputs<'_>) -> Result<BTreeMap<u32, Standing>, StoreError> {
    let sql = "SELECT partitions.id, partitions.epoch, journals.epoch, journals.batch_no, journals.last_seq \
               FROM partitions JOIN journals ON journals.partition_id = partitions.id";
    let rows = inputs
        .database
        .query("reading the epochs", sql, &[])
        .await?;
    let standing = |row: &engine::store::Row| {
        let standing = Standing {
            epoch: unsigned(row, 1)?,
            written_under: unsigned(row, 2)?,
            batch: unsigned(row, 3)?,
            last_seq: unsigned(row, 4)?,
        };
        Ok((narrow(row, 0)?, standing))
    };
    rows.iter().map(standing).collect()
}

/// The last event of each partition that has one, each by one look into an index.
async fn ends(inputs: &Inputs<'_>) -> Result<Vec<(u32, u64)>, StoreError> {
    let next = "SELECT MIN(partition_id) FROM events WHERE partition_id > ?";
    let end = "SELECT MAX(partition_seq) FROM events WHERE partition_id = ?";
    let mut ends = Vec::new();
    let mut after = -1_i64;
    loop {
        let doing = "reading the journal's ends";
        let rows = inputs.database.query(doing, next, &[after.into()]).await?;
        let Some(partition) = rows
            .first()
            .map(|row| row.optional_integer(0))
            .transpose()?
        else {
            return Ok(ends);
        };
        let Some(partition) = partition else {
            return Ok(ends);
        };
        after = partition;
        let rows = inputs.database.query(doing, end, &[after.into()]).await?;
        let last = rows
            .first()
            .map(|row| row.optional_integer(0))
            .transpose()?;
        if let (Ok(partition), Some(last)) = (u32::try_from(partition), last.flatten()) {
            ends.push((partition, u64::try_from(last).unwrap_or_default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Standing = Standing {
        epoch: 5,
        written_under: 5,
        batch: 20,
        last_seq: 100,
    };

    #[test]
    fn a_partition_that_moves_on_is_right() {
        let before = Standing {
            epoch: 4,
            written_under: 4,
            batch: 19,
            last_seq: 90,
        };
        assert_eq!(wrong(Some(before), NOW, Some(5)), Vec::<String>::new());
        // Nobody has written since it changed hands.
        let taken = Standing { epoch: 6, ..NOW };
        assert_eq!(wrong(Some(NOW), taken, None), Vec::<String>::new());
    }

    #[test]
    fn a_batch_under_an_epoch_that_had_passed_is_seen() {
        let before = Standing { batch: 19, ..NOW };
        let stale = Standing {
            written_under: 4,
            ..NOW
        };
        assert!(wrong(Some(before), stale, None)[0].contains("after epoch 5 had begun"));
    }

    #[test]
    fn epochs_that_never_were_and_journals_that_go_back_are_seen() {
        let ahead = Standing {
            written_under: 6,
            ..NOW
        };
        assert_eq!(wrong(None, ahead, None).len(), 1);
        assert_eq!(wrong(None, NOW, Some(6)).len(), 1);
        let back = Standing {
            last_seq: 99,
            ..NOW
        };
        assert_eq!(wrong(Some(NOW), back, None).len(), 1);
    }
}
