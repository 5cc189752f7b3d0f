//! A waker between something that is polled and its task.
//!
//! It does two things. Wake-ups that come during the poll itself don't wake the task that is awake, and what
//! has not rung since it came to rest need not be polled at all.
//!
//! Behind one stands what a connection's task would look at with each chunk, nearly always in vain: a client's
//! hang-up, and bytes that it sends while it is being answered. Wake-ups that come during a poll are noted, and
//! answered by going round once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Rounds of one poll. Two are usual; more is somebody who wakes himself, whom the task's own turn must
/// bound (tokio's budget and hyper's yields work that way).
const ROUNDS_MAX: usize = 4;

/// One thing that is polled: a socket, a timer, an exchange. Gives all of its wakers to one task at a time.
#[derive(Debug, Default)]
pub struct Bell {
    own: Option<(Arc<Clapper>, Waker)>,
    /// The last poll came to rest: until the bell rings there is nothing to do.
    at_rest: bool,
}

#[derive(Debug)]
struct Clapper {
    task: Waker,
    /// Whoever wakes now finds the one to be woken awake.
    polling: AtomicBool,
    /// Somebody woke since the last turn began.
    rung: AtomicBool,
}

impl Bell {
    /// Polls `turn` until it is ready or has come to rest. `Pending` leaves the task's waker registered with
    /// everything that `turn` polled.
    ///
    /// hyper polls for the end of a connection whenever it polls for anything, in vain nearly always. That costs
    /// one flag here: everything that `turn` polls wakes through the bell, and it has not rung.
    pub fn poll<T>(&mut self, cx: &Context<'_>, mut turn: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let at_rest = std::mem::take(&mut self.at_rest);
        let is_new = self.own.as_ref().is_none_or(|(bell, _)| !bell.task.will_wake(cx.waker()));
        let (bell, waker) = self.of(cx.waker(), is_new);
        if at_rest && !is_new && !bell.rung.load(Ordering::Acquire) {
            self.at_rest = true;
            return Poll::Pending;
        }
        let mut own = Context::from_waker(waker);
        bell.polling.store(true, Ordering::Release);
        let mut result = Poll::Pending;
        for _ in 0..ROUNDS_MAX {
            bell.rung.store(false, Ordering::Release);
            result = turn(&mut own);
            if result.is_ready() || !bell.rung.load(Ordering::Acquire) {
                break;
            }
        }
        bell.polling.store(false, Ordering::SeqCst);
        // Whoever gets 'ready' polls again.
        if result.is_pending() {
            if bell.rung.load(Ordering::SeqCst) {
                // Not at rest after all rounds, or woken by another thread just now.
                bell.task.wake_by_ref();
            } else {
                self.at_rest = true;
            }
        }
        result
    }

    /// What is polled has changed by itself: the next poll looks at it whether or not it has rung.
    pub fn disturb(&mut self) {
        self.at_rest = false;
    }

    /// The bell of this task. A body rarely changes tasks, so this allocates once per exchange.
    fn of(&mut self, task: &Waker, is_new: bool) -> &(Arc<Clapper>, Waker) {
        if is_new {
            let bell = Arc::new(Clapper {
                task: task.clone(),
                polling: AtomicBool::new(false),
                rung: AtomicBool::new(false),
            });
            let waker = Waker::from(bell.clone());
            self.own = Some((bell, waker));
        }
        self.own.as_ref().expect("set above")
    }
}

impl Wake for Clapper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.polling.load(Ordering::SeqCst) {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn check(turns_that_wake: usize, expected: (usize, usize)) {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let mut signal = Bell::default();
        let mut turns = 0;
        let result: Poll<()> = signal.poll(&Context::from_waker(&task), |cx| {
            turns += 1;
            if turns <= turns_that_wake {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert!(result.is_pending());
        assert_eq!((turns, count.0.load(Ordering::SeqCst)), expected);
    }

    #[test]
    fn wakes_during_a_poll_are_answered_within_it() {
        check(0, (1, 0));
        check(1, (2, 0));
        check(3, (4, 0));
    }

    #[test]
    fn whoever_never_rests_waits_for_the_tasks_next_turn() {
        check(usize::MAX, (ROUNDS_MAX, 1));
    }

    #[test]
    fn wakes_between_polls_reach_the_task() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let mut signal = Bell::default();
        let mut kept = None;
        let result: Poll<()> = signal.poll(&Context::from_waker(&task), |cx| {
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        assert!(result.is_pending());
        kept.expect("kept").wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
