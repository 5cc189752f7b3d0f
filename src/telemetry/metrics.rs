//! Every metric family in one list: name, help, labels, buckets.
//!
//! A new metric is one line here and one method of [`Recorder`](super::Recorder); layout, sum and exposition
//! follow from the line. The `gen_ai_*` names of the OpenTelemetry conventions are not among them: they
//! require the operation and the provider's registered name on every sample, and what is counted here knows
//! an upstream by its configured name only. A label that is a guess is worse than none.

use super::labels::Label;

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Durations, by upper bounds in nanoseconds, ascending.
    Histogram(&'static [u64]),
}

/// One family.
#[derive(Debug)]
pub(super) struct Family {
    /// Full name.
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) help: &'static str,
    /// Type.
    pub(super) kind: Kind,
    /// Labels, slowest first.
    pub(super) labels: &'static [Label],
}

macro_rules! families {
    ($(#[$doc:meta])* $set:ident { $($family:ident = $kind:expr, $name:literal, [$($label:ident),*], $help:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $set { $(#[doc = $help] $family),+ }

        impl $set {
            /// All of them, in the order of the list.
            pub(super) const ALL: &'static [Self] = &[$(Self::$family),+];

            const FAMILIES: &'static [Family] = &[$(Family {
                name: $name,
                help: $help,
                kind: $kind,
                labels: &[$(Label::$label),*],
            }),+];

            /// What the list says about it.
            pub(super) const fn family(self) -> &'static Family {
                &Self::FAMILIES[self as usize]
            }
        }
    };
}

use Kind::{Counter, Gauge, Histogram};

families! {
    /// What workers record in their shards.
    Recorded {
        Connections = Gauge, "millstream_connections", [Worker],
            "Open client connections.";
        ConnectionsTotal = Counter, "millstream_connections_total", [],
            "Client connections opened.";
        ConnectionsRefused = Counter, "millstream_connections_refused_total", [],
            "Client connections refused at the connection cap.";
        AcceptErrors = Counter, "millstream_accept_errors_total", [AcceptError],
            "Failures to accept a client connection.";
        ConnectionsHandedOver = Counter, "millstream_connections_handed_over_total", [Worker],
            "Accepted connections that a worker handed to a less loaded one.";
        Streams = Gauge, "millstream_streams", [Worker],
            "Exchanges in flight with an upstream.";
        StreamsActive = Gauge, "millstream_streams_active", [Phase],
            "Exchanges in flight with an upstream, by phase of their life.";
        StreamEnds = Counter, "millstream_stream_ends_total", [Endpoint, Reason],
            "Streams ended, by how.";
        RequestDuration = Histogram(REQUEST), "millstream_request_duration_seconds", [Endpoint],
            "From a request's arrival to the end of its answer.";
        RequestsShed = Counter, "millstream_requests_shed_total", [],
            "Requests refused because their worker was full.";
        RatelimitDecisions = Counter, "millstream_ratelimit_decisions_total", [Limit, Outcome],
            "Decisions of limits.";
        TimeToFirstToken = Histogram(FIRST_TOKEN), "millstream_time_to_first_token_seconds", [Upstream],
            "From a request's arrival to the first event of its stream.";
        ChunkGap = Histogram(GAP), "millstream_chunk_gap_seconds", [Upstream],
            "Between two events, or groups of events read at once, of one stream.";
        Chunks = Counter, "millstream_chunks_total", [Upstream],
            "Events relayed.";
        ChunkForwardDelay = Histogram(FINE), "millstream_chunk_forward_delay_seconds", [],
            "From a chunk read off the upstream to it being written to the client; a rest before the read is not in it.";
        Overhead = Histogram(FINE), "millstream_overhead_seconds", [Stage],
            "Share of a request's time that Millstream itself took before the upstream had the request.";
        CancelPropagation = Histogram(FINE), "millstream_cancel_propagation_seconds", [],
            "From a client's hang-up noticed to the upstream exchange ended.";
        Tokens = Counter, "millstream_tokens_total", [Upstream, Direction, Source],
            "Tokens, as the provider reported them: to the client, or (source 'drained') after the client had left.";
        UpstreamConnections = Gauge, "millstream_upstream_connections", [Upstream, State],
            "Open connections to an upstream.";
        UpstreamConnect = Histogram(CONNECT), "millstream_upstream_connect_seconds", [Upstream],
            "Time to make a new connection to an upstream, handshakes included.";
        UpstreamFailures = Counter, "millstream_upstream_failures_total", [Upstream, FailurePhase],
            "Attempts at an upstream that failed before a response head, by where.";
        Fallbacks = Counter, "millstream_fallbacks_total", [Upstream],
            "Requests that went on to another target after this upstream failed.";
        Attempts = Counter, "millstream_attempts_total", [Upstream, AttemptOutcome],
            "Attempts at an upstream, by how they ended.";
        Retries = Counter, "millstream_retries_total", [Upstream, RetryDecision],
            "Decisions after an attempt at this upstream had failed in a way that may be tried again.";
        Hedges = Counter, "millstream_hedges_total", [HedgeDecision],
            "Second attempts that were due because a first token was late, by what became of them.";
        QueueWait = Histogram(QUEUE), "millstream_queue_wait_seconds", [QueueClass],
            "Time that requests waited for a place at a target at its limit, however that ended.";
        QueueEnds = Counter, "millstream_queue_ends_total", [QueueClass, QueueOutcome],
            "Requests that had to wait for a place at a target at its limit, by how that ended.";
        Continuations = Counter, "millstream_continuations_total", [ContinuationOutcome],
            "Streams broken off by their upstream on routes that continue them, by whether they were continued.";
        CancelDrains = Counter, "millstream_cancel_drains_total", [Upstream, CancelDrainOutcome],
            "Answers to be read on after the client had left, by how that ended.";
        Ejections = Counter, "millstream_ejections_total", [Upstream],
            "Targets of this upstream ejected because they did worse than their peers.";
        LoopTurn = Histogram(FINE), "millstream_loop_turn_seconds", [],
            "Duration of one turn of a worker's event loop, sampled.";
        ReactorTurns = Counter, "millstream_reactor_turns_total", [Worker],
            "Turns of a worker's event loop.";
        ReactorRest = Histogram(REST), "millstream_reactor_rest_seconds", [Worker],
            "Rests of a worker between two turns, so that the next serves more streams at once.";
        ReactorRestsCut = Counter, "millstream_reactor_rests_cut_total", [Worker],
            "Rests that something urgent ended early: a request, a first token, a client that left.";
    }
}

