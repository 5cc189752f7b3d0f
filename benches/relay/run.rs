//! Rounds: in each of them every load, and under it every peer, in turns, one at a time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::Wish;
use crate::certificates::Certificates;
use crate::histogram::Histogram;
use crate::mock::Seen;
use crate::outcome::Outcome;
use crate::peer::{Peer, Place, Running};
use crate::process::{Process, Usage, cores_us, pause};
use crate::report;
use crate::scenario::{Kind, Load, Scenario, choose};
use crate::soak;
use crate::syscalls::{Counting, Tracer};

/// What is allowed beside the window: opening, first events, slow starts.
const AROUND: Duration = Duration::from_secs(70);

/// Shortest window in which a probe can be found to be late.
const BACKGROUND_SECONDS: u32 = 12;

/// How long the mock is given to see the last streams end that clients left.
const LAST_ABORT: Duration = Duration::from_secs(2);

/// One peer, one load, one time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Round {
    /// The load.
    pub(crate) scenario: String,
    /// Its number of streams, for drawing.
    pub(crate) streams: u64,
    /// Events that each of them shall have in a second, for drawing.
    pub(crate) rate: Option<f64>,
    /// The peer.
    pub(crate) peer: String,
    /// Number of the round, from 1.
    pub(crate) number: u32,
    /// What the client saw.
    pub(crate) outcome: Outcome,
    /// CPU of the gateway for each event or answer, in microseconds.
    pub(crate) cpu_us_per_unit: Option<f64>,
    /// Share of its cores that the gateway used.
    pub(crate) gateway_busy: Option<f64>,
    /// Share of the gateway's cores that went to processes which are no part of the benchmark.
    pub(crate) others_busy: f64,
    /// Share of their core that mock and client used.
    pub(crate) load_busy: f64,
    /// Memory of the gateway before the first stream.
    pub(crate) rss_idle_kib: Option<u64>,
    /// Its memory at the end of the window, streams open.
    pub(crate) rss_kib: Option<u64>,
    /// Its memory some time after all streams were closed.
    pub(crate) rss_after_kib: Option<u64>,
    /// What each stream added to it.
    pub(crate) kib_per_stream: Option<f64>,
    /// From a client's leaving to the upstream's seeing it.
    pub(crate) gone_p50_us: Option<f64>,
    /// The same.
    pub(crate) gone_p99_us: Option<f64>,
    /// Streams that were left and of whose end the upstream saw nothing.
    pub(crate) gone_unseen: Option<u64>,
    /// System calls for each event or answer, by name; in a round of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) calls: BTreeMap<String, f64>,
}

/// One load, and all its rounds.
struct Series {
    scenario: Scenario,
    /// Those that can serve it and have not failed.
    peers: Vec<Peer>,
    rounds: Vec<Round>,
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
            None => writeln!(out, "{name}: not there, or not able to be run so; skipped")?,
        }
    }
    let tracer = if wish.syscalls { Tracer::installed() } else { None };
    if wish.syscalls {
        writeln!(out, "system calls: {}", tracer.map_or("neither perf nor strace works here", Tracer::name))?;
    }
    let (mut all, mut soaks) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        let (able, unable): (Vec<Peer>, Vec<Peer>) =
            peers.iter().copied().partition(|peer| peer.can(&scenario.load));
        for peer in unable {
            writeln!(out, "{}: not for {}, left out", scenario.name, peer.name())?;
        }
        let place = if scenario.load.total.is_some() { &mut soaks } else { &mut all };
        place.push(Series { scenario, peers: able, rounds: Vec::new() });
    }
    measure_all(wish, &mut all, tracer)?;
    for series in &all {
        let yardstick = all.iter().find(|other| series.scenario.yardstick == Some(&other.scenario.name));
        let beside = yardstick.map_or(&[][..], |yardstick| &yardstick.rounds);
        writeln!(out, "\n{}", report::table(&series.scenario, &series.rounds, beside))?;
    }
    // Last, because one that fails ends the run.
    soaks.iter().try_for_each(|series| soak::run(wish, &series.scenario, &series.peers))
}

