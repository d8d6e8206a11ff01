//! Holds what a run measured and shows it to people (tables) and programs (JSON).

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::goals::{self, Missed};
use super::machine::Machine;
use super::measured::Side;
use super::table::{Style, amount, count, size, table};
use super::work::Operation;

/// Everything one run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where.
    pub(crate) machine: Machine,
    /// How long and how large.
    pub(crate) settings: Settings,
    /// Single numbers.
    pub(crate) facts: Vec<Measurement>,
    /// Loads on the server, each beside its limits.
    pub(crate) cells: Vec<Cell>,
    /// Goals that were measured and not reached.
    pub(crate) missed: Vec<Missed>,
}

/// What the numbers depend on beside the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// Seconds that each contender gets in each cell, over all rounds.
    pub(crate) seconds: f64,
    /// Rounds in which the contenders take turns; rates are medians over them.
    pub(crate) rounds: u64,
    /// Objects in the large bucket.
    pub(crate) objects: u64,
    /// Objects in the small bucket it is compared with.
    pub(crate) objects_small: u64,
    /// Whether requests were signed over their bodies.
    pub(crate) signed_payload: bool,
}

/// A number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Measurement {
    /// What it is.
    pub(crate) fact: Fact,
    /// How much, in the fact's unit.
    pub(crate) value: f64,
}

/// The single numbers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    /// Synced appends of 4 KiB by one thread, per second.
    FdatasyncAppending,
    /// The same over blocks written before.
    FdatasyncPrewritten,
    /// 4 MiB writes, each synced; MiB/s.
    RawWrite,
    /// 4 MiB reads from the page cache; MiB/s.
    RawRead,
    /// One TCP connection; MiB/s.
    Loopback,
    /// One core; MiB/s.
    Md5,
    /// One core; MiB/s.
    Seal,
    /// Objects stored per second while the large bucket was filled.
    Fill,
    /// Resident megabytes (10^6) of the server with the large bucket once it has nothing left to do.
    IdleRssAfterLoad,
    /// The same after a restart.
    IdleRssAfterRestart,
    /// Seconds from start to the first authenticated answer, after an orderly stop.
    ReadyAfterStop,
    /// The same after a kill at the end of a write load.
    ReadyAfterKill,
}

/// A load on the server beside its limits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    /// Which load.
    pub(crate) id: CellId,
    /// What the server did.
    pub(crate) warren: Side,
    /// What is possible.
    pub(crate) limits: BTreeMap<Limit, Side>,
}

/// Names a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CellId {
    /// What is done.
    pub(crate) operation: Operation,
    /// On what.
    pub(crate) scope: Scope,
    /// By how many connections.
    pub(crate) connections: usize,
}

/// What a cell varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Objects of this many bytes.
    Size(u64),
    /// The small bucket, with this many objects of 1 KiB.
    Small(u64),
    /// The large bucket, with this many objects of 1 KiB.
    Large(u64),
}

/// What a rate is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// A hyper server with a constant answer.
    Bare,
    /// Group fdatasync of bodies of this size at this concurrency, no HTTP.
    GroupSync,
    /// The same behind the bare server.
    GroupSyncOverHttp,
    /// The slowest of MD5, sealing and raw writing.
    SlowestStage,
    /// The small bucket.
    SmallBucket,
}

impl Limit {
    const ALL: [Self; 5] = [
        Self::Bare,
        Self::GroupSync,
        Self::GroupSyncOverHttp,
        Self::SlowestStage,
        Self::SmallBucket,
    ];
}

impl Cell {
    /// The server's share of a limit, where both were measured.
    pub(crate) fn share_of(&self, limit: Limit) -> Option<f64> {
        self.warren.share_of(self.limits.get(&limit)?)
    }
}

impl Report {
    /// Judges what a run measured.
    pub(crate) fn new(
        machine: Machine,
        settings: Settings,
        facts: Vec<Measurement>,
        cells: Vec<Cell>,
    ) -> Self {
        let missed = goals::missed(&cells, &facts);
        Self {
            machine,
            settings,
            facts,
            cells,
            missed,
        }
    }

    /// The tables, in Markdown if asked for.
    pub(crate) fn tables(&self, style: Style) -> String {
        let by_size = |cell: &&Cell| matches!(cell.id.scope, Scope::Size(_));
        let sized: Vec<_> = self.cells.iter().filter(by_size).collect();
        let counted: Vec<_> = self.cells.iter().filter(|cell| !by_size(cell)).collect();
        let mut tables = vec![self.machine.line(), fact_table(&self.facts, style)];
        tables.extend(
            [sized, counted]
                .iter()
                .filter(|cells| !cells.is_empty())
                .map(|cells| cell_table(cells, style)),
        );
        tables.join("\n\n")
    }
}

fn fact_table(facts: &[Measurement], style: Style) -> String {
    let mut rows = vec![vec!["limit or fact".into(), "value".into(), "unit".into()]];
    rows.extend(
        facts
            .iter()
            .map(|Measurement { fact, value }| vec![fact.to_string(), amount(*value), fact.unit().into()]),
    );
    table(&rows, style)
}

