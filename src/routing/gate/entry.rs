//! The gate that tasks stand before: the lock around queue and limit, and the wakers of those who wait.

use std::collections::BTreeMap;
use std::pin::Pin;
#[expect(clippy::disallowed_types, reason = "a wait queue in order fits no atomic: see `Gate`")]
use std::sync::Mutex;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::routing::gate::adaptive::{AdaptiveLimit, Sample};
use crate::routing::gate::queue::{Queue, Tenant, Ticket};
use crate::routing::gate::{Class, Full, GatePolicy, Limit};

/// Stands before one target that has a limit; shared by all workers.
///
/// Its lock is held for some hundred nanoseconds (a few steps in small ordered maps), never across an await, and
/// no waker is cloned, woken or dropped under it: a waker is foreign code, and the last one of a task drops what
/// the task holds, which may be a [`Seat`] of this very gate. A poisoned lock is taken over: nothing under it
/// calls foreign code, and one request that panicked must not shut the target for all.
#[derive(Debug)]
pub struct Gate {
    #[expect(
        clippy::disallowed_types,
        reason = "held for some hundred nanoseconds, never across an await or a wake; only targets with a limit"
    )]
    state: Mutex<State>,
    adaptive: bool,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// `None` for a fixed limit.
    limit: Option<AdaptiveLimit>,
    /// By the number of the ticket: one for each [`Entering`] that holds a ticket.
    waiters: BTreeMap<u64, Waiter>,
}

/// What an [`Entering`] with a ticket is about to see.
#[derive(Debug)]
enum Waiter {
    /// Still waits; `None` until it was polled.
    Waiting(Option<Waker>),
    /// Has a place, which nobody has picked up yet.
    Seated,
}

/// Wakers to be woken when the lock is free again, in the order in which their tasks were seated.
#[must_use = "who is not woken waits for ever"]
struct Wakes(Vec<Waker>);

/// A place in flight. Dropping it, on whatever thread, gives it back and seats the next waiter.
#[derive(Debug)]
#[must_use = "the place is given back when it is dropped"]
pub struct Seat {
    gate: Arc<Gate>,
    class: Class,
}

/// Waits for a [`Seat`]. Dropping it frees its place in the queue at once, and passes a seat on that it was
/// given and has not seen.
#[derive(Debug)]
#[must_use = "it leaves the queue when it is dropped"]
pub struct Entering {
    gate: Arc<Gate>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// There was room at once.
    Seated(Seat),
    Waits(Ticket),
    Done,
}

impl Gate {
    /// An empty gate.
    pub fn new(policy: GatePolicy) -> Arc<Self> {
        let (places, limit) = match policy.limit {
            Limit::Fixed(places) => (places.max(1), None),
            Limit::Adaptive { initial, min, max } => {
                let limit = AdaptiveLimit::new(initial, min, max);
                (limit.get(), Some(limit))
            }
        };
        let adaptive = limit.is_some();
        let queue = Queue::new(places, policy.batch_share_max, policy.queue_max);
        let state = State { queue, limit, waiters: BTreeMap::new() };
        Arc::new(Self { state: state.into(), adaptive })
    }

    /// A place, if one is free for this class and nobody of the same or a higher class waits.
    pub fn try_enter(self: &Arc<Self>, class: Class) -> Option<Seat> {
        let entered = self.lock().queue.try_enter(class);
        entered.then(|| self.seat(class))
    }

    /// A place, or a place in the queue: the future is ready at its first poll if there was room.
    ///
    /// `tenant` is whom the queue is fair between; `None` are all that have no key, together.
    ///
    /// # Errors
    /// [`Full`] when as many wait as [`GatePolicy::queue_max`] allows.
    pub fn enter(self: &Arc<Self>, class: Class, tenant: Tenant) -> Result<Entering, Full> {
        let mut state = self.lock();
        let step = if state.queue.try_enter(class) {
            Step::Seated(self.seat(class))
        } else {
            let ticket = state.queue.join(class, tenant)?;
            state.waiters.insert(ticket.number, Waiter::Waiting(None));
            Step::Waits(ticket)
        };
        drop(state);
        Ok(Entering { gate: Arc::clone(self), step })
    }

