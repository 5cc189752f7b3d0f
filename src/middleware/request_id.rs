//! Request ids: the client's, if it is fit to be one, else a new `UUIDv7`. Setting and echoing is tower-http's.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use uuid::Uuid;

/// The header, in both directions.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Where Anthropic's clients look for it.
pub const ANTHROPIC: HeaderName = HeaderName::from_static("request-id");

/// Longest id taken over from a client. It is repeated in headers, logs and error bodies.
const CLIENT_ID_BYTES_MAX: usize = 128;

/// Makes ids that sort by time.
#[derive(Clone, Copy, Debug)]
pub struct UuidV7;

impl MakeRequestId for UuidV7 {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let mut text = Uuid::encode_buffer();
        let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(id).ok().map(RequestId::new)
    }
}

/// Sets the request's id where it has none.
pub fn set() -> SetRequestIdLayer<UuidV7> {
    SetRequestIdLayer::new(HEADER, UuidV7)
}

/// Echoes the request's id in the response.
pub fn echo() -> PropagateRequestIdLayer {
    PropagateRequestIdLayer::new(HEADER)
}

/// Drops an id that is unfit: too long, or with bytes that are not printable ASCII. To stand before [`set`].
pub fn sift<B>(mut request: Request<B>) -> Request<B> {
    let unfit = |id: &HeaderValue| {
        id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX || !id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if request.headers().get(HEADER).is_some_and(unfit) {
        request.headers_mut().remove(HEADER);
    }
    request
}

/// The id in these headers; empty before [`set`] has run.
pub fn of(headers: &HeaderMap) -> &str {
    headers.get(HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfit_ids_are_dropped() {
        let long = "x".repeat(129);
        for (id, kept) in [("abc-1", true), ("", false), ("a b", false), ("a\tb", false), (long.as_str(), false)] {
            let request = Request::builder().header(HEADER, id).body(()).expect("a request");
            assert_eq!(sift(request).headers().contains_key(HEADER), kept, "{id:?}");
        }
    }

    #[test]
    fn new_ids_are_uuids_of_version_7() {
        let id = UuidV7.make_request_id(&Request::new(())).expect("an id");
        let text = id.header_value().to_str().expect("ASCII");
        assert_eq!(Uuid::parse_str(text).expect("a UUID").get_version_num(), 7);
    }
}
