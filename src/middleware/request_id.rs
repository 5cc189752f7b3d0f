//! Request ids: the client's, if it is fit to be one, else a new `UUIDv7`.
//!
//! tower-http has layers for this. They keep the id in a bag of extensions on both ways, which is two more tables for each
//! request, while the record has it anyway.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header, in both directions.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Where Anthropic's clients look for it.
pub const ANTHROPIC: HeaderName = HeaderName::from_static("request-id");

/// Longest id taken over from a client. It is repeated in headers, logs and error bodies.
const CLIENT_ID_BYTES_MAX: usize = 128;

/// The request's id. Where it has none, or one that is too long or not printable ASCII, a new one is put in its place: these
/// sort by time.
pub(super) fn ensure(headers: &mut HeaderMap) -> Rc<str> {
    if let Some(id) = headers.get(HEADER).and_then(fit) {
        return id.into();
    }
    let mut text = Uuid::encode_buffer();
    let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    headers.insert(HEADER, header(id));
    id.into()
}

/// As the value of a header.
///
/// # Panics
/// For what [`ensure`] has not made.
pub(super) fn header(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).expect("printable ASCII")
}

fn fit(id: &HeaderValue) -> Option<&str> {
    let bytes = id.as_bytes();
    let is_fit = (1..=CLIENT_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    id.to_str().ok().filter(|_| is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfit_ids_are_replaced() {
        let long = "x".repeat(129);
        for (given, kept) in [
            ("abc-1", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            (long.as_str(), false),
            (&long[1..], true),
        ] {
            let mut headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_str(given).expect("a value"))]);
            let id = ensure(&mut headers);
            assert_eq!(&*id == given, kept, "{given:?}");
            assert_eq!(headers[HEADER], *id);
        }
    }

    #[test]
    fn new_ids_are_uuids_of_version_7() {
        let id = ensure(&mut HeaderMap::new());
        assert_eq!(Uuid::parse_str(&id).expect("a UUID").get_version_num(), 7);
    }
}
