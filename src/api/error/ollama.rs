//! `Ollama`'s form: its API reference, "Errors".

use serde::Serialize;

use super::{Told, json};

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a str,
}

pub(super) fn body(told: &Told<'_>) -> Vec<u8> {
    json(&Envelope { error: told.message })
}

/// One line more of the answer.
pub(super) fn line(told: &Told<'_>) -> Vec<u8> {
    [&body(told)[..], b"\n"].concat()
}
