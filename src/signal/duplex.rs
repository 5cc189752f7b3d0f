//! Bytes in both directions at once.

use std::io;
use std::task::{Context, Poll};

/// A body that also takes what its client sends, once the connection has become a tunnel.
pub trait Duplex {
    /// Takes some of `bytes`, at least one, as soon as there is room for them; the task is woken then. No bytes: the client
    /// has ended its direction.
    ///
    /// # Errors
    /// When nothing more can be taken, which ends the tunnel.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
}
