//! Clients' requests.

use serde_json::{Value, json};

use super::read;
use crate::dialects::conversation::{
    Content, Effort, Family, Format, Reasoning, Role, Signature, Source, Thinking, ToolChoice, Wish,
};
use crate::dialects::gemini::{FRONT, proof};
use crate::dialects::{Front, Place};

fn refused(body: &Value) -> String {
    let place = Place { model: Some("m"), stream: None };
    let refusal = FRONT.read(body.to_string().as_bytes(), &place).expect_err("refused");
    refusal.param.unwrap_or_default()
}

#[test]
fn settings_are_read_in_both_spellings() {
    let camel = json!({
        "contents": [{"parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "generationConfig": {
            "temperature": 0.5, "topP": 0.9, "topK": 40.0, "maxOutputTokens": 100, "candidateCount": 2,
            "stopSequences": ["END"], "seed": 7, "presencePenalty": 0.1, "frequencyPenalty": 0.0,
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            "responseLogprobs": true, "logprobs": 3, "responseModalities": ["TEXT", "IMAGE"],
            "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": true},
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "labels": {"team": "a"},
        "serviceTier": "flex",
        "newThing": 1,
    });
    let snake = json!({
        "contents": [{"parts": [{"text": "Hi"}]}],
        "system_instruction": {"parts": [{"text": "Be kind."}]},
        "generation_config": {
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_output_tokens": 100, "candidate_count": 2,
            "stop_sequences": ["END"], "seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0.0,
            "response_mime_type": "application/json",
            "response_schema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            "response_logprobs": true, "logprobs": 3, "response_modalities": ["TEXT", "IMAGE"],
            "thinking_config": {"thinking_budget": 1024, "include_thoughts": true},
            "media_resolution": "MEDIA_RESOLUTION_LOW",
        },
        "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "labels": {"team": "a"},
        "service_tier": "flex",
        "new_thing": 1,
    });
    let request = read(&camel);
    assert_eq!(read(&snake), request);
    assert_eq!(
        request.messages.iter().map(|message| message.role).collect::<Vec<_>>(),
        [Role::System, Role::User]
    );
    let wish = |wish| request.wishes.get(wish).cloned();
    assert_eq!(wish(Wish::TopK), Some(json!(40)));
    assert_eq!(wish(Wish::N), Some(json!(2)));
    assert_eq!(wish(Wish::Modalities), Some(json!(["text", "image"])));
    assert_eq!(wish(Wish::ServiceTier), Some(json!("flex")));
    assert_eq!(wish(Wish::FrequencyPenalty), None);
    let left = request.wishes.open().left();
    let others: Vec<_> = left.iter().filter(|(wish, _)| *wish == Wish::Other).map(|(_, name)| *name).collect();
    assert_eq!(others, ["generationConfig.mediaResolution", "newThing"]);
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let format = Format::JsonSchema { name: None, description: None, schema, strict: None };
    assert_eq!(request.format, Some(format));
    let summary = Some("auto".to_owned());
    let thinking = Thinking { enabled: Some(true), effort: None, budget: Some(1024), summary };
    assert_eq!(request.thinking, Some(thinking));
}

#[test]
fn what_asks_for_nothing_is_no_wish() {
    let request = read(&json!({
        "contents": {"parts": {"text": "Hi"}},
        "generationConfig": {
            "candidateCount": 1, "responseLogprobs": false, "responseModalities": ["TEXT"], "stopSequences": [],
            "responseMimeType": "text/plain", "thinkingConfig": {}, "presencePenalty": 0, "seed": null,
            "mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED",
        },
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "safetySettings": [], "serviceTier": "unspecified", "store": false, "cachedContent": null,
    }));
    assert!(request.wishes.is_empty(), "{:?}", request.wishes);
    assert_eq!((request.format, request.thinking, request.tool_choice), (None, None, None));
}

#[test]
fn thinking_is_off_by_itself_or_by_level() {
    let thinking = |config: Value| {
        let config =
            json!({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"thinkingConfig": config}});
        read(&config).thinking.expect("thinking was asked for")
    };
    let none = Some("none".to_owned());
    let off = Thinking { enabled: Some(false), summary: none.clone(), ..Thinking::default() };
    assert_eq!(thinking(json!({"thinkingBudget": 0})), off);
    let auto = Thinking { enabled: Some(true), summary: none.clone(), ..Thinking::default() };
    assert_eq!(thinking(json!({"thinkingBudget": -1})), auto);
    let low = Thinking { enabled: Some(true), effort: Some(Effort::Low), summary: none, ..Thinking::default() };
    assert_eq!(thinking(json!({"thinkingLevel": "LOW"})), low);
}

