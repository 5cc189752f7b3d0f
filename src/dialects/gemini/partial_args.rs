//! The arguments of a call that come in pieces, each with the path of its place (Vertex AI API reference, `PartialArg`).

use serde_json::{Map, Value, json};

use super::fields::{get, text};

/// Steps of a path, and the largest place in a list, that are followed.
const STEPS_MAX: usize = 64;
const PLACE_MAX: usize = 10_000;

/// Arguments that grow.
#[derive(Debug)]
pub(super) struct Growing(Value);

enum Step<'a> {
    Member(&'a str),
    Place(usize),
}

impl Growing {
    /// What is known from the beginning, which is usually all.
    pub(super) fn new(args: Option<&Value>) -> Self {
        Self(args.filter(|args| args.is_object()).cloned().unwrap_or_else(|| json!({})))
    }

    /// Takes a piece. One whose path is not understood is left out.
    pub(super) fn piece(&mut self, piece: &Value) {
        let Some(steps) = text(piece, "jsonPath").and_then(steps) else { return };
        let value = ["stringValue", "numberValue", "boolValue"].iter().find_map(|name| get(piece, name));
        let mut place = &mut self.0;
        for step in steps {
            let Some(next) = descend(place, &step) else { return };
            place = next;
        }
        match (place, value) {
            (Value::String(text), Some(Value::String(more))) => text.push_str(more),
            (place, Some(value)) => *place = value.clone(),
            (place, None) => *place = Value::Null,
        }
    }

    /// JSON.
    pub(super) fn into_text(self) -> String {
        self.0.to_string()
    }
}

fn descend<'a>(value: &'a mut Value, step: &Step<'_>) -> Option<&'a mut Value> {
    match step {
        Step::Member(name) => {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(*name).or_insert(Value::Null))
        }
        Step::Place(at) => {
            if value.is_null() {
                *value = json!([]);
            }
            let all = value.as_array_mut()?;
            if all.len() <= *at {
                all.resize(at + 1, Value::Null);
            }
            all.get_mut(*at)
        }
    }
}

/// The steps of `$.a[0]['b c']` (RFC 9535, singular queries).
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            (Step::Member(&after[..end]), &after[end..])
        } else {
            let after = rest.strip_prefix('[')?;
            if let Some(quote) = after.chars().next().filter(|first| matches!(first, '\'' | '"')) {
                let (name, after) = after[1..].split_once(quote)?;
                (Step::Member(name), after.strip_prefix(']')?)
            } else {
                let (digits, after) = after.split_once(']')?;
                (Step::Place(digits.parse().ok().filter(|at| *at <= PLACE_MAX)?), after)
            }
        };
        steps.push(step);
        rest = after;
        if steps.len() > STEPS_MAX {
            return None;
        }
    }
    Some(steps).filter(|steps| !steps.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_find_their_places() {
        let mut args = Growing::new(None);
        for piece in [
            json!({"jsonPath": "$.list[0].name", "stringValue": "re", "willContinue": true}),
            json!({"jsonPath": "$.list[0].name", "stringValue": "d"}),
            json!({"jsonPath": "$.list[1]['a b']", "numberValue": 0.5}),
            json!({"jsonPath": "$.ok", "boolValue": true}),
            json!({"jsonPath": "$.none", "nullValue": "NULL_VALUE"}),
            json!({"jsonPath": "$.list.name", "stringValue": "lost"}),
            json!({"jsonPath": "$.far[99999999]", "stringValue": "lost"}),
            json!({"jsonPath": "nonsense", "stringValue": "lost"}),
        ] {
            args.piece(&piece);
        }
        let expected = r#"{"list":[{"name":"red"},{"a b":0.5}],"ok":true,"none":null}"#;
        assert_eq!(args.into_text(), expected);
    }
}
