//! Reads any bytes as a frame of a log and as the records inside it: refused, or exactly what would have been written.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, u64, &[u8])| {
    let (segment, offset, bytes) = input;
    storage::disk::hostile::read(segment, offset, bytes);
});
