//! Whole answers and errors, read and written.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{UNIQUE, asked, sent};
use crate::dialects::conversation::{
    Annotation, Answer, Choice, Content, Failure, FailureKind, Family, Finish, Media, Part, Reasoning, Request,
    Signature, Source, Thinking, ToolCall, Usage,
};
use crate::dialects::gemini::{FRONT, PROVIDER, proof};
use crate::dialects::{Front, Provider};

fn read(body: &Value) -> Answer {
    PROVIDER.answer(&sent(), body.to_string().as_bytes()).expect("an answer")
}

fn written(answer: &Answer, request: Request) -> Value {
    serde_json::from_slice(&FRONT.answer(answer, &asked(request))).expect("JSON")
}

fn answer(parts: Vec<Content>, finish: Finish) -> Answer {
    let parts = parts.into_iter().map(Part::new).collect();
    let choice = Choice { index: 0, parts, finish: Some(finish), logprobs: None };
    Answer { id: "id-12345678".into(), model: "m".into(), choices: vec![choice], ..Answer::default() }
}

fn everything() -> Value {
    json!({
        "candidates": [{
            "content": {"parts": [
                {"text": "Hm.", "thought": true},
                {"text": "Größe: 1", "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "96c1su3s", "name": "f", "args": {"a": 1}}, "thoughtSignature": "Y2FsbA=="},
                {"functionCall": {"name": "g"}},
                {"inlineData": {"mimeType": "image/png", "data": "aW1n"}, "thoughtSignature": "cGlj"},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
            ], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
                "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 7, "text": "Größe"},
                    "groundingChunkIndices": [0, 9]}],
                "webSearchQueries": ["size"],
            },
            "logprobsResult": {
                "chosenCandidates": [{"token": "ö", "tokenId": 1, "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "ö", "logProbability": -0.5}]}],
            },
        }, {
            "content": {"parts": [{"text": "Two"}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 1,
        }],
        "usageMetadata": {
            "promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 7,
            "totalTokenCount": 25, "toolUsePromptTokenCount": 3,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}], "serviceTier": "flex",
        },
        "modelVersion": "gemini-3-flash-preview",
        "responseId": "resp_id-1234567",
    })
}

#[test]
fn every_part_is_read() {
    let answer = read(&everything());
    assert_eq!((&*answer.id, answer.service_tier.as_deref()), ("resp_id-1234567", Some("flex")));
    let usage = Usage {
        input: 13,
        cache_read: Some(4),
        input_audio: Some(2),
        output: 12,
        reasoning: Some(7),
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));
    let [one, two] = &*answer.choices else { panic!("two candidates") };
    assert_eq!((&one.finish, &two.finish), (&Some(Finish::ToolCalls), &Some(Finish::Length)));
    let contents: Vec<_> = one.parts.iter().map(|part| &part.content).collect();
    let own = |value: &str| Some(Signature::new(Family::Gemini, value));
    assert_eq!(contents[0], &Content::Reasoning(Reasoning { text: "Hm.".into(), ..Reasoning::default() }));
    assert!(matches!(contents[1], Content::Text { text, .. } if text == "Größe: 1"));
    let proof = Reasoning { signature: own("c2ln"), ..Reasoning::default() };
    assert_eq!(contents[2], &Content::Reasoning(proof));
    let call = |id: &str, name: &str, arguments: &str, signature| {
        Content::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature })
    };
    assert_eq!(contents[3], &call("96c1su3s", "f", r#"{"a":1}"#, own("Y2FsbA==")));
    assert_eq!(contents[4], &call("call_resp_id-1234567_1", "g", "{}", None));
    let Content::Media(picture) = contents[5] else { panic!("no picture") };
    assert_eq!((picture.kind, &picture.signature), ("image", &own("cGlj")));
    assert!(matches!(contents[6], Content::Foreign { kind, .. } if kind == "executableCode"));
    let logprobs = one.logprobs.as_ref().expect("probabilities");
    let token = json!({"token": "ö", "logprob": -0.5, "bytes": [195, 182]});
    assert_eq!(logprobs["content"][0]["top_logprobs"], json!([token]));
    // The citation counts in bytes: 7 of them are 5 letters.
    let annotations: Vec<_> = one
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Text { annotations, .. } => Some(annotations),
            _ => None,
        })
        .flatten()
        .collect();
    let [cited] = &*annotations else { panic!("one citation") };
    assert_eq!((cited.url.as_deref(), cited.range), (Some("https://a.example"), Some((0, 5))));
}

