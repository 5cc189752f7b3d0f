//! Operations: how a completion finds its socket, and how one is called off.

use io_uring::opcode::AsyncCancel;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::core::Core;
use super::entry::Role;
use super::queue::Completion;

/// What was asked of the kernel. The low byte of a tag; the socket's key stands above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Receive = 0,
    Send = 1,
    Hangup = 2,
    Connect = 3,
    Accept = 4,
    CancelReceive = 5,
    CancelSend = 6,
    CancelHangup = 7,
    CancelConnect = 8,
    CancelAccept = 9,
}

const ALL: [Operation; 10] = [
    Operation::Receive,
    Operation::Send,
    Operation::Hangup,
    Operation::Connect,
    Operation::Accept,
    Operation::CancelReceive,
    Operation::CancelSend,
    Operation::CancelHangup,
    Operation::CancelConnect,
    Operation::CancelAccept,
];

/// How far behind an operation its cancellation stands.
const CANCEL_OFFSET: usize = 5;

const OPERATION_BITS: u32 = 8;

pub(super) fn tag(key: u32, operation: Operation) -> u64 {
    u64::from(key) << OPERATION_BITS | operation as u64
}

/// The socket that has received what `completion` tells of.
pub(super) fn receiver(completion: Completion) -> Option<u32> {
    parse(completion.tag).filter(|(_, operation)| *operation == Operation::Receive).map(|(key, _)| key)
}

fn parse(tag: u64) -> Option<(u32, Operation)> {
    let operation = usize::try_from(tag & ((1 << OPERATION_BITS) - 1)).ok()?;
    Some((u32::try_from(tag >> OPERATION_BITS).ok()?, *ALL.get(operation)?))
}

impl Core {
    /// Acts on one completion.
    pub(super) fn complete(&mut self, completion: Completion) {
        let Some((key, operation)) = parse(completion.tag) else { return };
        let Some(entry) = self.entries.get_mut(key as usize) else {
            debug_assert!(false, "an entry stays until its last completion");
            return;
        };
        if !completion.more() {
            entry.operations -= 1;
        }
        let result = match u32::try_from(completion.result) {
            Ok(value) => Ok(value),
            Err(_) => Err(Errno::from_raw_os_error(completion.result.wrapping_neg())),
        };
        match operation {
            Operation::Receive => self.received(key, completion, result),
            Operation::Send => self.sent(key, result),
            Operation::Hangup => self.polled(key, result),
            Operation::Connect => self.connected(key, result),
            Operation::Accept => self.acceptable(key),
            cancel => self.cancelled(key, cancel, result),
        }
        self.close_if_done(key);
    }

    /// Calls off an operation of the socket `key`, which then ends with its own completion.
    pub(super) fn cancel(&mut self, key: u32, operation: Operation) {
        let Some(cancel) = ALL.get(operation as usize + CANCEL_OFFSET) else { return };
        let target = tag(key, operation);
        // SAFETY: points to nothing.
        unsafe { self.begin(key, *cancel, |_, _| AsyncCancel::new(target).build()) };
    }

    /// Calls off everything under way on the socket; what is being sent only if asked to.
    pub(super) fn cancel_all(&mut self, key: u32, sends: bool) {
        let entry = self.entry(key);
        let receive = entry.receive.armed.call_off();
        let hangup = entry.hangup.armed;
        let send = sends && entry.send.in_flight;
        entry.send.given_up |= sends;
        let (connect, accept) = match &mut entry.role {
            Role::Stream => (false, false),
            Role::Connecting(connecting) => (connecting.result.is_none(), false),
            Role::Listening(listening) => (false, listening.armed.call_off()),
        };
        for (wanted, operation) in [
            (receive, Operation::Receive),
            (hangup, Operation::Hangup),
            (send, Operation::Send),
            (connect, Operation::Connect),
            (accept, Operation::Accept),
        ] {
            if wanted {
                self.cancel(key, operation);
            }
        }
    }

    /// What became of a cancellation. Found: the operation's own completion says the rest.
    fn cancelled(&mut self, key: u32, cancel: Operation, result: Result<u32, Errno>) {
        if result.is_ok() {
            return;
        }
        // Not found, or just being carried out: it has ended and its completion says so, or it goes on.
        let entry = self.entry(key);
        match (cancel, &mut entry.role) {
            (Operation::CancelReceive, _) => entry.receive.armed.go_on(),
            (Operation::CancelAccept, Role::Listening(listening)) => listening.armed.go_on(),
            _ => {}
        }
        if entry.closing && entry.operations > 0 && !entry.is_sending() {
            // Then let the socket end it.
            shutdown(&entry.fd, Shutdown::Both).ok();
        }
    }
}