/// All rounds of all loads.
fn measure_all(wish: &Wish, all: &mut [Series], tracer: Option<Tracer>) -> Result<()> {
    // Rounds are outermost: the machine changes its speed, and loads that are compared shall see the same one.
    for number in 1..=wish.rounds {
        for at in 0..all.len() {
            all[at].measure(wish, number)?;
            save(wish, all)?;
        }
    }
    // Apart, because counting costs the gateway time.
    if let Some(tracer) = tracer {
        for at in 0..all.len() {
            all[at].count_calls(wish, tracer)?;
            save(wish, all)?;
        }
    }
    Ok(())
}

/// Writes the JSON file; after each load, so that an interruption costs one load and not a night.
fn save(wish: &Wish, all: &[Series]) -> Result<()> {
    let Some(path) = &wish.json else {
        return Ok(());
    };
    let rounds: Vec<&Round> = all.iter().flat_map(|series| &series.rounds).collect();
    fs::write(path, serde_json::to_vec_pretty(&rounds)?).context("write the JSON file")
}

impl Series {
    /// One round: every peer once.
    fn measure(&mut self, wish: &Wish, number: u32) -> Result<()> {
        let (mut turns, mut out) = (self.peers.clone(), io::stdout());
        // What one peer leaves behind in the kernel is found by the next: so each has others before it in turn.
        if number.is_multiple_of(2) {
            turns.reverse();
        }
        for peer in turns {
            match measure(wish, &self.scenario, peer, number, None) {
                Ok(round) => {
                    writeln!(out, "{}", report::line(&round))?;
                    self.rounds.push(round);
                }
                // A peer that cannot serve one load may still serve the next; it is told and not repeated.
                Err(error) => {
                    writeln!(out, "{} {} {number}: FAILED: {error:#}", self.scenario.name, peer.name())?;
                    self.peers.retain(|other| *other != peer);
                }
            }
        }
        Ok(())
    }

    /// One more round, for the system calls of every peer.
    fn count_calls(&mut self, wish: &Wish, tracer: Tracer) -> Result<()> {
        let mut out = io::stdout();
        for peer in self.peers.iter().filter(|peer| **peer != Peer::Direct) {
            match measure(wish, &self.scenario, *peer, 0, Some(tracer)) {
                Ok(counted) => {
                    writeln!(out, "{}", report::calls_line(&counted))?;
                    self.rounds.iter_mut().filter(|round| round.peer == counted.peer).for_each(|round| {
                        round.calls.clone_from(&counted.calls);
                    });
                }
                Err(error) => {
                    writeln!(out, "{} {}: calls not counted: {error:#}", self.scenario.name, peer.name())?;
                }
            }
        }
        Ok(())
    }
}

/// A mock and a gateway that run, and the folder with their files.
pub(crate) struct Stage {
    /// The gateway, which ends first.
    pub(crate) gateway: Running,
    /// The mock.
    pub(crate) mock: Process,
    certificates: Option<Certificates>,
    /// Goes last, when nobody writes into it any more.
    dir: TempDir,
}

impl Stage {
    /// Starts both.
    pub(crate) fn set(wish: &Wish, load: &Load, peer: Peer) -> Result<Self> {
        let dir = TempDir::new()?;
        let certificates = load.tls.then(|| Certificates::make(dir.path())).transpose()?;
        let folder = dir.path().to_string_lossy().into_owned();
        let secure = ["mock", "--certificates", &folder];
        let arguments = if certificates.is_some() { &secure[..] } else { &secure[..1] };
        let nofile = load.nofile();
        let mock = Process::role("mock", wish.load_cpu, nofile, arguments)?;
        let gateway = peer.start(&Place {
            dir: dir.path(),
            upstream: mock.line(Duration::from_secs(10))?.parse()?,
            cpu: wish.gateway_cpu,
            cores: wish.gateway_cores,
            nofile,
            millstream: &wish.millstream,
            load,
            certificates: certificates.as_ref(),
        })?;
        Ok(Self { gateway, mock, certificates, dir })
    }

    /// Starts the client.
    pub(crate) fn client(&self, wish: &Wish, load: &Load, seconds: u32) -> Result<Process> {
        let (addr, plan) = (self.gateway.addr.to_string(), serde_json::to_string(load)?);
        let (seconds, folder) = (seconds.to_string(), self.dir.path().to_string_lossy().into_owned());
        let mut arguments = vec!["client", "--addr", &addr, "--plan", &plan, "--seconds", &seconds];
        if self.certificates.is_some() {
            arguments.extend(["--certificates", &folder]);
        }
        Process::role("client", wish.load_cpu, load.nofile(), &arguments)
    }

