//! The `millstream` binary: hands the command line to [`millstream::cli`] and turns the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    millstream::cli::main()
}
