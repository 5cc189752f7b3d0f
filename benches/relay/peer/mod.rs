//! The gateways under test: which there are, whether they are installed, how they are started.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads of the parent, which serve nobody, wait for a foreign process in real time"
)]

mod envoy;
mod haproxy;
mod millstream;
mod nginx;

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::certificates::Certificates;
use crate::process::Process;
use crate::scenario::Load;

use millstream::Build;

/// How long a gateway may take until it accepts.
const START: Duration = Duration::from_secs(10);

/// What stands between client and mock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Nothing.
    Direct,
    /// The gateway of this repository, in one of its ways to run.
    Millstream(Build),
    /// nginx
    Nginx,
    /// `HAProxy`
    Haproxy,
    /// Envoy; where it matters, with HTTP/2 to the upstream.
    Envoy {
        /// Whether it speaks HTTP/2 to the upstream under every load.
        h2: bool,
    },
    /// 25 threads, each with one stream: what gateways were before they were asynchronous.
    Threads,
    /// Bytes from socket to socket: what the kernel costs.
    Raw,
}

/// Every peer by name, in the order in which they are told.
const ALL: &[(&str, Peer)] = &[
    ("direct", Peer::Direct),
    ("millstream", Peer::Millstream(Build::shipped())),
    ("millstream-notick", Peer::Millstream(Build::of(None, Some("off")))),
    ("millstream-epoll", Peer::Millstream(Build::of(Some("epoll"), Some("auto")))),
    ("millstream-epoll-notick", Peer::Millstream(Build::of(Some("epoll"), Some("off")))),
    ("millstream-uring", Peer::Millstream(Build::of(Some("io_uring"), Some("auto")))),
    ("millstream-uring-notick", Peer::Millstream(Build::of(Some("io_uring"), Some("off")))),
    ("nginx", Peer::Nginx),
    ("haproxy", Peer::Haproxy),
    ("envoy", Peer::Envoy { h2: false }),
    ("envoy-h2", Peer::Envoy { h2: true }),
    ("threads-25", Peer::Threads),
    ("raw", Peer::Raw),
];

/// Where and how a peer is started.
pub(crate) struct Place<'a> {
    /// Directory for its configuration.
    pub(crate) dir: &'a Path,
    /// The mock.
    pub(crate) upstream: SocketAddr,
    /// The first of its cores.
    pub(crate) cpu: usize,
    /// How many cores, and so workers, it has.
    pub(crate) cores: usize,
    /// Files that it may have to open.
    pub(crate) nofile: u64,
    /// The Millstream binary.
    pub(crate) millstream: &'a Path,
    /// What it will be put under.
    pub(crate) load: &'a Load,
    /// For loads over TLS.
    pub(crate) certificates: Option<&'a Certificates>,
}

/// A gateway that accepts connections.
pub(crate) struct Running {
    /// `None` in a direct run.
    pub(crate) process: Option<Process>,
    /// Where clients connect.
    pub(crate) addr: SocketAddr,
    /// Where Millstream tells its metrics.
    pub(crate) admin: Option<SocketAddr>,
}

