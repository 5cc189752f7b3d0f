//! Values that satisfy a JSON schema in the simplest way: arguments of tool calls, structured answers.

use std::iter;

use serde_json::{Map, Number, Value};

/// Nesting followed before a schema (which may refer to itself) gets `null`.
const DEPTH_MAX: usize = 16;

/// Items put into an array that asks for more than one.
const ITEMS_MAX: u64 = 8;

/// Letters of a string taken from the user's text.
const TEXT_LETTERS: usize = 60;

/// A value for `schema`; strings come from `said`, the user's text.
pub(super) fn fill(schema: &Value, said: &str) -> Value {
    Filler { root: schema, said }.value(schema, "", 0)
}

struct Filler<'a> {
    root: &'a Value,
    said: &'a str,
}

impl Filler<'_> {
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let found = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
            return found.map_or(Value::Null, |found| self.value(found, name, depth + 1));
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(value) = schema.pointer("/enum/0") {
            return value.clone();
        }
        if let Some(branch) = branch(schema) {
            return self.value(branch, name, depth + 1);
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.merged(parts, name, depth);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => whole(schema),
            "number" => real(schema),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => Value::String(self.string(schema, name)),
        }
    }

    /// Required properties, or every property where none is called required.
    fn object(&self, schema: &Value, depth: usize) -> Value {
        let mut map = Map::new();
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required = schema.get("required").and_then(Value::as_array);
        for (name, property) in properties {
            if required.is_none_or(|list| list.iter().any(|entry| entry.as_str() == Some(name))) {
                map.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        Value::Object(map)
    }

    fn array(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if let Some(parts) = schema.get("prefixItems").and_then(Value::as_array) {
            return parts.iter().map(|part| self.value(part, name, depth + 1)).collect();
        }
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        let items =
            bound("minItems").unwrap_or(1).max(1).min(bound("maxItems").unwrap_or(ITEMS_MAX)).min(ITEMS_MAX);
        let item = schema.get("items").unwrap_or(&Value::Null);
        (0..items).map(|_| self.value(item, name, depth + 1)).collect()
    }

    fn merged(&self, parts: &[Value], name: &str, depth: usize) -> Value {
        let mut map = Map::new();
        for part in parts {
            match self.value(part, name, depth + 1) {
                Value::Object(more) => map.extend(more),
                other => return other,
            }
        }
        Value::Object(map)
    }

    fn string(&self, schema: &Value, name: &str) -> String {
        let fixed = match schema.get("format").and_then(Value::as_str) {
            Some("date") => Some("2026-01-01"),
            Some("date-time") => Some("2026-01-01T08:00:00Z"),
            Some("time") => Some("08:00:00Z"),
            Some("duration") => Some("PT1H"),
            Some("email") => Some("miller@example.com"),
            Some("uuid") => Some("0195d3c0-0000-7000-8000-000000000001"),
            Some("uri" | "url") => Some("https://example.com/mill"),
            Some("hostname") => Some("mill.example.com"),
            Some("ipv4") => Some("192.0.2.1"),
            Some("ipv6") => Some("2001:db8::1"),
            _ => None,
        };
        if let Some(fixed) = fixed {
            return fixed.to_owned();
        }
        let bound = |key| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let max = bound("maxLength").unwrap_or(TEXT_LETTERS).min(TEXT_LETTERS);
        let mut text: String = self.words(name).chars().take(max).collect();
        let missing = bound("minLength").unwrap_or(0).min(1024).saturating_sub(text.chars().count());
        text.extend(iter::repeat_n('.', missing));
        text
    }

    /// For what sounds like a name, a name that the user mentioned; else what the user said.
    fn words(&self, name: &str) -> &str {
        const NAMES: &[&str] = &["city", "location", "place", "country", "name", "town", "person"];
        let said = self.said.trim();
        if NAMES.iter().any(|part| name.to_ascii_lowercase().contains(part))
            && let Some(found) = said
                .split_whitespace()
                .skip(1)
                .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
                .filter(|word| word.chars().count() > 1 && word.starts_with(char::is_uppercase))
                .last()
        {
            return found;
        }
        if said.is_empty() { "water mill" } else { said }
    }
}

/// The first alternative that is not just `null`.
fn branch(schema: &Value) -> Option<&Value> {
    let list = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    list.iter().find(|entry| kind(entry) != "null").or_else(|| list.first())
}

/// The schema's type; of several the first that is not `null`; without one it is guessed from its keywords.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

fn real(schema: &Value) -> Value {
    let bound = |key| schema.get(key).and_then(Value::as_f64);
    let mut number = bound("multipleOf").unwrap_or(1.0);
    if let Some(max) = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|max| max - 0.5)) {
        number = number.min(max);
    }
    if let Some(min) = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|min| min + 0.5)) {
        number = number.max(min);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn whole(schema: &Value) -> Value {
    let bound = |key| schema.get(key).and_then(Value::as_i64);
    let step = bound("multipleOf").filter(|step| *step > 0).unwrap_or(1);
    let mut number = step;
    if let Some(max) = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|max| max.saturating_sub(1))) {
        number = number.min(max.div_euclid(step).saturating_mul(step));
    }
    if let Some(min) = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|min| min.saturating_add(1)))
        && number < min
    {
        let steps = min.div_euclid(step) + i64::from(min.rem_euclid(step) != 0);
        number = steps.saturating_mul(step);
    }
    Value::from(number)
}
