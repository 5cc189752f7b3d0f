//! Sockets over real connections, on a worker with a ring and on one without.

mod ends;
mod lacks;
mod pressure;
mod streams;

use std::future::Future;
use std::time::Duration;

use super::{Settings, Stats, stats};
use crate::reactor::tests::{aside, both_ends, nobody, on_worker, pattern, poll_once, tcp_pair, unix_pair};

/// Sizes with which everything runs short: every queue and every buffer is used many times over.
const TINY: Settings = Settings { submissions: 2, completions: 4, buffers: 2, buffer_bytes: 512 };

/// Runs `test` without a ring, with one, and with one where everything is short.
fn on_each<T, F>(test: T)
where
    T: FnOnce() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    for ring in [None, Some(Settings::default()), Some(TINY)] {
        on_worker(ring, test.clone());
    }
}

/// Runs `test` with rings alone, and checks that nothing is left behind.
fn on_rings<T, F>(test: T)
where
    T: FnOnce() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    for ring in [Settings::default(), TINY] {
        let test = test.clone();
        on_worker(Some(ring), move || async move {
            test().await;
            until(|stats| stats.sockets == 0).await;
            nothing_left();
        });
    }
}

/// What a ring without sockets holds.
fn nothing_left() {
    let Stats { sockets, operations, receive_buffers, send_buffers, .. } = stats().expect("a ring");
    assert_eq!((sockets, operations, receive_buffers, send_buffers), (0, 0, 0, 0));
}

/// Lets the worker go round until its ring has come to this.
async fn until(reached: impl Fn(&Stats) -> bool) {
    while !reached(&stats().expect("a ring")) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
