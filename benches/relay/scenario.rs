//! The loads, by name.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::wire::Wish;

/// A load under its name.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: String,
    /// What it is.
    pub(crate) load: Load,
    /// The name of the load that it is to be compared with.
    pub(crate) yardstick: Option<&'static str>,
}

/// What client and mock do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Streams at one time.
    pub(crate) streams: u64,
    /// What each of them is.
    pub(crate) kind: Kind,
    /// Whether one more stream after another is asked for, whose first event is timed.
    pub(crate) probe: Probe,
    /// Streams beside them that flood and whose client does not read.
    pub(crate) stuck: u64,
    /// TLS on both sides.
    pub(crate) tls: bool,
    /// The client speaks HTTP/2, with so many streams on a connection; otherwise HTTP/1.1.
    pub(crate) per_connection: Option<u64>,
    /// The gateway speaks HTTP/2 to the mock.
    pub(crate) h2_upstream: bool,
    /// Streams need not have begun when the measuring begins: a gateway may keep them waiting.
    pub(crate) background: bool,
    /// Memory is read once more, some time after everything was closed.
    pub(crate) settles: bool,
    /// A stream asks so often, at times of its own; where an answer takes longer, at the next of them. 0: right after each answer.
    pub(crate) period_ms: u64,
    /// The client ends after so many streams; otherwise with the window.
    pub(crate) total: Option<u64>,
}

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// `count` events, `rate` a second; then the next request on the same connection.
    Paced { rate: f64, count: u64 },
    /// The same, but the client closes the connection after 1 to 40 events and opens another.
    Leaving { rate: f64, count: u64 },
    /// `count` events, `batch` a write, without a pace.
    Flood { count: u64, batch: u64 },
    /// A few events at once; of ten streams one is left, two are followed by a new connection.
    Brief,
    /// Whole answers, one after another.
    Unary,
    /// One event, then silence.
    Silent,
}

/// How streams whose first event is timed are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// There are none; the first events of all streams are timed.
    Off,
    /// One after another on one connection.
    Kept,
    /// One after another, each on a new connection.
    Fresh,
}

impl Probe {
    /// Whether there are probes.
    pub(crate) fn is_some(self) -> bool {
        self != Self::Off
    }
}

/// What most loads are, but for a field or two.
const PLAIN: Load = Load {
    streams: 1000,
    kind: paced(50.0, 400),
    probe: Probe::Off,
    stuck: 0,
    tls: false,
    per_connection: None,
    h2_upstream: false,
    background: false,
    settles: false,
    period_ms: 0,
    total: None,
};

const fn paced(rate: f64, count: u64) -> Kind {
    Kind::Paced { rate, count }
}

const fn streams(streams: u64, rate: f64, count: u64) -> Load {
    Load { streams, kind: paced(rate, count), ..PLAIN }
}

const fn busy(streams: u64, rate: f64) -> Load {
    Load { streams, kind: paced(rate, 60), probe: Probe::Kept, ..PLAIN }
}

const fn idle(streams: u64) -> Load {
    Load { streams, kind: Kind::Silent, settles: true, ..PLAIN }
}

const fn flood(count: u64, batch: u64) -> Load {
    Load { streams: 100, kind: Kind::Flood { count, batch }, ..PLAIN }
}

