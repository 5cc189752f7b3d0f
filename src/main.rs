//! The `millstream` binary: hands the command line to [`millstream::cli`] and turns the result into an exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    millstream::cli::main()
}
