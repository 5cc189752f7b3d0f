//! How things wake tasks: a value that one task sets and many tasks of the same core watch, such as 'the process drains'.
//!
//! Cheaper per watcher than a channel: reading it is a plain load, and a watcher is woken only by a change.

pub mod alarm;
pub mod bell;
pub mod duplex;
pub mod rest;
pub mod trail;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

/// Places that the list of wakers may keep without holding anything.
const TRIMMED_FROM: usize = 1024;

/// How far the process is on its way out. Only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Serve,
    /// No new requests: what runs may finish, idle connections close.
    Finish,
    /// What still runs ends now, with an error in its dialect.
    End,
}

/// The setting side. Dropping it changes nothing for the watchers.
pub struct Signal<T>(Rc<Shared<T>>);

/// One watcher. Dropping it forgets its waker.
pub struct Watch<T> {
    shared: Rc<Shared<T>>,
    key: usize,
    /// Whom the shared list wakes for us, and since which change: polling again is a look at this.
    listed: RefCell<Option<(Waker, u64)>>,
}

struct Shared<T> {
    value: Cell<T>,
    /// Counts changes. Each takes all wakers out of the list.
    changes: Cell<u64>,
    /// `None` is a watcher that has not been polled since the last change.
    wakers: RefCell<Slab<Option<Waker>>>,
}

impl<T: Copy> Signal<T> {
    /// A signal that starts at `value`.
    pub fn new(value: T) -> Self {
        let wakers = RefCell::new(Slab::new());
        Self(Rc::new(Shared { value: Cell::new(value), changes: Cell::new(0), wakers }))
    }

    /// Changes the value and wakes every watcher.
    pub fn set(&self, value: T) {
        self.0.value.set(value);
        self.0.changes.set(self.0.changes.get() + 1);
        // Taken out first: a woken task may run at once and watch again.
        let woken: Vec<Waker> =
            self.0.wakers.borrow_mut().iter_mut().filter_map(|(_, slot)| slot.take()).collect();
        for waker in woken {
            waker.wake();
        }
    }

    /// The current value.
    pub fn get(&self) -> T {
        self.0.value.get()
    }

    /// Gives back what a crowd of watchers has left, down to the last place that is taken. To be called now and then.
    pub fn trim(&self) {
        let mut wakers = self.0.wakers.borrow_mut();
        if wakers.capacity() > TRIMMED_FROM && wakers.len() < wakers.capacity() / 4 {
            wakers.shrink_to_fit();
        }
    }

    /// A new watcher.
    pub fn watch(&self) -> Watch<T> {
        let key = self.0.wakers.borrow_mut().insert(None);
        Watch { shared: Rc::clone(&self.0), key, listed: RefCell::new(None) }
    }
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: Copy> Watch<T> {
    /// The current value.
    pub fn get(&self) -> T {
        self.shared.value.get()
    }

    /// The current value; the task of `cx` is woken when it changes.
    pub fn poll(&self, cx: &Context<'_>) -> T {
        let changes = self.shared.changes.get();
        let mut listed = self.listed.borrow_mut();
        if !matches!(&*listed, Some((waker, at)) if *at == changes && waker.will_wake(cx.waker())) {
            self.shared.wakers.borrow_mut()[self.key] = Some(cx.waker().clone());
            *listed = Some((cx.waker().clone(), changes));
        }
        self.shared.value.get()
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.shared.wakers.borrow_mut().remove(self.key);
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.get()).finish()
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_change_wakes_a_parked_watcher_and_dropping_one_forgets_it() {
        let signal = Signal::new(Phase::Serve);
        let forgotten = signal.watch();
        let watch = signal.watch();
        let parked = poll_fn(|cx| if watch.poll(cx) == Phase::Finish { Poll::Ready(()) } else { Poll::Pending });
        let setter = async {
            drop(forgotten);
            signal.set(Phase::Finish);
        };
        tokio::join!(parked, setter);
        assert_eq!(signal.0.wakers.borrow().len(), 1);
    }
}
