//! What this member says of what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::report::{Amount, BlocksReport, Kept, Report, RowsKept, RowsReport};
use crate::StoreError;
use crate::disk::DirectoryState;
use crate::model::{MemberId, Timestamp, Zone};
use crate::repair::compare::Changes;
use crate::repair::{scrub, sweep};
use crate::store::Inner;

/// Looks at this disk.
///
/// # Errors
/// The disk fails.
pub(super) async fn report(inner: &Inner) -> Result<Report, StoreError> {
    let shortage = inner.blocks.shortage().await?;
    let disk = inner.disk.status();
    let failed = disk
        .directories
        .iter()
        .filter(|directory| directory.state != DirectoryState::Serving);
    Ok(Report {
        assignment: shortage.assignment,
        blocks: BlocksReport {
            used: disk.used,
            given: disk.given,
            proven_millionths: shortage.proven_millionths,
            kept: kept(shortage.kept),
            owed: shortage.owed,
            rates: shortage.rates,
            damaged: disk.damaged_blocks,
            directories_failed: u32::try_from(failed.count()).unwrap_or(u32::MAX),
        },
        rows: match disk.rows.loss.is_some() || disk.rows.stopped {
            true => lost_rows(inner),
            false => rows(inner),
        },
        scrub: scrub::status(inner),
        swept: sweep::swept(inner)?,
        freed: inner.freed.load(Ordering::Relaxed),
        held: inner.held.load(Ordering::Relaxed),
        oldest_write: sweep::oldest_write(inner),
        clock: Some(Timestamp::now()),
    })
}

/// Where acknowledged rows are lost nothing is known of them in a mesh. A box that is alone has what it has.
fn lost_rows(inner: &Inner) -> RowsReport {
    let known = rows(inner);
    let (kept, unknown) = match inner.is_meshed() {
        true => (Vec::new(), known.partitions()),
        false => (known.kept, known.unknown),
    };
    RowsReport {
        kept,
        unknown,
        lost: true,
        ..RowsReport::default()
    }
}

fn kept(amounts: BTreeMap<BTreeSet<Zone>, Amount>) -> Vec<Kept> {
    let kept = amounts.into_iter().map(|(zones, amount)| Kept { zones, amount });
    kept.collect()
}

fn rows(inner: &Inner) -> RowsReport {
    let (known, view) = (inner.comparisons.known(inner), inner.mesh.view());
    let zone = |member: &MemberId| match view.members.get(member) {
        Some(row) => Some(row.value.zone.clone()),
        None if *member == inner.me => Some(inner.node.zone.clone()),
        // Who is no member any more has nothing that counts.
        None => None,
    };
    let zones = |members: &BTreeSet<MemberId>| members.iter().filter_map(zone).collect::<BTreeSet<Zone>>();
    let mut partitions: BTreeMap<BTreeSet<Zone>, Vec<u16>> = BTreeMap::new();
    for (members, of) in &known.kept {
        partitions.entry(zones(members)).or_default().extend(of);
    }
    let mut short: BTreeMap<BTreeSet<Zone>, Amount> = BTreeMap::new();
    for (members, changes) in &known.short {
        short.entry(zones(members)).or_default().add(amount(*changes));
    }
    let rows_kept = partitions
        .into_iter()
        .map(|(zones, partitions)| RowsKept { zones, partitions });
    let owed = known
        .behind
        .into_iter()
        .map(|(member, changes)| (member, amount(changes)));
    RowsReport {
        kept: rows_kept.collect(),
        unknown: known.unknown,
        short: kept(short),
        owed: owed.collect(),
        uncompared: known.uncompared,
        compared: known.compared,
        lost: false,
    }
}

fn amount(changes: Changes) -> Amount {
    Amount {
        count: changes.count,
        bytes: 0,
        since: changes.since,
    }
}
