//! Bytes on their way to the client.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// What is ready at once is merged into one frame up to this size: one chunk header and one write for many
/// small events in a burst. What does not fit is passed on by itself, uncopied.
pub(super) const MERGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes to send, copied together only when they come in more than one piece. Never holds an empty one.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    first: Bytes,
    /// Takes the place of `first` as soon as there is something to merge with it.
    merged: BytesMut,
    /// What is too long to be merged, and what came behind it.
    rest: VecDeque<Bytes>,
}

impl Outbox {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let length = self.first.len() + self.merged.len();
        if length == 0 && self.rest.is_empty() {
            self.first = bytes;
        } else if self.rest.is_empty() && length + bytes.len() <= MERGE_BYTES_MAX {
            if self.merged.is_empty() {
                self.merged.reserve(length + bytes.len());
                self.merged.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.merged.extend_from_slice(&bytes);
        } else {
            self.rest.push_back(bytes);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if !self.merged.is_empty() {
            return Some(std::mem::take(&mut self.merged).freeze());
        }
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        self.rest.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.merged.is_empty() && self.rest.is_empty()
    }

    /// Whether more would not go out with the next frame anyway.
    pub(super) fn is_full(&self) -> bool {
        !self.rest.is_empty() || self.first.len() + self.merged.len() >= MERGE_BYTES_MAX
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.merged.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// What waits, at most this much of its beginning, without taking it.
    pub(super) fn peek(&self, bytes_max: usize) -> Vec<u8> {
        let pieces =
            [&self.first[..], &self.merged[..]].into_iter().chain(self.rest.iter().map(|piece| &piece[..]));
        let mut seen = Vec::with_capacity(self.len().min(bytes_max));
        for piece in pieces {
            let room = bytes_max - seen.len();
            seen.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(pieces: &[usize]) -> Vec<usize> {
        let mut outbox = Outbox::default();
        for &length in pieces {
            outbox.push(Bytes::from(vec![b'x'; length]));
        }
        std::iter::from_fn(|| outbox.pop()).map(|bytes| bytes.len()).collect()
    }

    #[test]
    fn pieces_are_merged_up_to_the_bound_and_no_empty_one_leaves() {
        const MAX: usize = MERGE_BYTES_MAX;
        assert_eq!(lengths(&[]), &[] as &[usize]);
        assert_eq!(lengths(&[0, 0]), &[] as &[usize]);
        assert_eq!(lengths(&[1, 0, 2, 3]), [6]);
        assert_eq!(lengths(&[MAX - 1, 1]), [MAX]);
        assert_eq!(lengths(&[MAX - 1, 2, 3]), [MAX - 1, 2, 3]);
        assert_eq!(lengths(&[10, 10, MAX, 10]), [20, MAX, 10]);
    }

    #[test]
    fn a_single_piece_and_a_long_one_are_not_copied() {
        let (small, long) = (Bytes::from(vec![1; 10]), Bytes::from(vec![2; 2 * MERGE_BYTES_MAX]));
        let mut outbox = Outbox::default();
        outbox.push(small.clone());
        outbox.push(long.clone());
        assert!(outbox.is_full());
        assert_eq!(outbox.pop().expect("the small one").as_ptr(), small.as_ptr());
        assert_eq!(outbox.pop().expect("the long one").as_ptr(), long.as_ptr());
        assert!(outbox.is_empty());
    }
}
