//! The shared HTTP/2 connections to one upstream: one is enough for most, more come when it is full.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::http2::{Link, Ticket};

/// Filled fullest first: the others run empty and are closed when idle, so that after a peak there are as
/// few connections as the streams need. Round-robin would keep them all half used. A connection's share of
/// the load is bounded by the limit of streams per connection.
#[derive(Debug)]
pub(super) struct Singleton {
    links: RefCell<Vec<Rc<Link>>>,
    idle_timeout: Duration,
    lifetime_max: Duration,
}

impl Singleton {
    pub(super) fn new(idle_timeout: Duration, lifetime_max: Duration) -> Self {
        Self { links: RefCell::default(), idle_timeout, lifetime_max }
    }

    /// A place on the fullest connection that has one, but not on `avoid`.
    pub(super) fn reserve(&self, avoid: Option<&Rc<Link>>) -> Option<Ticket> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| link.is_usable(self.lifetime_max));
        let avoided = |link: &Rc<Link>| avoid.is_some_and(|avoid| Rc::ptr_eq(avoid, link));
        let candidates = links.iter().filter(|link| !avoided(link) && link.has_room());
        candidates.max_by_key(|link| link.streams()).map(Link::reserve)
    }

    /// Adds a new connection and takes its first place.
    pub(super) fn add(&self, link: Rc<Link>) -> Ticket {
        let ticket = link.reserve();
        self.links.borrow_mut().push(link);
        ticket
    }

    /// Lets go of connections that may not be used again or have not been for too long; their streams go on.
    pub(super) fn sweep(&self) {
        let keep = |link: &Rc<Link>| link.is_usable(self.lifetime_max) && !link.is_idle_for(self.idle_timeout);
        self.links.borrow_mut().retain(keep);
    }

    /// Lets go of connections without streams.
    pub(super) fn clear(&self) {
        self.links.borrow_mut().retain(|link| link.streams() > 0);
    }
}
