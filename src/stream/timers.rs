//! The clocks of one stream: plain state, `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// No first token in time.
    FirstToken,
    /// The upstream is silent.
    Idle,
    /// The whole exchange took too long.
    Total,
    /// The client has not heard from us for a while.
    KeepAlive,
}

/// Lengths; `None` is off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// From the start to the first token.
    pub first_token: Option<Duration>,
    /// Silence of the upstream between two reads.
    pub idle: Option<Duration>,
    /// From the start to the end.
    pub total: Option<Duration>,
    /// Silence towards the client.
    pub keep_alive: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Timers {
    clocks: Clocks,
    start: Instant,
    waiting_for_first: bool,
    /// When the upstream was first found silent. Not the time of its last bytes: while the client holds the
    /// stream back nobody asks the upstream, and that is not its fault.
    silent_since: Option<Instant>,
    last_sent: Instant,
}

impl Timers {
    pub(super) fn new(clocks: Clocks, start: Instant) -> Self {
        Self { clocks, start, waiting_for_first: true, silent_since: None, last_sent: start }
    }

    pub(super) fn first_token_seen(&mut self) {
        self.waiting_for_first = false;
    }

    pub(super) fn upstream_spoke(&mut self) {
        self.silent_since = None;
    }

    pub(super) fn upstream_silent(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// The next deadline. While the first token is waited for, its own clock stands in for the idle one.
    pub(super) fn next(&self) -> Option<(Instant, Due)> {
        let first =
            self.clocks.first_token.filter(|_| self.waiting_for_first).map(|d| (self.start + d, Due::FirstToken));
        let idle = match (self.clocks.idle, self.silent_since) {
            (Some(length), Some(since)) if !self.waiting_for_first || self.clocks.first_token.is_none() => {
                Some((since + length, Due::Idle))
            }
            _ => None,
        };
        let total = self.clocks.total.map(|length| (self.start + length, Due::Total));
        let keep_alive = self.clocks.keep_alive.map(|length| (self.last_sent + length, Due::KeepAlive));
        [first, idle, total, keep_alive].into_iter().flatten().min_by_key(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_clock_runs_from_its_own_beginning() {
        let start = Instant::now();
        let clocks =
            Clocks { first_token: Some(s(20)), idle: Some(s(5)), total: Some(s(60)), keep_alive: Some(s(15)) };
        let mut timers = Timers::new(clocks, start);
        timers.upstream_silent(start);
        assert_eq!(timers.next(), Some((start + s(15), Due::KeepAlive)));
        timers.sent(start + s(15));
        assert_eq!(timers.next(), Some((start + s(20), Due::FirstToken)));
        timers.first_token_seen();
        timers.upstream_spoke();
        timers.sent(start + s(18));
        assert_eq!(timers.next(), Some((start + s(33), Due::KeepAlive)));
        timers.upstream_silent(start + s(18));
        timers.upstream_silent(start + s(20));
        assert_eq!(timers.next(), Some((start + s(23), Due::Idle)));
        timers.upstream_spoke();
        timers.sent(start + s(50));
        assert_eq!(timers.next(), Some((start + s(60), Due::Total)));
    }

    #[test]
    fn without_a_first_token_clock_the_idle_clock_stands_in() {
        let start = Instant::now();
        let mut timers = Timers::new(Clocks { idle: Some(s(5)), ..Clocks::default() }, start);
        assert_eq!(timers.next(), None);
        timers.upstream_silent(start);
        assert_eq!(timers.next(), Some((start + s(5), Due::Idle)));
    }
}
