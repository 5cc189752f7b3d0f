//! Clients that speak other dialects, before an upstream that speaks the same: what comes through, what is said in its
//! place, and what of their keys goes nowhere.

use serde_json::{Value, json};

use crate::support::client::{Client, Reader};
use crate::support::setup::{Lab, Setup};
use crate::support::upstream::Exchange;

const KEY: &str = "client-key-0123456789";

/// A dialect's stream: how it is asked for, and what it is made of.
struct Front {
    path: &'static str,
    body: &'static str,
    /// The path that the upstream sees.
    passed: &'static str,
    content_type: &'static str,
    endpoint: &'static str,
    /// Nothing yet, a token, and the last word.
    parts: [&'static str; 3],
    keep_alive: Option<&'static str>,
}

const FRONTS: [Front; 3] = [
    Front {
        path: "/v1/messages",
        body: r#"{"model":"m","max_tokens":9,"stream":true,"n":0,"stream_options":7,"messages":[]}"#,
        passed: "/v1/messages",
        content_type: "text/event-stream",
        endpoint: "messages",
        parts: [
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"Grüße\"}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
        keep_alive: Some(": keep-alive\n\n"),
    },
    Front {
        path: "/v1beta/models/m:streamGenerateContent?alt=sse&key=client-key-0123456789",
        body: r#"{"contents":[],"model":7}"#,
        passed: "/v1/models/m:streamGenerateContent?alt=sse",
        content_type: "text/event-stream",
        endpoint: "stream_generate_content",
        parts: [
            "data: {\"usageMetadata\": {\"promptTokenCount\": 7}}\r\n\r\n",
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Grüße\"}]}}]}\r\n\r\n",
            "data: {\"candidates\": [{\"finishReason\": \"STOP\"}]}\r\n\r\n",
        ],
        keep_alive: Some("data: {}\n\n"),
    },
    Front {
        path: "/api/chat",
        body: r#"{"model":"m","messages":[]}"#,
        passed: "/v1/api/chat",
        content_type: "application/x-ndjson",
        endpoint: "ollama_chat",
        parts: [
            "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n",
            "{\"message\":{\"content\":\"Grüße\"},\"done\":false}\n",
            "{\"message\":{\"content\":\"\"},\"done\":true,\"prompt_eval_count\":7}\n",
        ],
        keep_alive: None,
    },
];

/// The kind of upstream that speaks the dialect of a path.
fn kind_of(path: &str) -> &'static str {
    match path {
        path if path.starts_with("/v1/messages") => "anthropic",
        path if path.starts_with("/api/") => "ollama",
        path if path.contains("/models/") => "gemini",
        _ => "openai",
    }
}

/// Before an upstream that speaks the dialect of `path`.
fn keyed(setup: Setup, path: &str) -> Lab {
    let keys = "[[keys]]\nname = \"team\"\nkey_env = \"CLIENT_KEY\"\nmodels = [\"m\"]\nrequests_per_minute = 100";
    setup.env("CLIENT_KEY", KEY).tables(keys).lab_of(kind_of(path))
}

fn ask(lab: &Lab, path: &str, body: &str) -> Client {
    let mut client = lab.client();
    let method = if body.is_empty() { "GET" } else { "POST" };
    client.ask(method, path, &[("x-api-key", KEY), ("content-type", "application/json")], body.as_bytes());
    client
}

fn begin(exchange: &mut Exchange, front: &Front) {
    exchange.begin(200, &[("content-type", front.content_type)]);
}

/// What a client makes of the last event: the object in it.
fn object(event: &str) -> Value {
    let line = event.lines().find(|line| line.contains('{')).expect("an object");
    serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line)).expect("JSON")
}

/// Checks that an error has the form of the path's dialect, and these words in Anthropic's, Gemini's and `OpenAI`'s.
fn check_error(path: &str, told: &Value, words: [&str; 3]) {
    let [anthropic, gemini, openai] = words;
    if path.starts_with("/v1/messages") {
        assert_eq!((&told["type"], &told["error"]["type"]), (&json!("error"), &json!(anthropic)), "{told}");
        assert!(told["error"]["message"].is_string() && told["request_id"].is_string(), "{told}");
    } else if path.starts_with("/v1beta") {
        assert_eq!(told["error"]["status"], gemini, "{told}");
        assert!(told["error"]["code"].is_u64() && told["error"]["message"].is_string(), "{told}");
    } else if path.starts_with("/api") {
        assert!(told["error"].is_string(), "{told}");
    } else {
        assert_eq!(told["error"]["code"], openai, "{told}");
    }
}

