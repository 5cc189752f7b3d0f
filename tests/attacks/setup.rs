//! What all attacks have in common.

use crate::recorder::{self, Recorder};
use crate::support::Gateway;

/// The client key that all gateways here accept.
pub const KEY: &str = "sk-attacks-0123456789abcdef";

/// A gateway in front of `upstream`, with one key. `server` and `rest` are pieces of its configuration.
pub fn gateway(upstream: &Recorder, server: &str, rest: &str) -> Gateway {
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
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
