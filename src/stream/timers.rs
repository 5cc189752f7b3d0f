//! The clocks of one stream: plain state, `now` is an argument; and the one timer that wakes for them.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::signal::alarm::Alarm;

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
    /// From the asking of the upstream to its first token.
    pub first_token: Option<Duration>,
    /// Silence of the upstream between two reads.
    pub idle: Option<Duration>,
    /// From the start to the end.
    pub total: Option<Duration>,
    /// Silence towards the client.
    pub keep_alive: Option<Duration>,
}

/// From the last word to the end of the transfer. Long enough for an honest upstream's, so that its connection
/// can be used again.
const LAST_WORD_LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Timers {
    clocks: Clocks,
    start: Instant,
    /// When the upstream was asked: its first token has a clock of its own.
    asked: Instant,
    waiting_for_first: bool,
    /// When the upstream was first found silent. Not the time of its last bytes: while the client holds the
    /// stream back nobody asks the upstream, and that is not its fault.
    silent_since: Option<Instant>,
    last_sent: Instant,
    /// Armed no earlier than needed and never put off: the clocks only move on, so a wake-up that comes too
    /// early is cheaper than a timer reset per chunk.
    alarm: Alarm,
}

impl Timers {
    pub(super) fn new(mut clocks: Clocks, start: Instant, asked: Instant) -> Self {
        // A comment every zero seconds would be all that is ever said.
        clocks.keep_alive = clocks.keep_alive.filter(|length| !length.is_zero());
        Self {
            clocks,
            start,
            asked,
            waiting_for_first: true,
            silent_since: None,
            last_sent: start,
            alarm: Alarm::default(),
        }
    }

    /// Whether this is still to be told of a first token.
    pub(super) fn waits_for_first_token(&self) -> bool {
        self.waiting_for_first
    }

    pub(super) fn first_token_seen(&mut self) {
        self.waiting_for_first = false;
    }

    /// The dialect's last word was said: only the end of the transfer is missing, and a client that reads up
    /// to it shall not wait for an upstream that forgot to close.
    pub(super) fn last_word_said(&mut self) {
        self.waiting_for_first = false;
        self.clocks.idle = Some(LAST_WORD_LINGER);
        self.clocks.keep_alive = None;
    }

    pub(super) fn upstream_spoke(&mut self) {
        self.silent_since = None;
    }

    pub(super) fn is_upstream_silent(&self) -> bool {
        self.silent_since.is_some()
    }

    pub(super) fn upstream_silent(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Waits for the next deadline, for ever if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<(Instant, Due)> {
        let Some((at, due)) = self.next() else { return Poll::Pending };
        self.alarm.poll(cx, at, now).map(|now| (now, due))
    }

    /// Waits for the end of the upstream's patience alone: for who answers for all other clocks himself.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Instant> {
        let at = self.idle().and_then(|(since, length)| since.checked_add(length));
        at.map_or(Poll::Pending, |at| self.alarm.poll(cx, at, now))
    }

    /// The idle clock, if it runs. While the first token is waited for, its own clock stands in for it.
    fn idle(&self) -> Option<(Instant, Duration)> {
        let has_other = self.waiting_for_first && self.clocks.first_token.is_some();
        self.silent_since.zip(self.clocks.idle.filter(|_| !has_other))
    }

    /// The next deadline.
    fn next(&self) -> Option<(Instant, Due)> {
        let first_token = self.clocks.first_token.filter(|_| self.waiting_for_first);
        let clocks = [
            first_token.map(|length| (self.asked, length, Due::FirstToken)),
            self.idle().map(|(since, length)| (since, length, Due::Idle)),
            self.clocks.total.map(|length| (self.start, length, Due::Total)),
            self.clocks.keep_alive.map(|length| (self.last_sent, length, Due::KeepAlive)),
        ];
        // A length beyond all clocks is none.
        let deadlines = clocks
            .into_iter()
            .flatten()
            .filter_map(|(since, length, due)| Some((since.checked_add(length)?, due)));
        deadlines.min_by_key(|&(at, _)| at)
    }

    /// The clock that has run out whatever the upstream brings: one that always has something ready never
    /// gives [`Self::next`] a turn.
    pub(super) fn overdue(&self, now: Instant) -> Option<Due> {
        let is_over = |since: Instant, length: Option<Duration>| {
            length.is_some_and(|length| now.saturating_duration_since(since) >= length)
        };
        if is_over(self.start, self.clocks.total) {
            Some(Due::Total)
        } else {
            (self.waiting_for_first && is_over(self.asked, self.clocks.first_token)).then_some(Due::FirstToken)
        }
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
        let mut timers = Timers::new(clocks, start, start);
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
        assert_eq!(timers.overdue(start + s(59)), None);
        assert_eq!(timers.overdue(start + s(60)), Some(Due::Total));
        assert_eq!(timers.next(), Some((start + s(60), Due::Total)));
    }

    #[test]
    fn without_a_first_token_clock_the_idle_clock_stands_in() {
        let start = Instant::now();
        let mut timers = Timers::new(Clocks { idle: Some(s(5)), ..Clocks::default() }, start, start);
        assert_eq!(timers.next(), None);
        timers.upstream_silent(start);
        assert_eq!(timers.next(), Some((start + s(5), Due::Idle)));
    }

    #[test]
    fn lengths_without_meaning_are_none() {
        let start = Instant::now();
        let off = Clocks { total: Some(Duration::MAX), keep_alive: Some(Duration::ZERO), ..Clocks::default() };
        assert_eq!(Timers::new(off, start, start).next(), None);
        assert_eq!(Timers::new(off, start, start).overdue(start + s(1_000)), None);
    }
}
