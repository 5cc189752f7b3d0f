//! Rounds: every peer under every load, in turns, one at a time.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use tempfile::TempDir;

use crate::Wish;
use crate::outcome::Outcome;
use crate::peer::{Peer, Place};
use crate::process::{Process, Usage, core_us};
use crate::report;
use crate::scenario::{Scenario, choose};

/// What is allowed beside the window: opening, first events, slow starts.
const AROUND: Duration = Duration::from_secs(70);

/// One peer, one load, one time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// The load.
    pub(crate) scenario: String,
    /// The peer.
    pub(crate) peer: &'static str,
    /// Number of the round, from 1.
    pub(crate) number: u32,
    /// What the client saw.
    pub(crate) outcome: Outcome,
    /// CPU of the gateway for each event or answer, in microseconds.
    pub(crate) cpu_us_per_unit: Option<f64>,
    /// Share of its core that the gateway used.
    pub(crate) gateway_busy: Option<f64>,
    /// Share of the gateway's core that went to processes which are no part of the benchmark.
    pub(crate) others_busy: f64,
    /// Share of their core that mock and client used.
    pub(crate) load_busy: f64,
    /// Memory of the gateway before the first stream.
    pub(crate) rss_idle_kib: Option<u64>,
    /// Its memory at the end of the window, streams open.
    pub(crate) rss_kib: Option<u64>,
    /// What each stream added to it.
    pub(crate) kib_per_stream: Option<f64>,
}

/// Measures what is wished for and prints it.
pub(crate) fn run(wish: &Wish) -> Result<()> {
    let scenarios = choose(&wish.scenario).map_err(|why| anyhow!(why))?;
    let mut peers = Vec::new();
    let mut out = io::stdout();
    for name in &wish.peers {
        let peer = Peer::named(name)?;
        match peer.version(&wish.millstream) {
            Some(version) => {
                writeln!(out, "{name}: {version}")?;
                peers.push(peer);
            }
            None => writeln!(out, "{name}: not installed, skipped")?,
        }
    }
    let mut rounds = Vec::new();
    for scenario in &scenarios {
        let first = rounds.len();
        for number in 1..=wish.rounds {
            let mut left = Vec::new();
            for peer in peers.drain(..) {
                match measure(wish, scenario, peer, number) {
                    Ok(round) => {
                        writeln!(out, "{}", report::line(&round))?;
                        rounds.push(round);
                        left.push(peer);
                    }
                    // A peer that cannot serve one load may still serve the next; it is told and not repeated.
                    Err(error) => writeln!(out, "{} {} {number}: FAILED: {error:#}", scenario.name, peer.name())?,
                }
            }
            peers = left;
        }
        writeln!(out, "\n{}", report::table(scenario, rounds.get(first..).unwrap_or(&[])))?;
        peers = restore(wish)?;
    }
    if let Some(path) = &wish.json {
        fs::write(path, serde_json::to_vec_pretty(&rounds)?).context("write the JSON file")?;
    }
    Ok(())
}

/// The peers that are there, again in full for the next load.
fn restore(wish: &Wish) -> Result<Vec<Peer>> {
    let peers: Vec<Peer> = wish.peers.iter().map(|name| Peer::named(name)).collect::<Result<_>>()?;
    Ok(peers.into_iter().filter(|peer| peer.version(&wish.millstream).is_some()).collect())
}

/// Starts everything, measures one window, ends everything.
fn measure(wish: &Wish, scenario: &Scenario, peer: Peer, number: u32) -> Result<Round> {
    let dir = TempDir::new()?;
    let nofile = scenario.nofile();
    let mock = Process::role("mock", wish.load_cpu, nofile, &["mock"])?;
    let upstream = mock.line(Duration::from_secs(10))?.parse()?;
    let place = Place { dir: dir.path(), upstream, cpu: wish.gateway_cpu, nofile, millstream: &wish.millstream };
    let (gateway, addr) = peer.start(&place)?;
    let usage = || gateway.as_ref().map(Process::usage);
    let idle = usage();

    let (addr, plan, seconds) = (addr.to_string(), serde_json::to_string(scenario)?, wish.seconds.to_string());
    let arguments = ["client", "--addr", &addr, "--plan", &plan, "--seconds", &seconds];
    let mut client = Process::role("client", wish.load_cpu, nofile, &arguments)?;
    let steady = client.line(AROUND)?;
    ensure!(steady == "steady", "the client said {steady}");
    let load = || mock.usage().cpu_us + client.usage().cpu_us;
    let (before, load_before, core_before) = (usage(), load(), core_us(wish.gateway_cpu));
    let said = client.line(Duration::from_secs(u64::from(wish.seconds)) + AROUND)?;
    let (after, load_after, core_after) = (usage(), load(), core_us(wish.gateway_cpu));
    client.tell()?;
    let outcome: Outcome = serde_json::from_str(&said)?;

    let window_us = outcome.window_seconds * 1e6;
    let cpu = after.zip(before).map(|(after, before)| after.cpu_us.saturating_sub(before.cpu_us) as f64);
    let grown = |now: Usage, idle: Usage| now.rss_kib.saturating_sub(idle.rss_kib) as f64;
    Ok(Round {
        scenario: scenario.name.clone(),
        peer: peer.name(),
        number,
        cpu_us_per_unit: cpu.filter(|_| outcome.units > 0).map(|cpu| cpu / outcome.units as f64),
        gateway_busy: cpu.map(|cpu| cpu / window_us),
        others_busy: (core_after.saturating_sub(core_before) as f64 - cpu.unwrap_or(0.0)).max(0.0) / window_us,
        load_busy: load_after.saturating_sub(load_before) as f64 / window_us,
        rss_idle_kib: idle.map(|usage| usage.rss_kib),
        rss_kib: after.map(|usage| usage.rss_kib),
        kib_per_stream: after.zip(idle).map(|(now, idle)| grown(now, idle) / scenario.streams.max(1) as f64),
        outcome,
    })
}
