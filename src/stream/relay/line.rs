//! The targets of one stream, one after the other, as its events pass: a stage before the relay's [`Events`], which gives
//! those whole events alone, of the first target as they came, of the next ones as `Splice` makes them. So whatever dies,
//! nothing that the client has got is half an event.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::events::Events;
use super::outbox::Outbox;
use super::succession::{PendingSuccessor, Successors};
use crate::api::prefill::Prefill;
use crate::api::sse::Scanner;
use crate::api::verdict::{self, Verdict};
use crate::error::Error;
use crate::stream::continuation::{Refusal, Splice, Transcript, Unfit};
use crate::telemetry::{ContinuationOutcome, EndReason, Recorder};

/// Upstreams of one stream that may die before it ends with an error. Who dies in the third place is no accident: each of
/// them makes the next one read and bill the prompt once more.
const DEATHS_MAX: u32 = 2;

/// The targets of one stream, one after the other.
pub(super) struct Line<U> {
    /// Let go of once nobody can follow.
    successors: Option<Box<dyn Successors<U>>>,
    part: Part,
    scanner: Scanner,
    /// The incomplete event at the end of what was read.
    held: BytesMut,
    hold_bytes_max: usize,
    stopped: Option<Stop>,
    /// What the client is told if nobody goes on.
    death: Option<Death>,
    deaths: u32,
    /// Since then somebody has answered, but with nothing that fits.
    refused: bool,
    recorder: Rc<Recorder>,
}

enum Part {
    First(Transcript),
    Awaited(Transcript),
    Next(Box<Splice>),
    /// Nobody can follow.
    Last,
}

/// Why no more is taken from a target that may still be alive.
enum Stop {
    /// It said so in this event.
    Failed(Bytes),
    /// What it sends does not fit.
    Refused,
}

/// How a stream would end.
pub(super) struct Death {
    pub(super) error: Error,
    pub(super) reason: EndReason,
    /// The upstream's own word of it.
    pub(super) event: Option<Bytes>,
}

/// Nothing more is to be taken from the source.
pub(super) struct Stopped;

impl<U> Line<U> {
    pub(super) fn new(
        successors: Option<Box<dyn Successors<U>>>,
        hold_bytes_max: usize,
        recorder: Rc<Recorder>,
    ) -> Self {
        let part = successors.as_ref().map_or(Part::Last, |_| Part::First(Transcript::new()));
        Self {
            successors,
            part,
            scanner: Scanner::default(),
            held: BytesMut::new(),
            hold_bytes_max,
            stopped: None,
            death: None,
            deaths: 0,
            refused: false,
            recorder,
        }
    }

    /// Takes down what waits to go out.
    pub(super) fn begin(&mut self, waiting: &[u8], events: &mut Events) {
        let Part::First(said) = &mut self.part else { return };
        let (mut scanner, mut rest) = (Scanner::default(), waiting);
        while let Some(end) = scanner.event_end(rest) {
            // An error among them is the last word, behind which nobody follows.
            said.event(&rest[..end]);
            rest = &rest[end..];
        }
        if said.unfit().is_some() {
            self.nobody_follows();
        } else {
            (self.held, self.scanner) = events.hand_over();
        }
    }

    /// Somebody goes on who was asked in this `style`.
    pub(super) fn follow(&mut self, style: Prefill) {
        if let Part::Awaited(said) = std::mem::replace(&mut self.part, Part::Last) {
            self.part = Part::Next(Box::new(Splice::new(said, style)));
        }
        self.scanner = Scanner::default();
        self.held = BytesMut::new();
    }

    /// What answers is nothing to go on with.
    pub(super) fn refuse(&mut self) -> Result<bool, Stopped> {
        self.stop(Stop::Refused)
    }

    /// What has been read goes on to `events`, but for the incomplete event at its end. True if there was a token.
    pub(super) fn feed(
        &mut self,
        mut data: Bytes,
        events: &mut Events,
        out: &mut Outbox,
    ) -> Result<bool, Stopped> {
        if matches!(self.part, Part::Last) {
            return Ok(events.feed(data, out));
        }
        let Some(mut end) = self.scanner.event_end(&data) else { return self.keep(data, events, out) };
        if !self.held.is_empty() {
            end += self.held.len();
            data = self.whole(data);
        }
        match self.part {
            Part::Next(_) => self.feed_next(&data, end, events, out),
            _ => self.feed_first(data, end, events, out),
        }
    }

