//! One OS thread per core, each with its own single-threaded runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::oneshot;

use super::choose::{Missing, Reactor};
use super::{affinity, epoll, turn, uring};

/// A task that lives and dies on its worker.
pub type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// How many events one turn of the loop takes from the kernel at once.
const EVENTS_PER_TURN: usize = 512;

/// How many tasks run before the kernel is asked for events in the midst of a turn: as many as one asking can
/// make ready, so that a turn usually serves what it began with. tokio's 61 would ask eight times in a full turn,
/// for events that nobody can serve before the others.
///
/// Each turn begins with one such asking anyway, whatever the hook has found (tokio 1.54, `Context::park`): it
/// serves timers and what comes from other threads, and under epoll nothing else. So this bound counts where a
/// turn is long, or never ends because tasks keep each other awake.
///
/// Who is ready keeps its place either way: the queue is first in, first out, a task that is ready again goes to
/// its end, and each poll has tokio's budget. What grows is the wait of those whom nobody has heard yet, new
/// events and timers, while the queue never empties: from 61 tasks to 512, at some 20 us each from 1 ms to 10.
/// The queue is that long only on a core that has more to do than it can, where they would wait at its end.
const TASKS_PER_ASKING: u32 = 512;

/// Why workers can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread or its runtime can't be made.
    #[error("a worker can't be made: {0}")]
    Thread(#[from] io::Error),
    /// The reactor can't be taken into use.
    #[error("{0}")]
    Reactor(#[from] Missing),
}

/// A worker that has all it needs, and waits for what it shall do. Ends when dropped.
pub struct Ready {
    thread: JoinHandle<()>,
    go: oneshot::Sender<Main>,
}

/// Made on one thread and called on another: what it builds there need not be `Send`.
type Main = Box<dyn FnOnce() -> LocalFuture + Send>;

/// Starts a thread for each of `cores`, named `millstream-N` and pinned to the core where one is given and
/// allowed, each with a runtime over `reactor`. All of them, or none: those that could start have ended when one
/// could not.
///
/// # Errors
/// What the first one says that could not.
pub fn start(cores: &[Option<usize>], reactor: Reactor) -> Result<Vec<Ready>, StartError> {
    let mut all: Vec<Ready> = Vec::with_capacity(cores.len());
    let ring = (reactor == Reactor::IoUring).then(uring::Settings::default);
    for (index, core) in cores.iter().enumerate() {
        match start_one(index, *core, ring) {
            Ok(ready) => all.push(ready),
            Err(error) => {
                all.into_iter().for_each(Ready::end);
                return Err(error);
            }
        }
    }
    Ok(all)
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Ready {
    /// Calls `main` on the worker's thread and runs what it returns to its end.
    pub fn run<M>(self, main: M) -> JoinHandle<()>
    where
        M: FnOnce() -> LocalFuture + Send + 'static,
    {
        // A thread that is gone is found by whoever watches the handle.
        drop(self.go.send(Box::new(main)));
        self.thread
    }

    /// Waits until the thread has given back what it held.
    fn end(self) {
        drop(self.go);
        drop(self.thread.join());
    }
}

/// One of them, with a ring of its own where one is asked for.
pub(super) fn start_one(
    index: usize,
    core: Option<usize>,
    ring: Option<uring::Settings>,
) -> Result<Ready, StartError> {
    let (report, started) = oneshot::channel();
    let (go, told) = oneshot::channel::<Main>();
    let thread = std::thread::Builder::new().name(format!("millstream-{index}")).spawn(move || {
        if let Some(core) = core
            && let Err(error) = affinity::pin(core)
        {
            tracing::debug!(worker = index, core, %error, "not pinned");
        }
        match prepare(ring) {
            Ok(runtime) => {
                if report.send(Ok(())).is_ok()
                    && let Ok(main) = told.blocking_recv()
                {
                    runtime.block_on(main());
                }
                // First the tasks, and with them their sockets.
                drop(runtime);
                uring::uninstall();
                epoll::uninstall();
            }
            Err(error) => drop(report.send(Err(error))),
        }
    })?;
    started.blocking_recv().map_err(|_| io::Error::other("the worker thread died at its start"))??;
    Ok(Ready { thread, go })
}

/// Makes the calling thread's runtime, and its ring or its epoll instance.
fn prepare(ring: Option<uring::Settings>) -> Result<LocalRuntime, StartError> {
    // A LocalRuntime is a current-thread runtime whose every task is local: the LocalSet built in, without its
    // second queue.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(EVENTS_PER_TURN)
        .event_interval(TASKS_PER_ASKING)
        .on_thread_park(turn::park)
        .on_thread_unpark(turn::unpark)
        .build_local(LocalOptions::default())?;
    match ring {
        Some(settings) => runtime.block_on(async { uring::install(settings) }).map_err(Missing::from)?,
        None => runtime.block_on(async { epoll::install() })?,
    }
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::config::Tick;
    use crate::telemetry::Telemetry;

    #[test]
    fn workers_wait_for_what_they_shall_do_and_end_with_it() {
        let ran = Arc::<AtomicUsize>::default();
        let threads: Vec<_> = start(&[None, None], Reactor::Epoll)
            .expect("started")
            .into_iter()
            .map(|ready| {
                let ran = Arc::clone(&ran);
                ready.run(move || {
                    Box::pin(async move {
                        tokio::task::yield_now().await;
                        ran.fetch_add(1, Ordering::Relaxed);
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    }

    /// Turns and rests of a worker that works for 30 us, twenty times, a millisecond apart.
    fn turns_and_rests(tick: Tick) -> (f64, f64) {
        let telemetry = Telemetry::for_tests(1);
        let (recorded, mut ready) = (Arc::clone(&telemetry), start(&[None], Reactor::Epoll).expect("started"));
        let main = move || -> LocalFuture {
            Box::pin(async move {
                turn::begin(tick, recorded.recorder(0));
                for _ in 0..20 {
                    sleep(Duration::from_millis(1)).await;
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_micros(30) {}
                }
            })
        };
        ready.remove(0).run(main).join().expect("no panic");
        let text = telemetry.encode();
        let value = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{worker=\"0\"} "));
            value.and_then(|value| value.parse().ok()).expect("a sample")
        };
        (value("millstream_reactor_turns_total"), value("millstream_reactor_rest_seconds_count"))
    }

    #[test]
    fn turns_are_followed_by_rests_where_that_is_configured() {
        let (turns, rests) = turns_and_rests(Tick::Fixed(Duration::from_micros(500)));
        assert!(turns >= 20.0 && rests >= 15.0, "{turns} and {rests}");
        let (turns, rests) = turns_and_rests(Tick::Off);
        assert!(turns >= 20.0 && rests == 0.0, "{turns} and {rests}");
    }

    #[test]
    fn a_worker_that_is_not_needed_ends() {
        for ready in start(&[None, None], Reactor::Epoll).expect("started") {
            ready.end();
        }
    }
}
