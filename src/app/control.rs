//! Stopping: not ready, then a pause for balancers, then no new connections, then the deadline.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::Drain;
use crate::signal::Phase;
use crate::telemetry::Telemetry;
use crate::telemetry::health::{Health, Readiness};

/// How often the ends of the worker threads are looked for once they have come to theirs.
const JOIN_INTERVAL: Duration = Duration::from_millis(10);

/// From the drain deadline to the exit: time for the last error events to reach their clients.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What is told of a stop.
pub(super) struct Stop {
    pub(super) phase: watch::Sender<Phase>,
    pub(super) drain: Drain,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) health: Arc<Health>,
}

impl Stop {
    /// Waits for SIGTERM or SIGINT, drains, and returns when the workers have ended or must. A second signal
    /// returns at once.
    pub(super) async fn on_signal(self, threads: Vec<JoinHandle<()>>) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let ended = all_ended(&self.phase, &threads);
        tokio::pin!(ended);
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "draining"),
            // Only a worker that panicked ends by itself.
            () = &mut ended => anyhow::bail!("all workers have ended"),
        }
        self.telemetry.set_draining(true);
        self.health.reached(Readiness::Draining);
        tokio::select! {
            name = signals.next() => tracing::warn!(signal = name, "stopping at once"),
            () = self.drain(ended) => tracing::info!("stopped"),
        }
        Ok(())
    }

    async fn drain(&self, mut ended: impl Future<Output = ()> + Unpin) {
        sleep(self.drain.delay).await;
        self.phase.send_replace(Phase::Finish);
        if timeout(self.drain.timeout, &mut ended).await.is_ok() {
            return;
        }
        tracing::warn!("the drain deadline ends the streams that are left");
        self.phase.send_replace(Phase::End);
        if timeout(FLUSH_TIMEOUT, ended).await.is_err() {
            tracing::warn!("some clients did not take their last bytes in time");
        }
    }
}

/// Each worker holds a receiver of the phase until only its runtime is left to be taken down.
async fn all_ended(phase: &watch::Sender<Phase>, threads: &[JoinHandle<()>]) {
    phase.closed().await;
    while !threads.iter().all(JoinHandle::is_finished) {
        sleep(JOIN_INTERVAL).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
