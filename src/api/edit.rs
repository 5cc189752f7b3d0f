//! The edits that a JSON request may need, made in place: every other byte goes on as the client wrote it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::api::request::{Fields, StreamOptions};

/// What a request is to say to one target.
#[derive(Clone, Debug, Default)]
pub struct Changes<'a> {
    /// The model's name there.
    pub model: Option<&'a str>,
    /// Make `stream_options.include_usage` true, which only a streamed request may have: `OpenAI` refuses the option
    /// elsewhere.
    pub include_usage: bool,
    /// Members that it gets at its top level if it lacks them: names and JSON.
    pub defaults: Vec<(&'a str, &'a str)>,
}

/// `body` with `changes` made; `fields` must come from a scan of the same `body`. A list of models is ours to go
/// through, so it goes no further. Without an edit the same memory is returned.
pub fn edit(body: &Bytes, fields: &Fields, changes: &Changes<'_>) -> Bytes {
    let mut splices = Vec::new();
    let mut first = Vec::new();
    match (&fields.model, &fields.models) {
        (Some(model), _) => {
            if let Some(new) = changes.model.filter(|new| *new != model.name) {
                splices.push(Splice { range: model.range.clone(), with: quoted(new) });
            }
        }
        (None, Some(_)) => {
            let name = changes.model.or_else(|| fields.model());
            first.extend(name.map(|name| format!(r#""model":{}"#, quoted(name))));
        }
        (None, None) => {}
    }
    if let Some(models) = &fields.models {
        splices.push(Splice { range: member(body, models.range.clone()), with: String::new() });
    }
    if changes.include_usage && !fields.asks_usage() {
        match usage_splice(fields) {
            Usage::Member(member) => first.push(member),
            Usage::Splice(splice) => splices.push(splice),
        }
    }
    first.extend(lacking(body, &changes.defaults));
    if !first.is_empty() {
        // New members go first in their object: that place is known without parsing.
        let is_alone = fields.empty || (fields.models.is_some() && is_only_member(body, fields, &splices));
        let with = format!("{}{}", first.join(","), if is_alone { "" } else { "," });
        splices.push(Splice { range: fields.open..fields.open, with });
    }
    if splices.is_empty() {
        return body.clone();
    }
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    apply(body, &splices)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// Those of `defaults` whose name `body` does not have, as members. The names of one bound are one name.
fn lacking(body: &[u8], defaults: &[(&str, &str)]) -> Vec<String> {
    const LENGTHS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    if defaults.is_empty() {
        return Vec::new();
    }
    let names = names(body);
    let has_length = LENGTHS.iter().any(|name| names.contains(*name));
    let has = |name: &str| names.contains(name) || has_length && LENGTHS.contains(&name);
    let lacking = defaults.iter().copied().filter(|(name, _)| !has(name));
    lacking.map(|(name, json)| format!("{}:{json}", quoted(name))).collect()
}

/// The names at the top level of `body`, which was scanned before.
fn names(body: &[u8]) -> HashSet<Cow<'_, str>> {
    #[expect(
        clippy::zero_sized_map_values,
        reason = "what serde reads an object into; its values are of no interest"
    )]
    let members: HashMap<Cow<'_, str>, IgnoredAny> = serde_json::from_slice(body).unwrap_or_default();
    members.into_keys().collect()
}

/// The member whose value stands at `value`, with one of the commas around it.
fn member(body: &[u8], value: Range<usize>) -> Range<usize> {
    let before = |at: usize| body[..at].trim_ascii_end().len();
    // Back over the colon and the name; an escaped name has no bare quote in it either.
    let colon = before(value.start);
    let name_end = before(colon - 1);
    let name_start = memchr::memrchr(b'"', &body[..name_end - 1]).unwrap_or(0);
    let rest = body[value.end..].trim_ascii_start();
    if rest.first() == Some(&b',') {
        return name_start..body.len() - rest.len() + 1;
    }
    let comma = before(name_start);
    if comma > 0 && body[comma - 1] == b',' { comma - 1..value.end } else { name_start..value.end }
}

/// Whether nothing is left of the object when the splices, which only take out, are made.
fn is_only_member(body: &[u8], fields: &Fields, splices: &[Splice]) -> bool {
    let Some(taken) = splices.iter().find(|splice| splice.with.is_empty()) else { return false };
    let before = body[fields.open..taken.range.start].trim_ascii();
    let after = body[taken.range.end..].trim_ascii_start();
    before.is_empty() && after.first() == Some(&b'}')
}

/// Bytes to take out and the text to put there.
pub(super) struct Splice {
    pub(super) range: Range<usize>,
    pub(super) with: String,
}

/// `body` with all `splices` made, which are in order and do not overlap.
pub(super) fn apply(body: &[u8], splices: &[Splice]) -> Bytes {
    let added: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut edited = Vec::with_capacity(body.len() + added);
    let mut copied = 0;
    for splice in splices {
        edited.extend_from_slice(&body[copied..splice.range.start]);
        edited.extend_from_slice(splice.with.as_bytes());
        copied = splice.range.end;
    }
    edited.extend_from_slice(&body[copied..]);
    edited.into()
}

/// How `include_usage` becomes true.
enum Usage {
    /// By a new member of the body.
    Member(String),
    Splice(Splice),
}

fn usage_splice(fields: &Fields) -> Usage {
    const MEMBER: &str = r#""include_usage":true"#;
    match &fields.stream_options {
        StreamOptions::Absent => Usage::Member(format!(r#""stream_options":{{{MEMBER}}}"#)),
        StreamOptions::Null(range) => {
            Usage::Splice(Splice { range: range.clone(), with: format!("{{{MEMBER}}}") })
        }
        StreamOptions::Object { include_usage: Some(found), .. } => {
            Usage::Splice(Splice { range: found.range.clone(), with: "true".into() })
        }
        StreamOptions::Object { open, empty, include_usage: None } => {
            let comma = if *empty { "" } else { "," };
            Usage::Splice(Splice { range: *open..*open, with: format!("{MEMBER}{comma}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::request::scan;

    fn edited(body: &str, rename: Option<&str>, include_usage: bool) -> String {
        let fields = scan(body.as_bytes()).expect(body);
        let changes = Changes { model: rename, include_usage, defaults: Vec::new() };
        let edited = edit(&Bytes::copy_from_slice(body.as_bytes()), &fields, &changes);
        String::from_utf8(edited.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_list_of_models_goes_no_further_than_us() {
        for (body, rename, include_usage, expected) in [
            (r#"{"models":["a","b"]}"#, None, false, r#"{"model":"a"}"#),
            (
                r#"{"models":["a","b"]}"#,
                Some("b"),
                true,
                r#"{"model":"b","stream_options":{"include_usage":true}}"#,
            ),
            (r#"{ "models" : ["a"] , "x":1}"#, Some("b"), false, r#"{"model":"b",  "x":1}"#),
            (r#"{"x":1, "models":["a"]}"#, Some("b"), false, r#"{"model":"b","x":1}"#),
            (r#"{"x":1,"models":["a"],"y":2}"#, Some("b"), false, r#"{"model":"b","x":1,"y":2}"#),
            (r#"{"model":"m","models":["a"]}"#, None, false, r#"{"model":"m"}"#),
            (r#"{"models":["a"],"model":"m"}"#, Some("a"), false, r#"{"model":"a"}"#),
            (
                r#"{"mod\u0065ls":["a"],"model":"m"}"#,
                None,
                true,
                r#"{"stream_options":{"include_usage":true},"model":"m"}"#,
            ),
        ] {
            let result = edited(body, rename, include_usage);
            assert_eq!(result, expected);
            serde_json::from_str::<Value>(&result).expect("still JSON");
        }
    }

    #[test]
    fn defaults_fill_in_what_is_absent() {
        let defaults = vec![("max_tokens", "64"), ("user", r#""app""#)];
        for (body, expected) in [
            (r#"{"model":"a"}"#, r#"{"max_tokens":64,"user":"app","model":"a"}"#),
            (r#"{"user":null,"model":"a"}"#, r#"{"max_tokens":64,"user":null,"model":"a"}"#),
            (r#"{"max_completion_tokens":9,"user":"me"}"#, r#"{"max_completion_tokens":9,"user":"me"}"#),
            ("{}", r#"{"max_tokens":64,"user":"app"}"#),
            (r#"{"a":{"max_tokens":1}}"#, r#"{"max_tokens":64,"user":"app","a":{"max_tokens":1}}"#),
        ] {
            let fields = scan(body.as_bytes()).expect(body);
            let changes = Changes { defaults: defaults.clone(), ..Changes::default() };
            assert_eq!(edit(&Bytes::copy_from_slice(body.as_bytes()), &fields, &changes), expected);
        }
    }

    #[test]
    fn edits_touch_nothing_else() {
        for (body, rename, include_usage, expected) in [
            (r#"{"model":"a","x":1.0}"#, None, false, r#"{"model":"a","x":1.0}"#),
            (r#"{"model":"a","x":1.0}"#, Some("a"), false, r#"{"model":"a","x":1.0}"#),
            (r#"{"model" : "a" , "x":1.0}"#, Some("b\"\\"), false, r#"{"model" : "b\"\\" , "x":1.0}"#),
            (r#"{"x":1}"#, Some("b"), false, r#"{"x":1}"#),
            ("{}", None, true, r#"{"stream_options":{"include_usage":true}}"#),
            (" { } ", None, true, r#" {"stream_options":{"include_usage":true} } "#),
            (
                "{\n  \"model\": \"a\"\n}",
                Some("b"),
                true,
                "{\"stream_options\":{\"include_usage\":true},\n  \"model\": \"b\"\n}",
            ),
            (r#"{"stream_options":null}"#, None, true, r#"{"stream_options":{"include_usage":true}}"#),
            (r#"{"stream_options":{ }}"#, None, true, r#"{"stream_options":{"include_usage":true }}"#),
            (
                r#"{"stream_options":{"include_obfuscation":false},"model":"a"}"#,
                Some("b"),
                true,
                r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"b"}"#,
            ),
            (
                r#"{"model":"a","stream_options":{"include_usage": false }}"#,
                Some("long name"),
                true,
                r#"{"model":"long name","stream_options":{"include_usage": true }}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":null}}"#,
                None,
                true,
                r#"{"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":true}}"#,
                None,
                true,
                r#"{"stream_options":{"include_usage":true}}"#,
            ),
        ] {
            assert_eq!(edited(body, rename, include_usage), expected);
        }
    }

    #[test]
    fn without_an_edit_the_memory_is_shared() {
        let body = Bytes::from_static(br#"{"model":"a"}"#);
        let fields = scan(&body).expect("valid");
        assert_eq!(
            edit(&body, &fields, &Changes { model: Some("a"), ..Changes::default() }).as_ptr(),
            body.as_ptr()
        );
    }

    /// A member that the gateway knows nothing about, as text: `1E400` and `-0` must survive.
    fn unknown() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("1.0".to_owned()),
            Just("1E400".to_owned()),
            Just("-0".to_owned()),
            Just("[ ]".to_owned()),
            Just(r#"{"model":"inner","stream_options":{"include_usage":false}}"#.to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| json!(text).to_string()),
            any::<String>().prop_map(|text| json!({ text: ["model", null, 1.5] }).to_string()),
        ];
        ("[ \t\n]{0,3}", "x[a-zA-Z\u{e4}]{0,6}", "[ \r]{0,2}", value)
            .prop_map(|(before, name, after, value)| format!("{before}{}:{after}{value}{before}", json!(name)))
    }

    proptest! {
        #[test]
        fn the_rest_survives_byte_for_byte(
            mut members in prop::collection::vec(unknown(), 0..6),
            at in any::<prop::sample::Index>(),
            options_at in any::<prop::sample::Index>(),
            old in "[a-z/:\u{e4}]{1,9}",
            new in "[A-Z\"\\\\ \u{1f600}]{1,9}",
            options in prop::sample::select(vec!["null", "{}", "{ }", r#"{"include_usage":false}"#, r#"{"y":1e9}"#]),
        ) {
            let model = at.index(members.len() + 1);
            members.insert(model, format!(r#""model": {}"#, json!(old)));
            let place = options_at.index(members.len() + 1);
            members.insert(place, format!(r#" "stream_options" :{options}"#));
            let body = format!("{{{}}}", members.join(","));

            let model = if place <= model { model + 1 } else { model };
            members[model] = format!(r#""model": {}"#, json!(new));
            let wanted = match options {
                "{ }" => r#"{"include_usage":true }"#,
                r#"{"y":1e9}"# => r#"{"include_usage":true,"y":1e9}"#,
                _ => r#"{"include_usage":true}"#,
            };
            members[place] = format!(r#" "stream_options" :{wanted}"#);
            let expected = format!("{{{}}}", members.join(","));
            let result = edited(&body, Some(&new), true);
            prop_assert_eq!(&result, &expected);

            let again = scan(result.as_bytes()).expect("still valid");
            prop_assert_eq!(again.model(), Some(new.as_str()));
            prop_assert!(again.asks_usage());
        }

        #[test]
        fn the_value_changes_only_where_edited(
            members in prop::collection::btree_map("[a-z]{2,4}", any::<Option<bool>>(), 0..6),
            new in any::<String>(),
        ) {
            let mut value = json!(members);
            value["model"] = json!("old");
            value["stream"] = json!(true);
            let body = serde_json::to_string_pretty(&value).expect("JSON");
            let result: Value = serde_json::from_str(&edited(&body, Some(&new), true)).expect("JSON");
            value["model"] = json!(new);
            value["stream_options"] = json!({ "include_usage": true });
            prop_assert_eq!(result, value);
        }
    }
}
