//! `POST /v1/embeddings`: unit vectors that follow from the text.

use std::fmt;

use bytes::BytesMut;
use serde_json::Value;

use super::ask::{collect_text, model};
use super::body::{put, put_string};
use super::respond::Refusal;
use super::script::{Rng, count, hash};

/// Texts of one request.
const INPUTS_MAX: usize = 2048;

/// Numbers of one vector.
const DIMENSIONS_MAX: usize = 4096;

/// Numbers of one answer, so that the two bounds above do not multiply.
const NUMBERS_MAX: usize = 4 << 20;

/// The answer to `body`.
pub(super) fn answer(body: &Value) -> Result<BytesMut, Refusal> {
    let model = model(body)?;
    let texts = inputs(body.get("input").unwrap_or(&Value::Null))?;
    let usual = if model.contains("large") { 3072 } else { 1536 };
    let dimensions = match body.get("dimensions").filter(|value| !value.is_null()) {
        None => usual,
        Some(value) => value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (1..=DIMENSIONS_MAX).contains(n))
            .ok_or_else(|| Refusal::field("dimensions", "'dimensions' must be between 1 and 4096"))?,
    };
    if texts.len() * dimensions > NUMBERS_MAX {
        return Err(Refusal::field("input", "too many vectors for one request"));
    }
    let packed = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let mut out = BytesMut::new();
    put!(&mut out, "{{\"object\":\"list\",\"data\":[");
    for (index, text) in texts.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        put!(&mut out, "{comma}{{\"object\":\"embedding\",\"index\":{index},\"embedding\":");
        let vector = vector(text, dimensions);
        if packed {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            put!(&mut out, "\"{}\"", base64(&bytes));
        } else {
            for (at, number) in vector.iter().enumerate() {
                put!(&mut out, "{}{number}", if at == 0 { '[' } else { ',' });
            }
            put!(&mut out, "]");
        }
        put!(&mut out, "}}");
    }
    let tokens: usize = texts.iter().map(|text| count(text)).sum();
    put!(&mut out, "],\"model\":");
    put_string(&mut out, &model);
    put!(&mut out, ",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}");
    Ok(out)
}

/// One text, several texts, one list of tokens, or several of them.
fn inputs(input: &Value) -> Result<Vec<String>, Refusal> {
    let text = |value: &Value| {
        let mut text = String::new();
        collect_text(value, &mut text);
        text
    };
    let texts: Vec<String> = match input {
        Value::Array(list) if !list.iter().all(Value::is_number) => list.iter().map(text).collect(),
        other => vec![text(other)],
    };
    if texts.len() > INPUTS_MAX || texts.iter().any(String::is_empty) {
        return Err(Refusal::field("input", "'input' must be a text or up to 2048 texts, none of them empty"));
    }
    Ok(texts)
}

/// The unit vector of `text`.
#[expect(clippy::cast_possible_truncation, reason = "vectors are told in f32")]
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut rng = Rng::new(hash(0, text));
    let raw: Vec<f64> = (0..dimensions).map(|_| (rng.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0).collect();
    let length = raw.iter().map(|number| number * number).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.iter().map(|number| (number / length) as f32).collect()
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = (bits >> (18 - 6 * place)) & 63;
            let padding = place > group.len();
            text.push(if padding { '=' } else { char::from(LETTERS[letter as usize]) });
        }
    }
    text
}
