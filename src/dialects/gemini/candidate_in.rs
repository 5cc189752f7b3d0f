//! One candidate of an answer, piece by piece.

use serde_json::Value;

use super::answer_in::logprobs_of;
use super::citation;
use super::fields::{get, list, text, whole};
use super::partial_args::Growing;
use super::proof;
use super::{CANDIDATE_NOTES, FOREIGN_PARTS, kind_of};
use crate::dialects::conversation::{Annotation, Delta, Event, Finish, Media, Signature, Source};

/// Citations of one candidate.
const CITED_MAX: usize = 1000;

/// What is known of a candidate.
#[derive(Debug)]
pub(super) struct Candidate {
    index: u32,
    /// For ids of calls.
    unique: String,
    calls: u32,
    /// The call whose arguments still come.
    open: Option<(u32, Growing)>,
    /// Citations say in bytes of the text where they belong.
    text: String,
    cited: Vec<Annotation>,
    /// What was said of the candidate beside its parts: the last word on each.
    notes: [Option<Value>; CANDIDATE_NOTES.len()],
    finish: Option<String>,
}

impl Candidate {
    /// One that has said nothing.
    pub(super) fn new(index: u32, unique: &str) -> Self {
        Self {
            index,
            unique: unique.to_owned(),
            calls: 0,
            open: None,
            text: String::new(),
            cited: Vec::new(),
            notes: Default::default(),
            finish: None,
        }
    }

    /// Takes what one event says of it.
    pub(super) fn piece(&mut self, candidate: &Value, events: &mut Vec<Event>) {
        let parts = get(candidate, "content").map_or(&[][..], |content| list(content, "parts"));
        // What the text refers to follows it at once, before a signature or a call ends it.
        let is_said = |part: &Value| {
            get(part, "thought") != Some(&Value::Bool(true))
                && text(part, "text").is_some_and(|text| !text.is_empty())
        };
        let last_text = parts.iter().rposition(is_said);
        if last_text.is_none() {
            self.cite(candidate, events);
        }
        for (at, part) in parts.iter().enumerate() {
            let cited = (Some(at) == last_text).then_some(candidate);
            self.part(part, cited, events);
        }
        for (kind, note) in CANDIDATE_NOTES.into_iter().zip(&mut self.notes) {
            let said = get(candidate, kind).filter(|said| said.as_object().is_some_and(|said| !said.is_empty()));
            if let Some(said) = said {
                *note = Some(said.clone());
            }
        }
        if let Some(result) = get(candidate, "logprobsResult") {
            self.emit(Delta::Logprobs(logprobs_of(result)), events);
        }
        if let Some(word) = text(candidate, "finishReason").filter(|word| *word != "FINISH_REASON_UNSPECIFIED") {
            self.finish = Some(word.to_owned());
        }
    }

    fn cite(&mut self, candidate: &Value, events: &mut Vec<Event>) {
        for annotation in citation::of_candidate(candidate, &self.text) {
            if self.cited.len() < CITED_MAX && !self.cited.contains(&annotation) {
                self.cited.push(annotation.clone());
                self.emit(Delta::Annotation(annotation), events);
            }
        }
    }

    /// Says what had to wait for its end.
    pub(super) fn close(&mut self, events: &mut Vec<Event>) {
        self.end_call(events);
        for (kind, note) in CANDIDATE_NOTES.into_iter().zip(std::mem::take(&mut self.notes)) {
            if let Some(value) = note {
                self.emit(Delta::Foreign { kind: kind.to_owned(), value }, events);
            }
        }
    }

    /// Why it ends, if it has said so.
    pub(super) fn finish(&self) -> Option<Finish> {
        Some(match self.finish.as_deref()? {
            "STOP" if self.calls > 0 => Finish::ToolCalls,
            "STOP" => Finish::Stop,
            "MAX_TOKENS" => Finish::Length,
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR"
            | "ESCALATION" => Finish::ContentFilter,
            other => Finish::Other(other.to_owned()),
        })
    }

