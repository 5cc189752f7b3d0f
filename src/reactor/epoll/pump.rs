//! The task that ends each lap through the runtime's queue, and makes the turns which [`park`](super::park) does not make.
//!
//! The first write that waits for the end of the lap (`outgoing`) wakes it, so it runs behind all tasks that were ready
//! then, and sends what they have written.
//!
//! It is also woken when tokio's instance reports ours readable, which it does while the thread sleeps there, and when
//! tokio asks in the midst of a turn. The first is for the pump to see to at once. The second is for `park`, which
//! comes at the end of the turn, after a rest where workers rest: a turn made before it would be one without a rest.
//! So then the pump only sees to it that `park` does come, and makes the turn itself if it has not within the
//! patience. Once that has happened it no longer waits for `park`, until that is called again.
//!
//! While the worker is busy our instance is muted: `park` finds what there is, and tokio is told nothing. Should tasks
//! begin to keep each other awake then, `park` would not come and nobody would notice: so the pump looks every
//! [`GUARD`] whether turns are made, and if not, ends the muting.
//!
//! It holds nothing of the poller, and finds it by the runtime: so it is `Send`, and can run on any runtime, also a
//! test's without local tasks. It ends with its runtime, which the poller sees by a token.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime;
use tokio::time::{Instant, Sleep, sleep};

use super::PATIENCE;
use super::poller::{EVENTS_PER_TURN, Poller, find};

/// How often a muted instance is looked after: how late sockets may be, once, when tasks begin to keep each other awake.
const GUARD: Duration = Duration::from_millis(5);

/// See above.
struct Pump {
    epoll: AsyncFd<Arc<OwnedFd>>,
    runtime: runtime::Id,
    /// `park` shall come.
    owed: Option<Owed>,
    /// How many turns had been made after the last one that was overdue.
    overdue: Option<u64>,
    /// The last turn found as much as it could.
    more: bool,
    /// While the instance is muted: when to look, and how many turns had been made.
    guard: Option<(Pin<Box<Sleep>>, u64)>,
    _token: Arc<()>,
}

/// Something has happened that no turn has told.
struct Owed {
    alarm: Pin<Box<Sleep>>,
    /// How many turns had been made when the alarm was set, and when something was reported last.
    set_after: u64,
    reported_after: u64,
}

/// Starts the pump of `runtime`, the one that runs. Nothing holds what is returned any more when it has ended.
///
/// # Errors
/// When tokio's instance can't take ours.
#[expect(deprecated, reason = "its successor is unsafe for the sake of types that change their descriptor")]
#[expect(clippy::disallowed_methods, reason = "this task has to run where there are no local ones")]
pub(super) fn start(epoll: Arc<OwnedFd>, runtime: runtime::Id) -> io::Result<Weak<()>> {
    let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
    let token = Arc::new(());
    let alive = Arc::downgrade(&token);
    drop(tokio::spawn(Pump {
        epoll,
        runtime,
        owed: None,
        overdue: None,
        more: false,
        guard: None,
        _token: token,
    }));
    Ok(alive)
}

impl Pump {
    /// Whether our instance was reported; registers for the next time.
    fn poll_reported(&self, cx: &mut Context<'_>) -> bool {
        let mut reported = false;
        while let Poll::Ready(Ok(mut ready)) = self.epoll.poll_read_ready(cx) {
            ready.clear_ready();
            reported = true;
        }
        reported
    }

    /// Whether the turn is the pump's to make.
    fn is_due(&mut self, poller: &Poller, reported: bool, cx: &mut Context<'_>) -> bool {
        let turns = poller.turns();
        if std::mem::take(&mut self.more) || reported && (!poller.is_driven() || self.overdue == Some(turns)) {
            self.owed = None;
            return true;
        }
        if reported {
            let set = || Owed { alarm: Box::pin(sleep(PATIENCE)), set_after: turns, reported_after: turns };
            self.owed.get_or_insert_with(set).reported_after = turns;
        }
        while let Some(owed) = &mut self.owed {
            if owed.alarm.as_mut().poll(cx).is_pending() {
                return false;
            }
            if owed.reported_after < turns {
                // It came.
                self.owed = None;
            } else if owed.set_after < turns {
                // It came, and something new was reported since.
                owed.set_after = turns;
                owed.alarm.as_mut().reset(Instant::now() + PATIENCE);
            } else {
                self.owed = None;
                return true;
            }
        }
        false
    }
}

impl Pump {
    /// Sees to it that turns are made while nobody would be told that they are not.
    fn guard(&mut self, poller: &Poller, cx: &mut Context<'_>) {
        if !poller.is_muted() {
            self.guard = None;
            return;
        }
        let now = poller.turns();
        let (alarm, turns) = self.guard.get_or_insert_with(|| (Box::pin(sleep(GUARD)), now));
        while alarm.as_mut().poll(cx).is_ready() {
            if *turns == now {
                poller.mute(false);
                self.guard = None;
                return;
            }
            *turns = now;
            alarm.as_mut().reset(Instant::now() + GUARD);
        }
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let reported = self.poll_reported(cx);
        // Let go of: nothing is left to be told.
        let Some(poller) = find(self.runtime) else { return Poll::Pending };
        poller.end_lap(cx);
        self.guard(&poller, cx);
        if self.is_due(&poller, reported, cx) {
            let is_overdue = poller.is_driven();
            if poller.turn(Duration::ZERO).events == EVENTS_PER_TURN {
                // There may be more, of which tokio's instance has told already.
                self.more = true;
                cx.waker().wake_by_ref();
            }
            self.overdue = is_overdue.then(|| poller.turns());
        }
        Poll::Pending
    }
}
