//! End-to-end benchmark: real processes over loopback, one command.
//!
//! `cargo bench --bench relay -- --scenario paced-1000 --rounds 3 --seconds 8`
//!
//! This executable plays every part that is ours: the orchestrator, and (started by itself) the mock upstream,
//! the load client and a small launcher that pins a peer to its core. See `benches/README.md`.

mod answer;
mod certificates;
mod check;
mod client;
mod exchange;
mod frames;
mod framing;
mod histogram;
mod launch;
mod link;
mod mock;
mod outcome;
mod peer;
mod plot;
mod process;
mod raw;
mod report;
mod run;
mod scenario;
mod session;
mod soak;
mod syscalls;
mod talk;
mod threads;
mod wire;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "relay", about = "Millstream and its peers under the same streams")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    wish: Wish,
    /// Given by `cargo bench`; without it, and without a scenario, nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What shall be measured.
#[derive(clap::Args)]
struct Wish {
    /// Scenarios by name, separated by commas (see --list); the default is a short run of the main ones.
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Peers, in the order of each odd round; the even ones go the other way.
    #[arg(long, value_delimiter = ',', default_value = "direct,millstream,nginx,haproxy,envoy")]
    peers: Vec<String>,
    /// Times that each peer is measured under each load; a round goes through all of them.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Length of the steady window.
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Core of the gateway under test.
    #[arg(long, default_value_t = 0)]
    gateway_cpu: usize,
    /// Cores of it, from there on, and workers. With two cores in all the load would be on one of them.
    #[arg(long, default_value_t = 1)]
    gateway_cores: usize,
    /// Core of the mock upstream and the load client.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Counts the gateway's system calls too, in one more round for each peer.
    #[arg(long)]
    syscalls: bool,
    /// Seconds after which memory is read again, once all idle streams are closed.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    /// How many streams the million are.
    #[arg(long)]
    streams: Option<u64>,
    /// Writes every round to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The gateway to measure instead of the one built with this benchmark.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_millstream"))]
    millstream: PathBuf,
    /// Draws what JSON files hold, into this folder, instead of measuring: `--plot DIR FILE...`
    #[arg(long, value_name = "DIR", num_args = 1)]
    plot: Option<PathBuf>,
    /// The JSON files to draw.
    #[arg(requires = "plot")]
    files: Vec<PathBuf>,
    /// Names the scenarios and ends.
    #[arg(long)]
    list: bool,
}

#[derive(Subcommand)]
enum Role {
    /// The upstream (started by the orchestrator).
    #[command(hide = true)]
    Mock {
        #[arg(long)]
        certificates: Option<PathBuf>,
    },
    /// The load (started by the orchestrator).
    #[command(hide = true)]
    Client {
        #[arg(long)]
        addr: SocketAddr,
        #[arg(long)]
        plan: String,
        #[arg(long)]
        seconds: u32,
        #[arg(long)]
        certificates: Option<PathBuf>,
    },
    /// The relay of threads.
    #[command(hide = true)]
    Threads {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        to: SocketAddr,
    },
    /// The relay that knows nothing.
    #[command(hide = true)]
    Raw {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        to: SocketAddr,
    },
    /// Pins itself, raises the file limit and becomes another program.
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        cores: usize,
        #[arg(long)]
        nofile: u64,
        #[arg(last = true)]
        command: Vec<String>,
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.role {
        Some(Role::Mock { certificates }) => mock::run(certificates.as_deref()),
        Some(Role::Client { addr, plan, seconds, certificates }) => {
            client::run(addr, &serde_json::from_str(&plan)?, seconds, certificates.as_deref())
        }
        Some(Role::Threads { listen, to }) => threads::run(listen, to),
        Some(Role::Raw { listen, to }) => raw::run(listen, to),
        Some(Role::Launch { cpu, cores, nofile, command }) => launch::become_program(cpu, cores, nofile, &command),
        None if args.wish.plot.is_some() => plot::run(&args.wish.plot.unwrap_or_default(), &args.wish.files),
        None if args.wish.list => say(&scenario::list()),
        // `cargo test --benches` starts benchmarks too; measuring there would only take time.
        None if !args.bench && args.wish.scenario.is_empty() => {
            check::run()?;
            say("the instrument is in order; nothing measured: run it by `cargo bench`\n")
        }
        None => {
            check::run()?;
            run::run(&args.wish)
        }
    }
}

fn say(text: &str) -> Result<()> {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
