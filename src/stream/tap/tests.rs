//! Tests of the tap.

use super::*;

#[derive(Clone, Copy)]
struct Case {
    ending: Ending,
    choices: u32,
    events: &'static [&'static str],
    /// Whether it is complete when its transfer has an end mark, and when it has none.
    complete: (bool, bool),
    failed: bool,
    reason: Option<&'static str>,
}

const CHAT: Case =
    Case { ending: Ending::Chat, choices: 1, events: &[], complete: (false, false), failed: false, reason: None };
const STOP: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason": "stop"}]}"#;

fn check(cases: &[Case]) {
    for case in cases {
        let mut tap = Tap::new(case.ending, case.choices);
        for event in case.events {
            tap.event(format!("{event}\n\n").as_bytes());
        }
        let found = ((tap.is_complete(true), tap.is_complete(false)), tap.failed, tap.finish_reason());
        assert_eq!(found, (case.complete, case.failed, case.reason), "{:?} {:?}", case.ending, case.events);
    }
}

#[test]
fn the_end_of_a_chat_is_judged_by_its_evidence() {
    check(&[
        CHAT,
        Case { ending: Ending::Transfer, complete: (true, false), ..CHAT },
        Case { events: &["data: [DONE]"], complete: (true, true), ..CHAT },
        Case { events: &["data:[DONE] "], complete: (true, true), ..CHAT },
        Case { events: &[": [DONE]", "data", "data: ", "event: [DONE]"], ..CHAT },
        Case { events: &[STOP], complete: (true, false), reason: Some("stop"), ..CHAT },
        Case { events: &[STOP], choices: 2, reason: Some("stop"), ..CHAT },
        Case { events: &[STOP, STOP], choices: 2, complete: (true, false), reason: Some("stop"), ..CHAT },
        Case {
            events: &[r#"data: {"choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}"#],
            choices: 2,
            complete: (true, false),
            reason: Some("length"),
            ..CHAT
        },
        Case { events: &[r#"data: {"choices":[{"finish_reason":""},{"finish_reason":null}]}"#], ..CHAT },
        Case { events: &[r#"data: {"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""}}]}"#], ..CHAT },
        Case { events: &[r#"data: {"error":{"message":"no"}}"#], complete: (true, true), failed: true, ..CHAT },
        Case { events: &[r#"data: { "error" : "no" }"#], complete: (true, true), failed: true, ..CHAT },
        Case { events: &[r#"data: {"error":null,"choices":[]}"#], ..CHAT },
        Case { events: &["event: error\ndata: {}"], complete: (true, true), failed: true, ..CHAT },
        Case {
            events: &[r#"data: {"id":"1","error":{"code":502},"choices":[{"finish_reason":"error"}]}"#],
            complete: (true, true),
            failed: true,
            reason: Some("error"),
            ..CHAT
        },
        Case {
            events: &[r#"data: {"type":"response.completed","response":{}}"#],
            complete: (true, true),
            reason: Some("completed"),
            ..CHAT
        },
    ]);
}

#[test]
fn the_end_of_a_response_is_judged_by_its_evidence() {
    let responses = Case { ending: Ending::Responses, ..CHAT };
    check(&[
        Case { events: &[STOP], ..responses },
        Case {
            events: &[r#"data: {"sequence_number":4,"type":"response.incomplete","response":{}}"#],
            complete: (true, true),
            reason: Some("incomplete"),
            ..responses
        },
        Case {
            events: &["event: response.failed\ndata: {\"response\":{\"error\":{}}}"],
            complete: (true, true),
            failed: true,
            reason: Some("failed"),
            ..responses
        },
        Case {
            events: &[r#"data: {"sequence_number":4,"type":"error","code":"x"}"#],
            complete: (true, true),
            failed: true,
            ..responses
        },
        // A tool's error, and a text that looks like a type, are none of the stream's.
        Case {
            events: &[
                r#"data: {"type":"response.output_item.done","item":{"type":"mcp_call","error":{"type":"error"}}}"#,
                r#"data: {"type":"response.output_text.delta","delta":"response.completed"}"#,
            ],
            ..responses
        },
    ]);
}

#[test]
fn the_end_of_a_message_is_judged_by_its_name() {
    let messages = Case { ending: Ending::Messages, ..CHAT };
    check(&[
        messages,
        Case {
            events: &[
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}",
            ],
            reason: Some("end_turn"),
            ..messages
        },
        Case { events: &["event: message_stop\ndata: {}"], complete: (true, true), ..messages },
        Case { events: &["data: {\"type\":\"message_stop\"}"], complete: (true, true), ..messages },
        Case { events: &["event: error\ndata: {}"], complete: (true, true), failed: true, ..messages },
        // Words of other dialects, and what Anthropic's SDKs would skip.
        Case {
            events: &[
                "data: [DONE]",
                r#"data: {"type":"error"}"#,
                r#"data: {"error":{}}"#,
                STOP,
                "event: message_stop",
            ],
            ..messages
        },
        Case {
            events: &[r#"event: x
data: {"type":"message_stop"}"#],
            ..messages
        },
    ]);
}

#[test]
fn the_end_of_geminis_answer_is_judged_by_its_candidates() {
    const STOP: &str = r#"data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason": "STOP"}]}"#;
    let gemini = Case { ending: Ending::Gemini, ..CHAT };
    check(&[
        gemini,
        Case { events: &[STOP], complete: (true, false), reason: Some("STOP"), ..gemini },
        Case { events: &[STOP], choices: 2, reason: Some("STOP"), ..gemini },
        Case { events: &[STOP, STOP], choices: 2, complete: (true, false), reason: Some("STOP"), ..gemini },
        Case {
            events: &[r#"data: {"promptFeedback":{"blockReason":"SAFETY"}}"#],
            choices: 2,
            complete: (true, false),
            reason: Some("SAFETY"),
            ..gemini
        },
        Case {
            events: &[r#"data: {"error":{"code":500,"status":"INTERNAL"}}"#],
            complete: (true, true),
            failed: true,
            ..gemini
        },
        Case {
            events: &[
                r#"data: {"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"},{"finishReason":""}]}"#,
                r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"args":{"finishReason":"STOP","error":{}}}}]}}]}"#,
                r#"data: {"promptFeedback":{"safetyRatings":[]}}"#,
                "data: [DONE]",
                "data: {\"candidates\":7}",
            ],
            ..gemini
        },
    ]);
}

#[test]
fn the_end_of_lines_is_judged_by_the_last_one() {
    let ollama = Case { ending: Ending::Ollama, ..CHAT };
    check(&[
        ollama,
        Case {
            events: &[r#"{"message":{"content":""},"done": true,"done_reason":"stop"}"#],
            complete: (true, true),
            reason: Some("stop"),
            ..ollama
        },
        Case { events: &[r#"{"error":"no"}"#], complete: (true, true), failed: true, ..ollama },
        Case {
            events: &[
                r#"{"message":{"content":"a","tool_calls":[{"function":{"arguments":{"done":true}}}]},"done":false}"#,
                r#"{"message":{"content":"\"done\":true"},"done":false}"#,
                "data: [DONE]",
                r#"{"done":true"#,
            ],
            ..ollama
        },
    ]);
}

#[test]
fn what_an_event_is_to_the_relay() {
    let usage = r#"data: {"choices": [ ],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let both = r#"data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#;
    for (ending, event, expected) in [
        (Ending::Chat, ": comment", Seen::Nothing),
        (Ending::Chat, "data:", Seen::Nothing),
        (Ending::Chat, "retry: 3", Seen::Nothing),
        (Ending::Chat, "data: [DONE]", Seen::Nothing),
        (Ending::Chat, "data: not even JSON", Seen::Token),
        (Ending::Chat, usage, Seen::UsageOnly),
        (Ending::Chat, both, Seen::Preamble),
        (Ending::Chat, r#"data: {"choices":[],"usage":null}"#, Seen::Preamble),
        (Ending::Chat, r#"data: {"choices":[],"prompt_filter_results":[]}"#, Seen::Preamble),
        (
            Ending::Chat,
            r#"data: {"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}"#,
            Seen::Preamble,
        ),
        (Ending::Chat, r#"data: {"choices":[{"delta":{"role":"assistant","content":"a"}}]}"#, Seen::Token),
        (Ending::Chat, r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, Seen::Token),
        (Ending::Chat, r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Seen::Token),
        (Ending::Chat, r#"data: {"choices":[{"index":0,"text":"","finish_reason":null}]}"#, Seen::Preamble),
        (Ending::Chat, r#"data: {"choices":[{"index":0,"text":"a","finish_reason":null}]}"#, Seen::Token),
        (Ending::Chat, r#"data: {"object":"x"}"#, Seen::Token),
        (Ending::Responses, r#"data: {"type":"response.created"}"#, Seen::Preamble),
        (Ending::Responses, r#"data: {"type":"response.queued"}"#, Seen::Preamble),
        (Ending::Responses, r#"data: {"type":"response.output_item.added"}"#, Seen::Token),
        (
            Ending::Messages,
            r#"data: {"type":"message_start","message":{"usage":{"input_tokens":1}}}"#,
            Seen::Preamble,
        ),
        (Ending::Messages, "event: ping\ndata: {\"type\": \"ping\"}", Seen::Preamble),
        (
            Ending::Messages,
            r#"data: {"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
            Seen::Preamble,
        ),
        (
            Ending::Messages,
            r#"data: {"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{}}}"#,
            Seen::Token,
        ),
        (Ending::Messages, r#"data: {"type":"content_block_delta","delta":{"text":"a"}}"#, Seen::Token),
        (Ending::Messages, r#"data: {"type":"something_new"}"#, Seen::Token),
        (Ending::Gemini, r#"data: {"usageMetadata":{"promptTokenCount":1}}"#, Seen::Preamble),
        (Ending::Gemini, r#"data: {"candidates":[{"content":{"parts":[{"text":""}]}}]}"#, Seen::Preamble),
        (Ending::Gemini, r#"data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#, Seen::Token),
        (Ending::Gemini, r#"data: {"candidates":[{"finishReason":"STOP"}]}"#, Seen::Token),
        (Ending::Gemini, "data: {\"candidates\":", Seen::Token),
        (Ending::Ollama, " ", Seen::Nothing),
        (Ending::Ollama, r#"{"message":{"role":"assistant","content":""},"done":false}"#, Seen::Preamble),
        (Ending::Ollama, r#"{"message":{"content":"","thinking":"a"},"done":false}"#, Seen::Token),
        (Ending::Ollama, r#"{"response":"a","done":false}"#, Seen::Token),
        (Ending::Ollama, r#"{"response":"","done":true}"#, Seen::Token),
    ] {
        assert_eq!(Tap::new(ending, 1).event(format!("{event}\n\n").as_bytes()), expected, "{event}");
    }
}

#[test]
fn usage_is_taken_in_every_form() {
    let both = Some((Some(7), Some(9)));
    for (text, expected) in [
        (r#"{"usage":{"prompt_tokens":7,"completion_tokens":9}}"#, both),
        (r#"{"usage" : { "output_tokens":9, "details":{"a":[1]}, "input_tokens":7}}"#, both),
        (r#"{"usage":{"prompt_tokens":7,"input_tokens":7,"output_tokens":9,"completion_tokens":9}}"#, both),
        (r#"{"usage":{"prompt_tokens":7,"completion_tokens":9}} {"usage":{}} {"usage":null}"#, both),
        (r#"{"usage":{"prompt_tokens":7}}"#, Some((Some(7), None))),
        (r#"{"usage":{"prompt_tokens":7,"comple"#, None),
        (r#"{"usage":{"prompt_tokens":"7"}}"#, None),
        (r#"{"content":"\"usage\":{\"prompt_tokens\":1}"}"#, None),
    ] {
        let mut tap = Tap::new(Ending::Chat, 1);
        tap.piece(text.as_bytes());
        tap.pieces_end(b"");
        assert_eq!(tap.usage().map(|usage| (usage.prompt_tokens, usage.completion_tokens)), expected, "{text}");
    }
}

#[test]
fn usage_is_taken_in_every_dialect() {
    let tokens = |prompt, completion| Some((Some(prompt), Some(completion)));
    for (ending, events, expected) in [
        (
            Ending::Messages,
            &[
                r#"data: {"type":"message_start","message":{"usage":{"input_tokens":7,"cache_read_input_tokens":2,"cache_creation_input_tokens":1,"output_tokens":1}}}"#,
                r#"data: {"type":"content_block_start","content_block":{"type":"x","usage":{"input_tokens":99}}}"#,
                r#"data: {"type":"message_delta","delta":{},"usage":{"output_tokens":9}}"#,
            ][..],
            tokens(10, 9),
        ),
        (
            Ending::Gemini,
            &[
                r#"data: {"usageMetadata":{"promptTokenCount":7}}"#,
                r#"data: {"usageMetadata":{"promptTokenCount":7,"toolUsePromptTokenCount":1,"candidatesTokenCount":4,"thoughtsTokenCount":5}}"#,
            ],
            tokens(8, 9),
        ),
        (Ending::Gemini, &[r#"data: {"usageMetadata":{}}"#], None),
        (Ending::Ollama, &[r#"{"done":true,"prompt_eval_count":7,"eval_count":9}"#], tokens(7, 9)),
    ] {
        let mut tap = Tap::new(ending, 1);
        for event in events {
            tap.event(format!("{event}\n\n").as_bytes());
        }
        let usage = tap.usage().map(|usage| (usage.prompt_tokens, usage.completion_tokens));
        assert_eq!(usage, expected, "{events:?}");
    }
}

#[test]
fn whole_answers_are_understood_by_their_end() {
    for (ending, text, reason) in [
        (
            Ending::Messages,
            r#"{"content":[{"text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":7,"output_tokens":9}}"#,
            "end_turn",
        ),
        (
            Ending::Gemini,
            r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata": {"promptTokenCount":7,"candidatesTokenCount":9}}"#,
            "STOP",
        ),
        (
            Ending::Ollama,
            r#"{"done":true,"done_reason":"stop","total_duration":1,"prompt_eval_count":7,"eval_count":9}"#,
            "stop",
        ),
    ] {
        let mut tap = Tap::new(ending, 1);
        tap.piece(text.as_bytes());
        tap.pieces_end(b"");
        let usage = tap.usage().map(|usage| (usage.prompt_tokens, usage.completion_tokens));
        assert_eq!((tap.finish_reason(), usage), (Some(reason), Some((Some(7), Some(9)))), "{text}");
    }
}

#[test]
fn the_next_sequence_number_follows_the_last_one_seen() {
    let mut tap = Tap::new(Ending::Responses, 1);
    assert_eq!(tap.next_sequence_number(), 0);
    for (number, next) in [("7", 8), ("18446744073709551615", u64::MAX), ("x", u64::MAX)] {
        tap.event(format!("data: {{\"type\":\"response.x\",\"sequence_number\": {number}}}\n\n").as_bytes());
        assert_eq!(tap.next_sequence_number(), next);
    }
}

#[test]
fn nesting_without_end_takes_linear_time() {
    // Reading every level to its end would take 10^11 steps here.
    let mut tap = Tap::new(Ending::Chat, 1);
    let nested = "{\"usage\":".repeat(100_000);
    assert_eq!(tap.event(format!("data: {nested}\n\n").as_bytes()), Seen::Token);
    assert_eq!(tap.usage(), None);
}
