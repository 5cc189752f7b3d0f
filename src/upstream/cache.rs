//! Unused HTTP/1.1 connections to one upstream. Polled by nobody; looked at when taken and when swept.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::Instant;

use super::acks::Acks;
use super::http1::Link;

/// Last in, first out: the warmest connection is used again, and those not needed grow old and are closed.
/// Bounded by the upstream's cap on connections.
#[derive(Debug)]
pub(super) struct Cache {
    #[expect(clippy::vec_box, reason = "a link is boxed for life: its owners pass the box on")]
    links: RefCell<Vec<Box<Link>>>,
    idle_timeout: Duration,
    lifetime_max: Duration,
    /// Of all its streams.
    pub(super) acks: Acks,
}

impl Cache {
    pub(super) fn new(idle_timeout: Duration, lifetime_max: Duration) -> Self {
        Self { links: RefCell::default(), idle_timeout, lifetime_max, acks: Acks::default() }
    }

    /// Keeps the connection of an exchange that has ended, if it may be used again; closes it otherwise.
    pub(super) fn put(&self, mut link: Box<Link>) {
        let now = Instant::now();
        if link.age(now) < self.lifetime_max && link.park(now) {
            self.links.borrow_mut().push(link);
        }
    }

    /// The connection used last that is still good. Those that are not are closed on the way.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        loop {
            // In a statement of its own: closing a connection must not happen under the borrow.
            let link = self.links.borrow_mut().pop();
            let mut link = link?;
            if self.is_good(&mut link) {
                return Some(link);
            }
        }
    }

    /// Closes what is closed, too old or unused for too long.
    pub(super) fn sweep(&self) {
        self.links.borrow_mut().retain_mut(|link| self.is_good(link));
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.links.borrow_mut().clear();
    }

    fn is_good(&self, link: &mut Link) -> bool {
        let now = Instant::now();
        link.idle_for(now) < self.idle_timeout && link.age(now) < self.lifetime_max && link.is_alive()
    }
}