    fn part(&mut self, part: &Value, cited: Option<&Value>, events: &mut Vec<Event>) {
        let signature = text(part, "thoughtSignature").filter(|text| !text.is_empty()).map(proof::read);
        let signature = signature.and_then(|proof| proof.signature);
        let is_thought = get(part, "thought") == Some(&Value::Bool(true));
        if let Some(call) = get(part, "functionCall") {
            self.call(call, signature, events);
        } else if let Some(text) = text(part, "text") {
            self.text(text, is_thought, events);
            if let Some(candidate) = cited {
                self.cite(candidate, events);
            }
            if let Some(signature) = signature {
                // On a text it proves the text, not the thought that came before.
                if !is_thought {
                    self.emit(Delta::Part, events);
                }
                self.emit(Delta::Signature(signature), events);
            }
        } else if let Some(blob) = get(part, "inlineData").or_else(|| get(part, "fileData")) {
            // A picture in a thought is a draft.
            if let Some(media) = media(blob, signature).filter(|_| !is_thought) {
                self.emit(Delta::Media(media), events);
            }
        } else if let Some(kind) = FOREIGN_PARTS.into_iter().find(|kind| get(part, kind).is_some()) {
            self.emit(Delta::Foreign { kind: kind.to_owned(), value: part.clone() }, events);
        } else if let Some(signature) = signature {
            self.emit(Delta::Part, events);
            self.emit(Delta::Signature(signature), events);
        }
    }

    fn text(&mut self, text: &str, is_thought: bool, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        if is_thought {
            self.emit(Delta::Reasoning(text.to_owned()), events);
        } else {
            citation::remember(&mut self.text, text);
            self.emit(Delta::Text(text.to_owned()), events);
        }
    }

    /// A call comes whole, unless the client wants its arguments as they are made, which only Vertex AI can: then its
    /// name comes first and a call that is empty last.
    fn call(&mut self, call: &Value, signature: Option<Signature>, events: &mut Vec<Event>) {
        let goes_on = get(call, "willContinue") == Some(&Value::Bool(true));
        if let Some(name) = text(call, "name").filter(|name| !name.is_empty()) {
            self.end_call(events);
            let number = self.calls;
            self.calls += 1;
            let id = text(call, "id").filter(|id| !id.is_empty()).map(str::to_owned);
            let id = id.unwrap_or_else(|| self.id_of(number));
            self.emit(Delta::ToolCall { call: number, id, name: name.to_owned(), signature }, events);
            self.open = Some((number, Growing::new(get(call, "args"))));
        }
        if let Some((_, arguments)) = &mut self.open {
            for piece in list(call, "partialArgs") {
                arguments.piece(piece);
            }
        }
        if !goes_on {
            self.end_call(events);
        }
    }

    fn end_call(&mut self, events: &mut Vec<Event>) {
        if let Some((call, arguments)) = self.open.take() {
            self.emit(Delta::Arguments { call, text: arguments.into_text() }, events);
            self.emit(Delta::ToolCallEnd { call }, events);
        }
    }

    /// At most 40 characters, which is what `OpenAI` takes, while there are not more than ten calls.
    fn id_of(&self, call: u32) -> String {
        match self.index {
            0 => format!("call_{}_{call}", self.unique),
            index => format!("call_{}_{index}_{call}", self.unique),
        }
    }

    fn emit(&self, delta: Delta, events: &mut Vec<Event>) {
        events.push(Event::Delta { choice: self.index, delta });
    }
}

fn media(blob: &Value, signature: Option<Signature>) -> Option<Media> {
    let media_type = text(blob, "mimeType").map(str::to_owned);
    let kind = media_type.as_deref().map_or("file", kind_of);
    let source = match (text(blob, "data"), text(blob, "fileUri")) {
        (Some(data), _) => Source::Base64(data.to_owned()),
        (None, Some(uri)) => Source::Url(uri.to_owned()),
        (None, None) => return None,
    };
    Some(Media { signature, ..Media::new(kind, media_type, source) })
}

/// The length that a citation's place may have; for [`citation`].
pub(super) fn place(value: &Value, name: &str) -> Option<usize> {
    whole(value, name).and_then(|at| usize::try_from(at).ok())
}
