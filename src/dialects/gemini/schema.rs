//! From the subset of `OpenAPI`'s schemas that Gemini's `parameters` and `responseSchema` are written in to JSON Schema.

use serde_json::{Map, Value, json};

use super::fields::camel;

/// Objects in objects that are looked into; what lies deeper stays as it is.
const DEPTH_MAX: usize = 64;

/// JSON Schema that means the same (Gemini API reference, `Schema`).
pub(super) fn to_json_schema(schema: &Value) -> Value {
    convert(schema, DEPTH_MAX)
}

fn convert(schema: &Value, depth: usize) -> Value {
    let (Value::Object(members), Some(depth)) = (schema, depth.checked_sub(1)) else { return schema.clone() };
    let mut out = Map::new();
    let mut is_nullable = false;
    for (name, value) in members {
        let name = camel(name);
        match (&*name, value) {
            (_, Value::Null) => {}
            ("nullable", value) => is_nullable = value.as_bool() == Some(true),
            ("type", Value::String(word)) => {
                if word != "TYPE_UNSPECIFIED" {
                    out.insert("type".into(), word.to_ascii_lowercase().into());
                }
            }
            ("format", Value::String(word)) if word == "enum" => {}
            ("example", value) => {
                out.insert("examples".into(), json!([value]));
            }
            ("properties" | "$defs" | "defs", Value::Object(all)) => {
                let all = all.iter().map(|(key, value)| (key.clone(), convert(value, depth)));
                let name = if name == "defs" { "$defs".into() } else { name.into_owned() };
                out.insert(name, Value::Object(all.collect()));
            }
            ("ref", value) => {
                out.insert("$ref".into(), value.clone());
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(all)) => {
                let all = all.iter().map(|value| convert(value, depth)).collect();
                out.insert(name.into_owned(), Value::Array(all));
            }
            ("items" | "additionalProperties", value) => {
                out.insert(name.into_owned(), convert(value, depth));
            }
            // proto3 JSON writes 64-bit numbers as texts.
            (
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties",
                Value::String(digits),
            ) => {
                let number = digits.parse::<u64>().map_or_else(|_| value.clone(), Value::from);
                out.insert(name.into_owned(), number);
            }
            (_, value) => {
                out.insert(name.into_owned(), value.clone());
            }
        }
    }
    if is_nullable { nullable(out) } else { Value::Object(out) }
}

fn nullable(mut schema: Map<String, Value>) -> Value {
    if let Some(Value::Array(all)) = schema.get_mut("enum") {
        all.push(Value::Null);
    }
    match schema.get_mut("type") {
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => {
            if let Some(Value::Array(all)) = schema.get_mut("anyOf") {
                all.push(json!({ "type": "null" }));
            }
        }
    }
    Value::Object(schema)
}

/// JSON Schema as Google's models heed it. They pass over what they do not know, `const` among it, which an `enum` of one
/// says as well (Gemini API reference, `responseJsonSchema`).
pub(super) fn for_google(schema: &Value) -> Value {
    fix_const(schema, DEPTH_MAX)
}

fn fix_const(schema: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return schema.clone() };
    match schema {
        Value::Object(members) => {
            // Members of `properties` are names that the client chose, and so may be `const`: those hold schemas.
            let is_const =
                |name: &str, value: &Value| name == "const" && !value.is_object() && !members.contains_key("enum");
            let members = members.iter().map(|(name, value)| match &**name {
                name if is_const(name, value) => ("enum".to_owned(), json!([value])),
                // What stands there is no schema.
                "enum" | "default" | "examples" | "required" => (name.clone(), value.clone()),
                _ => (name.clone(), fix_const(value, depth)),
            });
            Value::Object(members.collect())
        }
        Value::Array(all) => all.iter().map(|value| fix_const(value, depth)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_becomes_json_schema() {
        let given = json!({
            "type": "OBJECT",
            "property_ordering": ["kind"],
            "properties": {
                "kind": {"type": "STRING", "format": "enum", "enum": ["a", "b"], "nullable": true},
                "max_items": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "2"},
                "any": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER", "example": 1}], "nullable": true},
            },
            "required": ["kind"],
        });
        let expected = json!({
            "type": "object",
            "propertyOrdering": ["kind"],
            "properties": {
                "kind": {"type": ["string", "null"], "enum": ["a", "b", null]},
                "max_items": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
                "any": {"anyOf": [{"type": "string"}, {"type": "number", "examples": [1]}, {"type": "null"}]},
            },
            "required": ["kind"],
        });
        assert_eq!(to_json_schema(&given), expected);
        let already = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
        assert_eq!(to_json_schema(&already), already);
    }

    #[test]
    fn a_constant_is_a_choice_of_one() {
        let given = json!({
            "anyOf": [{"properties": {"kind": {"const": "a"}, "const": {"type": "string"}}}, {"const": 1, "enum": [1, 2]}],
            "default": {"const": "b"},
        });
        let expected = json!({
            "anyOf": [{"properties": {"kind": {"enum": ["a"]}, "const": {"type": "string"}}}, {"const": 1, "enum": [1, 2]}],
            "default": {"const": "b"},
        });
        assert_eq!(for_google(&given), expected);
    }
}