#[test]
fn a_result_is_what_stands_in_its_wrapping() {
    for (response, said, is_error) in [
        (json!({"output": "sun"}), "sun", false),
        (json!({"result": {"sky": "blue"}}), r#"{"sky":"blue"}"#, false),
        // LiteLLM's and Vercel's.
        (json!({"content": "sun"}), "sun", false),
        (json!({"name": "weather", "content": "sun"}), "sun", false),
        (json!({"error": "no sky"}), "no sky", true),
        // These are the function's own words.
        (json!({"name": "weather"}), r#"{"name":"weather"}"#, false),
        (json!({"name": "other", "content": "sun"}), r#"{"content":"sun","name":"other"}"#, false),
        (json!({"name": "weather", "result": 1}), r#"{"name":"weather","result":1}"#, false),
    ] {
        let given = json!({"functionResponse": {"name": "weather", "response": response}});
        let request = read(&json!({"contents": [{"role": "user", "parts": [given]}]}));
        let Content::ToolResult(result) = &request.messages[0].parts[0].content else { panic!("no result") };
        let text: Value = result.parts[0]
            .as_text()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
        let expected: Value = serde_json::from_str(said).unwrap_or_else(|_| json!(said));
        assert_eq!((text, result.is_error), (expected, is_error));
    }
}

#[test]
fn a_conversation_with_tools_pairs_calls_and_results() {
    let request = read(&json!({
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}, {"inlineData": {"mimeType": "image/png", "data": "aW1n_-"}}]},
            {"role": "model", "parts": [
                {"text": "Let me ", "thought": true},
                {"text": "see", "thought": true, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "Y2FsbA=="},
                {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
                {"functionCall": {"name": "time", "id": "t1"}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": "sun"}}},
                {"functionResponse": {"name": "time", "response": {"error": "no clock"}}},
                {"functionResponse": {"name": "weather", "response": {"sky": "grey"},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "aW1n"}}]}},
                {"text": "Go on"},
            ]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": "weather", "description": "d", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}},
            {"name": "time", "parametersJsonSchema": {"type": "object"}},
            {"name": "other"},
        ]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather", "time"]}},
    }));
    let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::User]);
    let Content::Media(media) = &request.messages[0].parts[1].content else { panic!("no picture") };
    assert_eq!((media.kind, &media.source), ("image", &Source::Base64("aW1n/+".into())));
    let parts = &request.messages[1].parts;
    let signature = Some(Signature::new(Family::Gemini, "c2ln"));
    let thought = Reasoning { text: "Let me see".into(), signature, ..Reasoning::default() };
    assert_eq!(parts[0].content, Content::Reasoning(thought));
    let calls: Vec<_> = parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::ToolCall(call) => Some((&*call.id, &*call.arguments, call.signature.is_some())),
            _ => None,
        })
        .collect();
    let expected =
        [("call_1", r#"{"city":"Rome"}"#, true), ("call_2", r#"{"city":"Oslo"}"#, false), ("t1", "{}", false)];
    assert_eq!(calls, expected);
    let results: Vec<_> = request.messages[2]
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::ToolResult(result) => Some((
                &*result.id,
                result.parts[0].as_text().expect("a text"),
                result.is_error,
                result.parts.len(),
            )),
            _ => None,
        })
        .collect();
    let expected =
        [("call_1", "sun", false, 1), ("t1", "no clock", true, 1), ("call_2", r#"{"sky":"grey"}"#, false, 2)];
    assert_eq!(results, expected);
    assert_eq!(request.tool_choice, Some(ToolChoice::Required));
    let names: Vec<_> = request.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["weather", "time"]);
    assert_eq!(request.wishes.open().left(), [(Wish::Other, "tools.googleSearch")]);
}