    /// CPU and memory of the gateway, if there is one.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.gateway.process.as_ref().map(Process::usage)
    }
}

/// Starts everything, measures one window, ends everything.
fn measure(wish: &Wish, scenario: &Scenario, peer: Peer, number: u32, tracer: Option<Tracer>) -> Result<Round> {
    let load = &scenario.load;
    let seconds = if load.background { wish.seconds.max(BACKGROUND_SECONDS) } else { wish.seconds };
    let mut stage = Stage::set(wish, load, peer)?;
    let idle = stage.usage();
    let mut client = stage.client(wish, load, seconds)?;
    let steady = client.line(AROUND)?;
    ensure!(steady == "steady", "the client said {steady}");
    let counting = match (tracer, &stage.gateway.process) {
        (Some(tracer), Some(gateway)) => Some(Counting::begin(tracer, gateway, stage.dir.path())?),
        _ => None,
    };
    let cores = (wish.gateway_cpu, wish.gateway_cores);
    let busy = |mock: &Process| mock.usage().cpu_us + client.usage().cpu_us;
    let (before, load_before, cores_before) = (stage.usage(), busy(&stage.mock), cores_us(cores));
    let said = client.line(Duration::from_secs(u64::from(seconds)) + AROUND)?;
    let (after, load_after, cores_after) = (stage.usage(), busy(&stage.mock), cores_us(cores));
    let calls = counting.map(Counting::end).transpose()?.unwrap_or_default();
    let outcome: Outcome = serde_json::from_str(&said)?;

    let window_us = outcome.window_seconds * 1e6;
    let cpu = after.zip(before).map(|(after, before)| after.cpu_us.saturating_sub(before.cpu_us) as f64);
    let room_us = window_us * wish.gateway_cores as f64;
    let each_second = outcome.units.max(1) as f64 / outcome.window_seconds;
    let grown = |now: Usage, idle: Usage| now.rss_kib.saturating_sub(idle.rss_kib) as f64;
    let mut round = Round {
        scenario: scenario.name.clone(),
        streams: load.streams,
        rate: load.rate(),
        peer: peer.name().to_owned(),
        number,
        cpu_us_per_unit: cpu.filter(|_| outcome.units > 0).map(|cpu| cpu / outcome.units as f64),
        gateway_busy: cpu.map(|cpu| cpu / room_us),
        others_busy: (cores_after.saturating_sub(cores_before) as f64 - cpu.unwrap_or(0.0)).max(0.0) / room_us,
        load_busy: load_after.saturating_sub(load_before) as f64 / window_us,
        rss_idle_kib: idle.map(|usage| usage.rss_kib),
        rss_kib: after.map(|usage| usage.rss_kib),
        kib_per_stream: after.zip(idle).map(|(now, idle)| grown(now, idle) / load.streams.max(1) as f64),
        calls: calls.into_iter().map(|(name, rate)| (name, rate / each_second)).collect(),
        outcome,
        ..Round::default()
    };
    if matches!(load.kind, Kind::Leaving { .. }) {
        match_abandoned(&mut stage.mock, &mut round)?;
    }
    client.tell()?;
    if load.settles && tracer.is_none() && peer != Peer::Direct {
        client.join(Duration::from_secs(10))?;
        pause(Duration::from_secs(wish.settle));
        round.rss_after_kib = stage.usage().map(|usage| usage.rss_kib);
    }
    Ok(round)
}

/// Puts what clients left beside what the mock saw end.
fn match_abandoned(mock: &mut Process, round: &mut Round) -> Result<()> {
    pause(LAST_ABORT);
    mock.tell()?;
    let seen: Seen = serde_json::from_str(&mock.line(Duration::from_secs(10))?)?;
    let seen: BTreeMap<u64, u64> = seen.abandoned.into_iter().collect();
    let mut delays = Histogram::new();
    let mut unseen = 0;
    for (id, left_at) in round.outcome.left.drain(..) {
        match seen.get(&id) {
            Some(seen_at) => delays.add(seen_at.saturating_sub(left_at)),
            None => unseen += 1,
        }
    }
    round.gone_p50_us = delays.quantile_us(0.5);
    round.gone_p99_us = delays.quantile_us(0.99);
    round.gone_unseen = Some(unseen);
    Ok(())
}
