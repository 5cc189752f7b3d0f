//! The gateways under test, each configured for streams as its documentation advises.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads of the parent, which serve nobody, wait for a foreign process in real time"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::getuid;
use sha2::{Digest, Sha256};

use crate::process::Process;
use crate::wire::KEY;

/// How long a gateway may take until it accepts.
const START: Duration = Duration::from_secs(10);

/// What stands between client and mock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Nothing.
    Direct,
    /// The gateway of this repository.
    Millstream,
    /// nginx
    Nginx,
    /// `HAProxy`
    Haproxy,
}

/// Where and how a peer is started.
pub(crate) struct Place<'a> {
    /// Directory for its configuration.
    pub(crate) dir: &'a Path,
    /// The mock.
    pub(crate) upstream: SocketAddr,
    /// Its core.
    pub(crate) cpu: usize,
    /// Files that it may have to open.
    pub(crate) nofile: u64,
    /// The Millstream binary.
    pub(crate) millstream: &'a Path,
}

impl Peer {
    /// The peer of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let all = [Self::Direct, Self::Millstream, Self::Nginx, Self::Haproxy];
        let found = all.into_iter().find(|peer| peer.name() == name);
        found.with_context(|| format!("no peer {name}; there are direct, millstream, nginx, haproxy"))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Millstream => "millstream",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// What it is, in its own words; `None` if it is not there.
    pub(crate) fn version(self, millstream: &Path) -> Option<String> {
        let (program, flag) = match self {
            Self::Direct => return Some("no gateway".to_owned()),
            Self::Millstream => (millstream.to_owned(), "--version"),
            Self::Nginx => (PathBuf::from("nginx"), "-v"),
            Self::Haproxy => (PathBuf::from("haproxy"), "-v"),
        };
        let output = Command::new(program).arg(flag).stdin(Stdio::null()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&said).lines().next().unwrap_or("").to_owned())
    }

    /// Starts it and waits until it accepts; gives its address.
    pub(crate) fn start(self, place: &Place<'_>) -> Result<(Option<Process>, SocketAddr)> {
        let addr = free_address()?;
        let file = place.dir.join(format!("{}.conf", self.name()));
        let path = file.to_string_lossy().into_owned();
        let (config, command) = match self {
            Self::Direct => return Ok((None, place.upstream)),
            Self::Millstream => {
                let program = place.millstream.to_string_lossy().into_owned();
                (millstream_config(addr, place)?, vec![program, "--config".to_owned(), path])
            }
            Self::Nginx => {
                let prefix = place.dir.to_string_lossy().into_owned();
                let command = ["nginx", "-p", &prefix, "-c", &path, "-e", "stderr"];
                (nginx_config(addr, place), command.map(str::to_owned).to_vec())
            }
            Self::Haproxy => {
                let command = ["haproxy", "-db", "-f", &path];
                (haproxy_config(addr, place), command.map(str::to_owned).to_vec())
            }
        };
        fs::write(&file, config)?;
        let mut process = Process::start(self.name(), place.cpu, place.nofile, &command)?;
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err() {
            process.check()?;
            if Instant::now() > deadline {
                bail!("{} does not accept connections", self.name());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok((Some(process), addr))
    }
}

/// A port that is free now. Somebody else may take it before the peer does; then the peer says so and ends.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn millstream_config(addr: SocketAddr, place: &Place<'_>) -> Result<String> {
    let digest: Vec<String> = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = digest.concat();
    Ok(format!(
        r#"[server]
listen = ["{addr}"]
workers = 1
pin = false

[[keys]]
name = "bench"
sha256 = "{digest}"
requests_per_minute = 1000000000
streams = 100000

[limits]
streams = 100000

[[upstreams]]
name = "mock"
kind = "openai"
base_url = "http://{}/v1"
connections_max = 100000

[[routes]]
model = "*"
targets = ["mock"]

[admin]
listen = "{}"

[log]
access = false
"#,
        place.upstream,
        free_address()?,
    ))
}

fn nginx_config(addr: SocketAddr, place: &Place<'_>) -> String {
    // Workers of a root master would drop to a user who may not read the directory.
    let user = if getuid().is_root() { "user root;" } else { "" };
    let mask = format!("1{}", "0".repeat(place.cpu));
    let dir = place.dir.display();
    format!(
        "daemon off; {user} worker_processes 1; worker_cpu_affinity {mask}; worker_rlimit_nofile {nofile};
pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections {nofile}; }}
http {{
  access_log off; keepalive_timeout 300s; keepalive_requests 1000000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream mock {{ server {upstream}; keepalive 16384; keepalive_requests 1000000000; }}
  server {{
    listen {addr} backlog=4096;
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_buffering off; proxy_read_timeout 300s;
    }}
  }}
}}
",
        nofile = place.nofile,
        upstream = place.upstream,
    )
}

fn haproxy_config(addr: SocketAddr, place: &Place<'_>) -> String {
    format!(
        "global
  nbthread 1
  tune.pool-low-fd-ratio 90
  tune.pool-high-fd-ratio 95
  maxconn {connections}
  ulimit-n {nofile}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  option http-keep-alive
  option abortonclose
  option http-no-delay
  http-reuse always
frontend in
  bind {addr} backlog 4096
  default_backend mock
backend mock
  server mock {upstream} pool-max-conn -1
",
        connections = place.nofile / 2,
        nofile = place.nofile + 256,
        upstream = place.upstream,
    )
}
