//! The one place that starts a task: always on the core that asks, and counted.
//!
//! Tasks exist per connection and per worker, never per stream (but for hyper's own on HTTP/2).

use std::cell::Cell;
use std::future::Future;

use tokio::task::JoinHandle;

thread_local! {
    static TASKS: Cell<usize> = const { Cell::new(0) };
}

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        TASKS.with(|tasks| tasks.set(tasks.get() - 1));
    }
}

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
    TASKS.with(|tasks| tasks.set(tasks.get() + 1));
    let counted = Counted;
    tokio::task::spawn_local(async move {
        let _counted = counted;
        future.await
    })
}

/// Tasks alive on this thread.
pub fn tasks() -> usize {
    TASKS.with(Cell::get)
}
