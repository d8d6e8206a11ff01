//! The `warren` program.

use std::process::ExitCode;

use rustix::thread::disable_transparent_huge_pages;

// The system allocator of a static (musl) build locks on every call and returns memory late;
// mimalloc is fast in both builds and keeps an idle node small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which each is resident whole for a few objects in it: a third of an idle
    // node's memory. A kernel that knows no huge pages refuses, and there is nothing to disable.
    let _ = disable_transparent_huge_pages(true);
    warren::cli::run()
}