    /// Of the first target: bytes as they came, in one piece.
    fn feed_first(
        &mut self,
        data: Bytes,
        mut end: usize,
        events: &mut Events,
        out: &mut Outbox,
    ) -> Result<bool, Stopped> {
        let mut start = 0;
        while let Part::First(said) = &mut self.part {
            let event = &data[start..end];
            if !said.event(event) {
                if is_targets_fault(event) {
                    events.feed(data.slice(..start), out);
                    return self.stop(Stop::Failed(data.slice(start..end)));
                }
                said.spoil(Unfit::Failed);
            }
            if said.unfit().is_some() {
                break;
            }
            start = end;
            let Some(length) = self.scanner.event_end(&data[start..]) else {
                let token = events.feed(data.slice(..start), out);
                return self.keep(data.slice(start..), events, out).map(|more| token | more);
            };
            end += length;
        }
        self.nobody_follows();
        Ok(events.feed(data, out))
    }

    /// Of one that goes on: events as they fit on, in one piece as well, so that a burst is no frame per event.
    fn feed_next(
        &mut self,
        data: &Bytes,
        mut end: usize,
        events: &mut Events,
        out: &mut Outbox,
    ) -> Result<bool, Stopped> {
        let (mut start, mut fitting) = (0, Vec::new());
        let fits = loop {
            if let Err(stopped) = self.next_event(&data.slice(start..end), &mut fitting) {
                break Err(stopped);
            }
            start = end;
            match self.scanner.event_end(&data[start..]) {
                Some(length) if matches!(self.part, Part::Next(_)) => end += length,
                _ => break Ok(()),
            }
        };
        let token = feed_all(&fitting, events, out);
        fits?;
        self.keep(data.slice(start..), events, out).map(|more| token | more)
    }

    /// One whole event of a target that goes on; what may go out is added to `fitting`.
    fn next_event(&mut self, event: &Bytes, fitting: &mut Vec<Bytes>) -> Result<(), Stopped> {
        let Part::Next(splice) = &mut self.part else { return Ok(()) };
        // What is left of the line end before may belong to an event that was taken off.
        let line_ends = event.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let event = event.slice(line_ends..);
        let (begun, before) = (splice.has_begun(), fitting.len());
        let Err(refusal) = splice.event(event.clone(), fitting) else {
            self.has_begun(begun);
            return Ok(());
        };
        fitting.truncate(before);
        match refusal {
            Refusal::Unfit(Unfit::Failed) if is_targets_fault(&event) => self.stop(Stop::Failed(event)).map(drop),
            Refusal::Unfit(Unfit::Failed) if begun => {
                self.nobody_follows();
                fitting.push(event);
                Ok(())
            }
            _ => self.stop(Stop::Refused).map(drop),
        }
    }

    /// `end` with what was held before it.
    fn whole(&mut self, end: Bytes) -> Bytes {
        if self.held.is_empty() {
            return end;
        }
        self.held.extend_from_slice(&end);
        std::mem::take(&mut self.held).freeze()
    }

    /// Keeps bytes in which no event ends.
    fn keep(&mut self, data: Bytes, events: &mut Events, out: &mut Outbox) -> Result<bool, Stopped> {
        if matches!(self.part, Part::Last) {
            return Ok(events.feed(data, out));
        }
        if self.scanner.between_events() {
            // Line ends behind an event: whose, matters only to bytes that are passed on as they came.
            let is_first = matches!(self.part, Part::First(_));
            return Ok(is_first && !data.is_empty() && events.feed(data, out));
        }
        self.held.extend_from_slice(&data);
        if self.held.len() <= self.hold_bytes_max {
            return Ok(false);
        }
        if matches!(self.part, Part::Next(_)) {
            return self.stop(Stop::Refused);
        }
        self.nobody_follows();
        Ok(events.feed(self.whole(Bytes::new()), out))
    }

