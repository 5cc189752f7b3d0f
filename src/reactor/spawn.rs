//! The one place that starts a task: always on the core that asks.
//!
//! Tasks exist per connection and per worker, never per stream (but for hyper's own on HTTP/2).

use std::future::Future;

use tokio::task::JoinHandle;

/// Runs `future` on this worker's runtime.
///
/// # Panics
/// Outside a worker (or a test's `LocalSet` or `LocalRuntime`).
#[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban names")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    tokio::task::spawn_local(future)
}
