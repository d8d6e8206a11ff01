//! Compresses the 64 KiB frames of a block with zstd level 1, where it is worth it.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

/// Bytes of content in a frame; the last one of a block may be shorter.
pub(super) const FRAME_BYTES: usize = 64 * 1024;
const LEVEL: i32 = 1;

thread_local! {
    // A zstd context takes longer to set up than a frame takes to compress.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses one frame into the back of `into`; `None`, and nothing added, unless that saves 5 %.
pub(super) fn compress(frame: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    let most = frame.len() - frame.len() / 20;
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Compressor::new(LEVEL).ok();
        }
        let start = into.len();
        into.resize(start + most, 0);
        // A result that does not fit is one that does not save enough.
        let compressed = slot.as_mut()?.compress_to_buffer(frame, &mut into[start..]).ok();
        into.truncate(start + compressed.unwrap_or(0));
        compressed
    })
}

/// Decompresses one frame of exactly `bytes` bytes.
pub(super) fn decompress(compressed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        let frame = slot.as_mut()?.decompress(compressed, bytes).ok()?;
        (frame.len() == bytes).then_some(frame)
    })
}

/// Whether a block is worth compressing, judged by its first and middle frames: most large files are compressed already,
/// and finding that out for every frame would halve the speed of a PUT.
pub(super) fn is_promising(content: &[u8]) -> bool {
    let middle = content.len() / 2 / FRAME_BYTES * FRAME_BYTES;
    let mut scratch = Vec::new();
    [0, middle].into_iter().any(|start| {
        let frame = &content[start..content.len().min(start + FRAME_BYTES)];
        scratch.clear();
        compress(frame, &mut scratch).is_some()
    })
}
