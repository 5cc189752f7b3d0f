//! One thread that moves the bytes of all HTTP/2 connections of the tests, so that tests themselves can wait.

use std::future::{Future, pending};
use std::sync::{OnceLock, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use super::wire::HANG;

pub fn driver() -> &'static Handle {
    static DRIVER: OnceLock<Handle> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let (handle, started) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            handle.send(runtime.handle().clone()).expect("awaited");
            runtime.block_on(pending::<()>());
        });
        started.recv().expect("a runtime")
    })
}

/// Waits for `future` on this thread.
pub fn block<F: Future>(future: F) -> F::Output {
    driver().block_on(async { timeout(HANG, future).await.expect("in time") })
}
