//! Members of Google's JSON, which its APIs take in camelCase and in `snake_case`.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A member by its camelCase name, whichever way it is written. `null` is none.
pub(super) fn get<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    let found = object.get(name).or_else(|| object.get(&snake(name)));
    found.filter(|value| !value.is_null())
}

/// A member that is a text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    get(value, name)?.as_str()
}

/// A member that is a whole number, which proto3 JSON also writes as a text.
pub(super) fn whole(value: &Value, name: &str) -> Option<u64> {
    let value = get(value, name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The elements of a member; one that stands alone is a list of itself, as Google's own parser has it.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    get(value, name).map_or(&[], many)
}

/// A list, or the one that stands alone.
pub(super) fn many(value: &Value) -> &[Value] {
    match value {
        Value::Array(all) => all,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// `topK` for `top_k`.
pub(super) fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut rises = false;
    for letter in name.chars() {
        match letter {
            '_' => rises = true,
            letter if std::mem::take(&mut rises) => out.push(letter.to_ascii_uppercase()),
            letter => out.push(letter),
        }
    }
    Cow::Owned(out)
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// An object of the members that have a value.
pub(super) fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_are_read() {
        for value in [json!({"topLogprobs": 3}), json!({"top_logprobs": "3"})] {
            assert_eq!(whole(&value, "topLogprobs"), Some(3));
        }
        assert_eq!(camel("response_json_schema"), "responseJsonSchema");
        assert_eq!(list(&json!({"a": {"b": 1}}), "a").len(), 1);
        assert_eq!(get(&json!({"a": null}), "a"), None);
    }
}