families! {
    /// What is known, or looked up, at the scrape.
    Computed {
        Requests = Counter, "millstream_requests_total", [Endpoint, Route, Upstream, Key, Code],
            "Requests answered. Beyond the bound on series, new ones are counted with every label 'other'.";
        Draining = Gauge, "millstream_draining", [],
            "Whether the process drains (1) or not (0).";
        BuildInfo = Gauge, "millstream_build_info", [Version, Revision],
            "A constant 1, labelled with what this program was built from.";
        ReactorInfo = Gauge, "millstream_reactor_info", [Reactor, Ground],
            "A constant 1, labelled with the reactor that runs and why it is that one.";
        TargetState = Gauge, "millstream_target_state", [Upstream, TargetKey, TargetModel, TargetState],
            "The state of a target: 1 for the one that holds, 0 for others. Of the first 1,000 targets.";
        TargetStreams = Gauge, "millstream_target_streams", [Upstream, TargetKey, TargetModel],
            "Open streams of a target. Of the first 1,000 targets.";
        TargetStreamsLimit = Gauge, "millstream_target_streams_limit", [Upstream, TargetKey, TargetModel],
            "Streams that a target may have open now, where it has a limit. Of the first 1,000 targets.";
        TargetWaiting = Gauge, "millstream_target_waiting", [Upstream, TargetKey, TargetModel, QueueClass],
            "Requests that wait for a place at a target, where it has a limit. Of the first 1,000 targets.";
        TargetFirstToken = Gauge, "millstream_target_first_token_seconds", [Upstream, TargetKey, TargetModel],
            "Moving average of a target's time to first token, where it is known. Of the first 1,000 targets.";
        CredentialsExpiry = Gauge, "millstream_credentials_expiry_timestamp_seconds", [Upstream],
            "When the present credentials for an upstream expire, in seconds since the Unix epoch.";
        CredentialsRefreshes = Counter, "millstream_credentials_refreshes_total", [Upstream, RefreshOutcome],
            "Refreshes of the credentials for an upstream, by how they ended.";
        LogLinesDropped = Counter, "millstream_log_lines_dropped_total", [],
            "Log lines dropped because standard error did not take them in time.";
        ProcessCpu = Counter, "process_cpu_seconds_total", [],
            "User and system CPU time spent in seconds.";
        ProcessOpenFds = Gauge, "process_open_fds", [],
            "Open file descriptors.";
        ProcessMaxFds = Gauge, "process_max_fds", [],
            "Limit on open file descriptors.";
        ProcessVirtualMemory = Gauge, "process_virtual_memory_bytes", [],
            "Virtual memory size in bytes.";
        ProcessResidentMemory = Gauge, "process_resident_memory_bytes", [],
            "Resident memory size in bytes.";
        ProcessStartTime = Gauge, "process_start_time_seconds", [],
            "Start time of the process since the Unix epoch in seconds.";
        ProcessThreads = Gauge, "process_threads", [],
            "Operating system threads.";
    }
}

