//! Gives bytes that nobody wrote to every decoder of the disk's logs: what fuzzing and property tests call.
//!
//! A checksum keeps random bytes from everything behind it. So each decoder meets its input twice: as it is, and with
//! the checksum put right, as somebody who can write to the device would.

use super::frame::{FrameHeader, Position};
use super::{blocks, frame, rows};

/// Reads `bytes` as a frame found at this place, and behind their first byte, taken for a kind, as records of rows and
/// of blocks.
///
/// # Panics
/// A decoder took what it would not have written.
pub fn read(segment: u32, offset: u64, bytes: &[u8]) {
    let position = Position { segment, offset };
    for bytes in [Some(bytes.to_vec()), frame::forge(bytes, position)]
        .iter()
        .flatten()
    {
        if let Ok(header) = FrameHeader::decode(bytes, position) {
            assert!(bytes.starts_with(&header.encode(position)), "{header:?}");
            assert!(header.durable_lsn < header.lsn, "{header:?}");
        }
    }
    if let Some((kind, body)) = bytes.split_first() {
        rows::read_hostile(body);
        blocks::read_hostile(*kind, body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_bytes_of_a_device_make_a_decoder_panic_or_take_what_was_not_written(
            segment: u32, offset: u64, bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            read(segment, offset, &bytes);
        }

        #[test]
        fn nor_do_bytes_that_look_like_records(
            kind in 14_u8..24,
            // Mostly zeros, so that lengths are small enough to be believed.
            body in proptest::collection::vec(prop_oneof![3 => Just(0), 1 => 0_u8..40, 1 => any::<u8>()], 0..300),
        ) {
            read(1, 0, &[&[kind], &body[..]].concat());
        }
    }
}
