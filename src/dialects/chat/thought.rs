//! What a model thought, in the forms that the servers of this dialect have given it: `reasoning_content` (`DeepSeek`,
//! vLLM, xAI), `reasoning` (Groq, Cerebras), `reasoning_details` (`OpenRouter`, "Reasoning tokens") and `thinking_blocks`
//! (`LiteLLM`, "Thinking / reasoning content").

use serde_json::{Map, Value, json};

use crate::dialects::conversation::{Delta, Family, Signature};
use crate::dialects::json::{list, number, some, text};

/// What is carried through as it is, because no signature of it is known.
pub(super) const FOREIGN_DETAIL: &str = "chat:reasoning_detail";

/// Where details and blocks have their text.
const WORDS: [&str; 3] = ["text", "summary", "thinking"];

/// Reads thoughts, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    /// The `index` of the last detail.
    index: Option<u64>,
    /// The last id that was told.
    id: Option<String>,
    /// The last piece was an unsigned text, which may belong to the encrypted one that comes next.
    is_open: bool,
}

impl Thoughts {
    /// What a message, or a piece of it, says of thoughts.
    pub(super) fn read(&mut self, said: &Value, deltas: &mut Vec<Delta>) {
        let (details, blocks) = (list(said, "reasoning_details"), list(said, "thinking_blocks"));
        let blocks = if details.is_empty() { blocks } else { &[] };
        let mut words = details.iter().chain(blocks).flat_map(|item| WORDS.iter().map(|key| text(item, key)));
        let plain = text(said, "reasoning_content").or_else(|| text(said, "reasoning"));
        // Servers say the same twice: with details for those who know them, and plain.
        if let Some(plain) = plain.filter(|_| words.all(|words| words.is_none())) {
            deltas.push(Delta::Reasoning(plain.to_owned()));
            self.is_open = true;
        }
        for detail in details {
            self.detail(detail, deltas);
        }
        for block in blocks {
            self.block(block, deltas);
        }
    }

    fn detail(&mut self, detail: &Value, deltas: &mut Vec<Delta>) {
        let kind = text(detail, "type").unwrap_or_default();
        let family = family(text(detail, "format"));
        self.step(detail, kind, deltas);
        let words = text(detail, if kind == "reasoning.summary" { "summary" } else { "text" });
        match kind {
            "reasoning.text" | "reasoning.summary" => {
                if let Some(words) = words {
                    deltas.push(Delta::Reasoning(words.to_owned()));
                    self.is_open = true;
                }
                self.signature(text(detail, "signature"), family, deltas);
            }
            "reasoning.encrypted" => match (text(detail, "data"), family) {
                (Some(data), Some(family)) => {
                    if family == Family::Anthropic || !self.is_open {
                        deltas.push(Delta::Part);
                    }
                    self.told(detail, deltas);
                    deltas.push(Delta::Redacted(Signature::read(family, data)));
                    self.is_open = false;
                }
                (Some(_), None) => {
                    deltas.push(Delta::Foreign { kind: FOREIGN_DETAIL.to_owned(), value: detail.clone() });
                }
                (None, _) => {}
            },
            _ => {}
        }
    }

    /// Begins a part where the list does, and tells its id where that is to stand before its text.
    fn step(&mut self, detail: &Value, kind: &str, deltas: &mut Vec<Delta>) {
        let index = number(detail, "index");
        if kind == "reasoning.encrypted" {
            self.index = index.or(self.index);
            return;
        }
        if index.is_some() && self.index.is_some() && index != self.index {
            deltas.push(Delta::Part);
            self.is_open = false;
        }
        self.index = index.or(self.index);
        self.told(detail, deltas);
    }

    fn told(&mut self, detail: &Value, deltas: &mut Vec<Delta>) {
        let id = text(detail, "id");
        if let Some(id) = id.filter(|id| self.id.as_deref() != Some(id)) {
            self.id = Some(id.to_owned());
            deltas.push(Delta::ReasoningId(id.to_owned()));
        }
    }

    fn signature(&mut self, signature: Option<&str>, family: Option<Family>, deltas: &mut Vec<Delta>) {
        // A client may have lost the format: most that sign are Anthropic's, and the others' are sealed.
        if let Some(signature) = signature {
            deltas.push(Delta::Signature(Signature::read(family.unwrap_or(Family::Anthropic), signature)));
            self.is_open = false;
        }
    }

