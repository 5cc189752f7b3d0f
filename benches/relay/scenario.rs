//! The loads, by name.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::wire::Wish;

/// One load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: String,
    /// Connections, each with one stream at a time.
    pub(crate) streams: u64,
    /// What each stream is.
    pub(crate) kind: Kind,
    /// Whether one more connection asks for short streams, one after another, whose first event is timed.
    pub(crate) probe: bool,
}

/// What a stream is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// `count` events, `rate` a second; then the next request on the same connection.
    Paced { rate: f64, count: u64 },
    /// `count` events, `batch` a write, without a pace.
    Flood { count: u64, batch: u64 },
    /// Whole answers, one after another.
    Unary,
    /// One event, then silence.
    Silent,
}

const ALL: &[(&str, u64, Kind, bool, &str)] = &[
    ("paced-300", 300, paced(50.0, 400), false, "300 streams x 50 events/s: added latency"),
    ("paced-1000", 1000, paced(50.0, 400), false, "1,000 streams x 50 events/s: CPU per event"),
    ("paced-1000x20", 1000, paced(20.0, 200), false, "1,000 streams x 20 events/s: CPU per event, with idle time"),
    ("paced-8000", 8000, paced(5.0, 60), false, "8,000 streams x 5 events/s: CPU per event, memory"),
    ("bulk", 100, Kind::Flood { count: 20_000, batch: 1 }, false, "100 streams, one event a write, no pace"),
    (
        "bulk-batched",
        100,
        Kind::Flood { count: 100_000, batch: 32 },
        false,
        "100 streams, 32 events a write, no pace",
    ),
    ("unary", 64, Kind::Unary, false, "64 connections, whole answers of 500 bytes"),
    ("idle", 8000, Kind::Silent, false, "8,000 open silent streams: memory"),
    ("busy-0", 0, paced(5.0, 60), true, "time to the first event of the next stream, nothing else in flight"),
    ("busy-1000", 1000, paced(5.0, 60), true, "the same with 1,000 streams x 5 events/s in flight"),
    ("busy-8000", 8000, paced(5.0, 60), true, "the same with 8,000 streams x 5 events/s in flight"),
    ("busy-8000x2", 8000, paced(2.0, 60), true, "the same with 8,000 streams x 2 events/s in flight"),
];

const fn paced(rate: f64, count: u64) -> Kind {
    Kind::Paced { rate, count }
}

/// What runs when no scenario is named.
const USUAL: &[&str] = &["paced-300", "paced-1000", "bulk", "unary"];

/// The named scenarios, or the usual ones if none is named.
pub(crate) fn choose(names: &[String]) -> Result<Vec<Scenario>, String> {
    let usual: Vec<String> = USUAL.iter().map(|name| (*name).to_owned()).collect();
    let names = if names.is_empty() { &usual } else { names };
    let find = |name: &String| {
        let row = ALL.iter().find(|row| row.0 == name.as_str());
        let (name, streams, kind, probe, _) =
            row.ok_or_else(|| format!("no scenario {name}; there are:\n{}", list()))?;
        Ok(Scenario { name: (*name).to_owned(), streams: *streams, kind: *kind, probe: *probe })
    };
    names.iter().map(find).collect()
}

/// One line for each scenario.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for (name, .., about) in ALL {
        writeln!(text, "{name:<14} {about}").expect("a string takes every write");
    }
    text
}

impl Scenario {
    /// What is counted.
    pub(crate) fn unit(&self) -> &'static str {
        if matches!(self.kind, Kind::Unary) { "request" } else { "event" }
    }

    /// File descriptors that a gateway needs: two for each stream, and some. An eighth more, because nginx
    /// closes connections of its own accord once only a sixteenth of them is free.
    pub(crate) fn nofile(&self) -> u64 {
        2 * self.streams + self.streams / 4 + 512
    }

    /// What stream `id` asks for in its request number `turn`.
    pub(crate) fn wish(&self, id: u64, turn: u64) -> Wish {
        if id >= self.streams {
            return Wish::Paced { rate: 1000.0, count: 1, id };
        }
        // First streams are of all lengths, so that their ends do not come together.
        let share = |count: u64| match turn {
            0 => 1 + count * (id.wrapping_mul(2_654_435_769) % 1000) / 1000,
            _ => count,
        };
        match self.kind {
            Kind::Paced { rate, count } => Wish::Paced { rate, count: share(count), id },
            Kind::Flood { count, batch } => Wish::Flood { count: share(count), batch, id },
            Kind::Unary => Wish::Unary { id, turn },
            Kind::Silent => Wish::Silent { id },
        }
    }
}
