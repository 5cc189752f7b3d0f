//! How many instructions an event and a request cost the gateway: a figure that hardly depends on the machine, so
//! that a change that makes the path longer is seen where nothing else is quiet enough to show it.
//!
//! `cargo bench --bench instructions`
//!
//! The real binary runs under `valgrind --tool=callgrind`, once with a number of events and once with twice as
//! many. The difference is what the events cost, whatever starting and ending does.

mod gateway;
mod lockstep;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

use gateway::Gateway;

/// Events, or requests, of the shorter run. Enough that a timer that fires now and then is lost in them.
const FEW: u64 = 1000;

/// What may be more than expected before it is a failure: compilers and dependencies move figures a little.
const TOLERANCE: f64 = 0.10;

#[derive(Parser)]
#[command(name = "instructions", about = "Instructions of the gateway per relayed event and per request")]
struct Args {
    /// Given by `cargo bench`; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// The gateway to measure instead of the one built with this benchmark.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_millstream"))]
    millstream: PathBuf,
    /// Writes what was found to the file with the expectations.
    #[arg(long)]
    record: bool,
}

/// Instructions in user space, of all threads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    /// Of one event of a stream, HTTP/1.1 on both sides, when events come one at a time.
    event: u64,
    /// The same, of an event that comes in Anthropic's dialect and goes on in OpenAI's.
    translated: u64,
    /// Of one request that is answered whole, on connections that are open.
    request: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    // `cargo test --benches` starts benchmarks too.
    if !args.bench {
        return Ok(writeln!(out, "nothing measured: run it by `cargo bench`")?);
    }
    let found = Figures {
        event: each(&args.millstream, lockstep::events)?,
        translated: each(&args.millstream, lockstep::translated)?,
        request: each(&args.millstream, lockstep::requests)?,
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/expected.toml");
    if args.record {
        fs::write(&file, format!("{HEAD}{}", toml::to_string(&found)?))?;
    }
    let text = fs::read_to_string(&file).context("read the expectations; --record writes them")?;
    let expected: Figures = toml::from_str(&text)?;
    let rows = [
        ("event", found.event, expected.event),
        ("translated", found.translated, expected.translated),
        ("request", found.request, expected.request),
    ];
    let mut longer = Vec::new();
    for (name, found, expected) in rows {
        let change = found as f64 / expected as f64 - 1.0;
        writeln!(out, "{name:<10} {found:>8} instructions, expected {expected:>8} ({:+.1} %)", change * 100.0)?;
        if change > TOLERANCE {
            longer.push(name);
        } else if change < -TOLERANCE {
            writeln!(out, "           less by much: keep it so with --record")?;
        }
    }
    if !cfg!(target_arch = "x86_64") {
        return Ok(writeln!(out, "not judged: the expectations are those of x86-64")?);
    }
    let remedy = "find out why, or say in the commit why it is worth it and use --record";
    ensure!(longer.is_empty(), "more instructions than expected for each {}: {remedy}", longer.join(" and each "));
    Ok(())
}

const HEAD: &str =
    "# Instructions of the release build on x86-64, found by `cargo bench --bench instructions -- --record`.
# More than a tenth above is a failure.
";

/// Instructions of one of what `load` does a number of times.
fn each(program: &Path, load: fn(&Gateway, u64) -> Result<()>) -> Result<u64> {
    let run = |count: u64| {
        let gateway = Gateway::start(program)?;
        load(&gateway, count)?;
        gateway.end()
    };
    let (few, many) = (run(FEW)?, run(2 * FEW)?);
    Ok(many.saturating_sub(few) / FEW)
}
