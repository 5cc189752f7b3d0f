//! A million short streams, and then: does the gateway hold anything of them?

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::Wish;
use crate::outcome::Outcome;
use crate::peer::Peer;
use crate::process::pause;
use crate::run::Stage;
use crate::scenario::{Load, Scenario};

/// Longest time for all streams: 1,100 a second, which every peer does.
const ALL_SECONDS: u32 = 900;

/// How long a gateway is given to let go. Longer than Millstream keeps an idle connection to an upstream.
const SETTLE: Duration = Duration::from_secs(75);

/// Growth of resident memory that is no leak: what tables and a divided heap may still take. Of a million streams
/// it shows a loss of 8 bytes in each.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

/// What a gateway holds while nobody asks for anything.
#[derive(Debug)]
struct Held {
    files: usize,
    rss_kib: u64,
    /// Of Millstream alone: streams and connections, each by the name of its metric.
    metrics: BTreeMap<&'static str, f64>,
}

/// The gauges that must come back to nothing.
const GAUGES: &[&str] = &["millstream_streams", "millstream_streams_active", "millstream_connections"];

/// Puts each peer under the load and judges it. An error if one of them holds on to something.
pub(crate) fn run(wish: &Wish, scenario: &Scenario, peers: &[Peer]) -> Result<()> {
    let mut bad = 0;
    for peer in peers.iter().filter(|peer| **peer != Peer::Direct) {
        let verdict = soak(wish, scenario, *peer);
        let text = match &verdict {
            Ok(text) => format!("passed: {text}"),
            Err(error) => format!("FAILED: {error:#}"),
        };
        writeln!(io::stdout(), "{} {}: {text}", scenario.name, peer.name())?;
        bad += u32::from(verdict.is_err());
    }
    ensure!(bad == 0, "{bad} peers did not give everything back");
    Ok(())
}

fn soak(wish: &Wish, scenario: &Scenario, peer: Peer) -> Result<String> {
    let total = wish.streams.or(scenario.load.total).unwrap_or(0);
    let stage = Stage::set(wish, &scenario.load, peer)?;
    let start = held(&stage)?;
    // Buffers, arenas and tables grow with the first streams, and stay; only what grows on is lost.
    pass(wish, &stage, Load { total: Some(total.div_ceil(20)), ..scenario.load })?;
    let warm = settled(&stage, start.files)?;
    let outcome = pass(wish, &stage, Load { total: Some(total), ..scenario.load })?;
    let after = settled(&stage, start.files)?;
    let grown = after.rss_kib.saturating_sub(warm.rss_kib);
    ensure!(grown <= GROWTH_KIB_MAX, "memory grew by {grown} KiB, from {warm:?} to {after:?}");
    Ok(format!(
        "{} whole and {} left streams in {:.0} s; files {} -> {} -> {}, RSS {} -> {} -> {} KiB{}",
        outcome.requests,
        outcome.left.len(),
        outcome.window_seconds,
        start.files,
        warm.files,
        after.files,
        start.rss_kib,
        warm.rss_kib,
        after.rss_kib,
        if after.metrics.is_empty() { "" } else { ", and its metrics say that nothing is open" },
    ))
}

/// All streams of `load`, each of them right.
fn pass(wish: &Wish, stage: &Stage, load: Load) -> Result<Outcome> {
    let mut client = stage.client(wish, &load, ALL_SECONDS)?;
    let steady = client.line(Duration::from_secs(70))?;
    ensure!(steady == "steady", "the client said {steady}");
    let outcome: Outcome = serde_json::from_str(&client.line(Duration::from_secs(u64::from(ALL_SECONDS) + 10))?)?;
    ensure!(outcome.unclean() == 0, "streams were not right: {:?}", outcome.first_failure);
    let seen = outcome.requests + outcome.left.len() as u64;
    let wanted = load.total.unwrap_or(0);
    // Those that ended before the window was open are not counted: at most a few for each connection.
    ensure!(seen + 20 * load.streams >= wanted, "only {seen} of {wanted} streams in {ALL_SECONDS} s");
    client.tell()?;
    client.join(Duration::from_secs(10))?;
    Ok(outcome)
}

/// What is held once nothing is to be expected any more: when files and metrics are back, or time is up.
fn settled(stage: &Stage, files: usize) -> Result<Held> {
    let step = Duration::from_millis(500);
    let mut waited = Duration::ZERO;
    loop {
        let now = held(stage)?;
        let open: Vec<_> = now.metrics.iter().filter(|(_, value)| **value != 0.0).collect();
        if open.is_empty() && now.files <= files {
            return Ok(now);
        }
        if waited > SETTLE {
            bail!("after {SETTLE:?} it still holds {} files (at first {files}) and {open:?}", now.files);
        }
        pause(step);
        waited += step;
    }
}

fn held(stage: &Stage) -> Result<Held> {
    let gateway = stage.gateway.process.as_ref().context("no gateway")?;
    let metrics = stage.gateway.admin.map(gauges).transpose()?.unwrap_or_default();
    Ok(Held { files: gateway.files(), rss_kib: gateway.usage().rss_kib, metrics })
}

/// Each gauge, summed over its labels.
fn gauges(admin: SocketAddr) -> Result<BTreeMap<&'static str, f64>> {
    let mut connection = TcpStream::connect(admin)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    connection.read_to_string(&mut text)?;
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or("");
        if let Some(name) = GAUGES.iter().find(|known| **known == name) {
            *sums.entry(*name).or_insert(0.0) += value.trim().parse::<f64>().unwrap_or(f64::NAN);
        }
    }
    ensure!(sums.len() == GAUGES.len(), "only these metrics are told: {sums:?}");
    Ok(sums)
}