    /// The transfer is over: what is held is an event without its blank line, or a part of one.
    pub(super) fn ended(&mut self, events: &mut Events, out: &mut Outbox) -> Result<(), Stopped> {
        let rest = std::mem::take(&mut self.held);
        match &mut self.part {
            Part::First(said) => {
                if Events::is_whole(&rest) {
                    if !said.event(&rest) && is_targets_fault(&rest) {
                        return self.stop(Stop::Failed([&rest[..], b"\n\n"].concat().into())).map(drop);
                    }
                    if said.unfit().is_some() {
                        self.nobody_follows();
                    }
                }
                events.hold(rest);
                Ok(())
            }
            Part::Next(_) => {
                let mut fitting = Vec::new();
                if Events::is_whole(&rest) {
                    self.next_event(&[&rest[..], b"\n\n"].concat().into(), &mut fitting)?;
                }
                if let Part::Next(splice) = &mut self.part {
                    let begun = splice.has_begun();
                    if splice.end(&mut fitting).is_err() {
                        return self.stop(Stop::Refused).map(drop);
                    }
                    self.has_begun(begun);
                }
                feed_all(&fitting, events, out);
                Ok(())
            }
            Part::Awaited(_) | Part::Last => Ok(()),
        }
    }

    fn stop(&mut self, stop: Stop) -> Result<bool, Stopped> {
        self.stopped = Some(stop);
        Err(Stopped)
    }

    fn nobody_follows(&mut self) {
        self.part = Part::Last;
        self.successors = None;
    }

    fn has_begun(&mut self, before: bool) {
        if !before && matches!(&self.part, Part::Next(splice) if splice.has_begun()) {
            self.recorder.continuation(ContinuationOutcome::Continued);
            // What was to be told is told no more.
            self.death = None;
        }
    }

    /// The source is gone: who goes on, or what the client is told.
    pub(super) fn succeed(&mut self, error: Error, reason: EndReason) -> Result<PendingSuccessor<U>, Death> {
        let stopped = self.stopped.take();
        let is_refused = matches!(stopped, Some(Stop::Refused));
        let event = if let Some(Stop::Failed(event)) = stopped { Some(event) } else { None };
        let death = Death { error, reason, event };
        let part = std::mem::replace(&mut self.part, Part::Last);
        let is_awaited = matches!(part, Part::Awaited(_));
        let said = match part {
            Part::First(said) | Part::Awaited(said) => Some(said),
            Part::Next(splice) => Some(splice.into_transcript()),
            Part::Last => None,
        };
        let is_upstreams =
            matches!(reason, EndReason::UpstreamError | EndReason::UpstreamTruncated | EndReason::IdleTimeout);
        if !is_upstreams {
            // The client's time or ours is up: that is what it is told, whatever was under way.
            if self.death.take().is_some() {
                self.tell_failure();
            }
            return Err(death);
        }
        // Whoever was refused, or did not answer at all, leaves the death as it was.
        let is_new = self.death.is_none();
        self.deaths += u32::from(is_new || !(is_refused || is_awaited));
        self.refused = !is_new && (self.refused || is_refused);
        let told = self.death.take().unwrap_or(death);
        let said = said.filter(|said| said.unfit().is_none() && self.deaths <= DEATHS_MAX);
        if is_new && said.is_none() {
            self.recorder.continuation(ContinuationOutcome::Unfit);
            return Err(told);
        }
        let next = said.filter(|_| !is_awaited).and_then(|said| {
            let next = self.successors.as_mut()?.next(&said, (!is_refused).then_some(reason))?;
            self.part = Part::Awaited(said);
            Some(next)
        });
        let Some(next) = next else {
            self.tell_failure();
            return Err(told);
        };
        self.death = Some(told);
        Ok(next)
    }

    fn tell_failure(&self) {
        let outcome = if self.refused { ContinuationOutcome::Refused } else { ContinuationOutcome::Failed };
        self.recorder.continuation(outcome);
    }
}

fn feed_all(fitting: &[Bytes], events: &mut Events, out: &mut Outbox) -> bool {
    match fitting {
        [] => false,
        [one] => events.feed(one.clone(), out),
        all => events.feed(all.concat().into(), out),
    }
}

/// Whether an error that stands in a stream is none that the request would meet anywhere.
fn is_targets_fault(event: &[u8]) -> bool {
    !matches!(verdict::of_event(event), Verdict::Client | Verdict::TooLong | Verdict::Policy)
}
