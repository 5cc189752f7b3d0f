//! Row 48: bodies that say one model to the gateway and another to the upstream.

use serde_json::Value;

use crate::gateway;
use crate::http1::{ask, head, post};
use crate::recorder::{Recorded, Recorder};
use crate::support::Gateway;

/// The key may use `good*` alone, and the upstream must never be asked for anything else.
const REST: &str = "[[routes]]\nmodel = \"*\"\ntargets = [\"recorder\"]";

/// A gateway whose key is restricted.
fn restricted(upstream: &Recorder) -> Gateway {
    let config = format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = 1
pin = false
[admin]
listen = "127.0.0.1:0"
[[keys]]
name = "tester"
key_env = "CLIENT_KEY"
models = ["good*"]
[[upstreams]]
name = "recorder"
base_url = "http://{}/v1"
{REST}
"#,
        upstream.address
    );
    Gateway::start_with(&config, &[("CLIENT_KEY", crate::KEY)])
}

/// Every value that some parser may take for the model: any member at the top whose name folds to it.
fn models(request: &Recorded) -> Vec<String> {
    /// Members in order, duplicates kept.
    struct Members(Vec<(String, Value)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    let Members(members) = serde_json::from_slice(&request.body).expect("the upstream can read it");
    let named = members.into_iter().filter(|(name, _)| name.to_lowercase().trim() == "model");
    named.map(|(_, value)| value.as_str().unwrap_or("not a string").to_owned()).collect()
}

#[test]
fn the_model_that_was_checked_is_the_model_that_is_asked() {
    let upstream = Recorder::start();
    let gateway = restricted(&upstream);
    for (status, body) in [
        (200, r#"{"model":"good"}"#),
        (200, r#" { "mod\u0065l" : "g\u006fod" } "#),
        (200, r#"{"messages":[{"model":"bad"}],"metadata":{"model":"bad"},"model":"good"}"#),
        (200, "{\"x\":\"\\\",\\\"model\\\":\\\"bad\\\"\",\"model\":\"good\"}"),
        (200, r#"{"model":"good","seed":123456789012345678901234567890,"x":1e308,"y":-0.0}"#),
        (403, r#"{"model":"bad"}"#),
        (403, r#"{"model":" good"}"#),
        (403, r#"{"model":"GOOD"}"#),
        (403, r#"{"model":"\u0261ood"}"#),
        (400, r#"{"model":"good","model":"bad"}"#),
        (400, r#"{"model":"bad","model":"good"}"#),
        (400, r#"{"model":"good","model":"good"}"#),
        (400, r#"{"model":"good","mod\u0065l":"bad"}"#),
        (400, r#"{"model":"good","Model":"bad"}"#),
        (400, r#"{"MODEL":"bad","model":"good"}"#),
        (400, r#"{"model":null,"model":"good"}"#),
        (400, r#"{"model":["good","bad"]}"#),
        (400, r#"{"model":{"model":"good"}}"#),
        (400, r#"{"model":"good\u0000bad"}"#),
        (400, r#"{"model":"good\ud800"}"#),
        (400, r#"{"model":""}"#),
        (400, "{}"),
        (400, r#"[{"model":"good"}]"#),
        (400, "{\"model\":\"good\"}{\"model\":\"bad\"}"),
        (400, "{\"model\":\"good\"}\n{\"model\":\"bad\"}"),
        (400, "{\"model\":\"good\"}x"),
        (400, "{\"model\":\"good\",}"),
        (400, "{'model':'bad','model':\"good\"}"),
        (400, "{/*\"model\":\"bad\",*/\"model\":\"good\"}"),
        (400, "{\"model\":\"good\"//\n}"),
        (400, "{model:\"good\"}"),
        (400, "{\"model\":\"good\",\"x\":NaN}"),
        (400, "{\"model\":\"good\",\"x\":01}"),
        (400, "{\"model\":\"go\nod\"}"),
        (400, "\u{feff}{\"model\":\"good\"}"),
        (400, "{\"model\":\"good\"}\0"),
        (400, "{\"model\":\"good\",\"stream\":true,\"stream\":false}"),
        (400, "{\"model\":\"good\",\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}"),
        (400, "{\"model\":\"good\",\"n\":1,\"N\":99}"),
        (400, ""),
    ] {
        let before = upstream.requests().len();
        assert_eq!(ask(gateway.address(0), post("/v1/chat/completions", body)).status, status, "{body}");
        let requests = upstream.requests();
        assert_eq!(requests.len() - before, usize::from(status == 200), "{body}");
        for request in &requests[before..] {
            assert_eq!(models(request), ["good"], "{body}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let upstream = Recorder::start();
    let gateway = restricted(&upstream);
    let head = head("POST /v1/chat/completions");
    for garbage in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3"] {
        for (before, after) in [("{\"x\":\"", "\",\"model\":\"good\"}"), ("{\"model\":\"good", "\"}")] {
            let body = [before.as_bytes(), garbage, after.as_bytes()].concat();
            let mut bytes = format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes();
            bytes.extend(body);
            assert_eq!(ask(gateway.address(0), bytes).status, 400, "{garbage:?}");
        }
    }
    // UTF-16, and a compressed body: other readings of the same bytes.
    let wide: Vec<u8> = "{\"model\":\"good\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bytes = [format!("{head}content-length: {}\r\n\r\n", wide.len()).as_bytes(), &wide].concat();
    assert_eq!(ask(gateway.address(0), bytes).status, 400);
    let gzip = format!("{head}content-encoding: gzip\r\ncontent-length: 16\r\n\r\n{{\"model\":\"good\"}}");
    assert_eq!(ask(gateway.address(0), gzip).status, 400);
    assert!(upstream.requests().is_empty());
}

#[test]
fn nesting_needs_no_stack() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", REST);
    for depth in [1_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let whole = format!("{{\"x\":{deep},\"model\":\"good\"}}");
            assert_eq!(ask(gateway.address(0), post("/v1/chat/completions", &whole)).status, 200);
            let cut = format!("{{\"model\":\"good\",\"x\":{}", open.repeat(depth));
            assert_eq!(ask(gateway.address(0), post("/v1/chat/completions", &cut)).status, 400);
            for field in ["model", "stream", "n", "stream_options"] {
                let known = format!("{{\"{field}\":{deep}}}");
                assert_eq!(ask(gateway.address(0), post("/v1/chat/completions", &known)).status, 400, "{field}");
            }
        }
    }
}
