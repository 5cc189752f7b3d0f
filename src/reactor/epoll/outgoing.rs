//! Small writes that wait for the end of the lap, and then go to the kernel one after the other.
//!
//! A send takes most of what a chunk costs, and what runs between two of them pushes the kernel's code out of the
//! processor's caches: sent in a row, chunks cost less than sent one by one between reads. What has been taken is as
//! good as in the kernel's buffer: it goes out before the socket is shut down or closed, a peer that does not read is
//! felt at the next write, and a failure is told then.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::task::Waker;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::entry::{Entry, Ready};
use super::poller::Core;

pub(super) const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Bytes of one write that may wait: copying more costs more than is won.
pub(super) const PIECE_BYTES_MAX: usize = 4 * 1024;

/// Pieces after which what waits is sent before the lap is over. The first few pay for those that follow.
const PIECES_MAX: usize = 32;

/// Sockets of a turn from which on waiting pays: fewer streams leave nothing to send in a row, and need not wait.
const CROWD_LEAST: usize = 4;

/// What waits, and what was not taken when it was sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// By key of the socket.
    left: HashMap<u32, Left>,
    /// The last turn found many sockets ready.
    is_crowded: bool,
    /// Makes the lap's end; there is none before the pump has run.
    pump: Option<Waker>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    key: u32,
    /// In the bytes of all.
    end: usize,
}

/// What stands between a socket and its next write.
#[derive(Debug)]
enum Left {
    /// The kernel's buffer is full.
    Bytes(Bytes),
    /// So many bytes of what was taken can't be sent.
    Failed(Errno, usize),
}

impl Outgoing {
    /// Whether small writes of this socket may wait now.
    pub(super) fn takes(&self, entry: &Entry, len: usize) -> bool {
        let is_free = entry.ready.is(Ready::WRITABLE) && !entry.ready.is(Ready::LEFT);
        let is_worth = self.is_crowded && entry.ready.is(Ready::BATCHED) && (1..=PIECE_BYTES_MAX).contains(&len);
        is_worth && is_free && self.pump.is_some()
    }

    /// A turn begins that found so many sockets ready.
    pub(super) fn turn(&mut self, found: usize) {
        self.is_crowded = found >= CROWD_LEAST;
    }

    /// Whether the last turn found enough for that.
    #[cfg(test)]
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// Who is woken to end a lap.
    pub(super) fn pumped_by(&mut self, waker: &Waker) {
        if !self.pump.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.pump = Some(waker.clone());
        }
    }

    /// As it was told last.
    pub(super) fn pump(&self) -> Option<Waker> {
        self.pump.clone()
    }

    /// Why nothing more can be written to this socket, if it has failed.
    pub(super) fn failure(&self, key: u32) -> Option<Errno> {
        match self.left.get(&key) {
            Some(Left::Failed(errno, _)) => Some(*errno),
            _ => None,
        }
    }

    /// How much was taken of this socket's and will never leave.
    pub(super) fn lost(&self, key: u32) -> usize {
        match self.left.get(&key) {
            Some(Left::Failed(_, lost)) => *lost,
            _ => 0,
        }
    }

    /// The socket is closed.
    pub(super) fn forget(&mut self, key: u32) {
        self.left.remove(&key);
    }

    fn leave(&mut self, key: u32, entry: &mut Entry, left: Left) {
        if matches!(left, Left::Bytes(_)) {
            entry.ready.remove(Ready::WRITABLE);
        }
        entry.ready.add(Ready::LEFT);
        self.left.insert(key, left);
    }

    /// The second piece of a lap whose first was too much. Behind a failure it is lost with it.
    fn leave_behind(&mut self, key: u32, piece: &[u8]) {
        match self.left.get_mut(&key) {
            Some(Left::Bytes(left)) => *left = [left, piece].concat().into(),
            Some(Left::Failed(_, lost)) => *lost += piece.len(),
            None => {}
        }
    }

    /// The socket has room again. Whether a writer may go on, or is to be told that it can't.
    pub(super) fn go_on(&mut self, key: u32, entry: &mut Entry) -> bool {
        let Some(Left::Bytes(bytes)) = self.left.get_mut(&key) else { return true };
        match send_to(entry, bytes) {
            Ok(sent) if sent == bytes.len() => {
                self.left.remove(&key);
                entry.ready.remove(Ready::LEFT);
                true
            }
            Ok(sent) => {
                bytes.advance(sent);
                entry.ready.remove(Ready::WRITABLE);
                false
            }
            Err(errno) => {
                let lost = bytes.len();
                self.leave(key, entry, Left::Failed(errno, lost));
                true
            }
        }
    }
}

impl Core {
    /// Takes a write that [`Outgoing::takes`] has agreed to. Whoever is returned is to be woken, when nothing is borrowed.
    #[must_use = "the lap must have an end"]
    pub(super) fn batch(&mut self, key: u32, bufs: &[IoSlice<'_>]) -> Option<Waker> {
        if self.outgoing.pieces.len() == PIECES_MAX {
            self.flush();
        }
        let Self { entries, outgoing, .. } = self;
        let is_first = outgoing.pieces.is_empty();
        for buf in bufs {
            outgoing.bytes.extend_from_slice(buf);
        }
        outgoing.pieces.push(Piece { key, end: outgoing.bytes.len() });
        entries[key as usize].ready.add(Ready::QUEUED);
        if is_first { outgoing.pump.clone() } else { None }
    }

    /// Sends everything that waits.
    pub(super) fn flush(&mut self) {
        let Self { entries, outgoing, .. } = self;
        let (mut pieces, mut bytes) = (std::mem::take(&mut outgoing.pieces), std::mem::take(&mut outgoing.bytes));
        let mut start = 0;
        for Piece { key, end } in pieces.drain(..) {
            let piece = &bytes[std::mem::replace(&mut start, end)..end];
            let entry = &mut entries[key as usize];
            entry.ready.remove(Ready::QUEUED);
            if entry.ready.is(Ready::LEFT) {
                outgoing.leave_behind(key, piece);
                continue;
            }
            match send_to(entry, piece) {
                Ok(sent) if sent == piece.len() => {}
                Ok(sent) => outgoing.leave(key, entry, Left::Bytes(Bytes::copy_from_slice(&piece[sent..]))),
                Err(errno) => outgoing.leave(key, entry, Left::Failed(errno, piece.len())),
            }
        }
        bytes.clear();
        (outgoing.pieces, outgoing.bytes) = (pieces, bytes);
    }

    /// Brings what waits for this socket to the kernel, so that something else can follow.
    ///
    /// # Errors
    /// It has failed.
    pub(super) fn flush_before(&mut self, key: u32) -> io::Result<Sent> {
        if self.entry(key).ready.is(Ready::QUEUED) {
            self.flush();
        }
        if !self.entry(key).ready.is(Ready::LEFT) {
            return Ok(Sent::All);
        }
        self.outgoing.failure(key).map_or(Ok(Sent::Some), |errno| Err(errno.into()))
    }
}

/// How much of what was taken the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The rest follows when the socket has room; its writer is woken then.
    Some,
}

/// What the kernel takes now; nothing where its buffer is full.
fn send_to(entry: &Entry, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::io::retry_on_intr(|| send(&entry.fd, bytes, SEND)) {
        Err(Errno::AGAIN) => Ok(0),
        sent => sent,
    }
}
