//! The task that turns the ring.
//!
//! It is woken by the first operation that is queued after a turn, and so runs at the end of the lap through the
//! runtime's queue: everything that the tasks of this lap have asked for is submitted in one call, and what has
//! come in meanwhile is handed out in the same. When there is nothing left, it sleeps on an event descriptor in
//! tokio's epoll, and the thread with it.
//!
//! Facts of tokio 1.54 behind this (`current_thread`, which a `LocalRuntime` is):
//! - `on_thread_park` runs only before the runtime would block. A runtime whose queue does not become empty calls
//!   the driver every 61 polls without it, and so does one in which a task yields: a ring turned by that hook alone
//!   would stand still meanwhile. Woken by its operations, the task needs nobody.
//! - When the hook wakes somebody, tokio still asks epoll once, without waiting: one more call per lap. Turned from
//!   here, a busy ring costs one such call in 61 polls.
//! - A wake-up on the same thread goes to the end of the queue; there is no slot for the last one.
//!
//! And of the kernel: the event descriptor is signalled for the first piece of deferred work after a turn and for
//! each completion posted, unless switched off, which it is while we reap. It is watched for edges, and each
//! signal is one whether or not the descriptor was read; so it never is.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::core::{Core, Ring};

/// Paced: how long what has come in waits for the one who paces, and for how many laps. A runtime that never parks
/// never calls him.
const PATIENCE: Duration = Duration::from_millis(1);
const UNTURNED_LAPS_MAX: u32 = 16;

/// See above.
pub(super) struct Pump {
    ring: Rc<Ring>,
    event: AsyncFd<OwnedFd>,
    /// For sockets that nobody owns any more.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Paced: turns made until the last lap, and laps since one was.
    turns: u64,
    unturned: u32,
    /// Paced: something has come in, and this is when it is handed out at the latest.
    owed: Option<Pin<Box<Sleep>>>,
}

impl Pump {
    pub(super) fn new(ring: Rc<Ring>, event: AsyncFd<OwnedFd>) -> Self {
        Self { ring, event, alarm: None, turns: 0, unturned: 0, owed: None }
    }

    /// Whether the event descriptor was signalled; registers for the next time.
    fn poll_event(&self, cx: &mut Context<'_>) -> bool {
        let mut signalled = false;
        while let Poll::Ready(Ok(mut ready)) = self.event.poll_read_ready(cx) {
            ready.clear_ready();
            signalled = true;
        }
        signalled
    }

    /// Paced: whether this lap ends with a whole turn all the same. Otherwise it submits, and leaves the rest to
    /// the one who paces.
    fn is_due(&mut self, turns: u64, signalled: bool, cx: &mut Context<'_>) -> bool {
        self.unturned = if turns == self.turns { self.unturned + 1 } else { 0 };
        if signalled && self.owed.is_none() {
            self.owed = Some(Box::pin(sleep(PATIENCE)));
        }
        let Some(owed) = &mut self.owed else { return self.unturned >= UNTURNED_LAPS_MAX };
        let due = self.unturned > 0 || owed.as_mut().poll(cx).is_ready();
        if due {
            self.owed = None;
        }
        due
    }

    /// Sees to those who linger.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) {
        while let Some(due) = self.ring.with(Core::linger_until) {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.ring.with(|core| core.linger_over(Instant::now()));
        }
        self.alarm = None;
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ring = Rc::clone(&self.ring);
        ring.with(|core| core.pump_runs(cx));
        let signalled = self.poll_event(cx);
        let (is_paced, turns) = ring.with(|core| (core.is_paced(), core.counts().turns));
        let due = !is_paced || self.is_due(turns, signalled, cx);
        let alive = ring.with(|core| {
            if due {
                core.turn();
            } else {
                core.submit();
            }
            self.turns = core.counts().turns;
            core.alive().is_ok()
        });
        if !alive {
            return Poll::Ready(());
        }
        self.poll_alarm(cx);
        Poll::Pending
    }
}
