//! What is decided about attempts, queues and continuations, as closed sets that become label values.

/// How an attempt at an upstream ended (`millstream_attempts_total{outcome}`). One per attempt, the first of a
/// request included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// Its answer went to the client. What becomes of it after that is `millstream_stream_ends_total`.
    Committed,
    /// Refused for what the client had sent (4xx); relayed, and no fault of the target.
    ClientFault,
    /// No connection: name resolution, connect, handshake, or the cap on connections.
    Unreachable,
    /// The connection broke before an answer.
    Broken,
    /// The status told of a fault at the target: 5xx, or its key was refused.
    Status,
    /// A 200 whose first event was an error.
    FirstEvent,
    /// No head, or no first token, in time.
    Late,
    /// Asked to wait (429, 529).
    Throttled,
    /// The key's quota is used up: waiting a little does not help.
    Spent,
    /// The client left, or the gateway stopped, before the verdict.
    Abandoned,
    /// Cancelled, because the other attempt of a hedged request spoke first.
    HedgeLost,
}

/// What followed a failed attempt that could have been made again (`millstream_retries_total{decision}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryDecision {
    /// Another target was tried.
    Elsewhere,
    /// The same target was tried again.
    SameTarget,
    /// None: retries had their share of the live requests.
    DeniedBudget,
    /// None: the request had its attempts.
    DeniedAttempts,
    /// None: the request's deadline left no time for another.
    DeniedDeadline,
}

/// What became of a second attempt beside one whose first token was late (`millstream_hedges_total{decision}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HedgeDecision {
    /// It was made, and spoke first.
    Won,
    /// It was made in vain.
    Lost,
    /// It was due and not made: hedges had their share of the requests, or there was no other target.
    Denied,
}

/// Whom a request waits with in front of a target that is at its limit (`{class}` of queues).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueClass {
    /// Somebody watches.
    Interactive,
    /// Takes what is left over.
    Batch,
}

/// How waiting for a place at a target ended (`millstream_queue_ends_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueOutcome {
    /// With a place.
    Seated,
    /// The client left, or the gateway stopped.
    Left,
    /// No place came free in time.
    Timeout,
    /// It did not begin: the queue had no room.
    Full,
}

/// Whether a stream that its upstream broke off was continued elsewhere
/// (`millstream_continuations_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContinuationOutcome {
    /// The client sees one stream.
    Continued,
    /// The other target answered, but not with text that fits on behind the seam.
    Refused,
    /// No other target answered.
    Failed,
    /// The stream was none that can be continued.
    Unfit,
}

/// How reading on after the client had left ended (`millstream_cancel_drains_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelDrainOutcome {
    /// At the answer's end, so that its usage is known.
    Whole,
    /// At the bound on bytes or time.
    Bound,
    /// The upstream broke off.
    Broken,
    /// It did not begin: as many as may be were running.
    Refused,
}