#[test]
fn streams_of_the_same_dialect_pass_byte_for_byte_and_are_understood() {
    for front in &FRONTS {
        let lab = keyed(Setup::new(), front.path);
        let mut client = ask(&lab, front.path, front.body);
        let mut exchange = lab.upstream.next();
        assert_eq!(exchange.head.path(), front.passed);
        assert_eq!(exchange.body, front.body.as_bytes());
        begin(&mut exchange, front);
        let whole = front.parts.concat();
        let (first, rest) = whole.as_bytes().split_at(whole.len() / 2);
        exchange.send(first);
        exchange.send(rest);
        exchange.end();
        let (head, rest) = client.answer();
        assert_eq!((head.status(), head.get("content-type")), (200, Some(front.content_type)), "{}", front.path);
        assert_eq!(head.get("request-id").is_some(), front.endpoint == "messages");
        assert!(rest.whole && rest.text() == whole, "{}: {}", front.path, rest.text());
        lab.until_ended(front.endpoint, "completed");
        assert_eq!(lab.gateway.sum("millstream_tokens_total", &["direction=\"input\""]), 7.0, "{}", front.path);
    }
}

#[test]
fn whole_answers_pass_byte_for_byte() {
    for (path, body) in [
        ("/v1/messages", r#"{"model":"m","messages":[]}"#),
        ("/v1/messages/count_tokens", r#"{"model":"m","messages":[]}"#),
        ("/v1beta/models/m:generateContent", r#"{"contents":[]}"#),
        ("/v1alpha/models/m:countTokens", r#"{"contents":[]}"#),
        ("/v1/models/m:generateContent", r#"{"contents":[]}"#),
        ("/v1beta/models/m:embedContent", r#"{"content":{}}"#),
        ("/api/chat", r#"{"model":"m","stream":false}"#),
        ("/api/generate", r#"{"model":"m","stream":false}"#),
        ("/api/embed", r#"{"model":"m","input":"a"}"#),
    ] {
        let lab = keyed(Setup::new(), path);
        let mut client = ask(&lab, path, body);
        let exchange = lab.upstream.next();
        assert_eq!(exchange.body, body.as_bytes());
        exchange.answer(200, &[("content-type", "application/json")], b"{\"a\": 1}\n");
        let (head, rest) = client.answer();
        assert_eq!((head.status(), rest.text()), (200, "{\"a\": 1}\n".to_owned()), "{path}");
    }
}

#[test]
fn a_model_in_the_path_is_renamed_there() {
    let route = "[[routes]]\nmodel = \"m\"\ntargets = [{ upstream = \"up\", model = \"real/m#2\" }]";
    let lab = Setup::new().tables(route).lab_of("gemini");
    let mut client = lab.client();
    client.post("/v1beta/models/%6d:generateContent?x=1", "{}");
    let exchange = lab.upstream.next();
    assert_eq!(exchange.head.path(), "/v1/models/real/m%232:generateContent?x=1");
    exchange.answer(200, &[("content-type", "application/json")], b"{}");
    assert_eq!(client.answer().0.status(), 200);
}

#[test]
fn what_is_refused_is_told_in_the_clients_dialect() {
    let lab = keyed(Setup::new(), "");
    for path in ["/v1/messages", "/v1beta/models/m:generateContent", "/api/chat", "/v1/chat/completions"] {
        let mut client = lab.client();
        client.post(path, r#"{"model":"m"}"#);
        let (head, rest) = client.answer();
        assert_eq!(head.status(), 401, "{path}");
        assert_eq!(head.get("content-type"), Some("application/json"));
        let told = object(&rest.text());
        check_error(path, &told, ["authentication_error", "UNAUTHENTICATED", "invalid_api_key"]);
        if let Some(id) = head.get("request-id") {
            assert_eq!((told["request_id"].as_str(), head.get("x-request-id")), (Some(id), Some(id)));
        }
    }
    for (path, body, status, words) in [
        ("/v1/messages", r#"{"model":"x"}"#, 403, ["permission_error", "", ""]),
        ("/v1beta/models/x:generateContent", "{}", 403, ["", "PERMISSION_DENIED", ""]),
        ("/api/chat", r#"{"model":"x"}"#, 403, [""; 3]),
        ("/v1/messages", "[]", 400, ["invalid_request_error", "", ""]),
        ("/v1/messages", r#"{"messages":[]}"#, 400, ["invalid_request_error", "", ""]),
        ("/v1beta/models/m:generateContent", "[]", 400, ["", "INVALID_ARGUMENT", ""]),
        ("/v1beta/models/m:streamGenerateContent", "{}", 400, ["", "INVALID_ARGUMENT", ""]),
        ("/v1beta/models/m:streamGenerateContent?alt=json", "{}", 400, ["", "INVALID_ARGUMENT", ""]),
        ("/v1/messages/batches", "{}", 404, ["not_found_error", "", ""]),
        ("/v1beta/files", "{}", 404, ["", "NOT_FOUND", ""]),
        ("/api/pull", "{}", 404, [""; 3]),
        ("/v1beta/models/x", "", 404, ["", "NOT_FOUND", ""]),
    ] {
        let (head, rest) = ask(&lab, path, body).answer();
        assert_eq!(head.status(), status, "{path} {body}");
        check_error(path, &object(&rest.text()), words);
    }
    assert!(lab.upstream.is_unasked());
}

#[test]
fn a_limit_is_told_in_the_clients_dialect() {
    let keys = "[[keys]]\nname = \"team\"\nkey_env = \"CLIENT_KEY\"\nrequests_per_minute = 1";
    for path in ["/v1/messages", "/v1beta/models/m:generateContent", "/api/embed"] {
        let lab = Setup::new().env("CLIENT_KEY", KEY).tables(keys).lab_of(kind_of(path));
        let mut client = ask(&lab, path, r#"{"model":"m"}"#);
        lab.upstream.next().answer(200, &[("content-type", "application/json")], b"{}");
        assert_eq!(client.answer().0.status(), 200, "{path}");
        let (head, rest) = ask(&lab, path, r#"{"model":"m"}"#).answer();
        assert_eq!(head.status(), 429, "{path}");
        assert!(head.get("retry-after").is_some());
        check_error(path, &object(&rest.text()), ["rate_limit_error", "RESOURCE_EXHAUSTED", ""]);
    }
}

#[test]
fn a_stream_that_breaks_off_says_so_in_the_clients_dialect() {
    for front in &FRONTS {
        for is_cut in [true, false] {
            let lab = keyed(Setup::new(), front.path);
            let mut client = ask(&lab, front.path, front.body);
            let mut exchange = lab.upstream.next();
            begin(&mut exchange, front);
            let [nothing, token, last] = front.parts;
            let said = format!("{nothing}{token}");
            exchange.send(&said);
            exchange.send(&last[..last.len() / 2]);
            if is_cut {
                exchange.cut(false);
            } else {
                exchange.end();
            }
            let (head, rest) = client.answer();
            assert_eq!(head.status(), 200);
            let text = rest.text();
            let event = text.strip_prefix(&said).expect("what was said, and no half event");
            check_error(front.path, &object(event), ["api_error", "INTERNAL", ""]);
            let named = event.starts_with("event: error\n");
            assert_eq!(named, front.endpoint == "messages", "{event}");
            // Google's SDKs for JavaScript and Go raise this.
            let bodies = event.lines().filter(|line| line.starts_with("{\"error\"")).count();
            assert_eq!(bodies, usize::from(front.endpoint != "messages"), "{event}");
            assert!(rest.whole);
            let reason = if is_cut { "upstream_error" } else { "upstream_truncated" };
            lab.until_ended(front.endpoint, reason);
        }
    }
}

#[test]
fn an_early_head_and_keep_alives_have_the_form_of_the_dialect() {
    for front in &FRONTS {
        let lab = keyed(Setup::new().stream("early_head_after = \"100ms\"\nkeep_alive = \"1s\""), front.path);
        let mut client = ask(&lab, front.path, front.body);
        let mut exchange = lab.upstream.next();
        let head = client.head();
        assert_eq!(head.status(), 200);
        let content_type = head.get("content-type").expect("a type");
        assert!(content_type.starts_with(front.content_type), "{content_type}");
        if let Some(keep_alive) = front.keep_alive {
            assert_eq!(client.event(), keep_alive, "{}", front.path);
        }
        begin(&mut exchange, front);
        let whole = front.parts.concat();
        exchange.send(&whole);
        exchange.end();
        let text = client.rest().text();
        assert!(text.ends_with(&whole), "{}: {text}", front.path);
        lab.until_ended(front.endpoint, "completed");
    }
}

#[test]
fn an_error_after_an_early_head_is_an_event_of_the_dialect() {
    for front in &FRONTS {
        let lab = keyed(Setup::new().unrepeated().stream("early_head_after = \"100ms\""), front.path);
        let mut client = ask(&lab, front.path, front.body);
        let exchange = lab.upstream.next();
        assert_eq!(client.head().status(), 200);
        exchange.answer(500, &[("content-type", "text/html")], b"<html>");
        let text = client.rest().text();
        check_error(front.path, &object(&text), ["api_error", "INTERNAL", ""]);
        assert!(!text.contains("html"), "{text}");
    }
}

#[test]
fn keys_go_no_further_and_stand_in_no_log() {
    let lab = keyed(Setup::new().tables("[log]\nfilter = \"trace\"\nformat = \"text\""), "/models/");
    let path = "/v1beta/models/m:generateContent";
    for (query, fields) in [
        ("", &[("x-goog-api-key", KEY)][..]),
        ("", &[("x-api-key", KEY)]),
        ("?key=client-key-0123456789&x=1", &[]),
        ("?x=1&%6bey=client%2Dkey-0123456789", &[("x-goog-user-project", "p")]),
    ] {
        let mut client = lab.client();
        client.ask("POST", &format!("{path}{query}"), fields, b"{}");
        let exchange = lab.upstream.next();
        let expected = if query.is_empty() { "" } else { "?x=1" };
        assert_eq!(exchange.head.path(), format!("/v1/models/m:generateContent{expected}"));
        for name in ["x-api-key", "x-goog-user-project"] {
            assert_eq!(exchange.head.get(name), None);
        }
        assert!(exchange.head.get("x-goog-api-key").is_some_and(|key| key != KEY), "the upstream's own");
        exchange.answer(200, &[("content-type", "application/json")], b"{}");
        assert_eq!(client.answer().0.status(), 200, "{query}");
    }
    let mut client = lab.client();
    client.ask("POST", "/v1/messages?key=client-key-0123456789", &[], b"{}");
    assert_eq!(client.answer().0.status(), 401, "a key in the address is Google's way alone");
    assert!(!lab.gateway.log().contains(KEY), "{}", lab.gateway.log());
}

#[test]
fn models_are_listed_in_the_clients_dialect() {
    let route = |model: &str| format!("[[routes]]\nmodel = \"{model}\"\ntargets = [\"up\"]");
    let lab = keyed(Setup::new().tables(&route("m")).tables(&route("other")), "");
    let get = |path: &str, version: bool| {
        let mut client = lab.client();
        let fields = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
        client.ask("GET", path, &fields[..=usize::from(version)], b"");
        let (head, rest) = client.answer();
        assert_eq!(head.status(), 200, "{path}: {}", rest.text());
        object(&rest.text())
    };
    let openai = get("/v1/models", false);
    assert_eq!((&openai["object"], &openai["data"][0]["object"]), (&json!("list"), &json!("model")));
    let anthropic = get("/v1/models", true);
    assert_eq!((&anthropic["has_more"], &anthropic["data"][0]["type"]), (&json!(false), &json!("model")));
    assert_eq!(anthropic["data"].as_array().map(Vec::len), Some(1), "what the key may use");
    assert_eq!(get("/v1/models/m", true)["display_name"], "m");
    assert_eq!(get("/v1beta/models", false)["models"][0]["name"], "models/m");
    assert_eq!(get("/v1beta/models/m", false)["name"], "models/m");
    assert_eq!(get("/api/tags", false)["models"][0]["model"], "m");
    assert!(get("/api/version", false)["version"].is_string());
    assert!(lab.upstream.is_unasked());
}
