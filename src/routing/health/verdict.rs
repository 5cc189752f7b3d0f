//! What the board says about a target, and what is said to the board.

use std::time::Duration;

use crate::routing::health::throttle::Place;
use crate::units::TargetId;

/// Whether a request may go to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a probe that nobody reports holds its place until it expires"]
pub enum Admission {
    /// It may, as others do.
    Free(Pass),
    /// It may, as the one probe: it has to report what came of it, or that nothing did
    /// ([`abandoned`](crate::routing::health::Board::abandoned)).
    Probe(Pass),
    /// Not before `until`, at the least; while somebody else's probe is out, that is a guess of one second.
    Shut {
        /// Since the board was made.
        until: Duration,
    },
}

/// The right to ask a target once, and what its result is reported with. It says when the request was let in, so that
/// results from before the breaker opened, and of probes whose place is another's by now, are told from those that
/// count. May be used more than once: a success at the commit point, and `Fault::Aborted` if the stream is then cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    pub(super) target: TargetId,
    pub(super) place: Place,
    /// The breaker's.
    pub(super) generation: u16,
    /// The breaker's probe.
    pub(super) is_fuse_probe: bool,
    /// The cooldown's probe, by its generation.
    pub(super) throttle_probe: Option<u16>,
}

/// What [`admit`](crate::routing::health::Board::admit) would say, without taking anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All is well.
    Good,
    /// May be asked, but has failed lately: at the last attempt, or at 10 % of the last seconds'. A single failure is
    /// forgiven after 10 s, a hundred after some 75 s, so that preferring good targets starves no doubtful one.
    Doubtful,
    /// Half-open, and the probe's place is free. Somebody has to take it, or the target never comes back: a request
    /// that can still go elsewhere should.
    Probe,
    /// As [`Admission::Shut`].
    Shut {
        /// Since the board was made.
        until: Duration,
    },
}

/// A target's state in one word, for metrics; the first that holds of those listed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The breaker is open.
    Open,
    /// The breaker waits for a probe, or for its result.
    HalfOpen,
    /// Ejected from its tiers.
    Ejected,
    /// At least one model is cooling down after a 429.
    Throttled,
    /// None of these.
    Closed,
}

/// A target's health at one moment, for metrics. Its parts are read one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// In one word.
    pub state: State,
    /// Open streams.
    pub open: u32,
    /// Attempts of the last seconds (half-life 10 s).
    pub attempts: f64,
    /// Failed of these; 0 without any.
    pub failed_share: f64,
    /// How often the breaker opened without a success between; 0 while closed.
    pub trips: u32,
    /// As [`pace`](crate::routing::health::Board::pace).
    pub pace: Option<Duration>,
    /// As [`warmth`](crate::routing::health::Board::warmth).
    pub warmth: f64,
}

impl Admission {
    /// What to report with, if the request may go.
    pub fn pass(self) -> Option<Pass> {
        match self {
            Self::Free(pass) | Self::Probe(pass) => Some(pass),
            Self::Shut { .. } => None,
        }
    }
}

impl Pass {
    /// The target that may be asked.
    pub fn target(self) -> TargetId {
        self.target
    }

    /// Whether this is the one probe.
    pub fn is_probe(self) -> bool {
        self.is_fuse_probe || self.throttle_probe.is_some()
    }
}
