//! The `tollgate` binary: everything is in the library.

use std::process::ExitCode;

/// A review is mostly small allocations; the C library's allocator would take a quarter of its time, and musl's, in the image, more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tollgate::cli::main()
}
