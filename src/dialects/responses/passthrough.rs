//! Requests of this dialect that go to a provider of the same: every byte goes on as the client wrote it, but for thoughts of
//! other providers' models.

use memchr::memmem;
use serde_json::Value;
use serde_json::value::RawValue;

use super::members::{some_text, text};
use super::thought;
use crate::dialects::Malformed;
use crate::dialects::conversation::{Family, Signature};
use crate::dialects::splice::{members, spliced};

/// A body without the thoughts of other families' models, which the API would refuse: a conversation may have been with
/// others before. `None` if nothing has to change, which is nearly always.
///
/// # Errors
/// When it is no JSON object.
pub fn own_thoughts(raw: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    if memmem::find(raw, b"\"reasoning\"").is_none() {
        return Ok(None);
    }
    let members = members(raw)?;
    let Some(range) = members.get("input") else { return Ok(None) };
    // A text is no list.
    let Ok(mut items) = serde_json::from_slice::<Vec<&RawValue>>(&raw[range.clone()]) else { return Ok(None) };
    let before = items.len();
    items.retain(|item| !is_foreign_thought(item.get()));
    if items.len() == before {
        return Ok(None);
    }
    let items: Vec<_> = items.into_iter().map(RawValue::get).collect();
    Ok(Some(spliced(raw, &[(range, format!("[{}]", items.join(",")))])))
}

fn is_foreign_thought(item: &str) -> bool {
    let Ok(item) = serde_json::from_str::<Value>(item) else { return false };
    if text(&item, "type") != Some("reasoning") {
        return false;
    }
    match some_text(&item, "encrypted_content") {
        Some(proof) => {
            thought::read_of_call(proof).is_some()
                || Signature::read(Family::OpenAi, proof).family != Family::OpenAi
        }
        // One without proof is kept by the provider, which finds it by its id; unless we have made that.
        None => some_text(&item, "id").is_some_and(is_made),
    }
}

/// Whether an id is one of ours: `rs_`, 32 hexadecimal digits, and a number.
fn is_made(id: &str) -> bool {
    let parts = id.strip_prefix("rs_").and_then(|rest| rest.split_once('_'));
    parts.is_some_and(|(unique, index)| {
        unique.len() == 32
            && unique.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !index.is_empty()
            && index.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_of_others_are_left_out() {
        let made = format!("rs_{}_0", "0a".repeat(16));
        let text = format!(
            r#"{{"x":1.0, "input": [{{"role":"user", "content":"hi"}},
            {{"type":"reasoning","id":"{made}","summary":[]}},
            {{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"ms1:anthropic:x"}},
            {{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"msc1:ms1:gemini:x"}},
            {{"type":"reasoning","id":"rs_3","encrypted_content":"gA" }},
            {{"type":"reasoning","id":"rs_4"}}],"y":-0}}"#
        );
        let expected = r#"{"x":1.0, "input": [{"role":"user", "content":"hi"},{"type":"reasoning","id":"rs_3","encrypted_content":"gA" },{"type":"reasoning","id":"rs_4"}],"y":-0}"#;
        let result = own_thoughts(text.as_bytes()).expect("JSON").expect("there are some");
        assert_eq!(String::from_utf8_lossy(&result), expected);
        for own in [expected, r#"{"input":"\"reasoning\""}"#, r#"{"reasoning":{"effort":"low"},"input":[1]}"#] {
            assert_eq!(own_thoughts(own.as_bytes()), Ok(None));
        }
    }
}
