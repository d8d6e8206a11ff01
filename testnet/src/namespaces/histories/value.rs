//! Makes the bytes that a value stands for, and tells from bytes which value they are.

use crate::client::{Content, scramble};

/// Digits that each body begins with: which value it is.
const DIGITS: usize = 16;

/// Which value a key holds: no two writes of a run write the same.
pub(super) type Value = u64;

/// The bytes of a value: mostly few, as a row carries them itself; one in ten has blocks.
pub(super) fn body(value: Value) -> Vec<u8> {
    let dice = scramble(value ^ 0x5eed);
    let length = match dice % 10 {
        0..6 => dice / 10 % 1000,
        6..9 => dice / 10 % 4000,
        _ => 5000 + dice / 10 % 60_000,
    };
    let mut bytes = format!("{value:0DIGITS$x}").into_bytes();
    let content = Content {
        seed: value,
        len: length,
    };
    content.for_each_chunk(|chunk| bytes.extend_from_slice(chunk));
    bytes
}

/// The value whose bytes these are, every one of them.
pub(super) fn value_of(bytes: &[u8]) -> Option<Value> {
    let digits = std::str::from_utf8(bytes.get(..DIGITS)?).ok()?;
    let value = u64::from_str_radix(digits, 16).ok()?;
    (body(value) == bytes).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_by_all_of_its_bytes() {
        for value in [0, 1, 77, 1 << 40] {
            let mut bytes = body(value);
            assert_eq!(value_of(&bytes), Some(value));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_eq!(value_of(&bytes), None, "{value}");
            assert_eq!(value_of(&bytes[..last]), None, "{value}");
        }
        assert_eq!(value_of(b""), None);
    }
}
