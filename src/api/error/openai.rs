//! `OpenAI`'s form.

use serde::Serialize;

use super::{Told, json};

#[derive(Serialize)]
struct Envelope<'a> {
    error: Object<'a>,
}

/// OpenAI's error object: all four of its fields, always, and our request id.
#[derive(Serialize)]
struct Object<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: Option<&'static str>,
    request_id: &'a str,
}

/// The flat form of the Responses API, and its fields once more as an `error` object: the OpenAI SDK for Python
/// raises nothing but that, and would end its iteration over the flat form alone as if nothing was wrong.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    r#type: &'static str,
    code: Option<&'static str>,
    message: &'a str,
    param: Option<&'a str>,
    sequence_number: u64,
    request_id: &'a str,
    error: Object<'a>,
}

pub(super) fn body(told: &Told<'_>) -> Vec<u8> {
    json(&Envelope { error: object(told, told.row.code) })
}

/// Un-named, because parsers of that dialect skip named events, and nothing follows: SDKs raise it as they read it, and a
/// `[DONE]` of ours would claim an end which did not come.
pub(super) fn chat_event(told: &Told<'_>) -> Vec<u8> {
    [b"data: ", &body(told)[..], b"\n\n"].concat()
}

/// Its `sequence_number` is one above that of the last event sent.
pub(super) fn responses_event(told: &Told<'_>, sequence_number: u64) -> Vec<u8> {
    let code = told.row.code.or(Some(told.row.r#type));
    let event = ResponsesEvent {
        r#type: "error",
        code,
        message: told.message,
        param: told.param,
        sequence_number,
        request_id: told.request_id,
        error: object(told, code),
    };
    [b"event: error\ndata: ", &json(&event)[..], b"\n\n"].concat()
}

fn object<'a>(told: &Told<'a>, code: Option<&'static str>) -> Object<'a> {
    Object { message: told.message, r#type: told.row.r#type, param: told.param, code, request_id: told.request_id }
}
