//! Gemini's form, which is that of all of Google's APIs: `google.rpc.Status` with details of `error_details.proto`.

use std::time::Duration;

use serde::Serialize;

use super::{Told, json};
use crate::api::dialect::Dialect;

#[derive(Serialize)]
struct Envelope<'a> {
    error: Object<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    details: Vec<Detail<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "@type", rename_all_fields = "camelCase")]
enum Detail<'a> {
    #[serde(rename = "type.googleapis.com/google.rpc.RequestInfo")]
    RequestInfo { request_id: &'a str },
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo")]
    RetryInfo { retry_delay: String },
    #[serde(rename = "type.googleapis.com/google.rpc.BadRequest")]
    BadRequest { field_violations: [Violation<'a>; 1] },
}

#[derive(Serialize)]
struct Violation<'a> {
    field: &'a str,
    description: &'a str,
}

pub(super) fn body(told: &Told<'_>) -> Vec<u8> {
    let mut details = vec![Detail::RequestInfo { request_id: told.request_id }];
    if let Some(field) = told.param {
        details.push(Detail::BadRequest { field_violations: [Violation { field, description: told.message }] });
    }
    if let Some(after) = told.retry_after {
        details.push(Detail::RetryInfo { retry_delay: seconds(after) });
    }
    let code = told.row.status(Dialect::Gemini).as_u16();
    let error = Object { code, message: told.message, status: told.row.gemini, details };
    json(&Envelope { error })
}

pub(super) fn event(told: &Told<'_>) -> Vec<u8> {
    [b"data: ", &body(told)[..], b"\n\n"].concat()
}

/// A duration as protocol buffers have it in JSON, rounded up.
fn seconds(after: Duration) -> String {
    let millis = after.as_nanos().div_ceil(1_000_000);
    format!("{}.{:03}s", millis / 1000, millis % 1000)
}