/// Every family, recorded or computed.
pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    let recorded = Recorded::ALL.iter().map(|metric| metric.family());
    recorded.chain(Computed::ALL.iter().map(|metric| metric.family()))
}

const fn us(count: u64) -> u64 {
    count * 1_000
}

const fn ms(count: u64) -> u64 {
    us(count) * 1_000
}

const fn s(count: u64) -> u64 {
    ms(count) * 1_000
}

/// The gateway's own delays: tens of microseconds where all is well, seconds where a client does not read.
const FINE: &[u64] = &[
    us(10),
    us(25),
    us(50),
    us(100),
    us(250),
    us(500),
    ms(1),
    us(2_500),
    ms(5),
    ms(10),
    ms(25),
    ms(50),
    ms(100),
    ms(250),
    ms(500),
    s(1),
    s(5),
];

/// Rests are asked for in tens of microseconds up to two milliseconds; above that the kernel was late.
const REST: &[u64] = &[us(50), us(100), us(150), us(200), us(300), us(400), us(500), us(600), ms(1), ms(2), ms(5)];

/// Whole requests: from an answer of our own to a long reasoning stream.
const REQUEST: &[u64] = &[
    ms(5),
    ms(10),
    ms(25),
    ms(50),
    ms(100),
    ms(250),
    ms(500),
    s(1),
    ms(2_500),
    s(5),
    s(10),
    s(20),
    s(40),
    s(80),
    s(160),
    s(320),
    s(600),
];

/// The OpenTelemetry bounds of `gen_ai.server.time_to_first_token`, and above them those that reasoning
/// models need.
const FIRST_TOKEN: &[u64] = &[
    ms(1),
    ms(5),
    ms(10),
    ms(20),
    ms(40),
    ms(60),
    ms(80),
    ms(100),
    ms(250),
    ms(500),
    ms(750),
    s(1),
    ms(2_500),
    s(5),
    ms(7_500),
    s(10),
    s(15),
    s(20),
    s(30),
    s(45),
    s(60),
];

/// Waits for a place: one that comes free at once, and at the other end as long as anybody is patient.
const QUEUE: &[u64] = &[
    ms(1),
    us(2_500),
    ms(5),
    ms(10),
    ms(25),
    ms(50),
    ms(100),
    ms(250),
    ms(500),
    s(1),
    ms(2_500),
    s(5),
    s(10),
    s(20),
    s(30),
    s(60),
];

/// The OpenTelemetry bounds of `gen_ai.server.time_per_output_token`, with finer ones below for local models
/// and coarser ones above for stalls.
const GAP: &[u64] = &[
    ms(1),
    us(2_500),
    ms(5),
    ms(10),
    ms(25),
    ms(50),
    ms(75),
    ms(100),
    ms(150),
    ms(200),
    ms(300),
    ms(400),
    ms(500),
    ms(750),
    s(1),
    ms(2_500),
    s(5),
    s(10),
    s(30),
    s(60),
];

/// New connections: a Unix socket at one end, TLS across an ocean at the other.
const CONNECT: &[u64] = &[
    us(100),
    us(250),
    us(500),
    ms(1),
    us(2_500),
    ms(5),
    ms(10),
    ms(25),
    ms(50),
    ms(100),
    ms(250),
    ms(500),
    s(1),
    ms(2_500),
    s(5),
    s(10),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_type() {
        let mut seen = HashSet::new();
        for family in all() {
            assert!(seen.insert(family.name), "{} is listed twice", family.name);
            assert_eq!(family.kind == Counter, family.name.ends_with("_total"), "{}", family.name);
            if let Histogram(_) = family.kind {
                assert!(family.name.ends_with("_seconds"), "{}", family.name);
            }
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn bounds_ascend() {
        for family in all() {
            if let Histogram(bounds) = family.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", family.name);
            }
        }
    }
}
