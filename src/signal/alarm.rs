//! A deadline that moves: later with every sign of life, and rarely earlier.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::bell::Bell;

/// Waits for an instant that is named anew at each poll.
///
/// The timer below is set no later than needed, and not put off when the instant moves on: a wake-up that
/// comes too early, once in a while, costs less than setting a timer for each chunk.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the timer goes off. Here and not only in it, so that a look costs no cache line.
    set_for: Option<Instant>,
    bell: Bell,
}

impl Alarm {
    /// Ready with the time of day when `at` has come.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<Instant> {
        loop {
            if self.set_for.is_none_or(|set_for| set_for > at) {
                self.set(at);
            }
            let Some(sleep) = &mut self.sleep else { return Poll::Pending };
            ready!(self.bell.poll(cx, |cx| sleep.as_mut().poll(cx)));
            let now = Instant::now();
            if now >= at {
                return Poll::Ready(now);
            }
            self.set(at);
        }
    }

    fn set(&mut self, at: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
        self.set_for = Some(at);
        self.bell.disturb();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_the_instant_named_last() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let mut at = start + Duration::from_secs(10);
        let first = poll_fn(|cx| Poll::Ready(alarm.poll(cx, at))).await;
        assert!(first.is_pending());
        at = start + Duration::from_secs(25);
        let rung = poll_fn(|cx| alarm.poll(cx, at)).await;
        assert_eq!(rung, start + Duration::from_secs(25), "put off");
        at = start + Duration::from_mins(1);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, at))).await.is_pending());
        at = start + Duration::from_secs(30);
        assert_eq!(poll_fn(|cx| alarm.poll(cx, at)).await, start + Duration::from_secs(30), "brought forward");
    }
}
