//! Requests of Anthropic's dialect that go to a provider of the same: every byte goes on as the client wrote it, but for
//! what only the way makes necessary.

use std::ops::Range;

use memchr::memmem;
use serde_json::{Value, json};

use super::request_out::{VERTEX_VERSION, vertex_path};
use crate::dialects::Malformed;
use crate::dialects::conversation::{Family, Signature};
use crate::dialects::splice::{members, spliced};

/// The body for Claude on Google's cloud, which has the model in its path: without `model`, with `anthropic_version`
/// unless the client has said one.
///
/// # Errors
/// When it is no JSON object.
pub fn vertex_body(raw: &[u8]) -> Result<Vec<u8>, Malformed> {
    let members = members(raw)?;
    let mut body = Vec::with_capacity(raw.len() + 64);
    let open = memchr::memchr(b'{', raw).map_or(0, |brace| brace + 1);
    body.extend_from_slice(&raw[..open]);
    let model = members.get("model").map(|value| member(raw, value));
    let is_empty = members.keys().all(|name| name == "model");
    if !members.contains_key("anthropic_version") {
        let comma = if is_empty { "" } else { "," };
        body.extend_from_slice(format!(r#""anthropic_version":"{VERTEX_VERSION}"{comma}"#).as_bytes());
    }
    let gap = model.unwrap_or(open..open);
    body.extend_from_slice(&raw[open..gap.start]);
    body.extend_from_slice(&raw[gap.end..]);
    Ok(body)
}

/// Where `model` is asked on Google's cloud, below the base path that names the project and the place.
pub fn vertex_target(model: &str, stream: bool) -> String {
    vertex_path(model, stream)
}

/// A body without the thoughts of other families' models, which the API would refuse: a conversation may have been
/// with others before. In the middle of calls that such a model made, a budget of thought would be refused as well, since
/// no thought begins the turn: it is taken back. `None` if nothing has to change, which is nearly always.
///
/// # Errors
/// When it is no JSON object.
pub fn own_thoughts(raw: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let has = |text: &str| memmem::find(raw, text.as_bytes()).is_some();
    // What others have thought is sealed, or has no signature at all.
    let is_suspect = has("\"ms1:") || has("\"signature\"") || (has("\"budget_tokens\"") && has("\"tool_result\""));
    if !is_suspect {
        return Ok(None);
    }
    let members = members(raw)?;
    let Some(range) = members.get("messages") else { return Ok(None) };
    let mut messages: Vec<Value> =
        serde_json::from_slice(&raw[range.clone()]).map_err(|_| Malformed("messages that are no list"))?;
    let mut is_changed = false;
    for blocks in messages.iter_mut().filter_map(|message| message.get_mut("content")?.as_array_mut()) {
        let before = blocks.len();
        blocks.retain(|block| !is_foreign_thought(block));
        is_changed |= blocks.len() != before;
    }
    messages.retain(|message| message.get("content") != Some(&json!([])));
    let mut splices = Vec::new();
    if lacks_thought(&messages) {
        let has_budget = |range: &&Range<usize>| {
            let thinking: Option<Value> = serde_json::from_slice(&raw[(*range).clone()]).ok();
            thinking.is_some_and(|thinking| thinking["type"] == "enabled")
        };
        if let Some(thinking) = members.get("thinking").filter(has_budget) {
            splices.push((thinking, r#"{"type":"disabled"}"#.to_owned()));
            // May say which thoughts are to be kept, which is refused without any.
            splices.extend(members.get("context_management").map(|range| (range, "null".to_owned())));
        }
    }
    if is_changed {
        splices.push((range, Value::Array(messages).to_string()));
    }
    splices.sort_by_key(|(range, _)| range.start);
    Ok((!splices.is_empty()).then(|| spliced(raw, &splices)))
}

/// Whether results of calls come last, and no thought began the turn that made the calls.
fn lacks_thought(messages: &[Value]) -> bool {
    let Some(last) = messages.iter().rposition(|message| message["role"] == "assistant") else { return false };
    let mut behind = messages[last + 1..].iter().flat_map(blocks);
    let has_results = behind.any(|block| block["type"] == "tool_result");
    // Neighbours are one turn.
    let before = messages[..last].iter().rposition(|message| message["role"] != "assistant");
    let first = messages.get(before.map_or(0, |before| before + 1)).and_then(|message| blocks(message).first());
    let begins = first.and_then(|block| block["type"].as_str());
    has_results && !matches!(begins, Some("thinking" | "redacted_thinking"))
}

fn blocks(message: &Value) -> &[Value] {
    message.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_foreign_thought(block: &Value) -> bool {
    let proof = match block.get("type").and_then(Value::as_str) {
        Some("thinking") => block.get("signature"),
        Some("redacted_thinking") => block.get("data"),
        _ => return false,
    };
    let proof = proof.and_then(Value::as_str).unwrap_or_default();
    proof.is_empty() || Signature::read(Family::Anthropic, proof).family != Family::Anthropic
}

/// The member whose value stands at `value`, with one of the commas around it.
fn member(raw: &[u8], value: &Range<usize>) -> Range<usize> {
    let before = |at: usize| raw[..at].trim_ascii_end().len();
    // Back over the colon and the name; an escaped name has no bare quote in it either.
    let name_end = before(before(value.start) - 1);
    let start = memchr::memrchr(b'"', &raw[..name_end - 1]).unwrap_or(0);
    let rest = raw[value.end..].trim_ascii_start();
    if rest.first() == Some(&b',') {
        return start..raw.len() - rest.len() + 1;
    }
    let comma = before(start);
    if raw[..comma].last() == Some(&b',') { comma - 1..value.end } else { start..value.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_and_the_version_change() {
        for (body, expected) in [
            (r#"{"model":"m","x":1.0}"#, r#"{"anthropic_version":"vertex-2023-10-16","x":1.0}"#),
            (r#"{ "x":1E400 , "mod\u0065l" : "m" }"#, r#"{"anthropic_version":"vertex-2023-10-16", "x":1E400  }"#),
            (r#"{"model":"m"}"#, r#"{"anthropic_version":"vertex-2023-10-16"}"#),
            (
                r#"{"a":{"model":"b"},"model":"m","c":2}"#,
                r#"{"anthropic_version":"vertex-2023-10-16","a":{"model":"b"},"c":2}"#,
            ),
            (r#"{"anthropic_version":"v","model":"m"}"#, r#"{"anthropic_version":"v"}"#),
            (r#"{"x":1}"#, r#"{"anthropic_version":"vertex-2023-10-16","x":1}"#),
        ] {
            let result = vertex_body(body.as_bytes()).expect(body);
            assert_eq!(String::from_utf8_lossy(&result), expected);
        }
        assert!(vertex_body(b"[]").is_err());
        assert_eq!(
            vertex_target("claude-opus-4-6@20260205", true),
            "/publishers/anthropic/models/claude-opus-4-6@20260205:streamRawPredict"
        );
        assert_eq!(vertex_target("a/b", false), "/publishers/anthropic/models/a%2Fb:rawPredict");
    }

    #[test]
    fn thoughts_of_others_are_left_out() {
        let text = r#"{"x":1.0, "messages": [{"role":"user","content":"hi"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":""},
              {"type":"thinking","thinking":"","signature":"ms1:gemini:x"},{"type":"text","text":"b"},
              {"type":"redacted_thinking","data":"ms1:openai:y|rs_1"}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"c","signature":""}]}],"y":-0}"#;
        let result = own_thoughts(text.as_bytes()).expect("JSON").expect("there are some");
        let expected = r#"{"x":1.0, "messages": [{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"text","text":"b"}]}],"y":-0}"#;
        assert_eq!(String::from_utf8_lossy(&result), expected);
        for own in [
            r#"{"messages":[{"role":"user","content":"\"ms1:"}]}"#,
            r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"Eq"}]}]}"#,
        ] {
            assert_eq!(own_thoughts(own.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn no_budget_is_asked_for_in_the_middle_of_anothers_calls() {
        let of = |thinking: &str, first: &str| {
            format!(
                r#"{{"context_management":{{"edits":[]}},"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":[{first}{{"type":"tool_use","id":"1"}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"1"}}]}}],"thinking": {thinking}}}"#
            )
        };
        let budget = r#"{"type":"enabled","budget_tokens":1024}"#;
        let own = r#"{"type":"thinking","thinking":"t","signature":"Eq"},"#;
        let others = r#"{"type":"thinking","thinking":"t","signature":""},"#;
        let changed = |body: &str| own_thoughts(body.as_bytes()).expect("JSON").map(String::from_utf8);
        let expected = of(r#"{"type":"disabled"}"#, "").replace(r#"{"edits":[]}"#, "null");
        assert_eq!(changed(&of(budget, "")), Some(Ok(expected.clone())));
        assert_eq!(changed(&of(budget, others)), Some(Ok(expected)));
        assert_eq!(changed(&of(budget, own)), None);
        let adaptive = r#"{"type":"adaptive"}"#;
        assert_eq!(changed(&of(adaptive, others)), Some(Ok(of(adaptive, ""))));
    }
}
