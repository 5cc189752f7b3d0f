//! What the ring knows of one socket.

use std::os::fd::OwnedFd;
use std::task::Waker;

use rustix::io::Errno;
use socket2::SockAddr;

use super::memory::Block;
use super::provided::Held;
use crate::reactor::lookout::Watched;

/// One socket and all that is under way on it. Lives until its owner has let go of it and the kernel has
/// finished every operation, so that no completion ever finds another socket under its key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) fd: OwnedFd,
    /// What comes here may end a rest of the worker.
    pub(super) watched: Watched,
    /// Tells it from an earlier one under the same key.
    pub(super) serial: u32,
    /// Operations whose last completion has not come.
    pub(super) operations: u32,
    /// Nobody owns it any more.
    pub(super) closing: bool,
    /// Bytes came in that nobody has read: `close` on them resets the connection.
    pub(super) reset: bool,
    pub(super) receive: Receive,
    pub(super) send: Send,
    pub(super) hangup: Hangup,
    pub(super) role: Role,
}

/// Besides moving bytes.
#[derive(Debug)]
pub(super) enum Role {
    /// Nothing.
    Stream,
    Connecting(Box<Connecting>),
    Listening(Box<Listening>),
}

#[derive(Debug)]
pub(super) struct Connecting {
    /// Read by the kernel.
    pub(super) address: SockAddr,
    pub(super) result: Option<Result<(), Errno>>,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) armed: Armed,
    pub(super) waker: Option<Waker>,
}

/// An operation that waits until something happens, or it is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Armed {
    #[default]
    No,
    Yes,
    /// To be cancelled; its last completion has not come.
    Cancelled,
}

impl Armed {
    /// Whether it has to be cancelled now.
    pub(super) fn call_off(&mut self) -> bool {
        let due = *self == Self::Yes;
        if due {
            *self = Self::Cancelled;
        }
        due
    }

    /// It could not be cancelled; unless it has ended meanwhile, it goes on.
    pub(super) fn go_on(&mut self) {
        if *self == Self::Cancelled {
            *self = Self::Yes;
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Receive {
    pub(super) armed: Armed,
    /// It ended for want of buffers, and is in the list of those to be armed again.
    pub(super) starving: bool,
    /// Bytes that nobody has read. Nothing more is received before they are.
    pub(super) held: Option<Held>,
    /// Those of `held`, moved out of it because buffers had become scarce.
    pub(super) spilled: Option<Box<Spilled>>,
    /// Behind them there is more in the kernel, or was.
    pub(super) more: bool,
    pub(super) end: Option<End>,
    pub(super) waker: Option<Waker>,
}

impl Receive {
    pub(super) fn is_unread(&self) -> bool {
        self.held.is_some() || self.spilled.is_some()
    }
}

/// Bytes outside of the shared buffers.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    pub(super) bytes: Vec<u8>,
    pub(super) start: usize,
}

/// After this nothing comes.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Eof,
    /// Told once; `Eof` from then on, as the kernel does.
    Failed(Errno),
}

#[derive(Debug, Default)]
pub(super) struct Send {
    /// Accepted bytes. Not touched while an operation is under way.
    pub(super) block: Option<Block>,
    /// Where the bytes begin that the kernel has not taken, and where they end.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) in_flight: bool,
    /// In the list of those to be submitted by the next turn.
    pub(super) queued: bool,
    /// What is not sent now never is.
    pub(super) given_up: bool,
    pub(super) error: Option<Errno>,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Hangup {
    /// A poll operation is under way.
    pub(super) armed: bool,
    pub(super) hung_up: bool,
    /// Futures that wait.
    pub(super) watchers: u32,
    pub(super) wakers: Vec<Waker>,
}

impl Entry {
    pub(super) fn new(fd: OwnedFd, serial: u32, role: Role) -> Self {
        let watched = match role {
            Role::Connecting(_) => Watched::connecting(&fd),
            Role::Stream | Role::Listening(_) => Watched::new(&fd),
        };
        Self {
            fd,
            watched,
            serial,
            operations: 0,
            closing: false,
            reset: false,
            receive: Receive::default(),
            send: Send::default(),
            hangup: Hangup::default(),
            role,
        }
    }

    /// Whether accepted bytes have not reached the kernel.
    pub(super) fn is_sending(&self) -> bool {
        self.send.in_flight || self.send.queued
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn a_socket_is_small() {
        assert!(size_of::<Entry>() <= 300, "{} bytes", size_of::<Entry>());
    }
}
