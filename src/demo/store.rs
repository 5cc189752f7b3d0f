//! What the demo upstream remembers: the newest responses, files and batches, each bounded.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// Entries of one kind; the oldest makes room.
const ENTRIES_MAX: usize = 512;

/// A bounded list of objects with an `id`, oldest first. Few enough to be searched from its end.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: VecDeque<Value>,
}

impl Shelf {
    /// Keeps `object`, dropping the oldest one if the shelf is full.
    pub(super) fn put(&mut self, object: Value) {
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(object);
    }

    /// The object called `id`.
    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.entries.iter().rev().find(|entry| is(entry, id))
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Value> {
        self.entries.iter_mut().rev().find(|entry| is(entry, id))
    }

    /// Forgets the object called `id` and says whether it was there.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !is(entry, id));
        self.entries.len() < before
    }

    /// Every object, newest first.
    pub(super) fn list(&self) -> Vec<Value> {
        self.entries.iter().rev().cloned().collect()
    }
}

fn is(entry: &Value, id: &str) -> bool {
    entry.get("id").and_then(Value::as_str) == Some(id)
}

/// All shelves.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// `{id, response, input}` of each stored response.
    responses: Shelf,
    /// File objects, without content.
    pub(super) files: Shelf,
    /// Batch objects.
    pub(super) batches: Shelf,
}

impl Store {
    /// Keeps a response and the input it answers.
    pub(super) fn put_response(&mut self, response: &Value, input: &[Value]) {
        self.responses.put(json!({"id": response.get("id"), "response": response, "input": input}));
    }

    /// Replaces a stored response by its final state, if it is stored and was not cancelled in the meantime.
    pub(super) fn finish_response(&mut self, id: &str, last: Value) {
        if let Some(entry) = self.responses.get_mut(id)
            && entry.pointer("/response/status") == Some(&"in_progress".into())
            && let Some(response) = entry.get_mut("response")
        {
            *response = last;
        }
    }

    /// Marks a response that is still under way as cancelled; one that has ended stays what it is.
    pub(super) fn cancel_response(&mut self, id: &str) -> Option<Value> {
        let response = self.responses.get_mut(id)?.get_mut("response")?;
        if response.get("status") == Some(&"in_progress".into())
            && let Some(status) = response.get_mut("status")
        {
            *status = "cancelled".into();
        }
        Some(response.clone())
    }

    /// A stored response.
    pub(super) fn response(&self, id: &str) -> Option<&Value> {
        self.responses.get(id)?.get("response")
    }

    /// The input items of a stored response, newest first as the API lists them.
    pub(super) fn input_items(&self, id: &str) -> Option<Vec<Value>> {
        let items = self.responses.get(id)?.get("input")?.as_array()?;
        Some(items.iter().rev().cloned().collect())
    }

    /// Forgets a response and says whether it was there.
    pub(super) fn remove_response(&mut self, id: &str) -> bool {
        self.responses.remove(id)
    }
}
