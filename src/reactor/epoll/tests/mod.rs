//! Sockets of an epoll instance over real connections. What both drivers promise is tested beside the other one.

mod drive;
mod edges;
mod ends;
mod outgoing;

use std::future::Future;

use super::{Stats, stats};
use crate::reactor::tests::{aside, both_ends, on_worker, pattern, poll_once, tcp, tcp_pair, unix_pair};

/// Runs `test` on a worker without a ring, and checks that nothing is left behind.
fn on_epoll<T, F>(test: T)
where
    T: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    on_worker(None, || async {
        test().await;
        // The tasks that the test has ended are dropped when their turn comes.
        tokio::task::yield_now().await;
        assert_eq!(told().sockets, 0);
    });
}

fn told() -> Stats {
    stats().expect("an instance")
}
