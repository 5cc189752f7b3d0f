//! Schemas in the subset that Anthropic can hold a model to (Anthropic's page on structured outputs).

use serde_json::{Map, Value, json};

/// What the API refuses in a strict schema. The model is told of it in words instead.
const ONLY_WORDS: [&str; 14] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "not",
];

/// Formats of strings that it knows.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// `schema` in that subset; `None` if it has no place there: objects with members that it does not name, values of any
/// type, or a schema that contains itself.
pub(super) fn strict(schema: &Value) -> Option<Value> {
    let Value::Object(schema) = schema else { return None };
    // What may be anything can't be held to.
    let says = ["type", "enum", "const", "$ref", "anyOf", "allOf", "oneOf", "properties"];
    if !says.iter().any(|name| schema.contains_key(*name)) {
        return None;
    }
    let mut strict = Map::new();
    let mut words = Vec::new();
    for (name, value) in schema {
        let value = match name.as_str() {
            "properties" | "$defs" | "definitions" => all(value)?,
            "items" | "anyOf" | "allOf" | "oneOf" => nested(value)?,
            "$ref" if value == "#" => return None,
            "additionalProperties" if *value == Value::Bool(false) => value.clone(),
            "additionalProperties" | "patternProperties" | "unevaluatedProperties" | "prefixItems" => return None,
            "minItems" if value.as_u64().is_none_or(|least| least > 1) => {
                words.push(format!("{name}: {value}"));
                continue;
            }
            "format" if !value.as_str().is_some_and(|format| FORMATS.contains(&format)) => {
                words.push(format!("{name}: {value}"));
                continue;
            }
            _ if ONLY_WORDS.contains(&name.as_str()) => {
                words.push(format!("{name}: {value}"));
                continue;
            }
            _ => value.clone(),
        };
        // The subset has no word for "exactly one of".
        strict.insert(if name == "oneOf" { "anyOf".to_owned() } else { name.clone() }, value);
    }
    if is_object(schema) {
        strict.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if !words.is_empty() {
        let before = strict.get("description").and_then(Value::as_str).map(|text| format!("{text} "));
        let text = format!("{}({})", before.unwrap_or_default(), words.join(", "));
        strict.insert("description".to_owned(), Value::String(text));
    }
    Some(Value::Object(strict))
}

/// `schema` as that of a tool's arguments, which must be an object's.
pub(super) fn of_tool(schema: Option<&Value>) -> Value {
    let mut schema = schema.and_then(Value::as_object).cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| json!("object"));
    if schema["type"] == "object" {
        schema.entry("properties").or_insert_with(|| json!({}));
    }
    Value::Object(schema)
}

fn is_object(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => schema.contains_key("properties"),
    }
}

/// An object of schemas.
fn all(schemas: &Value) -> Option<Value> {
    let Value::Object(schemas) = schemas else { return None };
    let strict: Option<Map<String, Value>> =
        schemas.iter().map(|(name, schema)| Some((name.clone(), strict(schema)?))).collect();
    strict.map(Value::Object)
}

/// One schema, or a list of them.
fn nested(schemas: &Value) -> Option<Value> {
    match schemas {
        Value::Array(schemas) => schemas.iter().map(strict).collect::<Option<Vec<_>>>().map(Value::Array),
        schema => strict(schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_and_bounds_become_words() {
        let schema = json!({
            "type": "object",
            "properties": {
                "age": {"type": "integer", "description": "Years.", "minimum": 0, "maximum": 150},
                "tags": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/tag"}},
                "kind": {"oneOf": [{"const": "a"}, {"type": "object", "properties": {}}]},
                "at": {"type": "string", "format": "date-time"},
                "url": {"type": "string", "format": "iri"},
            },
            "required": ["age"],
            "$defs": {"tag": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}}},
        });
        let strict = strict(&schema).expect("it has a place");
        assert_eq!(
            strict,
            json!({
                "type": "object",
                "properties": {
                    "age": {"type": "integer", "description": "Years. (minimum: 0, maximum: 150)"},
                    "tags": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/tag"},
                        "description": "(maxItems: 3)"},
                    "kind": {"anyOf": [
                        {"const": "a"}, {"type": "object", "properties": {}, "additionalProperties": false}]},
                    "at": {"type": "string", "format": "date-time"},
                    "url": {"type": "string", "description": "(format: \"iri\")"},
                },
                "required": ["age"],
                "$defs": {"tag": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}},
                    "additionalProperties": false}},
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn what_has_no_place_there_is_told() {
        for schema in [
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object", "properties": {"a": {"type": "object", "additionalProperties": true}}}),
            json!({"type": "array", "items": {"$ref": "#"}}),
            json!({"type": "object", "properties": {"a": {"description": "anything"}}}),
            json!(true),
        ] {
            assert_eq!(strict(&schema), None, "{schema}");
        }
    }

    #[test]
    fn a_tool_always_has_the_schema_of_an_object() {
        assert_eq!(of_tool(None), json!({"type": "object", "properties": {}}));
        let one = json!({"properties": {"a": {}}});
        assert_eq!(of_tool(Some(&one)), json!({"properties": {"a": {}}, "type": "object"}));
    }
}
