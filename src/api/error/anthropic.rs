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
}

pub(super) fn body(told: &Told<'_>) -> Vec<u8> {
    let error = Object { r#type: told.row.anthropic.1, message: told.message };
    json(&Envelope { r#type: "error", error, request_id: told.request_id })
}

/// Anthropic's SDKs raise what is named so, and skip an error without that name as if nothing was wrong.
pub(super) fn event(told: &Told<'_>) -> Vec<u8> {
    [b"event: error\ndata: ", &body(told)[..], b"\n\n"].concat()
}
