//! Counts empty DATA frames in what an HTTP/2 peer sends, by the frame headers alone.
//!
//! h2 drops such frames before anybody sees them, keeps their number to itself, and ends the connection at
//! the 101st. Whoever wants a replacement to stand before that has to count for himself.

use std::cell::Cell;
use std::rc::Rc;

/// RFC 9113, section 4.1: length (24 bits), type, flags, stream.
const HEADER_BYTES: usize = 9;

/// Walks over frames, wherever reads split them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header, and after it the pad length of a padded DATA frame.
    head: [u8; HEADER_BYTES + 1],
    have: usize,
    /// Bytes of the payload still to come.
    skip: usize,
    empty: Rc<Cell<u32>>,
}

impl Frames {
    /// How many there were, for whoever wants to know while the connection owns the counter.
    pub(super) fn empty(&self) -> Rc<Cell<u32>> {
        self.empty.clone()
    }

    /// Takes the next bytes. Costs a few steps per frame, however long it is.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else { return };
            self.head[self.have] = byte;
            self.have += 1;
            bytes = rest;
            if self.have >= HEADER_BYTES {
                self.look();
            }
        }
    }

    fn look(&mut self) {
        let [high, middle, low, kind, flags, _, _, _, _, pad] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let is_data = kind == 0;
        let is_last = flags & 0x1 != 0;
        let is_padded = is_data && flags & 0x8 != 0 && length > 0;
        if is_padded && self.have == HEADER_BYTES {
            return;
        }
        let padding = if is_padded { 1 + usize::from(pad) } else { 0 };
        if is_data && !is_last && length == padding {
            self.empty.set(self.empty.get().saturating_add(1));
        }
        self.skip = length - (self.have - HEADER_BYTES);
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_frames_that_do_not_end_a_stream_count() {
        let frames: [(&[u8], u32); 7] = [
            (&[0, 0, 0, 4, 0, 0, 0, 0, 0], 0),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 1], 1),
            (&[0, 0, 0, 0, 1, 0, 0, 0, 1], 0),
            (&[0, 0, 3, 0, 0, 0, 0, 0, 1, b'a', b'b', b'c'], 0),
            (&[0, 0, 3, 0, 8, 0, 0, 0, 1, 2, 0, 0], 1),
            (&[0, 0, 3, 0, 8, 0, 0, 0, 1, 1, b'a', 0], 0),
            (&[0, 0, 1, 0, 9, 0, 0, 0, 1, 0], 0),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.to_vec()).collect();
        let expected: u32 = frames.iter().map(|(_, empty)| empty).sum();
        for step in 1..=bytes.len() {
            let mut counter = Frames::default();
            bytes.chunks(step).for_each(|chunk| counter.feed(chunk));
            assert_eq!((counter.empty().get(), counter.have, counter.skip), (expected, 0, 0), "by {step}");
        }
    }
}
