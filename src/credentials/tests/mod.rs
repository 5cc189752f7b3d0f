//! Real sockets and a scripted token server; the keeper's hours under a paused clock.

mod keeper;
mod signatures;
mod sources;

use std::io::Write as _;
use std::pin::Pin;
use std::time::SystemTime;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::http::Client;
use super::store::{Current, Form};

/// A client that trusts one authority, so that the machine needs none.
pub(super) fn client() -> Client {
    let CertifiedKey { cert, .. } = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(cert.pem().as_bytes()).expect("written");
    Client::new(Some(file.path())).expect("an authority")
}

/// A token as it is kept.
fn token(text: &'static str, expires: Option<SystemTime>) -> Current {
    let mut value = HeaderValue::from_static(text);
    value.set_sensitive(true);
    Current { form: Form::Headers(vec![(AUTHORIZATION, value)]), expires }
}

/// Answers one connection after the other with `answers`, each a status line's end and a body. Its address, and what
/// it was asked.
struct Server {
    listener: TcpListener,
    base: String,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        Self { listener, base }
    }

    /// Serves beside `asking`; the requests, and what came of it.
    fn beside<'a, T: 'a>(
        &'a self,
        answers: &'a [(&'a str, &'a str)],
        asking: impl Future<Output = T> + 'a,
    ) -> Pin<Box<dyn Future<Output = (Vec<String>, T)> + 'a>> {
        let asking = Box::pin(asking);
        Box::pin(async { tokio::join!(self.serve(answers), asking) })
    }

    async fn serve(&self, answers: &[(&str, &str)]) -> Vec<String> {
        let mut requests = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = self.listener.accept().await.expect("a connection");
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            while !is_whole(&text) {
                let read = stream.read(&mut buffer).await.expect("a request");
                assert_ne!(read, 0, "half a request");
                text.extend_from_slice(&buffer[..read]);
            }
            requests.push(String::from_utf8(text).expect("UTF-8"));
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.expect("an answer");
        }
        requests
    }
}

fn is_whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("a number"))
}
