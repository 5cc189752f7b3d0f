//! Forms that every answer shares: identity, refusals in `OpenAI`'s form, response heads.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::Body;

/// Where the answer's own id is told.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What identifies an answer: a UUID and the second in which it was made, which is part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    uuid: Uuid,
}

impl Birth {
    /// An identity made now.
    pub(super) fn now() -> Self {
        Self { uuid: Uuid::now_v7() }
    }

    /// An id such as `chatcmpl-…`; `prefix` includes its separator.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.uuid.simple())
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        self.uuid.get_timestamp().map_or(0, |time| time.to_unix().0)
    }
}

/// A request that is answered with an error.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refusal {
    /// A refusal with a status of its own.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    /// A field of the request is at fault.
    pub(super) fn field(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// Nothing is there under this name.
    pub(super) fn missing(what: &str, id: &str) -> Self {
        let message = format!("No {what} found with id '{id}'.");
        Self { code: Some("not_found"), ..Self::new(StatusCode::NOT_FOUND, message) }
    }

    /// The response that tells it.
    pub(super) fn into_response(self) -> Response<Body> {
        let error = json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }});
        let mut response = object(&error);
        *response.status_mut() = self.status;
        response
    }
}

/// A successful answer of a given type.
pub(super) fn typed(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A JSON answer.
pub(super) fn object(value: &Value) -> Response<Body> {
    typed("application/json", Body::whole(value.to_string()))
}

/// A list in `OpenAI`'s form.
pub(super) fn list(data: &[Value]) -> Response<Body> {
    let id = |value: Option<&Value>| value.and_then(|value| value.get("id")).cloned();
    let (first, last) = (id(data.first()), id(data.last()));
    object(&json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": false}))
}

/// A stream of events.
pub(super) fn events(body: Body) -> Response<Body> {
    let mut response = typed("text/event-stream; charset=utf-8", body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
