//! Asks upstreams whether they are well, where the configuration wants that, so that one that comes back is found
//! without a client's request, and one that goes is left before the clients notice.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::{sleep, timeout};

use super::authorize::authorize;
use super::worker::Worker;
use crate::config;
use crate::routing::health::{Admission, Fault};
use crate::units::{TargetId, UpstreamId};
use crate::upstream::Request;

/// Asks `upstream`, once for each of its keys, for as long as the future is polled. One worker does it for all.
///
/// A good answer closes the breaker of a target that waits for a probe; a bad one, or none, is a failure of the target.
/// Both say something of the upstream as such, not of a model: what else is known of a target stays.
pub async fn run(worker: Rc<Worker>, upstream: UpstreamId, probe: config::Probe) {
    let keys = worker.snapshot.config.upstreams[upstream.index()].keys.len().max(1);
    loop {
        // Up to a tenth of it, so that replicas do not ask in step.
        let spread = f64::from(u32::try_from(worker.random() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        sleep(probe.interval.mul_f64(0.9 + spread / 10.0)).await;
        for key in 0..keys {
            let is_well = ask(&worker, upstream, key, &probe).await;
            tracing::debug!(%upstream, key, is_well, "probed");
            tell(&worker, upstream, key, is_well);
        }
    }
}

async fn ask(worker: &Worker, upstream: UpstreamId, key: usize, probe: &config::Probe) -> bool {
    let mut request = Request {
        method: Method::GET,
        path_and_query: probe.path.as_str().into(),
        headers: Rc::new(HeaderMap::new()),
        credentials: Vec::new(),
        body: Bytes::new(),
        streams: false,
    };
    if authorize(worker, upstream, &mut request).is_err() {
        return false;
    }
    let answer = timeout(probe.timeout, worker.pool.send(upstream, key, &request)).await;
    // A limit is no illness, and not every server has what was asked for.
    answer.is_ok_and(|sent| sent.is_ok_and(|response| is_fine(response.status())))
}

fn is_fine(status: StatusCode) -> bool {
    !status.is_server_error() && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn tell(worker: &Worker, upstream: UpstreamId, key: usize, is_well: bool) {
    let (table, now) = (&worker.snapshot.table, worker.now());
    let targets = table.targets().iter().filter(|target| target.upstream == upstream && target.key == key);
    for target in targets {
        tell_target(worker, target.id, is_well, now);
    }
}

fn tell_target(worker: &Worker, target: TargetId, is_well: bool, now: Duration) {
    /// Of no model: what a provider's limit on one says is not for a probe to change.
    const MODEL: u64 = 0;
    let board = &worker.snapshot.board;
    // One that is left alone is not bothered; one that waits for a probe gets it.
    match board.admit(target, MODEL, now) {
        Admission::Shut { .. } => {}
        Admission::Free(pass) | Admission::Probe(pass) if !is_well => {
            board.failed(pass, Fault::Unreachable, now);
        }
        Admission::Probe(pass) => {
            board.succeeded(pass, None, now);
        }
        Admission::Free(pass) => board.abandoned(pass, now),
    }
}
