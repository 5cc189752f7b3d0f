//! What the client tells the orchestrator about one run.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// Counts and latencies of one run. Latencies are of the steady window, failures of the whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    /// Length of the window.
    pub(crate) window_seconds: f64,
    /// Events (or whole answers) received within the window.
    pub(crate) units: u64,
    /// Requests that ended as they should, within the window.
    pub(crate) requests: u64,
    /// Exchanges that failed: status, framing, connection, stall.
    pub(crate) failed: u64,
    /// Events that were lost, doubled, out of order, altered or of another stream.
    pub(crate) wrong: u64,
    /// Streams that ended without `[DONE]` or too early.
    pub(crate) truncated: u64,
    /// The first failure, in words.
    pub(crate) first_failure: Option<String>,
    /// From the mock's send (of a whole answer: from the request) to its receipt.
    pub(crate) p50_us: Option<f64>,
    /// The same.
    pub(crate) p99_us: Option<f64>,
    /// From the request to its first event; of probes only, where there are probes.
    pub(crate) first_p50_us: Option<f64>,
    /// The same.
    pub(crate) first_p99_us: Option<f64>,
    /// Probes whose first event did not come in time; they enter the two above with the time they were given.
    pub(crate) late: u64,
    /// Streams that the client left within the window: id, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<(u64, u64)>,
}

impl Outcome {
    /// What makes every other figure void.
    pub(crate) fn unclean(&self) -> u64 {
        self.failed + self.wrong + self.truncated
    }
}

/// Collects an [`Outcome`].
pub(crate) struct Tally {
    outcome: Outcome,
    latency: Histogram,
    first: Histogram,
    open: bool,
}

impl Tally {
    /// Nothing counted, window closed.
    pub(crate) fn new() -> Self {
        Self { outcome: Outcome::default(), latency: Histogram::new(), first: Histogram::new(), open: false }
    }

    /// Opens the window.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    /// An event or answer arrived `latency` nanoseconds after it was sent.
    pub(crate) fn unit(&mut self, latency: u64) {
        if self.open {
            self.outcome.units += 1;
            self.latency.add(latency);
        }
    }

    /// A stream's first event arrived.
    pub(crate) fn first(&mut self, latency: u64) {
        if self.open {
            self.first.add(latency);
        }
    }

    /// A probe's first event did not come within `patience` nanoseconds.
    pub(crate) fn late(&mut self, patience: u64) {
        self.first(patience);
        self.outcome.late += u64::from(self.open);
    }

    /// The client left stream `id` in its midst.
    pub(crate) fn left(&mut self, id: u64, at: u64) {
        if self.open {
            self.outcome.left.push((id, at));
        }
    }

    /// A request ended well.
    pub(crate) fn ended(&mut self) {
        self.outcome.requests += u64::from(self.open);
    }

    /// An event was not the one that had to come.
    pub(crate) fn wrong(&mut self) {
        self.outcome.wrong += 1;
    }

    /// A stream ended early.
    pub(crate) fn truncated(&mut self) {
        self.outcome.truncated += 1;
    }

    /// An exchange failed.
    pub(crate) fn failed(&mut self, why: &str) {
        self.outcome.failed += 1;
        self.outcome.first_failure.get_or_insert_with(|| why.to_owned());
    }

    /// How many exchanges failed.
    pub(crate) fn failures(&self) -> u64 {
        self.outcome.failed
    }

    /// The end, after a window of `seconds`.
    pub(crate) fn finish(mut self, seconds: f64) -> Outcome {
        self.outcome.window_seconds = seconds;
        self.outcome.p50_us = self.latency.quantile_us(0.5);
        self.outcome.p99_us = self.latency.quantile_us(0.99);
        self.outcome.first_p50_us = self.first.quantile_us(0.5);
        self.outcome.first_p99_us = self.first.quantile_us(0.99);
        self.outcome
    }
}
