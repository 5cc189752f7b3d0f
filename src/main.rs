//! The `millstream` binary: hands the command line to [`millstream::cli`] and turns the result into an exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, which it looks for under this name; `MALLOC_CONF` in the environment goes before them.
///
/// Of the sizes 2 and 4 KiB, of which connections hold pieces, eight pages stand together. jemalloc has a record for each
/// run of pages and keeps it for ever: with runs of one page (`MALLOC_CONF='slab_sizes:2048-2048:1|4096-4096:1'`) 17.7 MiB
/// stay a minute after the benchmark's `tls-idle-9500`, and 15.0 with these.
#[expect(
    unsafe_code,
    reason = "the name of a static, which jemalloc declares as what this is: a pointer to a C string"
)]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 35] = b"slab_sizes:2048-2048:8|4096-4096:8\0";

fn main() -> ExitCode {
    millstream::cli::main()
}
