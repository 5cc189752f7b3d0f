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
    /// When the first token is overdue, and the whole.
    first_token_at: Option<Instant>,
    total_at: Option<Instant>,
    idle: Option<Duration>,
    keep_alive: Option<Duration>,
    waiting_for_first: bool,
    /// All clocks that run now ran when the alarm was set. They only move on, so that it still goes off in time.
    settled: bool,
    /// When the upstream was first found silent. Not the time of its last bytes: while the client holds the
    /// stream back nobody asks the upstream, and that is not its fault.
    silent_since: Option<Instant>,
    last_sent: Instant,
    /// Armed no earlier than needed and never put off: the clocks only move on, so a wake-up that comes too
    /// early is cheaper than a timer reset per chunk.
    alarm: Alarm,
}

impl Timers {
    pub(super) fn new(clocks: Clocks, start: Instant, asked: Instant) -> Self {
        Self {
            // A length beyond all clocks is none.
            first_token_at: clocks.first_token.and_then(|length| asked.checked_add(length)),
            total_at: clocks.total.and_then(|length| start.checked_add(length)),
            idle: clocks.idle,
            // A comment every zero seconds would be all that is ever said.
            keep_alive: clocks.keep_alive.filter(|length| !length.is_zero()),
            waiting_for_first: true,
            settled: false,
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
        self.settled = false;
    }

    /// The dialect's last word was said: only the end of the transfer is missing, and a client that reads up
    /// to it shall not wait for an upstream that forgot to close.
    pub(super) fn last_word_said(&mut self) {
        self.waiting_for_first = false;
        self.idle = Some(LAST_WORD_LINGER);
        self.keep_alive = None;
        self.settled = false;
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

    /// As [`Self::sent`] was told last, and the start before.
    pub(super) fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// Waits for the next deadline, for ever if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<(Instant, Due)> {
        if self.settled && self.alarm.is_set(cx, now) {
            return Poll::Pending;
        }
        let Some((at, due)) = self.next() else { return Poll::Pending };
        let rung = self.alarm.poll(cx, at, now);
        // The one clock that stops and begins anew is that of silence: it does not end earlier than it would have.
        self.settled = rung.is_pending() && self.silent_since.is_some();
        rung.map(|now| (now, due))
    }

    /// Waits for the end of the upstream's patience alone: for who answers for all other clocks himself.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Instant> {
        let at = self.idle();
        self.settled = false;
        at.map_or(Poll::Pending, |at| self.alarm.poll(cx, at, now))
    }

    /// When the upstream's patience is over, if it is silent. While the first token is waited for, its own clock stands
    /// in for this one.
    fn idle(&self) -> Option<Instant> {
        let has_other = self.waiting_for_first && self.first_token_at.is_some();
        let (since, length) = self.silent_since.zip(self.idle.filter(|_| !has_other))?;
        since.checked_add(length)
    }

    /// The next deadline.
    fn next(&self) -> Option<(Instant, Due)> {
        let first_token = self.first_token_at.filter(|_| self.waiting_for_first);
        let keep_alive = self.keep_alive.and_then(|length| self.last_sent.checked_add(length));
        let deadlines = [
            first_token.map(|at| (at, Due::FirstToken)),
            self.idle().map(|at| (at, Due::Idle)),
            self.total_at.map(|at| (at, Due::Total)),
            keep_alive.map(|at| (at, Due::KeepAlive)),
        ];
        deadlines.into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// The clock that has run out whatever the upstream brings: one that always has something ready never
    /// gives [`Self::next`] a turn.
    pub(super) fn overdue(&self, now: Instant) -> Option<Due> {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_over(self.total_at) {
            Some(Due::Total)
        } else {
            (self.waiting_for_first && is_over(self.first_token_at)).then_some(Due::FirstToken)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

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

    /// Pending now; what is due next, and after how many seconds from `start`.
    async fn next_due(timers: &mut Timers, start: Instant) -> (u64, Due) {
        let now = poll_fn(|cx| Poll::Ready(timers.poll(cx, Instant::now()))).await;
        assert!(now.is_pending());
        let (at, due) = poll_fn(|cx| timers.poll(cx, Instant::now())).await;
        ((at - start).as_secs(), due)
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_clock_that_begins_while_the_alarm_is_set_for_another_is_not_overslept() {
        let start = Instant::now();
        let clocks = Clocks { idle: Some(s(5)), total: Some(s(60)), keep_alive: Some(s(15)), first_token: None };
        let mut timers = Timers::new(clocks, start, start);
        timers.first_token_seen();
        assert!(poll_fn(|cx| Poll::Ready(timers.poll(cx, Instant::now()))).await.is_pending());
        timers.upstream_silent(start);
        assert_eq!(next_due(&mut timers, start).await, (5, Due::Idle));
        // Silence that is broken begins anew.
        timers.upstream_spoke();
        timers.upstream_silent(start + s(7));
        timers.sent(start + s(7));
        assert_eq!(next_due(&mut timers, start).await, (12, Due::Idle));
        // The last word shortens what is left.
        timers.upstream_spoke();
        timers.upstream_silent(start + s(12));
        assert!(poll_fn(|cx| Poll::Ready(timers.poll(cx, Instant::now()))).await.is_pending());
        timers.last_word_said();
        assert_eq!(next_due(&mut timers, start).await, (13, Due::Idle));
    }
}