#[test]
fn a_stream_that_the_client_kept_in_pieces_becomes_one_message() {
    let foreign = Reasoning { signature: Some(Signature::new(Family::Anthropic, "sig")), ..Reasoning::default() };
    let proof = proof::write(&foreign).expect("a proof");
    let request = read(&json!({"contents": [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Think", "thought": true}]},
        {"role": "model", "parts": [{"text": "ing", "thought": true}]},
        {"role": "model", "parts": [{"text": "", "thought": true, "thoughtSignature": proof}]},
        {"role": "model", "parts": [{"text": "Hel"}]},
        {"role": "model", "parts": [{"text": "lo"}]},
        {"role": "model", "parts": [{"text": "", "thoughtSignature": "b3du"}]},
        {"role": "model", "parts": [{"text": ""}]},
        {"role": "user", "parts": [{"text": "More"}]},
    ]}));
    assert_eq!(request.messages.len(), 3);
    let parts: Vec<_> = request.messages[1].parts.iter().map(|part| part.content.clone()).collect();
    let own = Some(Signature::new(Family::Gemini, "b3du"));
    let expected = [
        Content::Reasoning(Reasoning { text: "Thinking".into(), ..foreign }),
        Content::Text { text: "Hello".into(), annotations: Vec::new() },
        Content::Reasoning(Reasoning { signature: own, ..Reasoning::default() }),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn what_is_wrong_is_named() {
    let text = json!([{"parts": [{"text": "x"}]}]);
    assert_eq!(refused(&json!({})), "contents");
    assert_eq!(refused(&json!({"contents": [{"role": "boss", "parts": []}]})), "contents[0].role");
    assert_eq!(refused(&json!({"contents": [{"parts": [{}]}]})), "contents[0].parts[0]");
    let nameless = json!({"contents": [{"role": "model", "parts": [{"functionCall": {}}]}]});
    assert_eq!(refused(&nameless), "contents[0].parts[0].functionCall.name");
    assert_eq!(refused(&json!({"contents": text, "cachedContent": "cachedContents/1"})), "cachedContent");
    let mode = json!({"functionCallingConfig": {"mode": "MAYBE"}});
    let param = "toolConfig.functionCallingConfig.mode";
    assert_eq!(refused(&json!({"contents": text, "toolConfig": mode})), param);
    let config = json!({"responseSchema": {"type": "OBJECT"}});
    assert_eq!(
        refused(&json!({"contents": text, "generationConfig": config})),
        "generationConfig.responseMimeType"
    );
    assert!(FRONT.read(b"[]", &Place::default()).is_err() && FRONT.read(b"{", &Place::default()).is_err());
}

#[test]
fn a_count_may_be_of_a_whole_request() {
    let request = json!({"contents": [{"parts": [{"text": "x"}]}], "systemInstruction": "Be kind."});
    let place = Place { model: Some("models/m"), stream: None };
    let plain = FRONT.read_count(request.to_string().as_bytes(), &place).expect("a request");
    let whole = json!({"generateContentRequest": request});
    assert_eq!(FRONT.read_count(whole.to_string().as_bytes(), &place).expect("a request"), plain);
    assert_eq!((plain.messages.len(), &*plain.model), (2, "m"));
    assert_eq!(FRONT.write_count(3), br#"{"totalTokens":3}"#);
}
