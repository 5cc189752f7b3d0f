//! An `OpenAI`-speaking upstream inside the binary, behind a real loopback socket.
//!
//! `millstream demo` and the tests talk to it as they would to a provider: connect, pool, exchange and SSE are
//! all exercised. What it says is a function of the seed and the request, so a run can be repeated; how fast it
//! says it is set by [`Settings`]. It never fails on purpose: faults belong to the tests that need them.
//!
//! A stream costs one timer and one buffer, no task and no channel.

mod ask;
mod body;
mod chat;
mod completions;
mod embeddings;
mod media;
mod objects;
mod respond;
mod response_stream;
mod responses;
mod schema;
mod script;
mod server;
mod service;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

/// How fast the demo upstream speaks, and which words it chooses.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Pace after the first token. Zero, negative or not finite means without any delay.
    pub tokens_per_second: f64,
    /// From the arrival of the request to its first token.
    pub first_token: Duration,
    /// Chooses the texts: same seed and same request, same text.
    pub seed: u64,
}

impl Default for Settings {
    /// The pace of a fast hosted model, so that a demo looks like the real thing.
    fn default() -> Self {
        Self { tokens_per_second: 60.0, first_token: Duration::from_millis(250), seed: 1 }
    }
}

/// A running demo upstream. Dropping it breaks off its connections and waits for its thread.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens: always a loopback address.
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the demo upstream on a free port of 127.0.0.1, on a thread and a runtime of its own, so that it does
/// not take part in what the gateway's workers measure.
pub fn start(settings: Settings) -> io::Result<Handle> {
    let listener = server::listen()?;
    let addr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    // The runtime is not Send, so it is built over there; its failure is still the caller's to see.
    let (report, started) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("demo-upstream".into())
        .spawn(move || server::run(listener, settings, stopped, &report))?;
    match started.recv() {
        Ok(Ok(())) => Ok(Handle { addr, stop: Some(stop), thread: Some(thread) }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the demo upstream's thread ended at once")),
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already; then there is nobody to tell.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
