//! The `warren` program.

use std::process::ExitCode;

// The system allocator of a static (musl) build locks on every call and returns memory late;
// mimalloc is fast in both builds and keeps an idle node small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    warren::cli::run()
}
