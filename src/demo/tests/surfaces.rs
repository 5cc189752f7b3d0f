//! The other surfaces, and the parts that need no socket.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{fast, hello, post, send, stream, weather, with};
use crate::demo::embeddings::base64;
use crate::demo::schema::fill;
use crate::demo::script::{Tokens, prose};

#[test]
fn schemas_are_filled_by_type_bounds_and_references() {
    let check = |schema: Value, expected: Value| {
        assert_eq!(fill(&schema, "hi there"), expected, "{schema}");
    };
    check(json!({"type": "integer", "minimum": 5, "multipleOf": 4}), json!(8));
    check(json!({"type": "integer", "maximum": 0}), json!(0));
    check(json!({"type": "number"}), json!(1.0));
    check(json!({"type": ["null", "boolean"]}), json!(true));
    check(json!({"anyOf": [{"type": "null"}, {"type": "integer"}]}), json!(1));
    check(json!({"type": "array", "minItems": 2, "items": {"const": "x"}}), json!(["x", "x"]));
    check(json!({"type": "string", "minLength": 10, "maxLength": 10}), json!("hi there.."));
    check(json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}), json!(null));
    // A schema that contains itself ends.
    fill(&json!({"type": "object", "properties": {"next": {"$ref": "#"}}}), "");
    check(json!({}), json!("hi there"));
}

#[test]
fn responses_stream_numbers_its_events_and_is_kept() {
    let demo = fast();
    let events = stream(&demo, "/v1/responses", json!({"model": "demo", "input": "hello"}));
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds[..4],
        ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    );
    assert_eq!(
        kinds[kinds.len() - 4..],
        [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
    }
    let last = &events[events.len() - 1]["response"];
    assert_eq!(last["usage"]["output_tokens"], events.len() - 8);
    let id = last["id"].as_str().unwrap();
    let get = |path: &str| {
        let (_, answer) = send(&demo, "GET", path, b"");
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    assert_eq!(&get(&format!("/v1/responses/{id}")), last);
    let items = get(&format!("/v1/responses/{id}/input_items"));
    assert_eq!(items["data"][0]["content"][0]["text"], "hello");
    assert_eq!(post(&demo, &format!("/v1/responses/{id}/cancel"), &json!({}))["status"], "completed");
    assert_eq!(get("/v1/responses/resp_x")["error"]["type"], "invalid_request_error");
}

#[test]
fn responses_calls_functions() {
    let demo = fast();
    let tool = with(weather(), json!({"type": "function"}));
    let body = json!({"model": "demo", "input": "How is Rome", "tools": [tool]});
    let whole = post(&demo, "/v1/responses", &body);
    assert_eq!(whole["output"][0]["type"], "function_call");
    let events = stream(&demo, "/v1/responses", body);
    let done = events.iter().find(|event| event["type"] == "response.function_call_arguments.done").unwrap();
    assert_eq!(done["arguments"], whole["output"][0]["arguments"]);
}

#[test]
fn completions_stream_and_whole_agree() {
    let demo = fast();
    let body = json!({"model": "demo", "prompt": "Once", "max_tokens": 9});
    let whole = post(&demo, "/v1/completions", &body);
    let chunks = stream(&demo, "/v1/completions", body);
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(whole["choices"][0]["text"], text);
    assert_eq!(chunks.len(), 9 + 2);
}

#[test]
fn embeddings_are_unit_vectors_in_both_encodings() {
    let demo = fast();
    let body = json!({"model": "demo-embedding", "input": ["a", "b"], "dimensions": 3});
    let floats = post(&demo, "/v1/embeddings", &body);
    let vector: Vec<f64> =
        floats["data"][0]["embedding"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    let length: f64 = vector.iter().map(|n| n * n).sum();
    assert!(vector.len() == 3 && (length - 1.0).abs() < 1e-5);
    assert_ne!(floats["data"][0]["embedding"], floats["data"][1]["embedding"]);
    let packed = post(&demo, "/v1/embeddings", &with(body, json!({"encoding_format": "base64"})));
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 16);
    assert_eq!(base64(b"Ma"), "TWE=");
    assert_eq!(base64(b"Man"), "TWFu");
}

#[test]
fn small_surfaces_answer() {
    let demo = fast();
    let body = json!({"model": "r", "query": "red mill", "documents": ["blue", "a red mill"], "top_n": 1});
    assert_eq!(post(&demo, "/v1/rerank", &body)["results"][0]["index"], 1);
    assert_eq!(post(&demo, "/v1/moderations", &json!({"input": "hi"}))["results"][0]["flagged"], false);
    assert!(post(&demo, "/v1/images/generations", &json!({"prompt": "x"}))["data"][0]["b64_json"].is_string());
    let form = b"--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{}\n\r\n--b--\r\n";
    let (_, file) = send(&demo, "POST", "/v1/files", form);
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!((&file["bytes"], &file["purpose"]), (&json!(3), &json!("batch")));
    let batch = post(&demo, "/v1/batches", &json!({"input_file_id": file["id"]}));
    assert_eq!(batch["status"], "completed");
    let (_, text) = send(&demo, "POST", "/v1/audio/transcriptions", form);
    assert!(text.contains("\"text\""));
    for body in ["{", "[]", "{}"] {
        let (head, answer) = send(&demo, "POST", "/v1/chat/completions", body.as_bytes());
        assert!(head.starts_with("HTTP/1.1 400") && answer.contains("\"error\""));
    }
    assert!(send(&demo, "GET", "/v2", b"").0.starts_with("HTTP/1.1 404"));
}

#[test]
fn texts_are_40_to_120_words_and_tokens_join_to_them() {
    for seed in 0..500 {
        let text = prose(seed);
        let words = text.split_whitespace().count();
        assert!((40..=120).contains(&words), "{words} words: {text}");
        let tokens = Tokens::of(text.clone());
        let joined: String = (0..tokens.len()).filter_map(|at| tokens.get(at)).collect();
        assert_eq!(joined, text);
    }
    let mut tokens = Tokens::of("{\"a\":1} zwölf".to_owned());
    assert_eq!(tokens.get(1), Some("a"));
    assert!(tokens.truncate(2) && tokens.text() == "{\"a");
}

#[tokio::test]
async fn http2_by_prior_knowledge_is_spoken_too() {
    let demo = fast();
    let stream = TcpStream::connect(demo.addr).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let body = with(hello(), json!({"stream": true})).to_string();
    let request = Request::post(format!("http://{}/v1/chat/completions", demo.addr))
        .body(Full::<Bytes>::from(body))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
}
