//! Turns the operations of one or more rounds into rates, latencies and cost.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// The latencies of one round; microseconds up to ten minutes, to three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are valid")
}

/// What one round did.
pub(crate) struct Round {
    /// Operations that were answered.
    pub(crate) ops: u64,
    /// Body bytes moved by them, either way.
    pub(crate) bytes: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Microseconds per operation.
    pub(crate) latencies: Histogram<u64>,
    /// CPU time of the server's process, where there is one.
    pub(crate) cpu: Option<Duration>,
}

/// The summary of a contender's rounds in one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Side {
    /// The median of the rounds.
    pub(crate) ops_per_second: f64,
    /// Body bytes only; the median of the rounds.
    pub(crate) mib_per_second: f64,
    /// Over all operations of all rounds.
    pub(crate) p50_ms: Option<f64>,
    /// Over all operations of all rounds.
    pub(crate) p99_ms: Option<f64>,
    /// Server CPU (user and system) per operation, over all rounds.
    pub(crate) cpu_us_per_op: Option<f64>,
    /// Resident memory of the server after the last round.
    pub(crate) rss_mib: Option<f64>,
}

impl Side {
    /// Sums rounds up; there must be at least one.
    pub(crate) fn of(rounds: &[Round]) -> Result<Self> {
        let per_second = |amount: fn(&Round) -> u64| {
            rounds
                .iter()
                .map(|round| float(amount(round)) / round.elapsed.as_secs_f64())
                .collect()
        };
        let mut all = latencies();
        for round in rounds {
            all.add(&round.latencies).context("merge latencies")?;
        }
        let ops: u64 = rounds.iter().map(|round| round.ops).sum();
        let cpu: Option<Duration> = rounds.iter().map(|round| round.cpu).sum();
        let quantile = |q| (!all.is_empty()).then(|| float(all.value_at_quantile(q)) / 1e3);
        Ok(Self {
            ops_per_second: median(per_second(|round| round.ops)).context("no rounds")?,
            mib_per_second: median(per_second(|round| round.bytes)).context("no rounds")? / MIB,
            p50_ms: quantile(0.50),
            p99_ms: quantile(0.99),
            cpu_us_per_op: cpu
                .filter(|_| ops > 0)
                .map(|cpu| cpu.as_secs_f64() * 1e6 / float(ops)),
            rss_mib: None,
        })
    }

    /// A limit that is only a rate of bytes, for operations of `size` bytes.
    pub(crate) fn of_throughput(mib_per_second: f64, size: u64) -> Self {
        Self {
            ops_per_second: mib_per_second * MIB / float(size),
            mib_per_second,
            p50_ms: None,
            p99_ms: None,
            cpu_us_per_op: None,
            rss_mib: None,
        }
    }

    /// This side's rate as a share of another's; `None` where the other did nothing.
    pub(crate) fn share_of(&self, limit: &Self) -> Option<f64> {
        (limit.ops_per_second > 0.0).then(|| self.ops_per_second / limit.ops_per_second)
    }
}

/// The middle value, or the mean of the two middle ones; `None` for no values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// Counts as far as they are exact in a float, which is 2^53.
#[allow(
    clippy::cast_precision_loss,
    reason = "rounding beyond 2^53 is no matter for a rate"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ops: u64, seconds: u64, latency_us: u64) -> Round {
        let mut histogram = latencies();
        histogram.record_n(latency_us, ops).unwrap();
        Round {
            ops,
            bytes: ops * 1024 * 1024,
            elapsed: Duration::from_secs(seconds),
            latencies: histogram,
            cpu: Some(Duration::from_micros(ops * 30)),
        }
    }

    #[test]
    fn one_disturbed_round_does_not_move_the_rate() {
        let side = Side::of(&[round(1000, 1, 100), round(10, 1, 9000), round(1100, 1, 100)]).unwrap();
        assert!((side.ops_per_second - 1000.0).abs() < 1e-9);
        assert!((side.mib_per_second - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn latencies_of_all_rounds_count_towards_the_99th_percentile() {
        let side = Side::of(&[round(90, 1, 1000), round(10, 1, 8000)]).unwrap();
        assert!((side.p50_ms.unwrap() - 1.0).abs() < 0.01);
        assert!((side.p99_ms.unwrap() - 8.0).abs() < 0.01);
    }

    #[test]
    fn cost_is_processor_time_over_operations() {
        let side = Side::of(&[round(100, 1, 1), round(300, 1, 1)]).unwrap();
        assert!((side.cpu_us_per_op.unwrap() - 30.0).abs() < 1e-9);
        let unknown = Round {
            cpu: None,
            ..round(100, 1, 1)
        };
        assert_eq!(
            Side::of(&[round(100, 1, 1), unknown]).unwrap().cpu_us_per_op,
            None
        );
    }

    #[test]
    fn a_share_is_the_ratio_of_rates_and_absent_beside_nothing() {
        let side = |rate| Side::of_throughput(rate, 1024 * 1024);
        assert_eq!(side(30.0).share_of(&side(60.0)), Some(0.5));
        assert_eq!(side(30.0).share_of(&side(0.0)), None);
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_values() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
