//! Memory that all HTTP/1.1 connections of a core take turns with, so that an idle one holds none.
//!
//! A turn lasts as long as one call of `poll` on one connection: what must outlive it is copied out, exactly
//! as long as it is. Nobody polls anything else during his turn.

use std::cell::RefCell;

/// Bytes taken from a socket at once. Also bounds a response's head, which must fit whole.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// What the writing half may keep: room for any usual head with a small body. One huge head must not be paid
/// for ever after.
const WRITE_BYTES_KEPT: usize = 256 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A turn at [`READ_BYTES`] bytes to read into; what is in them is of no meaning.
pub(super) fn read<T>(turn: impl FnOnce(&mut [u8]) -> T) -> T {
    READ.with_borrow_mut(|bytes| turn(bytes))
}

/// A turn at an empty buffer to write a request's beginning in.
pub(super) fn write<T>(turn: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    WRITE.with_borrow_mut(|bytes| {
        bytes.clear();
        let result = turn(bytes);
        if bytes.capacity() > WRITE_BYTES_KEPT {
            *bytes = Vec::new();
        }
        result
    })
}