#[test]
fn what_was_read_is_written_as_it_was() {
    let answer = read(&everything());
    let again = written(&answer, Request::default());
    assert_eq!(read(&again), Answer { usage: read(&again).usage, ..answer });
    let before = everything();
    let (mut parts, expected) = (again["candidates"][0]["content"]["parts"].clone(), &before["candidates"][0]);
    // The call that had no id and no arguments has both.
    assert_eq!(parts[3]["functionCall"].take(), json!({"id": "call_resp_id-1234567_1", "name": "g", "args": {}}));
    parts[3]["functionCall"] = json!({"name": "g"});
    assert_eq!(parts, expected["content"]["parts"]);
    assert_eq!(again["candidates"][0]["groundingMetadata"], expected["groundingMetadata"]);
    let usage = json!({
        "promptTokenCount": 13, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 7,
        "totalTokenCount": 25, "serviceTier": "flex",
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}, {"modality": "TEXT", "tokenCount": 11}],
    });
    assert_eq!(again["usageMetadata"], usage);
}

#[test]
fn every_end_is_understood() {
    let finish = |word: &str| {
        let body = json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": word}]});
        read(&body).choices[0].finish.clone().expect("an end")
    };
    for word in ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"] {
        assert_eq!(finish(word), Finish::ContentFilter);
    }
    assert_eq!(finish("STOP"), Finish::Stop);
    assert_eq!(finish("MAX_TOKENS"), Finish::Length);
    for word in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "LANGUAGE", "OTHER"] {
        assert_eq!(finish(word), Finish::Other(word.into()));
        let word_again = &written(&answer(Vec::new(), finish(word)), Request::default())["candidates"][0];
        assert_eq!(word_again["finishReason"], word);
    }
    let blocked = read(&json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {
        "promptTokenCount": 3, "totalTokenCount": 3}}));
    let choice = &blocked.choices[0];
    assert_eq!((&choice.finish, choice.parts.len()), (&Some(Finish::ContentFilter), 0));
    assert_eq!(blocked.usage.map(|usage| usage.input), Some(3));
    for nothing in [json!({}), json!({"usageMetadata": {}}), json!("x"), json!({"error": {"code": 500}})] {
        assert!(PROVIDER.answer(&sent(), nothing.to_string().as_bytes()).is_err());
    }
    let list = json!([
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]},
    ]);
    assert_eq!(read(&list).choices[0].parts, [Part::text("ab")]);
}

#[test]
fn what_other_providers_say_is_written() {
    let signature = Signature::new(Family::Anthropic, "sig");
    let cited = Annotation {
        url: Some("https://b.example".into()),
        title: Some("B".into()),
        range: Some((3, 5)),
        ..Annotation::default()
    };
    let proven = Reasoning { text: "hm".into(), signature: Some(signature.clone()), ..Reasoning::default() };
    let hidden = Reasoning { redacted: Some(signature.clone()), ..Reasoning::default() };
    let parts = vec![
        Content::Reasoning(proven.clone()),
        Content::Reasoning(hidden),
        Content::Text { text: "öö-ok".into(), annotations: vec![cited] },
        Content::Refusal("No.".into()),
        Content::ToolCall(ToolCall { id: "c1".into(), name: "f".into(), ..ToolCall::default() }),
        Content::Media(Media::new("image", None, Source::Url("https://x.example/a.png".into()))),
    ];
    let body = written(&answer(parts.clone(), Finish::StopSequence(Some("x".into()))), Request::default());
    let candidate = &body["candidates"][0];
    let written_parts = candidate["content"]["parts"].as_array().expect("parts");
    assert_eq!((&written_parts[0]["text"], &written_parts[0]["thought"]), (&json!("hm"), &json!(true)));
    for (at, part) in written_parts[..2].iter().enumerate() {
        let back = proof::read(part["thoughtSignature"].as_str().expect("a proof"));
        assert_eq!([back.signature, back.redacted][at], Some(signature.clone()));
    }
    assert_eq!(
        written_parts[2..],
        [
            json!({"text": "öö-ok"}),
            json!({"text": "No."}),
            json!({"functionCall": {"id": "c1", "name": "f", "args": {}}}),
            json!({"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.png"}}),
        ]
    );
    assert_eq!(candidate["finishReason"], "STOP");
    let grounding = json!({
        "groundingChunks": [{"web": {"uri": "https://b.example", "title": "B"}}],
        "groundingSupports": [{"segment": {"startIndex": 5, "endIndex": 7, "text": "ok"}, "groundingChunkIndices": [0]}],
    });
    assert_eq!(candidate["groundingMetadata"], grounding);
    // A client that has not asked for thoughts gets their proofs alone.
    let thinking = Some(Thinking { summary: Some("none".into()), ..Thinking::default() });
    let quiet = written(&answer(parts, Finish::Stop), Request { thinking, ..Request::default() });
    assert_eq!(quiet["candidates"][0]["content"]["parts"][0]["text"], "");
}

