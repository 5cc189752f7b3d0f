//! The two edits that a JSON request may need, made in place: every other byte goes on as the client wrote it.

use std::ops::Range;

use bytes::Bytes;

use crate::api::request::{Fields, StreamOptions};

/// `body` with the model renamed to `rename` and, if `include_usage`, with `stream_options.include_usage`
/// true, which only a streamed request may have: OpenAI refuses the option elsewhere. `fields` must come from
/// a scan of the same `body`. Without an edit the same memory is returned.
pub fn edit(body: &Bytes, fields: &Fields, rename: Option<&str>, include_usage: bool) -> Bytes {
    let mut splices = Vec::new();
    if let (Some(new), Some(model)) = (rename, &fields.model)
        && model.name != new
    {
        let quoted = serde_json::to_string(new).expect("a string is always JSON");
        splices.push(Splice { range: model.range.clone(), with: quoted });
    }
    if include_usage && !fields.asks_usage() {
        splices.push(usage_splice(fields));
    }
    if splices.is_empty() {
        return body.clone();
    }
    splices.sort_unstable_by_key(|splice| splice.range.start);
    apply(body, &splices)
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

/// Makes `include_usage` true. New members go first in their object: that place is known without parsing.
fn usage_splice(fields: &Fields) -> Splice {
    const MEMBER: &str = r#""include_usage":true"#;
    let comma = |empty: bool| if empty { "" } else { "," };
    match &fields.stream_options {
        StreamOptions::Absent => Splice {
            range: fields.open..fields.open,
            with: format!(r#""stream_options":{{{MEMBER}}}{}"#, comma(fields.empty)),
        },
        StreamOptions::Null(range) => Splice { range: range.clone(), with: format!("{{{MEMBER}}}") },
        StreamOptions::Object { include_usage: Some(found), .. } => {
            Splice { range: found.range.clone(), with: "true".into() }
        }
        StreamOptions::Object { open, empty, include_usage: None } => {
            Splice { range: *open..*open, with: format!("{MEMBER}{}", comma(*empty)) }
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
        let edited = edit(&Bytes::copy_from_slice(body.as_bytes()), &fields, rename, include_usage);
        String::from_utf8(edited.to_vec()).expect("UTF-8")
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
        assert_eq!(edit(&body, &fields, Some("a"), false).as_ptr(), body.as_ptr());
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
