//! A deadline that moves: later with every sign of life, and rarely earlier.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// Waits for an instant that is named anew at each poll.
///
/// The timer below is set no later than needed, and not put off when the instant moves on: a wake-up that
/// comes too early, once in a while, costs less than setting a timer for each chunk.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the timer goes off and whom it wakes, if it was polled to its rest. Here and not only in it, so that
    /// a look before then costs no cache line.
    set_for: Option<(Instant, Waker)>,
}

impl Alarm {
    /// Whether the timer is set for later than `now`, and wakes this task then.
    pub fn is_set(&self, cx: &Context<'_>, now: Instant) -> bool {
        self.set_for.as_ref().is_some_and(|(at, waker)| now < *at && waker.will_wake(cx.waker()))
    }

    /// Ready with the time of day when `at` has come. `now` is the time of day, which may be a little old.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant, mut now: Instant) -> Poll<Instant> {
        loop {
            if let Some((set_for, waker)) = &self.set_for
                && *set_for <= at
                && now < *set_for
                && waker.will_wake(cx.waker())
            {
                return Poll::Pending;
            }
            let due = self.set_for.take().map_or(at, |(set_for, _)| set_for.min(at));
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                // A task that has used up its turn gets 'pending' from everything, and is woken again by itself.
                if has_budget_remaining() {
                    self.set_for = Some((due, cx.waker().clone()));
                }
                return Poll::Pending;
            }
            now = Instant::now();
            if now >= at {
                return Poll::Ready(now);
            }
        }
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
        let first = poll_fn(|cx| Poll::Ready(alarm.poll(cx, at, Instant::now()))).await;
        assert!(first.is_pending());
        at = start + Duration::from_secs(25);
        let rung = poll_fn(|cx| alarm.poll(cx, at, Instant::now())).await;
        assert_eq!(rung, start + Duration::from_secs(25), "put off");
        at = start + Duration::from_mins(1);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, at, Instant::now()))).await.is_pending());
        at = start + Duration::from_secs(30);
        assert_eq!(
            poll_fn(|cx| alarm.poll(cx, at, Instant::now())).await,
            start + Duration::from_secs(30),
            "brought forward"
        );
    }
}
