//! One OS thread per core, each with its own single-threaded runtime.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use super::affinity;

/// A task that lives and dies on its worker.
pub type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// How many events one turn of the loop takes from the kernel at once.
const EVENTS_PER_TURN: usize = 512;

/// Starts a thread named `millstream-N`, pinned to `core` where given and allowed, and runs what `main`
/// returns to its end on a runtime of its own. `main` is called on the new thread, so what it builds need
/// not be `Send`.
///
/// Returns once the thread's runtime stands.
///
/// # Errors
/// When the thread or its runtime can't be made.
pub fn start<M>(index: usize, core: Option<usize>, main: M) -> io::Result<JoinHandle<()>>
where
    M: FnOnce() -> LocalFuture + Send + 'static,
{
    let (report, started) = oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("millstream-{index}")).spawn(move || {
        if let Some(core) = core
            && let Err(error) = affinity::pin(core)
        {
            tracing::debug!(worker = index, core, %error, "not pinned");
        }
        // A LocalRuntime is a current-thread runtime whose every task is local: the LocalSet built in,
        // without its second queue.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_io_events_per_tick(EVENTS_PER_TURN)
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                if report.send(Ok(())).is_ok() {
                    runtime.block_on(main());
                }
            }
            Err(error) => drop(report.send(Err(error))),
        }
    })?;
    started.blocking_recv().map_err(|_| io::Error::other("the worker thread died at its start"))??;
    Ok(thread)
}
