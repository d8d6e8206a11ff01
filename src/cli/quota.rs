//! `warren bucket quota` and `warren key quota`: how much may be held.

use appliance::api::{Quota, Schema, SetQuota, Usage};
use clap::Args;

use appliance::ByteSize;

/// Bounds, or none.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct QuotaArgs {
    /// Bytes of all versions and of unfinished uploads, e.g. 100G
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,
    /// Objects; old versions count, too
    #[arg(long, value_name = "NUMBER")]
    max_objects: Option<u64>,
    /// No bounds any more
    #[arg(long, conflicts_with_all = ["max_size", "max_objects"])]
    none: bool,
}

impl QuotaArgs {
    /// What is asked of the box: a bound that is not named goes.
    pub(super) fn request(&self) -> SetQuota {
        SetQuota {
            schema: Schema,
            quota: Quota {
                max_bytes: self.max_size.map(|size| size.0),
                max_objects: self.max_objects,
            },
        }
    }
}

/// A quota in words.
pub(super) fn bounds(quota: Quota) -> String {
    let bytes = quota.max_bytes.map(|bytes| ByteSize(bytes).to_string());
    let objects = quota.max_objects.map(|objects| format!("{objects} objects"));
    let all: Vec<String> = bytes.into_iter().chain(objects).collect();
    match all.is_empty() {
        true => "none".into(),
        false => all.join(", "),
    }
}

/// What is held, in words.
pub(super) fn held(usage: Option<Usage>) -> String {
    match usage {
        Some(Usage { bytes, objects }) => format!("{} in {objects} objects", ByteSize(bytes)),
        None => "not known: too few boxes answer".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_reads_as_a_person_would_say_it() {
        let said = |max_bytes, max_objects| {
            bounds(Quota {
                max_bytes,
                max_objects,
            })
        };
        assert_eq!(said(None, None), "none");
        assert_eq!(said(Some(100_000_000_000), Some(5)), "100 GB, 5 objects");
        let usage = Usage {
            bytes: 1500,
            objects: 2,
        };
        assert_eq!(held(Some(usage)), "1.5 kB in 2 objects");
    }
}
