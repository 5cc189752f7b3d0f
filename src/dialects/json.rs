//! Looks into JSON that others wrote: what is not as expected is not there.

use serde_json::Value;

/// A member that is a text with something in it.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// A member that is a text with something in it, as one's own.
pub(super) fn owned(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(str::to_owned)
}

/// A member that is a whole number. Some servers write such as `3.0`.
pub(super) fn number(value: &Value, key: &str) -> Option<u64> {
    whole(value.get(key)?)
}

/// The items of a member that is a list; none where it is none.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A member, unless it is `null`.
pub(super) fn some<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|member| !member.is_null())
}

/// A whole number, however it is written.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|float| float.fract() == 0.0 && (0.0..1e15).contains(float))?;
        format!("{float:.0}").parse().ok()
    })
}
