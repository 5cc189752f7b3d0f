//! Shows an upstream who we are, where that takes more than a key.

use std::time::SystemTime;

use http::header::CONTENT_TYPE;

use super::worker::Worker;
use crate::credentials::{NotReady, Unsigned};
use crate::units::UpstreamId;
use crate::upstream::Request;

/// Puts into `request`, which is otherwise ready, what `upstream` wants to see.
///
/// # Errors
/// When there are no credentials now; the request must not be sent then.
pub(super) fn authorize(worker: &Worker, upstream: UpstreamId, request: &mut Request) -> Result<(), NotReady> {
    let store = &worker.snapshot.credentials;
    if !store.is_for(upstream) {
        return Ok(());
    }
    let base = &worker.snapshot.config.upstreams[upstream.index()].base;
    let content_type = request.headers.get(CONTENT_TYPE).map(|value| (CONTENT_TYPE, value.clone()));
    let unsigned = Unsigned {
        method: &request.method,
        host: &base.authority(),
        path_and_query: &base.target(&request.path_and_query),
        headers: content_type.as_slice(),
        body: &request.body,
        now: now(),
    };
    request.credentials = store.authorize(upstream, &unsigned)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "tokens expire, and signatures are good, by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