const ALL: &[(&str, Load, &str)] = &[
    ("paced-300", streams(300, 50.0, 400), "300 streams x 50 events/s: added latency"),
    ("paced-1000", streams(1000, 50.0, 400), "1,000 streams x 50 events/s: CPU per event"),
    ("paced-1000x20", streams(1000, 20.0, 200), "1,000 streams x 20 events/s: CPU per event, with idle time"),
    ("paced-8000", streams(8000, 5.0, 60), "8,000 streams x 5 events/s: CPU per event, memory"),
    ("bulk", flood(20_000, 1), "100 streams, one event a write, no pace"),
    ("bulk-batched", flood(100_000, 32), "100 streams, 32 events a write, no pace"),
    ("unary", Load { streams: 64, kind: Kind::Unary, ..PLAIN }, "64 connections, whole answers of 500 bytes"),
    (
        "unary-half",
        Load { streams: 200, kind: Kind::Unary, period_ms: 20, ..PLAIN },
        "200 connections that ask every 20 ms, one after another: 10,000 whole answers/s, about half of what a core does",
    ),
    ("churn-300", streams(300, 50.0, 40), "300 connections, a new stream every 40 events, 50 events/s"),
    ("churn-1000", streams(1000, 50.0, 40), "1,000 connections, a new stream every 40 events, 50 events/s"),
    (
        "abort",
        Load { streams: 200, kind: Kind::Leaving { rate: 50.0, count: 400 }, ..PLAIN },
        "200 clients that leave mid-stream: when the upstream sees it",
    ),
    ("slow-0", streams(200, 50.0, 400), "200 streams x 50 events/s: the yardstick of slow-4"),
    ("slow-4", Load { stuck: 4, ..streams(200, 50.0, 400) }, "the same beside 4 floods that nobody reads"),
    ("tls-300", Load { tls: true, ..streams(300, 50.0, 400) }, "300 streams x 50 events/s, TLS on both sides"),
    ("tls-1000", Load { tls: true, ..streams(1000, 20.0, 200) }, "1,000 streams x 20 events/s, TLS on both sides"),
    ("h2up", Load { h2_upstream: true, ..PLAIN }, "1,000 streams x 50 events/s, HTTP/2 to the upstream"),
    (
        "h2down",
        Load { per_connection: Some(100), ..PLAIN },
        "1,000 streams x 50 events/s, on 10 HTTP/2 connections of the client",
    ),
    ("idle-1000", idle(1000), "1,000 open silent streams: memory, and what is left of it"),
    ("idle-5000", idle(5000), "5,000 open silent streams"),
    ("idle", idle(8000), "8,000 open silent streams"),
    ("idle-9500", idle(9500), "9,500 open silent streams"),
    ("tls-idle-9500", Load { tls: true, ..idle(9500) }, "9,500 open silent streams, TLS on both sides"),
    ("busy-0", busy(0, 5.0), "time to the first event of the next stream, nothing else in flight"),
    ("busy-1000", busy(1000, 5.0), "the same with 1,000 streams x 5 events/s in flight"),
    ("busy-8000", busy(8000, 5.0), "the same with 8,000 streams x 5 events/s in flight"),
    ("busy-8000x2", busy(8000, 2.0), "the same with 8,000 streams x 2 events/s in flight"),
    (
        "busy-first",
        Load { probe: Probe::Fresh, ..PLAIN },
        "time to the first event of new clients, one after another, beside 1,000 streams x 50 events/s",
    ),
    ("busy-first-0", Load { streams: 0, probe: Probe::Fresh, ..PLAIN }, "the same of new clients that are alone"),
    (
        "million",
        Load { streams: 200, kind: Kind::Brief, total: Some(1_000_000), ..PLAIN },
        "a million short streams, then: is everything given back? (--streams for fewer)",
    ),
];

/// Loads, and the one that each is compared with: it has everything of the load but what shall be seen.
const YARDSTICKS: &[(&str, &str)] = &[
    ("slow-4", "slow-0"),
    ("busy-1000", "busy-0"),
    ("busy-8000", "busy-0"),
    ("busy-8000x2", "busy-0"),
    ("busy-first", "busy-first-0"),
];

/// Names that stand for several, and names with numbers in them.
const FAMILIES: &[(&str, &str)] = &[
    ("paced-NxR", "N streams x R events/s"),
    ("sweep", "paced-1000x1, x2, x5, x10, x20, x50: cost and latency against load"),
    ("first-N", "first event of user N+1: N streams x 2 events/s that may wait for each other"),
    ("first", "first-1, -10, -25, -50, -100, -1000, -8000"),
];

const SWEEP: &[u64] = &[1, 2, 5, 10, 20, 50];

const CROWDS: &[u64] = &[1, 10, 25, 50, 100, 1000, 8000];

/// What runs when no scenario is named.
const USUAL: &[&str] = &["paced-300", "paced-1000", "bulk", "unary"];

/// The named scenarios, or the usual ones if none is named.
pub(crate) fn choose(names: &[String]) -> Result<Vec<Scenario>, String> {
    let mut chosen = Vec::new();
    let usual: Vec<String> = USUAL.iter().map(|name| (*name).to_owned()).collect();
    for name in if names.is_empty() { &usual } else { names } {
        match name.as_str() {
            "sweep" => chosen.extend(SWEEP.iter().filter_map(|rate| named(&format!("paced-1000x{rate}")))),
            "first" => chosen.extend(CROWDS.iter().filter_map(|crowd| named(&format!("first-{crowd}")))),
            name => chosen.push(named(name).ok_or_else(|| format!("no scenario {name}; there are:\n{}", list()))?),
        }
    }
    Ok(chosen)
}

