//! Answers whose client has left and that are read to their end all the same, because some providers bill them anyway
//! and only the end says how much: bounded in bytes, time and number.

use std::future::poll_fn;
use std::rc::Rc;

use tokio::time::timeout;

use super::trial::Trial;
use super::worker::Worker;
use crate::accounting::permit::Place;
use crate::config::OnCancel;
use crate::reactor::spawn;
use crate::stream::Rest;
use crate::telemetry::{CancelDrainOutcome, Direction, EndReason};

/// Whether any answer of a route that says `on_cancel` could be read on.
pub(super) fn is_possible(worker: &Worker, on_cancel: Option<OnCancel>) -> bool {
    on_cancel.map_or(worker.snapshot.drains_somewhere, |on_cancel| on_cancel == OnCancel::Drain)
}

/// Reads `rest` to its end if the route or its upstream wants that; the target counts it as open until then.
pub(super) fn begin(worker: &Rc<Worker>, trial: Trial, on_cancel: Option<OnCancel>, rest: Rest) {
    let upstream = trial.upstream();
    let of_upstream = worker.snapshot.config.upstreams[upstream.index()].on_cancel;
    if on_cancel.unwrap_or(of_upstream) == OnCancel::Abort {
        return;
    }
    let Some(place) = worker.snapshot.drains[upstream.index()].take() else {
        worker.recorder.cancel_drain(upstream, CancelDrainOutcome::Refused);
        return;
    };
    drop(spawn(read(Rc::clone(worker), trial, rest, place)));
}

async fn read(worker: Rc<Worker>, trial: Trial, mut rest: Rest, place: Place) {
    let upstream = trial.upstream();
    let bounds = worker.snapshot.config.upstreams[upstream.index()].drain;
    let reading = async {
        let mut room = bounds.bytes_max;
        loop {
            match poll_fn(|cx| rest.poll_read(cx)).await {
                Some(Ok(bytes)) if bytes <= room => room -= bytes,
                Some(Ok(_)) => return CancelDrainOutcome::Bound,
                Some(Err(_)) => return CancelDrainOutcome::Broken,
                None => return CancelDrainOutcome::Whole,
            }
        }
    };
    let read = timeout(bounds.timeout, reading).await.unwrap_or(CancelDrainOutcome::Bound);
    let end = rest.end();
    // A break ends an event stream with an event that tells of it, as it would for a client.
    let is_whole = matches!(end.reason, None | Some(EndReason::Completed));
    let outcome = if read == CancelDrainOutcome::Whole && !is_whole { CancelDrainOutcome::Broken } else { read };
    worker.recorder.cancel_drain(upstream, outcome);
    let usage = end.usage.unwrap_or_default().beyond(rest.told());
    worker.recorder.tokens_drained(upstream, Direction::Input, usage.prompt_tokens.unwrap_or(0));
    worker.recorder.tokens_drained(upstream, Direction::Output, usage.completion_tokens.unwrap_or(0));
    trial.ended(&end);
    drop(place);
}
