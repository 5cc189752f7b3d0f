//! The last bytes of something that is passed on in pieces, so that what stands at its end can be read.

use std::collections::VecDeque;

/// Enough for a `usage` object with all its details and what stands behind it in today's answers.
const WINDOW_BYTES: usize = 4096;

/// A sliding window over the last [`WINDOW_BYTES`] bytes.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<u8>);

impl Window {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(WINDOW_BYTES)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(WINDOW_BYTES);
        self.0.drain(..excess);
        self.0.extend(bytes);
    }

    pub(super) fn bytes(&mut self) -> &[u8] {
        self.0.make_contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_holds_the_last_bytes_however_they_come() {
        let text: Vec<u8> = (0..10_000_u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
        for piece in [1, 7, 4_095, 4_096, 4_097, 10_000] {
            let mut window = Window::default();
            text.chunks(piece).for_each(|piece| window.push(piece));
            assert_eq!(window.bytes(), &text[text.len() - WINDOW_BYTES..], "pieces of {piece}");
        }
    }
}
