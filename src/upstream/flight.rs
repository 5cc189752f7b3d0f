//! One maker at a time: whoever wants the same thing meanwhile waits for its outcome.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

/// Something that is made once and shared: a connection, a resolved name. `E` is why making it failed.
#[derive(Debug)]
pub(super) struct Flight<E> {
    busy: Cell<bool>,
    /// Flights that landed, to tell a landing from a leader that gave up.
    landed: Cell<u64>,
    outcome: RefCell<Result<(), E>>,
    done: Notify,
}

/// The caller's part.
#[derive(Debug)]
pub(super) enum Turn<'a, E> {
    /// Make it, then say how it went.
    Lead(Leader<'a, E>),
    /// Somebody else made it, or failed to.
    Landed(Result<(), E>),
}

/// The right to make it. Dropped without [`Leader::landed`], the next one in line leads.
#[derive(Debug)]
pub(super) struct Leader<'a, E>(&'a Flight<E>);

impl<E> Default for Flight<E> {
    fn default() -> Self {
        Self { busy: Cell::new(false), landed: Cell::new(0), outcome: RefCell::new(Ok(())), done: Notify::new() }
    }
}

impl<E: Clone> Flight<E> {
    /// Leads if nobody does, and waits otherwise.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue; dropping the [`Leader`] passes the lead on.
    pub(super) async fn join(&self) -> Turn<'_, E> {
        let before = self.landed.get();
        loop {
            if !self.busy.replace(true) {
                return Turn::Lead(Leader(self));
            }
            self.done.notified().await;
            if self.landed.get() != before {
                return Turn::Landed(self.outcome.borrow().clone());
            }
        }
    }
}

impl<E> Leader<'_, E> {
    /// Tells everybody who waits.
    pub(super) fn landed(self, outcome: Result<(), E>) {
        *self.0.outcome.borrow_mut() = outcome;
        self.0.landed.set(self.0.landed.get() + 1);
    }
}

impl<E> Drop for Leader<'_, E> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.done.notify_waiters();
    }
}