fn cell_table(cells: &[&Cell], style: Style) -> String {
    let limits = Limit::ALL
        .into_iter()
        .filter(|limit| cells.iter().any(|cell| cell.limits.contains_key(limit)));
    let limits: Vec<_> = limits.collect();
    let fixed = [
        "cell",
        "ops/s",
        "MiB/s",
        "p50 ms",
        "p99 ms",
        "CPU µs/op (bare)",
        "RSS MiB",
    ];
    let mut rows: Vec<Vec<String>> = vec![
        fixed
            .iter()
            .map(ToString::to_string)
            .chain(limits.iter().map(ToString::to_string))
            .collect(),
    ];
    for cell in cells {
        let Side {
            ops_per_second,
            mib_per_second,
            p50_ms,
            p99_ms,
            cpu_us_per_op,
            rss_mib,
        } = &cell.warren;
        let moved = Some(*mib_per_second).filter(|moved| *moved > 0.0);
        let mut row = vec![cell.id.to_string(), amount(*ops_per_second)];
        row.extend([moved, *p50_ms, *p99_ms].map(some_amount));
        row.push(cost(*cpu_us_per_op, cell.limits.get(&Limit::Bare)));
        row.push(some_amount(*rss_mib));
        row.extend(limits.iter().map(|limit| compared(cell, *limit)));
        rows.push(row);
    }
    table(&rows, style)
}

fn some_amount(value: Option<f64>) -> String {
    value.map_or("–".into(), amount)
}

/// The server's cost, and the bare server's: less sensitive to a busy machine than rates are.
fn cost(warren: Option<f64>, bare: Option<&Side>) -> String {
    match (warren, bare.and_then(|side| side.cpu_us_per_op)) {
        (Some(warren), Some(bare)) => format!("{} ({})", amount(warren), amount(bare)),
        (warren, _) => some_amount(warren),
    }
}

fn compared(cell: &Cell, limit: Limit) -> String {
    match (cell.share_of(limit), cell.limits.get(&limit)) {
        (Some(share), Some(side)) => format!("{:.0} % of {}", share * 100.0, amount(side.ops_per_second)),
        _ => "–".into(),
    }
}

impl Display for CellId {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            scope,
            connections,
        } = self;
        match scope {
            Scope::Size(bytes) => write!(out, "{operation} {} x{connections}", size(*bytes)),
            Scope::Small(objects) | Scope::Large(objects) => {
                write!(out, "{operation} of {} objects x{connections}", count(*objects))
            }
        }
    }
}

impl Display for Limit {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bare => "bare HTTP",
            Self::GroupSync => "group fdatasync",
            Self::GroupSyncOverHttp => "the same over HTTP",
            Self::SlowestStage => "slowest of MD5, seal, write",
            Self::SmallBucket => "small bucket",
        })
    }
}

impl Fact {
    /// The unit of its value.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::FdatasyncAppending | Self::FdatasyncPrewritten | Self::Fill => "/s",
            Self::RawWrite | Self::RawRead | Self::Loopback | Self::Md5 | Self::Seal => "MiB/s",
            Self::IdleRssAfterLoad | Self::IdleRssAfterRestart => "MB",
            Self::ReadyAfterStop | Self::ReadyAfterKill => "s",
        }
    }
}

impl Display for Fact {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::FdatasyncAppending => "fdatasync, appending 4 KiB",
            Self::FdatasyncPrewritten => "fdatasync, prewritten 4 KiB",
            Self::RawWrite => "raw write, 4 MiB and fdatasync",
            Self::RawRead => "raw read, page cache",
            Self::Loopback => "loopback TCP copy",
            Self::Md5 => "MD5, one core",
            Self::Seal => "seal 64 KiB frames, one core",
            Self::Fill => "filling the large bucket",
            Self::IdleRssAfterLoad => "idle RSS after load",
            Self::IdleRssAfterRestart => "idle RSS after restart",
            Self::ReadyAfterStop => "ready after stop",
            Self::ReadyAfterKill => "ready after kill -9",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(limits: Vec<(Limit, Side)>) -> Cell {
        let id = CellId {
            operation: Operation::Put,
            scope: Scope::Size(1024),
            connections: 32,
        };
        Cell {
            id,
            warren: Side::of_throughput(30.0, 1024),
            limits: limits.into_iter().collect(),
        }
    }

    #[test]
    fn cells_are_named_by_operation_scope_and_connections() {
        let name = |operation, scope| {
            CellId {
                operation,
                scope,
                connections: 8,
            }
            .to_string()
        };
        assert_eq!(name(Operation::Get, Scope::Size(64 << 20)), "GET 64 MiB x8");
        assert_eq!(
            name(Operation::List, Scope::Large(1_000_000)),
            "LIST of 1 M objects x8"
        );
        assert_eq!(
            name(Operation::Overwrite, Scope::Small(10_000)),
            "PUT of 10 k objects x8"
        );
    }

    #[test]
    fn a_limit_stands_beside_its_cell_as_share_and_rate() {
        let cells = [
            cell(vec![(Limit::Bare, Side::of_throughput(60.0, 1024))]),
            cell(Vec::new()),
        ];
        let shown = cell_table(&cells.iter().collect::<Vec<_>>(), Style::Plain);
        let lines: Vec<_> = shown.lines().collect();
        assert!(
            lines[0].ends_with("bare HTTP") && !lines[0].contains("group fdatasync"),
            "{shown}"
        );
        assert!(lines[1].ends_with("50 % of 61,440"), "{shown}");
        assert!(lines[2].ends_with('–'), "{shown}");
    }
}
