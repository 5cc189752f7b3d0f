//! JSON as it is written: the members of an object and the elements of an array with their places, so that they
//! can be edited and every other byte stays.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::edit::{self, Splice};

/// One member of an object, as slices of its text.
#[derive(Clone, Copy, Debug)]
pub struct Member<'t> {
    /// The name with its quotes.
    key: &'t str,
    /// The value, without spaces around it.
    pub value: &'t str,
}

impl<'t> Member<'t> {
    /// The name, escapes resolved.
    pub fn name(&self) -> Cow<'t, str> {
        string(self.key).unwrap_or_default()
    }
}

/// The text of a string value, escapes resolved. `None` for any other value, and for one half of a surrogate
/// pair, which is no text.
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(value).ok().map(Cow::Owned) } else { Some(inner.into()) }
}

/// Gives each member of the object `text` to `each`, in order. False if `text` is anything else than one object;
/// `each` may have been called by then.
pub fn members<'t>(text: &'t str, each: impl FnMut(Member<'t>)) -> bool {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(each)).and_then(|()| json.end()).is_ok()
}

/// Gives each element of the array `text` to `each`, in order. False if `text` is anything else than one array;
/// `each` may have been called by then.
pub fn elements<'t>(text: &'t str, each: impl FnMut(&'t str)) -> bool {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Elements(each)).and_then(|()| json.end()).is_ok()
}

struct Members<F>(F);

impl<'t, F: FnMut(Member<'t>)> Visitor<'t> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            (self.0)(Member { key: key.get(), value: value.get() });
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'t, F: FnMut(&'t str)> Visitor<'t> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(element) = sequence.next_element::<&RawValue>()? {
            (self.0)(element.get());
        }
        Ok(())
    }
}

/// Edits of one text. Its parts are slices of it; edits must not overlap.
#[derive(Debug)]
pub struct Edits<'t> {
    text: &'t str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'t> Edits<'t> {
    /// None yet.
    pub fn new(text: &'t str) -> Self {
        Self { text, edits: Vec::new() }
    }

    /// Puts `with` in the place of `part`.
    pub fn replace(&mut self, part: &str, with: String) {
        let range = self.place(part);
        self.edits.push((range, with));
    }

    /// Puts `member` (and a comma) first into the object that the text is, which must have a member.
    pub fn insert_first(&mut self, member: &str) {
        let open = self.text.find('{').map_or(0, |brace| brace + 1);
        self.edits.push((open..open, format!("{member},")));
    }

    /// Puts `element` behind the last element of `array`, which must have one.
    pub fn append(&mut self, array: &str, element: &str) {
        let close = self.place(array).end.saturating_sub(1);
        self.edits.push((close..close, format!(",{element}")));
    }

    /// Takes one member out of an object whose `members` these are. Of the others the values may be edited.
    pub fn remove(&mut self, members: &[Member<'_>], at: usize) {
        let Some(member) = members.get(at) else { return };
        let before = at.checked_sub(1).and_then(|before| members.get(before));
        let (key, value) = (self.place(member.key), self.place(member.value));
        let range = match (members.get(at + 1), before) {
            (Some(next), _) => key.start..self.place(next.key).start,
            (None, Some(before)) => self.place(before.value).end..value.end,
            (None, None) => key.start..value.end,
        };
        self.edits.push((range, String::new()));
    }

    /// The text with all edits made.
    pub fn apply(mut self) -> Vec<u8> {
        // Stable: what is put in one place stays in order.
        self.edits.sort_by_key(|(range, _)| range.start);
        let splices: Vec<_> = self.edits.into_iter().map(|(range, with)| Splice { range, with }).collect();
        edit::apply(self.text.as_bytes(), &splices).into()
    }

    fn place(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr().addr() - self.text.as_ptr().addr();
        start..start + part.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<Vec<(String, &str)>> {
        let mut found = Vec::new();
        members(text, |member| found.push((member.name().into_owned(), member.value))).then_some(found)
    }

    #[test]
    fn members_are_given_as_they_are_written() {
        let found = names(" { \"a\" : 1E400 , \"\\u0062\\n\":[ {} ]\n} ").expect("an object");
        assert_eq!(found, [("a".to_owned(), "1E400"), ("b\n".to_owned(), "[ {} ]")]);
        assert_eq!(names("{}"), Some(vec![]));
        for text in ["", "[]", "{\"a\":1}x", "{\"a\":1", "{\"a\"}", "{1:2}"] {
            assert_eq!(names(text), None, "{text}");
        }
    }

    #[test]
    fn elements_are_given_as_they_are_written() {
        let mut found = Vec::new();
        assert!(elements(" [ 1.0, \"a\" ,{ } ]", |element| found.push(element)));
        assert_eq!(found, ["1.0", "\"a\"", "{ }"]);
        for text in ["", "{}", "[1]2", "[1", "[1,]"] {
            assert!(!elements(text, |_| {}), "{text}");
        }
    }

    #[test]
    fn strings_are_decoded_and_half_characters_are_none() {
        assert_eq!(string(r#""a\u00e4\n""#).as_deref(), Some("aä\n"));
        assert_eq!(string("\"ä\"").as_deref(), Some("ä"));
        for value in ["null", "1", r#""\ud83d""#, "\""] {
            assert_eq!(string(value), None, "{value}");
        }
    }

    #[test]
    fn each_member_can_be_taken_out() {
        let text = r#" {"a":1 , "b" : {} ,"c":"x"} "#;
        let mut found = Vec::new();
        assert!(members(text, |member| found.push(member)));
        for (at, expected) in [
            (0, r#" {"b" : {} ,"c":"x"} "#),
            (1, r#" {"a":1 , "c":"x"} "#),
            (2, r#" {"a":1 , "b" : {}} "#),
            (3, text),
        ] {
            let mut edits = Edits::new(text);
            edits.remove(&found, at);
            assert_eq!(edits.apply(), expected.as_bytes());
        }
    }

    #[test]
    fn edits_are_made_in_the_order_of_their_places() {
        let text = r#"{"a":1,"b":[2]}"#;
        let mut edits = Edits::new(text);
        edits.append(&text[11..14], "3");
        edits.replace(&text[5..6], "{}".to_owned());
        edits.insert_first(r#""x":0"#);
        edits.insert_first(r#""y":0"#);
        assert_eq!(edits.apply(), br#"{"x":0,"y":0,"a":{},"b":[2,3]}"#);
    }
}
