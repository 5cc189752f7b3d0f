//! Millstream's configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::Place;
use crate::wire::KEY;

/// The ways in which it can run; `None` leaves the choice to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    reactor: Option<&'static str>,
    tick: Option<&'static str>,
}

impl Build {
    /// As people get it.
    pub(super) const fn shipped() -> Self {
        Self::of(None, None)
    }

    /// With these two settings.
    pub(super) const fn of(reactor: Option<&'static str>, tick: Option<&'static str>) -> Self {
        Self { reactor, tick }
    }

    /// The two settings, as lines of `[server]`.
    fn lines(self) -> String {
        let line = |(key, value): (&str, Option<&str>)| value.map(|value| format!("{key} = \"{value}\"\n"));
        [("reactor", self.reactor), ("tick", self.tick)].into_iter().filter_map(line).collect()
    }

    /// Whether the binary takes these settings, so that older ones can be measured too.
    pub(super) fn is_known_to(self, program: &Path) -> bool {
        let checked = || {
            let dir = TempDir::new().ok()?;
            let file = dir.path().join("check.toml");
            let upstream = "[[upstreams]]\nname = \"demo\"\nkind = \"demo\"\n";
            fs::write(&file, format!("[server]\n{}{upstream}", self.lines())).ok()?;
            let mut command = Command::new(program);
            command.args(["check", "--config"]).arg(&file);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()
        };
        checked().is_some_and(|status| status.success())
    }

    pub(super) fn config(self, addr: SocketAddr, admin: SocketAddr, place: &Place<'_>) -> String {
        let digest: Vec<String> = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = digest.concat();
        let (mut scheme, mut server_tls, mut ca_file) = ("http", String::new(), String::new());
        if let Some(certificates) = place.certificates {
            scheme = "https";
            server_tls =
                format!("[server.tls]\ncert = \"{}\"\nkey = \"{}\"\n", certificates.chain(), certificates.key());
            ca_file = format!("ca_file = \"{}\"\n", certificates.authority());
        }
        format!(
            r#"[server]
listen = ["{addr}"]
workers = {workers}
pin = false
{build}{server_tls}
[[keys]]
name = "bench"
sha256 = "{digest}"
requests_per_minute = 1000000000
streams = {permits}

[limits]
streams = {permits}

[[upstreams]]
name = "mock"
kind = "openai"
base_url = "{scheme}://{upstream}/v1"
protocol = "{protocol}"
connections_max = 100000
idle_timeout = "{idle}"
{ca_file}
[[routes]]
model = "*"
targets = ["mock"]

[admin]
listen = "{admin}"

[drain]
delay = "0s"
timeout = "1s"

[log]
access = false
"#,
            workers = place.cores,
            build = self.lines(),
            upstream = place.upstream,
            // In a soak a permit that is not given back is missed soon: streams are refused.
            permits = if place.load.total.is_some() { 4 * place.load.streams } else { 100_000 },
            // A soak waits until unused connections are closed.
            idle = if place.load.total.is_some() { "5s" } else { "55s" },
            protocol = if place.load.h2_upstream { "http2" } else { "http1" },
        )
    }
}