    /// Anthropic's own blocks, as `LiteLLM` hands them on.
    fn block(&mut self, block: &Value, deltas: &mut Vec<Delta>) {
        match text(block, "type") {
            Some("thinking") => {
                if text(block, "thinking").is_some() {
                    deltas.push(Delta::Part);
                }
                deltas.extend(text(block, "thinking").map(|words| Delta::Reasoning(words.to_owned())));
                self.signature(text(block, "signature"), None, deltas);
            }
            Some("redacted_thinking") => {
                let data = text(block, "data").map(|data| Signature::read(Family::Anthropic, data));
                deltas.push(Delta::Part);
                deltas.extend(data.map(Delta::Redacted));
            }
            _ => {}
        }
    }
}

/// Whose a signature is, by the name of its format. Azure encrypts as `OpenAI` does; xAI's is nobody's that we know.
fn family(format: Option<&str>) -> Option<Family> {
    match format {
        Some("anthropic-claude-v1") => Some(Family::Anthropic),
        Some("google-gemini-v1") => Some(Family::Gemini),
        Some("openai-responses-v1" | "azure-openai-responses-v1") => Some(Family::OpenAi),
        _ => None,
    }
}

fn format(family: Family) -> Option<&'static str> {
    match family {
        Family::Anthropic => Some("anthropic-claude-v1"),
        Family::Gemini => Some("google-gemini-v1"),
        Family::OpenAi => Some("openai-responses-v1"),
        Family::Bedrock => None,
    }
}

/// Writes thoughts as `reasoning_details`. Clients put pieces of the same `index` together, and some of them concatenate
/// every text in them: the format stands beside the signature alone.
#[derive(Debug, Default)]
pub(super) struct Details {
    index: u64,
    is_open: bool,
    id: Option<String>,
}

impl Details {
    /// The next piece begins another part.
    pub(super) fn close(&mut self) {
        self.index += u64::from(std::mem::take(&mut self.is_open));
    }

    /// The id of the part that begins, or of the one that is open.
    pub(super) fn id(&mut self, id: &str) {
        self.id = Some(id.to_owned());
    }

    /// More of a thought.
    pub(super) fn text(&mut self, words: &str) -> Value {
        self.is_open = true;
        self.piece("reasoning.text", &[("text", Some(words))])
    }

    /// The signature on it, which ends it.
    pub(super) fn signature(&mut self, signature: &Signature) -> Value {
        let (value, format) = sealed(signature);
        let piece = self.piece("reasoning.text", &[("signature", Some(&value)), ("format", format)]);
        self.index += 1;
        self.is_open = false;
        piece
    }

    /// An encrypted thought, whole.
    pub(super) fn encrypted(&mut self, signature: &Signature) -> Value {
        self.close();
        let (value, format) = sealed(signature);
        // A reader needs a format to know that this is a thought which somebody takes back.
        let format = format.or(Some("anthropic-claude-v1"));
        let piece = self.piece("reasoning.encrypted", &[("data", Some(&value)), ("format", format)]);
        self.index += 1;
        piece
    }

    /// A detail that is nobody's we know, with a number that no other one has.
    pub(super) fn foreign(&mut self, detail: &Value) -> Value {
        self.close();
        let mut detail = detail.clone();
        if let Some(members) = detail.as_object_mut() {
            members.insert("index".to_owned(), json!(self.index));
        }
        self.index += 1;
        detail
    }

    fn piece(&mut self, kind: &str, members: &[(&str, Option<&str>)]) -> Value {
        let mut piece = Map::new();
        piece.insert("type".to_owned(), json!(kind));
        for (name, value) in members {
            if let Some(value) = value {
                piece.insert((*name).to_owned(), json!(value));
            }
        }
        if let Some(id) = self.id.take() {
            piece.insert("id".to_owned(), json!(id));
        }
        piece.insert("index".to_owned(), json!(self.index));
        Value::Object(piece)
    }
}

/// A signature in the form of its own family where that has a name here, so that a server of this dialect takes it too.
fn sealed(signature: &Signature) -> (String, Option<&'static str>) {
    match format(signature.family) {
        Some(format) => (signature.value.clone(), Some(format)),
        None => (signature.sealed(), None),
    }
}

/// Gemini's signature on a call, where Google's own servers of this dialect put it ("OpenAI compatibility, thought
/// signatures"), or where `LiteLLM` does.
pub(super) fn call_signature(call: &Value) -> Option<Signature> {
    let google = some(call, "extra_content").and_then(|extra| some(extra, "google"));
    let fields =
        some(call, "provider_specific_fields").or_else(|| some(call.get("function")?, "provider_specific_fields"));
    let value = google.or(fields).and_then(|holder| text(holder, "thought_signature"))?;
    Some(Signature::read(Family::Gemini, value))
}

/// The same, written.
pub(super) fn extra_content(signature: &Signature) -> Value {
    json!({ "google": { "thought_signature": signature.write(Family::Gemini) } })
}
