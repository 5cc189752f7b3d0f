//! The admin listener: a few read-only pages over HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::telemetry::health::{Health, Readiness};
use crate::telemetry::{self, Telemetry};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// From the accept to the end of a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From the accept to the last byte of the answer. Each connection carries one request, so that this bounds
/// how long one of the [`CONNECTIONS_MAX`] can be taken by somebody who does not read.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a failed accept. Without one, a process out of descriptors would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "\
Millstream

/metrics  Prometheus metrics
/livez    200 as long as the process runs (also /healthz)
/readyz   200 when it takes requests, 503 while it starts or drains
";

/// Serves until dropped.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection.
pub async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>, health: Arc<Health>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        // Finished ones are collected here, or the set would only grow.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&telemetry), Arc::clone(&health)));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, one request.
async fn connection(stream: TcpStream, telemetry: Arc<Telemetry>, health: Arc<Health>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &telemetry, &health);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

/// The answer to a request. To `HEAD` hyper sends the head alone, with the length that the body would have.
fn respond(method: &Method, path: &str, telemetry: &Telemetry, health: &Health) -> Response<Full<Bytes>> {
    if !matches!(path, "/" | "/metrics" | "/livez" | "/healthz" | "/readyz") {
        return answer(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => answer(StatusCode::OK, telemetry::CONTENT_TYPE, telemetry.encode()),
        "/livez" | "/healthz" => answer(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" => {
            let readiness = health.readiness();
            let status = match readiness {
                Readiness::Ready => StatusCode::OK,
                Readiness::Starting | Readiness::Draining => StatusCode::SERVICE_UNAVAILABLE,
            };
            answer(status, TEXT, format!("{}\n", readiness.as_str()))
        }
        _ => answer(StatusCode::OK, TEXT, INDEX),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Runs `test` beside a server on the same thread.
    fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr, Arc<Health>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let health = Health::new();
            tokio::select! {
                () = serve(listener, Telemetry::for_tests(1), Arc::clone(&health)) => {}
                () = test(address, health) => {}
            }
        });
    }

    async fn exchange(address: SocketAddr, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn pages_answer_as_told() {
        with_server(|address, _| async move {
            for (method, path, status, text) in [
                ("GET", "/", "200 OK", "/metrics"),
                ("GET", "/metrics", "200 OK", "\nmillstream_build_info{"),
                ("GET", "/metrics", "200 OK", "content-type: text/plain; version=0.0.4\r\n"),
                ("GET", "/livez", "200 OK", "alive"),
                ("GET", "/healthz?verbose", "200 OK", "alive"),
                ("GET", "/nothing", "404 Not Found", "not found"),
                ("POST", "/metrics", "405 Method Not Allowed", "allow: GET, HEAD\r\n"),
            ] {
                let answer = exchange(address, method, path).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {path}: {answer}");
                assert!(answer.contains(text), "{method} {path}: {answer}");
            }
        });
    }

    #[test]
    fn head_has_a_length_and_no_body() {
        with_server(|address, _| async move {
            let answer = exchange(address, "HEAD", "/livez").await;
            assert!(answer.contains("content-length: 6\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        });
    }

    #[test]
    fn readiness_follows_the_process() {
        with_server(|address, health| async move {
            for (readiness, status) in
                [(Readiness::Starting, "503"), (Readiness::Ready, "200"), (Readiness::Draining, "503")]
            {
                health.reached(readiness);
                let answer = exchange(address, "GET", "/readyz").await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
                assert!(answer.ends_with(&format!("{}\n", readiness.as_str())), "{answer}");
            }
        });
    }

    #[test]
    fn silent_connections_make_room_after_their_timeout() {
        with_server(|address, _| async move {
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            // The clock stands still from here and jumps to the next timer whenever nothing else can happen.
            tokio::time::pause();
            assert!(exchange(address, "GET", "/livez").await.starts_with("HTTP/1.1 200"));
        });
    }
}