#[test]
fn what_is_missing_is_made() {
    let request = Request { model: "asked-for".into(), ..Request::default() };
    let body = written(&Answer { choices: vec![Choice::default()], ..Answer::default() }, request);
    let expected = json!({
        "candidates": [{"content": {"role": "model"}, "index": 0}],
        "modelVersion": "asked-for",
        "responseId": UNIQUE,
    });
    assert_eq!(body, expected);
    let broken = ToolCall { name: "f".into(), arguments: "{\"a\"".into(), ..ToolCall::default() };
    let body = written(&answer(vec![Content::ToolCall(broken)], Finish::ToolCalls), Request::default());
    assert_eq!(body["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
}

#[test]
fn errors_are_understood() {
    let failure = |status: u16, error: Value| {
        PROVIDER.failure(status, &HeaderMap::new(), json!({ "error": error }).to_string().as_bytes())
    };
    for (status, word, kind) in [
        (400, "INVALID_ARGUMENT", FailureKind::BadRequest),
        (400, "FAILED_PRECONDITION", FailureKind::BadRequest),
        (401, "UNAUTHENTICATED", FailureKind::Unauthenticated),
        (403, "PERMISSION_DENIED", FailureKind::Forbidden),
        (404, "NOT_FOUND", FailureKind::NotFound),
        (429, "RESOURCE_EXHAUSTED", FailureKind::RateLimited),
        (500, "INTERNAL", FailureKind::Server),
        (503, "UNAVAILABLE", FailureKind::Overloaded),
        (504, "DEADLINE_EXCEEDED", FailureKind::Timeout),
    ] {
        let failure = failure(status, json!({"code": status, "message": "m", "status": word}));
        assert_eq!((failure.kind, failure.status, failure.code.as_deref()), (kind, status, Some(word)));
        assert_eq!(failure.message, "m");
    }
    let quota = json!({"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"},
    ]});
    assert_eq!(failure(429, quota.clone()).retry_after, Some(Duration::from_millis(34_500)));
    let listed = json!([{ "error": quota }]).to_string();
    assert_eq!(PROVIDER.failure(429, &HeaderMap::new(), listed.as_bytes()).kind, FailureKind::RateLimited);
    let key = json!({"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
    ]});
    assert_eq!(failure(400, key).kind, FailureKind::Unauthenticated);
    let field = json!({"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT", "details": [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents[0]"}]},
    ]});
    assert_eq!(failure(400, field).param.as_deref(), Some("contents[0]"));
    let long = "The input token count (9) exceeds the maximum number of tokens allowed (8).";
    let long = json!({"code": 400, "message": long, "status": "INVALID_ARGUMENT"});
    assert_eq!(failure(400, long).code.as_deref(), Some("context_length_exceeded"));
    let page = PROVIDER.failure(502, &HeaderMap::new(), b"<html>secret</html>");
    assert_eq!((page.kind, &*page.message), (FailureKind::Server, "the provider answered 502"));
}

#[test]
fn errors_are_written_so_that_sdks_know_them() {
    for kind in FailureKind::ALL {
        let failure = Failure { kind, retry_after: Some(Duration::from_secs(2)), ..Failure::new(599, "words") };
        let (status, body) = FRONT.failure(&failure, "req_1");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["code"], status);
        assert_eq!(body["error"]["message"], "words");
        let back = PROVIDER.failure(status, &HeaderMap::new(), body.to_string().as_bytes());
        let expected = if kind == FailureKind::Billing { FailureKind::RateLimited } else { kind };
        assert_eq!((back.kind, back.retry_after), (expected, failure.retry_after));
    }
}
