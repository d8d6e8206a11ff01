//! Amounts of bytes as people write and read them.

use std::fmt;
use std::str::FromStr;

/// An amount of bytes. Written like `500G`, `1.5TB` (powers of 1000) or `64GiB` (powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Why a text is no amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write it like 500G, 1.5TB or 64GiB")]
pub struct InvalidSize(String);

impl FromStr for ByteSize {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        parse(text).map(Self).ok_or_else(|| InvalidSize(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) if !letter.is_empty() => (letter, 1024_u64),
        _ => (unit.strip_suffix('b').unwrap_or(&unit), 1000),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let factor = base.pow(power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // Three decimals are more than anybody writes, and keep the arithmetic exact.
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let thousandths = fraction.parse::<u64>().ok()? * 10_u64.pow(3 - u32::try_from(fraction.len()).ok()?);
    // There is no part of a byte; of larger units, whole bytes are what anybody means.
    if power == 0 && thousandths != 0 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(factor * thousandths / 1000)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        // Tenths of the unit, so that rounding 999.96 up moves on to the next unit.
        let (mut tenths, mut unit) = ((u128::from(self.0) + 50) / 100, 0);
        while tenths >= 10_000 && unit + 1 < UNITS.len() {
            (tenths, unit) = ((tenths + 500) / 1000, unit + 1);
        }
        if tenths < 100 && tenths % 10 != 0 {
            write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        } else {
            write!(f, "{} {}", (tenths + 5) / 10, UNITS[unit])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1.5KiB", 1536),
            ("0.001MiB", 1048),
            ("500G", 500_000_000_000),
            ("500 GB", 500_000_000_000),
            ("1.5tb", 1_500_000_000_000),
            ("64GiB", 64 << 30),
            ("1k", 1000),
            ("17b", 17),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "G",
            "1.G",
            ".5G",
            "-1",
            "5X",
            "1.2.3G",
            "1.2345G",
            "ib",
            "99999999P",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_few_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (2_100_000_000, "2.1 GB"),
            (999_960, "1 MB"),
            (212_400_000_000, "212 GB"),
            (1_800_000_000_000, "1.8 TB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_size_of_any_text_never_panics(text in ".{0,24}") {
            let _ = text.parse::<ByteSize>();
        }

        #[test]
        fn a_shown_size_reads_back_within_its_rounding(bytes: u64) {
            if let Ok(ByteSize(read)) = ByteSize(bytes).to_string().parse() {
                prop_assert!(read.abs_diff(bytes) <= bytes / 15 + 1);
            }
        }
    }
}
