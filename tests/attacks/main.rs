//! Attacks on the real binary, over raw sockets. What each has to show is in `docs/faults.md`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::float_cmp,
    clippy::format_collect,
    clippy::format_push_string,
    unreachable_pub,
    reason = "tests wait on sockets in real time, on threads of their own"
)]

#[path = "../support/mod.rs"]
mod support;

mod frames;
mod http1;
mod recorder;

mod bodies;
mod empties;
mod floods;
mod heads;
mod http2;
mod json;
mod logs;
mod paths;
mod slow;
mod smuggling;
mod table;
mod windows;

use recorder::Recorder;
use support::Gateway;

/// The client key that all gateways here accept.
const KEY: &str = "sk-attacks-0123456789abcdef";

/// A gateway in front of `upstream`, with one key. `server` and `rest` are pieces of its configuration.
fn gateway(upstream: &Recorder, server: &str, rest: &str) -> Gateway {
    let config = format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = 1
pin = false
{server}
[admin]
listen = "127.0.0.1:0"
[[keys]]
name = "tester"
key_env = "CLIENT_KEY"
[[upstreams]]
name = "recorder"
base_url = "http://{}/v1"
key_env = "UPSTREAM_KEY"
{rest}
"#,
        upstream.address
    );
    Gateway::start_with(&config, &[("CLIENT_KEY", KEY), ("UPSTREAM_KEY", recorder::KEY)])
}

/// Resident memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
