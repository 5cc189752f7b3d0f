//! Saves the poll that only finds out that there is nothing more.

use tokio::time::Instant;

/// Something that gives one thing at a time when it is polled, and may know that it has no more.
///
/// A poll that is ready leaves no waker behind, so whoever writes what it brought has to poll once more, in
/// vain nearly always: that is half of the polls of a stream of tokens.
pub trait Rest {
    /// Whether the last poll, which was ready, has also left its task's waker with everything that can bring
    /// more, as one that is pending does. Polling again before a wake-up is in vain then.
    fn is_at_rest(&self) -> bool;

    /// When what the last poll brought had come, where that is known without a look at the clock.
    fn came_at(&self) -> Option<Instant> {
        None
    }
}
