//! What a model says, in an answer, in a piece of a stream, or in the history that a client sends: the three have one form.

use serde_json::Value;

use super::media;
use super::thought::{Thoughts, call_signature};
use crate::dialects::conversation::{Annotation, Delta};
use crate::dialects::json::{list, number, owned, some, text};

/// Before the types of what only this dialect understands.
pub(super) const FOREIGN: &str = "chat:";
/// Calls of one choice. More is no answer; what follows is left out.
const CALLS_MAX: usize = 1024;

/// Reads what one choice says.
#[derive(Debug)]
pub(super) struct Speech {
    /// Ids of calls that have none are made of this.
    seed: String,
    /// All is said at once: what stands side by side is never a piece of the same.
    whole: bool,
    thoughts: Thoughts,
    calls: Vec<Call>,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    /// Its name was heard, and it was told.
    is_told: bool,
    /// Arguments that came before the name.
    held: String,
}

impl Speech {
    /// `whole`: all is said at once.
    pub(super) fn new(seed: String, whole: bool) -> Self {
        Self { seed, whole, thoughts: Thoughts::default(), calls: Vec::new() }
    }

    /// Whether a tool was called.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.iter().any(|call| call.is_told)
    }

    /// Takes a `message` or a `delta`.
    pub(super) fn hear(&mut self, said: &Value, deltas: &mut Vec<Delta>) {
        self.thoughts.read(said, deltas);
        match said.get("content") {
            Some(Value::String(text)) if !text.is_empty() => deltas.push(Delta::Text(text.clone())),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| self.part(part, deltas)),
            _ => {}
        }
        deltas.extend(owned(said, "refusal").map(Delta::Refusal));
        deltas.extend(list(said, "annotations").iter().filter_map(annotation).map(Delta::Annotation));
        let pictures = list(said, "images").iter().filter_map(media::read);
        deltas.extend(pictures.map(Delta::Media));
        deltas.extend(said.get("audio").and_then(media::spoken).map(Delta::Media));
        for call in list(said, "tool_calls") {
            self.call(call, deltas);
        }
        if let Some(function) = some(said, "function_call") {
            self.function(&Piece { function, index: Some(0), id: None, whole: &Value::Null }, deltas);
        }
    }

    /// A part of a content that is a list, as Mistral has them.
    fn part(&mut self, part: &Value, deltas: &mut Vec<Delta>) {
        let kind = text(part, "type").unwrap_or_default();
        if self.whole {
            deltas.push(Delta::Part);
        }
        match kind {
            "text" | "output_text" => deltas.extend(owned(part, "text").map(Delta::Text)),
            "refusal" => deltas.extend(owned(part, "refusal").map(Delta::Refusal)),
            "thinking" => {
                let whole = owned(part, "thinking");
                let pieces = list(part, "thinking").iter().filter_map(|piece| owned(piece, "text"));
                deltas.extend(whole.into_iter().chain(pieces).map(Delta::Reasoning));
            }
            // Numbers of documents that stand elsewhere.
            "reference" | "" => {}
            kind => deltas.push(match media::read(part) {
                Some(media) => Delta::Media(media),
                None => Delta::Foreign { kind: format!("{FOREIGN}{kind}"), value: part.clone() },
            }),
        }
    }

    fn call(&mut self, said: &Value, deltas: &mut Vec<Delta>) {
        if some(said, "custom").is_some() {
            let value = said.clone();
            return deltas.push(Delta::Foreign { kind: format!("{FOREIGN}tool_call"), value });
        }
        let function = said.get("function").unwrap_or(&Value::Null);
        self.function(
            &Piece { function, index: number(said, "index"), id: text(said, "id"), whole: said },
            deltas,
        );
    }

    fn function(&mut self, piece: &Piece<'_>, deltas: &mut Vec<Delta>) {
        let Some(at) = self.place(piece) else { return };
        let call = &mut self.calls[at];
        let arguments = match piece.function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(object @ Value::Object(_)) => object.to_string(),
            _ => String::new(),
        };
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        if !call.is_told {
            call.held.push_str(&arguments);
            let Some(name) = owned(piece.function, "name") else { return };
            call.is_told = true;
            let signature = call_signature(piece.whole);
            deltas.push(Delta::ToolCall { call: number, id: call.id.clone(), name, signature });
            let text = std::mem::take(&mut call.held);
            if !text.is_empty() {
                deltas.push(Delta::Arguments { call: number, text });
            }
        } else if !arguments.is_empty() {
            deltas.push(Delta::Arguments { call: number, text: arguments });
        }
    }

    /// Which call a piece belongs to. Servers leave out the index, repeat the id or the name in every piece, or give all
    /// calls the same index.
    fn place(&mut self, piece: &Piece<'_>) -> Option<usize> {
        let named = text(piece.function, "name").is_some();
        let known = match (piece.index, piece.id) {
            _ if self.whole => None,
            (Some(index), id) => {
                let at = self.calls.iter().rposition(|call| call.index == Some(index));
                let other = |at: &usize| id.is_some_and(|id| id != self.calls[*at].id) && named;
                at.filter(|at| !(other(at) && self.calls[*at].is_told))
            }
            (None, Some(id)) => {
                let at = self.calls.iter().position(|call| call.id == id);
                at.or_else(|| if named { None } else { self.calls.len().checked_sub(1) })
            }
            (None, None) if named => self.calls.iter().rposition(|call| !call.is_told),
            (None, None) => self.calls.len().checked_sub(1),
        };
        if known.is_some() || self.calls.len() >= CALLS_MAX {
            return known;
        }
        let at = self.calls.len();
        let own = piece.id.filter(|id| self.calls.iter().all(|call| call.id != *id));
        let id = own.map_or_else(|| format!("{}{at}", self.seed), str::to_owned);
        self.calls.push(Call { index: piece.index, id, ..Call::default() });
        Some(at)
    }
}

struct Piece<'a> {
    function: &'a Value,
    index: Option<u64>,
    id: Option<&'a str>,
    /// All of the call, where the old form has none.
    whole: &'a Value,
}

/// Begins the ids of calls that have none, from the number of the exchange and what else tells them apart. In all they
/// have less than 40 characters, which is what `OpenAI` takes.
pub(super) fn seed(unique: &str, place: u32) -> String {
    let tail = unique.get(unique.len().saturating_sub(24)..).unwrap_or(unique);
    format!("call_{tail}_{place}_")
}

/// Reads an entry of `annotations`; what is not an address is kept as it is.
fn annotation(value: &Value) -> Option<Annotation> {
    let said = some(value, "url_citation").unwrap_or(value);
    text(value, "type")?;
    Some(Annotation {
        url: owned(said, "url"),
        title: owned(said, "title"),
        cited: owned(said, "content"),
        range: number(said, "start_index").zip(number(said, "end_index")).filter(|(_, end)| *end > 0),
        raw: value.clone(),
    })
}
