//! Anthropic's form: its API reference, "Errors" and "Streaming messages".

use serde::Serialize;

use super::{Told, json};

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Object<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Object<'a> {
    r#type: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    error_code: &'static str,
}

/// What Anthropic's SDKs go by when a conversation can't be held for them: they send all of it from then on. Their runner of
/// tools asks for that unless it is told not to.
const NO_THREADS: Details = Details { error_code: "thread_unsupported_request" };

pub(super) fn body(told: &Told<'_>) -> Vec<u8> {
    let details = (told.param == Some("thread")).then_some(NO_THREADS);
    let error = Object { r#type: told.row.anthropic.1, message: told.message, details };
    json(&Envelope { r#type: "error", error, request_id: told.request_id })
}

/// Anthropic's SDKs raise what is named so, and skip an error without that name as if nothing was wrong.
pub(super) fn event(told: &Told<'_>) -> Vec<u8> {
    [b"event: error\ndata: ", &body(told)[..], b"\n\n"].concat()
}