impl Peer {
    /// The peer of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = ALL.iter().find(|(known, _)| *known == name).map(|(_, peer)| *peer);
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        found.with_context(|| format!("no peer {name}; there are {}", names.join(", ")))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(_, peer)| *peer == self).map_or("", |(name, _)| name)
    }

    /// What it is, in its own words; `None` if it is not there, or cannot be run so.
    pub(crate) fn version(self, millstream: &Path) -> Option<String> {
        let (program, flag) = match self {
            Self::Direct => return Some("no gateway".to_owned()),
            Self::Threads => return Some("a relay of 25 blocking threads, in this benchmark".to_owned()),
            Self::Raw => return Some("bytes from socket to socket over epoll, in this benchmark".to_owned()),
            Self::Millstream(build) => {
                if !build.is_known_to(millstream) {
                    return None;
                }
                (millstream.to_owned(), "--version")
            }
            Self::Nginx => (PathBuf::from("nginx"), "-v"),
            Self::Haproxy => (PathBuf::from("haproxy"), "-v"),
            Self::Envoy { .. } => (envoy_program(), "--version"),
        };
        let output = Command::new(program).arg(flag).stdin(Stdio::null()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
        // Some begin with the path by which they were started.
        let rest = line.split_once(' ').filter(|_| line.starts_with('/')).map_or(line, |(_, rest)| rest.trim());
        Some(rest.to_owned())
    }

    /// Whether it can be put under `load` at all. What it cannot is no failure of its.
    pub(crate) fn can(self, load: &Load) -> bool {
        match self {
            Self::Nginx => !load.h2_upstream,
            // Its other name stands for it.
            Self::Envoy { h2 } => h2 || !load.h2_upstream,
            // Where every stream must have begun, 25 threads cannot take part.
            Self::Threads => load.background,
            // It knows nothing of either.
            Self::Raw => !load.tls && !load.h2_upstream && load.per_connection.is_none(),
            Self::Direct | Self::Millstream(_) | Self::Haproxy => true,
        }
    }

    /// Starts it and waits until it accepts.
    pub(crate) fn start(self, place: &Place<'_>) -> Result<Running> {
        let (addr, admin) = (free_address()?, free_address()?);
        let file = place.dir.join(format!("{}.conf", self.name()));
        let path = file.to_string_lossy().into_owned();
        let mut known_admin = None;
        let (config, command) = match self {
            Self::Direct => return Ok(Running { process: None, addr: place.upstream, admin: None }),
            Self::Millstream(build) => {
                known_admin = Some(admin);
                let program = place.millstream.to_string_lossy().into_owned();
                (build.config(addr, admin, place), vec![program, "--config".to_owned(), path])
            }
            Self::Nginx => {
                let prefix = place.dir.to_string_lossy().into_owned();
                let command = ["nginx", "-p", &prefix, "-c", &path, "-e", "stderr"];
                (nginx::config(addr, place), command.map(str::to_owned).to_vec())
            }
            Self::Haproxy => {
                let command = ["haproxy", "-db", "-f", &path];
                (haproxy::config(addr, place), command.map(str::to_owned).to_vec())
            }
            Self::Envoy { h2 } => {
                // It knows its configuration's language by the name.
                let file = place.dir.join("envoy.yaml").to_string_lossy().into_owned();
                let program = envoy_program().to_string_lossy().into_owned();
                let cores = place.cores.to_string();
                let command =
                    [&program, "-c", &file, "--concurrency", &cores, "-l", "critical", "--disable-hot-restart"];
                fs::write(&file, envoy::config(addr, h2, place))?;
                (String::new(), command.map(str::to_owned).to_vec())
            }
            Self::Threads | Self::Raw => {
                let own = env::current_exe()?.to_string_lossy().into_owned();
                let role = if self == Self::Raw { "raw" } else { "threads" };
                let command =
                    [own.as_str(), role, "--listen", &addr.to_string(), "--to", &place.upstream.to_string()];
                (String::new(), command.map(str::to_owned).to_vec())
            }
        };
        fs::write(&file, config)?;
        let mut process = Process::start(self.name(), (place.cpu, place.cores), place.nofile, &command)?;
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err() {
            process.check()?;
            if Instant::now() > deadline {
                bail!("{} does not accept connections", self.name());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Running { process: Some(process), addr, admin: known_admin })
    }
}

/// `$ENVOY`, or what `just envoy` installed, or what is on the path.
fn envoy_program() -> PathBuf {
    if let Some(named) = env::var_os("ENVOY") {
        return PathBuf::from(named);
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/envoy/bin/envoy");
    if installed.exists() { installed } else { PathBuf::from("envoy") }
}

/// A port that is free now. Somebody else may take it before the peer does; then the peer says so and ends.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
