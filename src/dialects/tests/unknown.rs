//! Providers add events and members at any time: those that nobody knows change nothing.

use serde_json::{Map, Value, json};

use super::cases::{Case, Which, each};
use super::comparable::{differs, without_raw};
use super::wire;
use crate::dialects::conversation::Event;

/// Members whose insides are the model's words or the client's, not the provider's.
const OPAQUE: [&str; 12] = [
    "args",
    "arguments",
    "input",
    "schema",
    "parameters",
    "input_schema",
    "metadata",
    "logit_bias",
    "json",
    "response",
    "output",
    "result",
];

#[test]
fn unknown_events_change_nothing() {
    each(Which::Streams, |case| {
        let events = wire::events(&case.kind, &case.body);
        let whole = decode(case, &events)?;
        let unknown = (Some("unknown_xyz".to_owned()), json!({ "type": "unknown_xyz" }).to_string());
        let step = (events.len() / 40).max(1);
        for at in (0..events.len()).step_by(step) {
            let mut more = events.clone();
            more.insert(at, unknown.clone());
            differs(&whole, &decode(case, &more)?)
                .map_err(|words| format!("an event before event {at}: {words}"))?;
        }
        Ok(())
    });
}

#[test]
fn unknown_members_change_nothing() {
    each(Which::Streams, |case| {
        let events = wire::events(&case.kind, &case.body);
        let whole = without_raw(decode(case, &events)?);
        let more: Vec<_> = events.into_iter().map(|(name, data)| (name, widen(&data))).collect();
        differs(&whole, &without_raw(decode(case, &more)?))
    });
    each(Which::Whole, |case| {
        let events = case.as_events().map_err(|error| error.to_string())?;
        let body = widen(&case.body);
        let answer = case.provider.answer(&case.sent(), body.as_bytes()).map_err(|error| error.to_string())?;
        differs(&without_raw(events), &without_raw(answer.into_events()))
    });
}

fn decode(case: &Case, events: &[wire::Event]) -> Result<Vec<Event>, String> {
    case.decoded([&*wire::join(&case.kind, events)]).map_err(|error| error.to_string())
}

/// The same document with an unknown member in each of the provider's objects.
fn widen(data: &str) -> String {
    match serde_json::from_str::<Value>(data) {
        Ok(mut value) => {
            add(&mut value);
            value.to_string()
        }
        Err(_) => data.to_owned(),
    }
}

fn add(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(add),
        Value::Object(object) => {
            let members: Map<String, Value> = std::mem::take(object);
            for (name, mut member) in members {
                if !OPAQUE.contains(&name.as_str()) || name == "response" && member.get("object").is_some() {
                    add(&mut member);
                }
                object.insert(name, member);
            }
            object.insert("unknown_xyz".to_owned(), json!({ "a": [1, null] }));
        }
        _ => {}
    }
}