fn named(name: &str) -> Option<Scenario> {
    let known = ALL.iter().find(|(known, ..)| *known == name).map(|(_, load, _)| *load);
    let load = known.or_else(|| paced_family(name)).or_else(|| first_family(name))?;
    let yardstick = YARDSTICKS.iter().find(|(compared, _)| *compared == name).map(|(_, yardstick)| *yardstick);
    Some(Scenario { name: name.to_owned(), load, yardstick })
}

fn paced_family(name: &str) -> Option<Load> {
    let (count, rate) = name.strip_prefix("paced-")?.split_once('x')?;
    let (count, rate): (u64, f64) = (count.parse().ok()?, rate.parse().ok()?);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of events")]
    let events = (rate * 10.0).max(10.0) as u64;
    (count > 0 && rate > 0.0).then(|| streams(count, rate, events))
}

fn first_family(name: &str) -> Option<Load> {
    let count = name.strip_prefix("first-")?.parse().ok()?;
    // Answers of forty seconds, as long ones are; so slow that 8,000 of them do not fill a core, because waiting
    // for each other is what shall be seen.
    Some(Load { probe: Probe::Fresh, background: true, ..streams(count, 2.0, 80) })
}

/// One line for each scenario.
pub(crate) fn list() -> String {
    let mut text = String::new();
    let rows = ALL.iter().map(|(name, _, about)| (name, about));
    for (name, about) in rows.chain(FAMILIES.iter().map(|(name, about)| (name, about))) {
        writeln!(text, "{name:<14} {about}").expect("a string takes every write");
    }
    text
}

impl Load {
    /// What is counted.
    pub(crate) fn unit(&self) -> &'static str {
        if matches!(self.kind, Kind::Unary) { "request" } else { "event" }
    }

    /// Events that each stream shall have in a second, if it has a pace.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self.kind {
            Kind::Paced { rate, .. } | Kind::Leaving { rate, .. } => Some(rate),
            _ => None,
        }
    }

    /// File descriptors that a gateway needs: two for each stream, and some.
    pub(crate) fn nofile(&self) -> u64 {
        2 * (self.streams + self.stuck) + 512
    }

    /// What stream `id` asks for in its request number `turn`.
    pub(crate) fn wish(&self, id: u64, turn: u64) -> Wish {
        if id >= self.streams + self.stuck {
            return Wish::Paced { rate: 1000.0, count: 1, id };
        }
        if id >= self.streams {
            return Wish::Flood { count: 1 << 40, batch: 8, id };
        }
        // First streams are of all lengths, so that their ends do not come together.
        let share = |count: u64| match turn {
            0 => 1 + count * (id.wrapping_mul(2_654_435_769) % 1000) / 1000,
            _ => count,
        };
        match self.kind {
            Kind::Paced { rate, count } => Wish::Paced { rate, count: share(count), id },
            Kind::Leaving { rate, count } => Wish::Paced { rate, count, id: self.serial(id, turn) },
            Kind::Flood { count, batch } => Wish::Flood { count: share(count), batch, id },
            Kind::Brief if self.leaves_after(id, turn).is_some() => {
                Wish::Paced { rate: 100.0, count: 400, id: self.serial(id, turn) }
            }
            Kind::Brief => Wish::Flood { count: 5, batch: 1, id: self.serial(id, turn) },
            Kind::Unary => Wish::Unary { id, turn },
            Kind::Silent => Wish::Silent { id },
        }
    }

    /// A number of its own for each request, where the mock must tell them apart.
    fn serial(&self, id: u64, turn: u64) -> u64 {
        turn * self.streams + id
    }

    /// After how many events the client leaves, if it does.
    pub(crate) fn leaves_after(&self, id: u64, turn: u64) -> Option<u64> {
        let chance = scattered(self.serial(id, turn));
        match self.kind {
            Kind::Leaving { .. } => Some(1 + chance % 40),
            Kind::Brief => chance.is_multiple_of(10).then_some(1),
            _ => None,
        }
    }

    /// Whether the request after this one comes on a new connection.
    pub(crate) fn renews(&self, id: u64, turn: u64) -> bool {
        self.kind == Kind::Brief && (1..=2).contains(&(scattered(self.serial(id, turn)) % 10))
    }
}

/// Neighbouring numbers, far apart, their last digits too.
fn scattered(id: u64) -> u64 {
    id.wrapping_mul(2_654_435_769) >> 7
}
