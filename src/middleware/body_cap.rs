//! Refuses a request whose framing is ambiguous or whose announced body is too large, before a byte of it is
//! read. Bodies that grow without an announcement are stopped where they are read.

use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use tower::{Layer, Service};

use super::Passed;
use super::record::{BoxedResponse, RecordedRequest};
use crate::error::{Error, Kind};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct BodyCapLayer {
    bytes_max: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct BodyCap<S> {
    inner: S,
    bytes_max: usize,
}

impl BodyCapLayer {
    /// Bodies of at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max }
    }
}

impl<S> Layer<S> for BodyCapLayer {
    type Service = BodyCap<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyCap { inner, bytes_max: self.bytes_max }
    }
}

impl<S> Service<RecordedRequest> for BodyCap<S>
where
    S: Service<RecordedRequest, Response = BoxedResponse, Error = Error>,
{
    type Response = BoxedResponse;
    type Error = Error;
    type Future = Passed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RecordedRequest) -> Self::Future {
        let ambiguous = request.body().record.exchange.has_ambiguous_framing();
        match check(request.version(), request.headers(), ambiguous, self.bytes_max) {
            Ok(()) => Passed::new(self.inner.call(request)),
            Err(error) => Passed::ready(Err(error)),
        }
    }
}

fn check(version: Version, headers: &HeaderMap, ambiguous: bool, bytes_max: usize) -> Result<(), Error> {
    let refuse = |detail: &'static str| Err(Error::new(Kind::BadRequest, detail));
    if ambiguous {
        return refuse("The request has both a content-length and a transfer-encoding.");
    }
    if version <= Version::HTTP_11 {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if codings.next().is_some_and(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
            || codings.next().is_some()
        {
            return refuse("The only transfer-encoding that is understood is chunked.");
        }
        let hosts = headers.get_all(HOST).iter().count();
        if hosts > 1 || (version == Version::HTTP_11 && hosts == 0) {
            return refuse("The request must have exactly one host header.");
        }
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    Ok(())
}

/// The error of a body beyond the bound.
pub fn too_large(bytes_max: usize) -> Error {
    Error::new(Kind::BodyTooLarge, format!("The request body is larger than {bytes_max} bytes."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, headers: &[(&'static str, &'static str)], ambiguous: bool) -> Option<Kind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        check(version, &map, ambiguous, 100).err().map(|error| error.kind())
    }

    #[test]
    fn only_one_reading_passes() {
        let h11 = Version::HTTP_11;
        assert_eq!(checked(h11, &[("host", "x")], false), None);
        assert_eq!(checked(h11, &[("host", "x"), ("transfer-encoding", "Chunked")], false), None);
        assert_eq!(checked(h11, &[("host", "x"), ("content-length", "100")], false), None);
        for (headers, kind) in [
            (&[("host", "x"), ("content-length", "101")][..], Kind::BodyTooLarge),
            (&[("host", "x"), ("content-length", "99999999999999")][..], Kind::BodyTooLarge),
            (&[("host", "x"), ("transfer-encoding", "gzip, chunked")][..], Kind::BadRequest),
            (
                &[("host", "x"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")][..],
                Kind::BadRequest,
            ),
            (&[("host", "x"), ("host", "y")][..], Kind::BadRequest),
            (&[][..], Kind::BadRequest),
        ] {
            assert_eq!(checked(h11, headers, false), Some(kind), "{headers:?}");
        }
        assert_eq!(checked(h11, &[("host", "x")], true), Some(Kind::BadRequest));
        assert_eq!(checked(Version::HTTP_2, &[], false), None);
        assert_eq!(checked(Version::HTTP_10, &[], false), None);
    }
}
