//! Row 49: hosts and paths that are read in two ways, and doors that must not lead to other rooms.

use std::io::Write;
use std::net::TcpStream;

use crate::gateway;
use crate::http1::{Answer, PATIENCE, answers, ask, connect, head, post, read_all};
use crate::recorder::Recorder;

/// Every surface, from `src/api/endpoint.rs`. A test there holds that nothing else is one.
const SURFACES: &[&str] = &[
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/responses",
    "GET /v1/responses/resp_1",
    "DELETE /v1/responses/resp_1",
    "POST /v1/responses/resp_1/cancel",
    "GET /v1/responses/resp_1/input_items",
    "POST /v1/embeddings",
    "GET /v1/models",
    "GET /v1/models/recorded",
    "POST /v1/moderations",
    "POST /v1/images/generations",
    "POST /v1/images/edits",
    "POST /v1/images/variations",
    "POST /v1/audio/speech",
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "POST /v1/rerank",
    "GET /v1/files",
    "POST /v1/files",
    "GET /v1/files/f",
    "DELETE /v1/files/f",
    "GET /v1/files/f/content",
    "GET /v1/batches",
    "POST /v1/batches",
    "GET /v1/batches/b",
    "POST /v1/batches/b/cancel",
];

/// Paths that some parser may take for a surface, or for the admin's.
const CONFUSING: &[&str] = &[
    "/",
    "*",
    "/v1",
    "/v1/",
    "//v1/models",
    "/v1//models",
    "/v1/./models",
    "/v1/../v1/models",
    "/../v1/models",
    "/v1/%2e%2e/v1/models",
    "/v1/%2E/models",
    "/v1%2fmodels",
    "/v1/chat%2fcompletions",
    "/v1/chat/completions/",
    "/v1/chat/completions/.",
    "/v1/chat/completions/..",
    "/v1/chat/completions/../completions",
    "/v1/chat/completions;x",
    "/v1;x/chat/completions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat/completions.",
    "/V1/chat/completions",
    "/v1/CHAT/completions",
    "/v1/%63hat/completions",
    "/v1\\chat\\completions",
    "/openai/v1/chat/completions",
    "/v1/files/..",
    "/v1/files/%2e%2e",
    "/v1/files/..%2fmodels",
    "/v1/files/a/../../models",
    "/v1/batches/b;/cancel",
    "/metrics",
    "/v1/metrics",
    "/v1/../metrics",
    "/livez",
    "/readyz",
    "/healthz",
    "/admin",
    "/key/generate",
    "/v1/chat/completions\u{9b}",
    "/v1/chat/completions\u{ff0f}",
];

fn without_key(request: &str) -> String {
    format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{{\"model\":\"m\"}}")
}

fn assert_unauthenticated(what: &str, answer: &Answer) {
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_api_key"), "{what}: {answer:?}");
}

#[test]
fn no_path_and_no_method_passes_without_a_key() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "idle_timeout = \"1s\"", "");
    for surface in SURFACES {
        assert_unauthenticated(surface, &ask(gateway.address(0), without_key(surface)));
        for field in [
            "authorization: Bearer wrong",
            "authorization: Bearer",
            "authorization:",
            "authorization: Basic c2stOg==",
            &format!("authorization: {}", crate::KEY),
            &format!("authorization: Bearer {} x", crate::KEY),
            &format!("authorization: Bearer wrong\r\nauthorization: Bearer {}", crate::KEY),
            &format!("authorization: Bearer wrong\r\nx-api-key: {}", crate::KEY),
            &format!("x_api_key: {}", crate::KEY),
            &format!("cookie: authorization=Bearer {}", crate::KEY),
        ] {
            let request = without_key(surface).replacen("\r\n", &format!("\r\n{field}\r\n"), 1);
            assert_unauthenticated(field, &ask(gateway.address(0), request));
        }
    }
    for path in CONFUSING {
        for method in ["GET", "POST", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "get"] {
            let mut stream = connect(gateway.address(0));
            let bytes =
                without_key(&format!("{method} {path}")).replace("content-length: 13", "content-length: 0");
            stream.write_all(bytes.trim_end_matches("{\"model\":\"m\"}").as_bytes()).expect("sent");
            stream.shutdown_when_answered();
            let refused = String::from_utf8_lossy(&read_all(&mut stream)).into_owned();
            assert!(
                refused.starts_with("HTTP/1.1 401") || refused.starts_with("HTTP/1.1 400"),
                "{path}: {refused}"
            );
        }
    }
    assert!(upstream.requests().is_empty());
}

