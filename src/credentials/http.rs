//! The HTTP client that credentials are fetched with: one request on one connection, on the control thread.
//!
//! Not [`crate::upstream`]'s pool: that one lives on workers, under their driver. Here nothing is fast or often.
//! Redirects are not followed: no token endpoint has any, and a secret must not travel where it was not sent.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::reactor::tls::{Alpn, TlsError, client_config};

/// From the first lookup to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer. A token has some 2 KiB, and STS answers in XML around it.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Asks token endpoints. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there are no new credentials. Holds nothing secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The endpoint can't be had.
    #[error("{host}: {reason}")]
    Unreachable { host: String, reason: String },
    /// It did not answer in time.
    #[error("{host} did not answer within {}s", TIMEOUT.as_secs())]
    Late { host: String },
    /// It said no.
    #[error("the token endpoint answered {status} {told}")]
    Refused { status: StatusCode, told: String },
    /// Its answer is of no use.
    #[error("the token endpoint's answer is of no use: {0}")]
    Malformed(&'static str),
    /// A URL in the configuration.
    #[error("not a URL that can be asked")]
    Url,
    /// A key that can't sign.
    #[error("{0}")]
    Key(&'static str),
    /// A file that can't be read.
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
    /// What Amazon's crates say.
    #[error("{0}")]
    Aws(String),
}

impl Client {
    /// One that trusts the system's authorities and those in `ca_file`.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let config = client_config(ca_file, Alpn::Http1)?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Posts a form, as RFC 6749 has it.
    pub(super) async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, FetchError> {
        let mut request = Request::new(Bytes::from(encode(form)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(|_| FetchError::Url)?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self.send(request).await
    }

    /// Gets `url` with a query made of `form` and one more header.
    pub(super) async fn get(
        &self,
        url: &str,
        form: &[(&str, &str)],
        (name, value): (&'static str, &str),
    ) -> Result<Answer, FetchError> {
        let question = if url.contains('?') { '&' } else { '?' };
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("{url}{question}{}", encode(form)).parse().map_err(|_| FetchError::Url)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| FetchError::Url)?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
        self.send(request).await
    }

    /// Sends `request`, whose URL is absolute, and waits for all of its answer.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Answer, FetchError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        match timeout(TIMEOUT, self.exchange(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(FetchError::Unreachable { host, reason: reason(error.as_ref()) }),
            Err(_) => Err(FetchError::Late { host }),
        }
    }

    async fn exchange(&self, mut request: Request<Bytes>) -> Result<Answer, BoxError> {
        let uri = std::mem::take(request.uri_mut());
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return Err("no host".into()) };
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
        *request.uri_mut() =
            uri.path_and_query().map_or_else(|| Ok(Uri::from_static("/")), |path| path.as_str().parse())?;
        let request = request.map(Full::new);
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if tls {
            let name = ServerName::try_from(host.to_owned())?;
            over(self.tls.connect(name, stream).await?, request).await
        } else {
            over(stream, request).await
        }
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

/// One exchange over a connection that is then closed.
async fn over<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    // What moves the bytes. Its end is no end of the exchange: the rest of the answer may still be read.
    let driven = async {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a token endpoint broke");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = driven => Err("closed".into()),
    }
}

/// The error and what caused it, the innermost last.
fn reason(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// `application/x-www-form-urlencoded`
fn encode(form: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (position, (name, value)) in form.iter().enumerate() {
        if position > 0 {
            text.push('&');
        }
        escape(&mut text, name);
        text.push('=');
        escape(&mut text, value);
    }
    text
}

/// With everything escaped that any reader could take for something else.
fn escape(text: &mut String, value: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped() {
        assert_eq!(encode(&[("a", "b c&d=é"), ("e:f", "~._-")]), "a=b%20c%26d%3D%C3%A9&e%3Af=~._-");
        assert_eq!(encode(&[]), "");
    }
}
