//! Accepting: the ring tells when there is somebody, and then they are taken one by one.
//!
//! Not by a multishot accept: it takes descriptors before anybody has decided whether a connection is wanted.
//! Under a limit of 64 a burst of 200 then leaves none for upstreams, and the refusals wait for descriptors that
//! the waiting connections hold. What is spared either way is the registration of each connection with epoll.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use io_uring::opcode::PollAdd;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::core::Core;
use super::entry::{Armed, Listening, Role};
use super::operation::Operation;

impl Core {
    fn listening(&mut self, key: u32) -> Option<&mut Listening> {
        match &mut self.entry(key).role {
            Role::Listening(listening) => Some(listening),
            Role::Stream | Role::Connecting(_) => None,
        }
    }

    /// The next connection and who connected, if that has an address. When it is pending, nothing lies in the
    /// kernel's queue either.
    pub(super) fn poll_accept(
        &mut self,
        key: u32,
        cx: &Context<'_>,
    ) -> Poll<io::Result<(OwnedFd, Option<SocketAddr>)>> {
        self.alive()?;
        let entry = self.entry(key);
        match acceptfrom_with(&entry.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((fd, peer)) => {
                entry.watched.read(&entry.fd);
                return Poll::Ready(Ok((fd, peer.and_then(|peer| SocketAddr::try_from(peer).ok()))));
            }
            Err(Errno::AGAIN) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        let waker = self.listening(key).and_then(|listening| listening.waker.take());
        let waker = self.renew(waker, cx);
        if let Some(listening) = self.listening(key) {
            listening.waker = Some(waker);
        }
        self.arm_accept(key);
        Poll::Pending
    }

    fn arm_accept(&mut self, key: u32) {
        let Some(listening) = self.listening(key) else { return };
        if listening.armed != Armed::No {
            return;
        }
        listening.armed = Armed::Yes;
        let events = PollFlags::IN.bits().into();
        // SAFETY: points to nothing.
        unsafe { self.begin(key, Operation::Accept, |fd, _| PollAdd::new(fd, events).build()) };
    }

    /// Somebody has connected.
    pub(super) fn acceptable(&mut self, key: u32) {
        if let Some(listening) = self.listening(key) {
            listening.armed = Armed::No;
            let waker = listening.waker.take();
            self.wake(waker);
        }
    }
}
