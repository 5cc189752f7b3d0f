//! What requests have in common that should meet the same prompt cache, as a number.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of a prompt that decide. Beginnings that are alike are worth caching from about 1,024 tokens on, which are
/// some 4 KiB; instructions that many conversations share come first.
const PROMPT_BYTES: usize = 4 * 1024;

/// The same for the same bytes, in every process of the same build: replicas agree.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// By the body's `prompt_cache_key`, else its `user`.
pub fn of_user(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        prompt_cache_key: Option<Cow<'a, str>>,
        #[serde(borrow)]
        user: Option<Cow<'a, str>>,
    }
    let request: Request<'_> = serde_json::from_slice(body).ok()?;
    let key = request.prompt_cache_key.or(request.user)?;
    (!key.is_empty()).then(|| of_bytes(key.as_bytes()))
}

/// By how the body's `messages`, `contents` (Gemini's), `input` or `prompt` begin.
pub fn of_prompt(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        messages: Option<&'a RawValue>,
        #[serde(borrow)]
        contents: Option<&'a RawValue>,
        #[serde(borrow)]
        input: Option<&'a RawValue>,
        #[serde(borrow)]
        prompt: Option<&'a RawValue>,
    }
    let request: Request<'_> = serde_json::from_slice(body).ok()?;
    let text = request.messages.or(request.contents).or(request.input).or(request.prompt)?.get().as_bytes();
    Some(of_bytes(&text[..text.len().min(PROMPT_BYTES)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_key_goes_before_the_user() {
        let of = |body: &str| of_user(body.as_bytes());
        assert_eq!(of(r#"{"user":"u","prompt_cache_key":"k"}"#), Some(of_bytes(b"k")));
        assert_eq!(of(r#"{"model":"m","user":"u"}"#), Some(of_bytes(b"u")));
        for body in [r#"{"user":""}"#, r#"{"user":7}"#, "{}", "no JSON"] {
            assert_eq!(of(body), None, "{body}");
        }
    }

    #[test]
    fn prompts_that_begin_alike_are_alike() {
        let chat = |system: &str, user: &str| {
            let body = serde_json::json!({
                "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }]
            });
            of_prompt(body.to_string().as_bytes()).expect("a prompt")
        };
        let long = "instructions ".repeat(400);
        assert_eq!(chat(&long, "one"), chat(&long, "two"));
        assert_ne!(chat("short", "one"), chat("short", "two"));
        assert_eq!(of_prompt(br#"{"prompt":"x"}"#), of_prompt(br#"{"input":"x","model":"m"}"#));
        assert_eq!(of_prompt(br#"{"prompt":"x"}"#), of_prompt(br#"{"contents":"x"}"#));
        assert_eq!(of_prompt(br#"{"model":"m"}"#), None);
    }
}
