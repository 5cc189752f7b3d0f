//! A listening socket of this worker's instance.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::task::coop;

use super::entry::{Ready, renew};
use super::poller::Poller;
use super::socket::Socket;
use crate::reactor::lookout::Watched;

/// See above.
#[derive(Debug)]
pub(in crate::reactor) struct Listener(Socket);

impl Listener {
    /// Takes over a socket that listens and does not block.
    pub(in crate::reactor) fn new(poller: &Rc<Poller>, fd: OwnedFd) -> io::Result<Self> {
        let watched = Watched::new(&fd);
        Socket::add(poller, fd, watched, Ready::READABLE).map(Self)
    }

    /// The next connection, and who connected if that has an address.
    pub(in crate::reactor) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        let mut core = self.0.poller.core();
        let entry = core.entry(self.0.key);
        if entry.ready.is(Ready::READABLE) {
            // A crowd that does not end shall not keep the worker.
            let turn = ready!(coop::poll_proceed(cx));
            match acceptfrom_with(&entry.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((fd, peer)) => {
                    turn.made_progress();
                    entry.watched.read(&entry.fd);
                    drop(core);
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    return Poll::Ready(Socket::new(&self.0.poller, fd).map(|socket| (socket, peer)));
                }
                Err(Errno::AGAIN) => entry.ready.remove(Ready::READABLE),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let replaced = renew(&mut entry.reader, cx);
        drop(core);
        drop(replaced);
        self.0.poller.alive()?;
        Poll::Pending
    }
}
