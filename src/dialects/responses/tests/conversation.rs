//! Conversations on their way from a client to the provider.

use serde_json::json;

use super::*;
use crate::dialects::conversation::{Family, Media, Message, Reasoning, Role, Signature, Source, ToolResult};

fn items(request: &Request) -> Result<(Value, Vec<String>), Unfit> {
    let sent = PROVIDER.chat(request, &Target { model: "o", unique: "u" })?;
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    Ok((body["input"].clone(), sent.lost.into_iter().map(|lost| lost.name).collect()))
}

fn of(input: &Value) -> Request {
    read(&json!({ "model": "m", "input": input }))
}

fn message(role: Role, parts: Vec<Content>) -> Message {
    Message { role, parts: parts.into_iter().map(Part::new).collect(), name: None }
}

fn with(messages: Vec<Message>) -> Request {
    Request { messages, ..Request::default() }
}

#[test]
fn a_conversation_comes_out_as_it_went_in() {
    let input = json!([
        {"role":"developer","content":"Be brief."},
        {"role":"user","content":[
            {"type":"input_text","text":"look"},
            {"type":"input_image","image_url":"https://example.org/a.png","detail":"low"},
            {"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"auto"},
            {"type":"input_image","file_id":"file_1","detail":"auto"},
            {"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"},
            {"type":"input_file","file_url":"https://example.org/a.pdf"},
            {"type":"input_file","file_id":"file_2"}
        ]},
        {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gA=","id":"rs_1"},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"One moment."}]},
        {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
        {"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
        {"type":"function_call_output","call_id":"c2","output":"two"},
        {"type":"function_call_output","call_id":"c1","output":[
            {"type":"input_text","text":"see"},
            {"type":"input_image","image_url":"data:image/png;base64,BBBB","detail":"auto"}
        ]},
        {"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search"}},
        {"type":"message","role":"assistant","content":[
            {"type":"output_text","text":"Done."},
            {"type":"refusal","refusal":"No more."}
        ]},
        {"type":"mcp_approval_response","approval_request_id":"a","approve":true},
        {"role":"user","content":"thanks"}
    ]);
    let request = of(&input);
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    let (user, assistant) = (Role::User, Role::Assistant);
    assert_eq!(roles, [Role::Developer, user, assistant, Role::Tool, assistant, user, user]);
    assert_eq!(items(&request), Ok((input, vec![])));
}

#[test]
fn other_forms_of_the_same_are_understood() {
    let request = of(&json!([
        {"type":"message","role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA","format":"mp3"}}]},
        {"type":"reasoning","id":"rs_1","summary":[]},
        {"type":"custom_tool_call","call_id":"c1","name":"p","input":"x"},
        {"type":"custom_tool_call_output","call_id":"c1","output":"ok"},
        {"type":"image_generation_call","id":"ig_1","status":"completed","result":"AAAA"}
    ]));
    let Content::Media(media) = &request.messages[0].parts[0].content else { panic!("no sound") };
    assert_eq!((media.kind, media.media_type.as_deref()), ("audio", Some("audio/mpeg")));
    let said: Vec<String> =
        request.messages[1..].iter().flat_map(|message| message.parts.iter().map(said_part)).collect();
    assert_eq!(said, ["call(c1 p {\"input\":\"x\"})", "result(c1)", "image(Base64(\"AAAA\"))"]);
    assert_eq!(items(&request).expect("items").1, ["messages[0].content[0]", "messages[3].content[0]"]);
}

#[test]
fn thoughts_go_back_to_whom_they_belong() {
    let reasoning = |proof: Signature| {
        Content::Reasoning(Reasoning { text: "hm".into(), signature: Some(proof), ..Reasoning::default() })
    };
    let text = || Part::text("x").content;
    let own = thought::seal(Some("rs_7"), "gA=");
    let request = with(vec![message(Role::Assistant, vec![reasoning(own), text()])]);
    let (written, lost) = items(&request).expect("items");
    assert_eq!((&written[0]["id"], &written[0]["encrypted_content"]), (&json!("rs_7"), &json!("gA=")));
    assert!(lost.is_empty());

    let foreign = Signature::new(Family::Anthropic, "s");
    let unsigned = Content::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() });
    let request = with(vec![message(Role::Assistant, vec![reasoning(foreign), unsigned, text()])]);
    let (written, lost) = items(&request).expect("items");
    assert_eq!(written.as_array().map(Vec::len), Some(1));
    assert!(lost.is_empty());
}

#[test]
fn a_thought_that_nothing_follows_is_left_out() {
    let thought = json!({"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gA="});
    let call = json!({"type":"function_call","call_id":"c","name":"f","arguments":"{}"});
    let result = json!({"type":"function_call_output","call_id":"c","output":"x"});
    let user = json!({"role":"user","content":"y"});
    let (written, _) =
        items(&of(&json!([thought, thought, call, result, thought, user, thought]))).expect("items");
    let kinds: Vec<&str> =
        written.as_array().expect("items").iter().filter_map(|item| item["type"].as_str()).collect();
    assert_eq!(kinds, ["reasoning", "reasoning", "function_call", "function_call_output"]);
}

#[test]
fn long_ids_are_shortened_alike_in_call_and_result() {
    let id = "x".repeat(65);
    let (written, _) = items(&of(&json!([
        {"type":"function_call","call_id":id,"name":"f","arguments":""},
        {"type":"function_call_output","call_id":id,"output":"x"}
    ])))
    .expect("items");
    let short = written[0]["call_id"].as_str().expect("an id");
    assert!(short.len() <= 64 && short.starts_with("call_"));
    assert_eq!(written[1]["call_id"], short);
    assert_eq!(written[0]["arguments"], "{}");
}

#[test]
fn a_result_without_its_call_is_unfit() {
    let result = Content::ToolResult(ToolResult { id: "c".into(), ..ToolResult::default() });
    let unfit = items(&with(vec![message(Role::Tool, vec![result])])).expect_err("unfit");
    assert_eq!(unfit.param.as_deref(), Some("messages[0].content[0]"));
}

#[test]
fn what_has_no_place_is_lost_by_its_own() {
    let film = Media::new("video", Some("video/mp4".into()), Source::Base64("AA".into()));
    let paper = Media::new("file", Some("text/plain".into()), Source::Text("words".into()));
    let foreign = Content::Foreign { kind: "server_tool_use".into(), value: json!({"type":"server_tool_use"}) };
    let mut user = message(Role::User, vec![Content::Media(film), Content::Media(paper)]);
    user.parts[1].cache = Some(json!({"type":"ephemeral"}));
    user.name = Some("Ann".into());
    let (written, lost) = items(&with(vec![user, message(Role::Assistant, vec![foreign])])).expect("items");
    assert_eq!(written, json!([{"role":"user","content":[{"type":"input_text","text":"words"}]}]));
    assert_eq!(lost, ["messages[0].name", "messages[0].content[0]", "messages[1].content[0]", "cache_control"]);
}
