//! What is in a JSON object, by name.

use serde_json::Value;

/// A text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// A text with something in it.
pub(super) fn some_text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    text(value, name).filter(|text| !text.is_empty())
}

/// A list; an empty one where there is none.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A whole number, however it is written.
pub(super) fn whole(value: &Value, name: &str) -> Option<u64> {
    let number = value.get(name)?;
    number.as_u64().or_else(|| {
        let text = number.as_f64().filter(|number| *number >= 0.0)?.trunc().to_string();
        text.parse().ok()
    })
}
