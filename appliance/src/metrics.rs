//! What a node knows of itself, as numbers in the text format of Prometheus. Labels name boxes, homes, disks, and operations of
//! S3 with their statuses, and nothing else: there are few of them.

#![allow(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::api::{Home, PathKind};
use crate::{CopiesFacts, Facts, NotKnown};

/// What a node measures beside its facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// When all its blocks had been read and proven last, in seconds since 1970.
    pub scrubbed_seconds: Option<u64>,
    /// Its disks.
    pub disks: Vec<DiskMeasure>,
    /// Objects in all buckets, as they were counted lately; nothing while that is not known.
    pub objects: Option<u64>,
    /// What was asked of S3 since the node started, by operation.
    pub requests: Vec<RequestMeasure>,
}

/// What was asked of one operation of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMeasure {
    /// Its name in S3.
    pub operation: String,
    /// Requests by status.
    pub statuses: Vec<(u16, u64)>,
    /// Bounds of times in microseconds, ascending, and the requests that took at most as long.
    pub within: Vec<(u64, u64)>,
    /// Requests.
    pub requests: u64,
    /// How long all took together, in microseconds.
    pub micros: u64,
    /// Bytes of the bodies that clients sent.
    pub received: u64,
    /// Bytes of the bodies that clients were sent.
    pub sent: u64,
}

/// A disk of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskMeasure {
    /// Its directory.
    pub path: String,
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may use.
    pub given: u64,
}

/// Draws the numbers.
pub(crate) fn text(facts: &Facts, measures: &Measures) -> String {
    let mut page = Page::default();
    let copies = &facts.copies;
    let known = !copies
        .unknown
        .iter()
        .any(|unknown| !matches!(unknown, NotKnown::Silent(_)));
    page.gauge(
        "warren_copies_goal",
        "Homes that should hold everything.",
        [(String::new(), copies.goal as f64)],
    );
    page.gauge(
        "warren_copies_least",
        "Homes that are known to hold everything but what is short.",
        [(String::new(), copies.least as f64)],
    );
    page.gauge(
        "warren_copies_known",
        "Whether it is known of everything where it is.",
        [(String::new(), f64::from(u8::from(known)))],
    );
    let mut short = BTreeMap::<usize, (u64, u64)>::new();
    for of in &copies.short {
        let sum = short.entry(of.homes.len()).or_default();
        (sum.0, sum.1) = (sum.0 + of.blocks, sum.1 + of.changes);
    }
    let by_copies = |count: fn((u64, u64)) -> u64| {
        let all = short
            .iter()
            .map(move |(copies, sums)| (label("copies", &copies.to_string()), count(*sums) as f64));
        all.collect::<Vec<_>>()
    };
    page.gauge(
        "warren_copies_short_blocks",
        "References to blocks that are in so many homes and should be in more.",
        by_copies(|sums| sums.0),
    );
    page.gauge(
        "warren_copies_short_changes",
        "Changes of objects that are in so many homes and should be in more.",
        by_copies(|sums| sums.1),
    );
    page.gauge(
        "warren_copies_objects",
        "Objects by the homes that are known to hold them; of those in too few, the most that it may be.",
        copies_objects(copies, measures.objects.filter(|_| known), &short),
    );
    let missing = facts.homes.iter().filter_map(|home| home.behind.as_ref());
    let missing: u64 = missing.map(|behind| behind.blocks).sum();
    page.gauge(
        "warren_blocks_missing",
        "Blocks that are missing somewhere, once for each box that may lack them.",
        [(String::new(), missing as f64)],
    );
    peers(&mut page, &facts.homes);
    page.gauge(
        "warren_scrub_last_success_timestamp_seconds",
        "When all blocks of this box had been read and proven last.",
        measures
            .scrubbed_seconds
            .map(|seconds| (String::new(), seconds as f64)),
    );
    let of_disks = measures.disks.iter().flat_map(|disk| {
        let labels = |kind| format!("{},{}", label("disk", &disk.path), label("kind", kind));
        [
            (labels("used"), disk.used as f64),
            (labels("given"), disk.given as f64),
        ]
    });
    page.gauge(
        "warren_disk_bytes",
        "Bytes of blocks on each disk of this box.",
        of_disks,
    );
    page.gauge(
        "warren_buckets",
        "Buckets.",
        [(String::new(), facts.buckets as f64)],
    );
    page.gauge(
        "warren_uptime_seconds",
        "Since this node serves.",
        [(String::new(), facts.uptime_seconds as f64)],
    );
    requests(&mut page, &measures.requests);
    page.0
}

/// Objects by copies. Every block and every change that is short may be that of another object, so each counts as one. The
/// rest is in as many homes as everything is that is not short.
fn copies_objects(
    copies: &CopiesFacts,
    objects: Option<u64>,
    short: &BTreeMap<usize, (u64, u64)>,
) -> Vec<(String, f64)> {
    let Some(mut left) = objects else {
        return Vec::new();
    };
    let mut by_copies = BTreeMap::new();
    for (homes, (blocks, changes)) in short {
        let most = left.min(blocks.saturating_add(*changes));
        left -= most;
        *by_copies.entry(*homes).or_insert(0) += most;
    }
    *by_copies.entry(copies.least).or_insert(0) += left;
    let value = |(homes, count): (usize, u64)| (label("copies", &homes.to_string()), count as f64);
    by_copies.into_iter().map(value).collect()
}

