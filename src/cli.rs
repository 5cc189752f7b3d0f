//! The command line. The only room that prints.

use std::process::ExitCode;

/// Runs the command line to its end.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