/// A `HEAD` has no body behind its length, so such answers are read as bytes; this bounds the wait for them.
trait ShutdownWhenAnswered {
    fn shutdown_when_answered(&mut self);
}

impl ShutdownWhenAnswered for TcpStream {
    fn shutdown_when_answered(&mut self) {
        self.peek(&mut [0]).expect("an answer");
        self.shutdown(std::net::Shutdown::Write).expect("shut");
        self.set_read_timeout(Some(PATIENCE)).expect("set");
    }
}

#[test]
fn a_path_that_is_not_exactly_a_surface_is_none_even_with_a_key() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "");
    for path in CONFUSING {
        for method in ["GET", "POST"] {
            let answer = ask(gateway.address(0), format!("{}\r\n", head(&format!("{method} {path}"))));
            assert!(answer.status == 404 || answer.status == 400, "{method} {path}: {answer:?}");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn the_host_decides_nothing() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "");
    for host in [
        "x/#@y",
        "x/v1/models?",
        "x#",
        "admin",
        "127.0.0.1",
        "[::1]",
        "x:99999",
        "x:y",
        "",
        "..",
        "@",
        "x y",
        "x,y",
        "user@x",
        "x\\y",
        "*",
        "%2e",
        "localhost:9090/metrics",
    ] {
        for target in ["", "http://x", "http://x:1", "https://elsewhere.example", "http://user:pass@x", "ftp://x"]
        {
            let bare = format!("HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n");
            let answer = ask(gateway.address(0), format!("POST {target}/v1/chat/completions {bare}\r\n"));
            assert!(matches!(answer.status, 400 | 401), "{host} {target}: {answer:?}");
            let key = format!("authorization: Bearer {}\r\n", crate::KEY);
            let answer = ask(gateway.address(0), format!("GET {target}/metrics {bare}{key}\r\n"));
            assert!(matches!(answer.status, 400 | 404), "{host} {target}: {answer:?}");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn the_upstream_gets_the_path_that_was_matched_and_the_query_as_it_was() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "");
    for query in ["?a=b", "?/../../x", "?%0d%0ahost:%20evil", "??", "?a#b", "?http://evil/"] {
        let answer = ask(gateway.address(0), post(&format!("/v1/chat/completions{query}"), "{\"model\":\"m\"}"));
        assert_eq!(answer.status, 200, "{query}");
        let requests = upstream.requests();
        let request = requests.last().expect("one");
        let sent = query.split('#').next().unwrap_or_default();
        assert!(request.head.starts_with(&format!("POST /v1/chat/completions{sent} HTTP/1.1\r\n")), "{request:?}");
        assert_eq!(request.header("host"), [upstream.address.to_string()]);
        assert_eq!(request.header("authorization"), [format!("Bearer {}", crate::recorder::KEY)]);
    }
}

#[test]
fn the_admin_listener_serves_no_api() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "");
    for surface in SURFACES {
        let (method, path) = surface.split_once(' ').expect("two");
        let request = format!("{}connection: close\r\n\r\n", head(&format!("{method} {path}")));
        let answers = answers(&{
            let mut stream = connect(gateway.admin());
            stream.write_all(request.as_bytes()).expect("sent");
            read_all(&mut stream)
        });
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [404], "{surface}");
    }
    for page in ["/metrics", "/livez", "/readyz"] {
        assert!(gateway.admin_get(page).starts_with("HTTP/1.1 200"), "{page}");
        assert_unauthenticated(page, &ask(gateway.address(0), format!("GET {page} HTTP/1.1\r\nhost: x\r\n\r\n")));
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn urls_in_a_request_are_never_fetched() {
    let upstream = Recorder::start();
    let elsewhere = Recorder::start();
    let gateway = gateway(&upstream, "", "");
    let url = format!("http://{}/v1", elsewhere.address);
    let body = format!(
        "{{\"model\":\"m\",\"base_url\":\"{url}\",\"api_base\":\"{url}\",\"messages\":[{{\"role\":\"user\",\
         \"content\":[{{\"type\":\"image_url\",\"image_url\":{{\"url\":\"{url}\"}}}}]}}]}}"
    );
    let fields = format!("x-base-url: {url}\r\nx-upstream: {url}\r\nx-forwarded-host: {}\r\n", elsewhere.address);
    let request = post("/v1/chat/completions", &body).replacen("host:", &format!("{fields}host:"), 1);
    assert_eq!(ask(gateway.address(0), request).status, 200);
    assert_eq!(upstream.requests()[0].body, body.as_bytes());
    assert!(elsewhere.requests().is_empty());
}