fn requests(page: &mut Page, requests: &[RequestMeasure]) {
    let op = |of: &RequestMeasure| label("op", &of.operation);
    page.counter(
        "warren_s3_requests_total",
        "Requests to S3 by operation and status.",
        requests.iter().flat_map(|of| {
            let labels = move |code: u16| format!("{},{}", op(of), label("code", &code.to_string()));
            of.statuses
                .iter()
                .map(move |(code, count)| (labels(*code), *count as f64))
        }),
    );
    page.counter(
        "warren_s3_received_bytes_total",
        "Bytes of bodies that clients sent.",
        requests.iter().map(|of| (op(of), of.received as f64)),
    );
    page.counter(
        "warren_s3_sent_bytes_total",
        "Bytes of bodies that clients were sent.",
        requests.iter().map(|of| (op(of), of.sent as f64)),
    );
    page.histogram(
        "warren_s3_request_duration_seconds",
        "From the head of a request to the last byte of its response.",
        requests.iter().map(|of| (op(of), of)),
    );
}

fn peers(page: &mut Page, homes: &[Home]) {
    let others = || homes.iter().filter(|home| !home.here);
    page.gauge(
        "warren_peer_connected",
        "Whether another box is connected, and how.",
        others().map(|home| {
            let path = home.path.as_ref().map_or("none", |path| match path.kind {
                PathKind::Lan => "lan",
                PathKind::Direct => "direct",
                PathKind::Relayed => "relayed",
            });
            let labels = format!("{},{}", label("peer", &home.name), label("path", path));
            (labels, f64::from(u8::from(home.online)))
        }),
    );
    let round_trip = |home: &Home| home.path.as_ref()?.round_trip_seconds;
    page.gauge(
        "warren_peer_rtt_seconds",
        "Round-trip time to another box.",
        others().filter_map(|home| Some((label("peer", &home.name), round_trip(home)?))),
    );
    let speed = |home: &Home, way: &str| {
        let path = home.path.as_ref()?;
        let bytes = match way {
            "sent" => path.sent_bytes_per_second?,
            _ => path.received_bytes_per_second?,
        };
        let labels = format!("{},{}", label("peer", &home.name), label("way", way));
        Some((labels, bytes as f64))
    };
    page.gauge(
        "warren_peer_content_bytes_per_second",
        "How fast content went to another box and came from it while some did, measured last.",
        others()
            .flat_map(|home| ["sent", "received"].map(|way| speed(home, way)))
            .flatten(),
    );
    page.gauge(
        "warren_replication_pending_bytes",
        "Bytes of blocks that a box is known to lack.",
        homes.iter().filter_map(|home| {
            let behind = home.behind.as_ref()?;
            Some((label("peer", &home.name), behind.bytes as f64))
        }),
    );
}

/// A page of numbers.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        self.family(name, help, "gauge", values);
    }

    fn counter(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        self.family(name, help, "counter", values);
    }

    fn histogram<'r>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, &'r RequestMeasure)>,
    ) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (labels, of) in values {
            for (bound, count) in &of.within {
                let bound = label("le", &seconds(*bound).to_string());
                let _ = writeln!(self.0, "{name}_bucket{{{labels},{bound}}} {count}");
            }
            let all = label("le", "+Inf");
            let (requests, seconds) = (of.requests, seconds(of.micros));
            let _ = write!(
                self.0,
                "{name}_bucket{{{labels},{all}}} {requests}\n{name}_sum{{{labels}}} {seconds}\n{name}_count{{{labels}}} {requests}\n"
            );
        }
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let _ = match labels.is_empty() {
                true => writeln!(self.0, "{name} {value}"),
                false => writeln!(self.0, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Short;

    #[test]
    fn numbers_are_drawn_as_prometheus_reads_them() {
        let facts = Facts {
            name: "Maple".into(),
            homes: Vec::new(),
            copies: CopiesFacts {
                goal: 2,
                least: 2,
                homes: 2,
                short: vec![Short {
                    homes: vec!["anna".into()],
                    blocks: 3,
                    ..Short::default()
                }],
                ..CopiesFacts::default()
            },
            s3: Vec::new(),
            buckets: 1,
            keys: 1,
            uptime_seconds: 5,
            troubles: Vec::new(),
        };
        let disk = DiskMeasure {
            path: "/data/\"a\"".into(),
            used: 1,
            given: 2,
        };
        let get = RequestMeasure {
            operation: "GetObject".into(),
            statuses: vec![(200, 2), (404, 1)],
            within: vec![(500, 1), (1_000_000, 3)],
            requests: 3,
            micros: 2_500_000,
            received: 0,
            sent: 7,
        };
        let text = text(
            &facts,
            &Measures {
                scrubbed_seconds: Some(1_709_208_001),
                disks: vec![disk],
                objects: Some(10),
                requests: vec![get],
            },
        );
        for line in [
            "# TYPE warren_copies_goal gauge",
            "warren_copies_least 2",
            "warren_copies_known 1",
            "warren_copies_short_blocks{copies=\"1\"} 3",
            "warren_copies_objects{copies=\"1\"} 3",
            "warren_copies_objects{copies=\"2\"} 7",
            "# TYPE warren_s3_requests_total counter",
            "warren_s3_requests_total{op=\"GetObject\",code=\"404\"} 1",
            "warren_s3_sent_bytes_total{op=\"GetObject\"} 7",
            "warren_s3_request_duration_seconds_bucket{op=\"GetObject\",le=\"0.0005\"} 1",
            "warren_s3_request_duration_seconds_bucket{op=\"GetObject\",le=\"1\"} 3",
            "warren_s3_request_duration_seconds_bucket{op=\"GetObject\",le=\"+Inf\"} 3",
            "warren_s3_request_duration_seconds_sum{op=\"GetObject\"} 2.5",
            "warren_s3_request_duration_seconds_count{op=\"GetObject\"} 3",
            "warren_scrub_last_success_timestamp_seconds 1709208001",
            "warren_disk_bytes{disk=\"/data/\\\"a\\\"\",kind=\"used\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
