//! Members of a client's JSON object, each taken once, so that what nobody takes can be told by name.

use serde_json::{Map, Value};

use crate::dialects::conversation::{Wish, Wishes};
use crate::dialects::front::Refusal;

/// An object of which members are taken.
#[derive(Debug)]
pub(super) struct Fields {
    /// What stands before the names of its members: empty, or ends in a dot.
    prefix: String,
    members: Map<String, Value>,
}

impl Fields {
    /// A whole request.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self { prefix: String::new(), members }),
            _ => Err(Refusal { message: "the body must be a JSON object".to_owned(), param: None }),
        }
    }

    /// The object that stands at `place`.
    pub(super) fn of(place: &str, value: Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(members) => Ok(Self { prefix: format!("{place}."), members }),
            _ => Err(refusal(place, "an object")),
        }
    }

    /// Whole name of a member.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Takes a member; `null` is none.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(refusal(&self.name(name), "a string")),
        }
    }

    /// Takes a switch.
    pub(super) fn switch(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(switch)) => Ok(Some(switch)),
            Some(_) => Err(refusal(&self.name(name), "true or false")),
        }
    }

    /// Takes a list; none is an empty one.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Refusal> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(refusal(&self.name(name), "a list")),
        }
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Refusal> {
        let place = self.name(name);
        self.take(name).map(|value| Self::of(&place, value)).transpose()
    }

    /// What is left becomes wishes that nobody knows.
    pub(super) fn leave(self, wishes: &mut Wishes) {
        for (name, value) in self.members {
            wishes.add(Wish::Other, format!("{}{name}", self.prefix), value);
        }
    }
}

/// Something that must be what it is not.
pub(super) fn refusal(place: &str, must_be: &str) -> Refusal {
    Refusal::of(place, format!("`{place}` must be {must_be}"))
}
