//! Every answer can be said in every dialect of clients, and means the same there.

use std::rc::Rc;

use serde_json::Value;

use super::cases::{Case, UNIQUE, Which, each};
use super::comparable::Comparable;
use super::cuts::said;
use super::roster::{self, Speaker};
use super::wire;
use crate::dialects::conversation::{Answer, Collector, Event, Failure, Request};
use crate::dialects::front::Asked;
use crate::dialects::provider::Sent;

#[test]
fn a_stream_means_the_same_in_every_dialect() {
    each(Which::Answers, |case| {
        let events = case.as_events().map_err(|error| error.to_string())?;
        let Some(answer) = collected(&events) else { return Ok(()) };
        in_all(|speaker| stream(speaker, &events, &answer))
    });
}

#[test]
fn a_whole_answer_means_the_same_in_every_dialect() {
    each(Which::Answers, |case| {
        let events = case.as_events().map_err(|error| error.to_string())?;
        let Some(answer) = collected(&events) else { return Ok(()) };
        in_all(|speaker| whole(speaker, &answer))
    });
}

/// The rule is that of `cuts`: what is missing says something of the answer.
#[test]
fn a_cut_stream_has_no_last_word_in_any_dialect() {
    each(Which::Answers, |case| {
        let events = case.as_events().map_err(|error| error.to_string())?;
        let cuts = events.len().saturating_sub(12)..events.len();
        let cuts = cuts.chain([0, events.len() / 4, events.len() / 2]);
        let cuts: Vec<usize> = cuts.filter(|at| said(&events[..*at]) != said(&events)).collect();
        in_all(|speaker| {
            let try_at =
                |at: &usize| cut(speaker, &events[..*at]).map_err(|words| format!("cut at {at}: {words}"));
            cuts.iter().try_for_each(try_at)
        })
    });
}

#[test]
fn a_failure_in_a_stream_is_the_last_word() {
    each(Which::Streams, failed);
}

/// What a client asked that gets the answers.
pub(super) fn asked(stream: bool) -> Rc<Asked> {
    let request = Request { model: "gull-1".to_owned(), stream, ..Request::default() };
    let (unique, request_id) = (UNIQUE.to_owned(), "req_1".to_owned());
    Rc::new(Asked { request, unique, now: 1_785_585_600, request_id })
}

pub(super) fn encoded(speaker: &Speaker, events: &[Event]) -> Vec<u8> {
    let mut encoder = speaker.front.encoder(&asked(true));
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    out
}

/// The whole answer, if it is one.
pub(super) fn collected(events: &[Event]) -> Option<Answer> {
    let mut collector = Collector::default();
    for event in events {
        collector.event(event.clone()).ok()?;
    }
    collector.finish()
}

fn stream(speaker: &Speaker, events: &[Event], answer: &Answer) -> Result<(), String> {
    let bytes = encoded(speaker, events);
    is_valid(speaker, &bytes)?;
    let back = read_back(speaker, &bytes)?;
    let Some(back) = back else { return Ok(()) };
    let back = collected(&back).ok_or("it has no end")?;
    Comparable::of(answer).differs(&Comparable::of(&back)).map_or(Ok(()), Err)
}

fn whole(speaker: &Speaker, answer: &Answer) -> Result<(), String> {
    let body = speaker.front.answer(answer, &asked(false));
    serde_json::from_slice::<Value>(&body).map_err(|error| error.to_string())?;
    let Some(provider) = speaker.back else { return Ok(()) };
    let sent = Sent { unique: UNIQUE.to_owned(), ..Sent::default() };
    let back = provider.answer(&sent, &body).map_err(|error| error.to_string())?;
    Comparable::of(answer).differs(&Comparable::of(&back)).map_or(Ok(()), Err)
}

fn cut(speaker: &Speaker, events: &[Event]) -> Result<(), String> {
    let bytes = encoded(speaker, events);
    is_valid(speaker, &bytes)?;
    let back = read_back(speaker, &bytes)?.unwrap_or_default();
    if back.contains(&Event::End) { Err("it has an end".to_owned()) } else { Ok(()) }
}

/// A stream whose second half is a failure: each dialect has an error for its last word, and its own end nowhere.
fn failed(case: &Case) -> Result<(), String> {
    let mut events = case.events().map_err(|error| error.to_string())?;
    events.truncate(events.len() / 2);
    events.extend([Event::Failed(Failure::new(503, "The tide is out.")), Event::End]);
    in_all(|speaker| {
        let bytes = encoded(speaker, &events);
        is_valid(speaker, &bytes)?;
        if !String::from_utf8_lossy(&bytes).contains("The tide is out.") {
            return Err("it is swallowed".to_owned());
        }
        let Some(back) = read_back(speaker, &bytes)? else { return Ok(()) };
        let is_last = matches!(back.last(), Some(Event::Failed(failure)) if failure.message == "The tide is out.");
        if is_last { Ok(()) } else { Err(format!("the last word is {:?}", back.last())) }
    })
}

/// What is wrong in which dialects.
fn in_all(promise: impl Fn(&Speaker) -> Result<(), String>) -> Result<(), String> {
    let fronts = roster::fronts();
    let wrong =
        fronts.iter().filter_map(|speaker| Some(format!("in {}: {}", speaker.name, promise(speaker).err()?)));
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n    ")) }
}

/// Whether every event is one of the framing, and JSON, but for `[DONE]`.
fn is_valid(speaker: &Speaker, bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let ends: &[&str] = if speaker.is_lines() { &["\n"] } else { &["\n\n", "\r\n\r\n"] };
    if !text.trim().is_empty() && !ends.iter().any(|end| text.ends_with(end)) {
        return Err("it ends inside an event".to_owned());
    }
    for (_, data) in wire::events(speaker.name, text) {
        if data != "[DONE]" {
            serde_json::from_str::<Value>(&data).map_err(|error| format!("{error}: {data}"))?;
        }
    }
    Ok(())
}

/// What the same dialect's provider makes of it.
fn read_back(speaker: &Speaker, bytes: &[u8]) -> Result<Option<Vec<Event>>, String> {
    let Some(provider) = speaker.back else { return Ok(None) };
    let sent = Sent { unique: UNIQUE.to_owned(), stream: true, ..Sent::default() };
    let mut decoder = provider.decoder(&sent);
    let mut events = Vec::new();
    decoder.feed(bytes, &mut events).map_err(|error| error.to_string())?;
    decoder.end(&mut events).map_err(|error| error.to_string())?;
    Ok(Some(events))
}