    /// Tells an adaptive limit what an attempt has shown, and seats whom a grown limit has room for. For a fixed
    /// limit it does nothing, and does not lock. `now` is the time since any fixed moment.
    pub fn learn(&self, sample: Sample, now: Duration) {
        if !self.adaptive {
            return;
        }
        self.change(|state| {
            let in_flight = state.queue.in_flight();
            if let Some(limit) = &mut state.limit {
                limit.learn(sample, in_flight, now);
                state.queue.set_limit(limit.get());
            }
        });
    }

    /// Places there are now.
    pub fn limit(&self) -> u32 {
        self.lock().queue.limit()
    }

    /// Places taken now, among them those given to a future that has not been polled since. Above
    /// [`Gate::limit`] for a while after that has fallen.
    pub fn in_flight(&self) -> u32 {
        self.lock().queue.in_flight()
    }

    /// Those of `class` that wait now.
    pub fn waiting(&self, class: Class) -> usize {
        self.lock().queue.waiting(class)
    }

    fn seat(self: &Arc<Self>, class: Class) -> Seat {
        Seat { gate: Arc::clone(self), class }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, seats whom it has room for then, and wakes these. What `change` returns is dropped by
    /// the caller, when the lock is free again.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let wakes = state.seat_waiters();
        drop(state);
        wakes.wake();
        result
    }
}

impl State {
    fn seat_waiters(&mut self) -> Wakes {
        let mut wakes = Vec::new();
        while let Some(ticket) = self.queue.seat_next() {
            if let Some(Waiter::Waiting(Some(waker))) = self.waiters.insert(ticket.number, Waiter::Seated) {
                wakes.push(waker);
            }
        }
        Wakes(wakes)
    }
}

impl Wakes {
    fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}

impl Seat {
    /// The class that it counts for.
    pub fn class(&self) -> Class {
        self.class
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.change(|state| state.queue.leave(self.class));
    }
}

impl Entering {
    /// The place that was given to `ticket`, or a place among the waiters for `waker`.
    fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Poll<Seat> {
        // Before the lock, as it may be foreign code; one who is polled and seated pays a clone for nothing.
        let waker = waker.clone();
        let mut state = self.gate.lock();
        let (seated, unused) = match state.waiters.get_mut(&ticket.number) {
            Some(Waiter::Waiting(known)) => (false, known.replace(waker)),
            Some(Waiter::Seated) => {
                state.waiters.remove(&ticket.number);
                (true, Some(waker))
            }
            // Every ticket has its waiter until it is picked up or dropped.
            None => unreachable!("a ticket without a waiter"),
        };
        drop(state);
        drop(unused);
        if seated { Poll::Ready(self.gate.seat(ticket.class)) } else { Poll::Pending }
    }
}

impl Future for Entering {
    type Output = Seat;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Seat> {
        let this = &mut *self;
        match std::mem::replace(&mut this.step, Step::Done) {
            Step::Seated(seat) => Poll::Ready(seat),
            Step::Waits(ticket) => {
                let polled = this.poll_ticket(ticket, cx.waker());
                if polled.is_pending() {
                    this.step = Step::Waits(ticket);
                }
                polled
            }
            Step::Done => panic!("`Entering` was polled after it was ready"),
        }
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        // A seat that was there at once is dropped with its field.
        let Step::Waits(ticket) = self.step else { return };
        let waiter = self.gate.change(|state| {
            let waiter = state.waiters.remove(&ticket.number);
            match waiter {
                Some(Waiter::Seated) => state.queue.leave(ticket.class),
                _ => state.queue.cancel(ticket),
            }
            waiter
        });
        drop(waiter);
    }
}

#[cfg(test)]
impl Gate {
    /// Places that batch holds and may hold, and tenants and waiters that are remembered.
    pub(super) fn inside(&self) -> (u32, u32, usize, usize) {
        let state = self.lock();
        let queue = &state.queue;
        (queue.seated(Class::Batch), queue.batch_max(), queue.tenants(), state.waiters.len())
    }

    /// A panic under the lock.
    pub(super) fn poison(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        let panicking = std::thread::spawn(move || {
            let _state = gate.lock();
            panic!("under the lock");
        });
        assert!(panicking.join().is_err() && self.state.is_poisoned());
    }
}
