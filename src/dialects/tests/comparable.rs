//! What all dialects can hold of an answer, so that two of them can be compared.

use serde_json::{Map, Value};

use crate::dialects::conversation::{
    Annotation, Answer, Choice, Content, Delta, Event, Finish, Reasoning, ToolCall,
};

/// The first choice of an answer, without what only some dialects have: where its parts begin and end, signatures, ids,
/// citations, media. A refusal is text: not every dialect sets it apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Comparable {
    pub(super) text: String,
    /// The words of sounds, which are text where a dialect has no sounds.
    pub(super) spoken: String,
    pub(super) is_refusal: bool,
    pub(super) thought: String,
    /// By name and arguments. Those whose arguments were cut off are left out: most dialects have no place for half an object.
    pub(super) calls: Vec<(String, Value)>,
    pub(super) end: Option<End>,
    /// All that was read and written.
    pub(super) tokens: Option<(u64, u64)>,
}

/// Why an answer ends, as far as all dialects tell that apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Calls,
    Length,
    Filtered,
}

impl Comparable {
    pub(super) fn of(answer: &Answer) -> Self {
        let empty = Choice::default();
        let choice = answer.choices.first().unwrap_or(&empty);
        let mut comparable = Self::default();
        for part in &choice.parts {
            comparable.add(&part.content);
        }
        comparable.end = Some(end(choice.finish.as_ref(), !comparable.calls.is_empty()));
        comparable.tokens = answer.usage.map(|usage| (usage.input, usage.output));
        comparable
    }

    fn add(&mut self, content: &Content) {
        match content {
            Content::Text { text, .. } => self.text.push_str(text),
            Content::Refusal(text) => {
                self.text.push_str(text);
                self.is_refusal = true;
            }
            Content::Reasoning(Reasoning { text, .. }) => self.thought.push_str(text),
            Content::ToolCall(ToolCall { name, arguments, .. }) => {
                let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
                if let Ok(arguments) = serde_json::from_str::<Map<String, Value>>(arguments) {
                    self.calls.push((name.clone(), Value::Object(arguments)));
                }
            }
            Content::Media(media) => self.spoken.push_str(media.transcript.as_deref().unwrap_or_default()),
            Content::ToolResult(_) | Content::Foreign { .. } => {}
        }
    }

    /// How the same answer differs, where it does. What this one does not know may be anything there.
    pub(super) fn differs(&self, other: &Self) -> Option<String> {
        let texts = [self.text.clone(), format!("{}{}", self.text, self.spoken)];
        let ends = [self.end, self.is_refusal.then_some(End::Filtered)];
        let members = [
            (!texts.contains(&other.text)).then(|| format!("text {:?}, not {:?}", other.text, self.text)),
            (self.thought != other.thought)
                .then(|| format!("thought {:?}, not {:?}", other.thought, self.thought)),
            (self.calls != other.calls).then(|| format!("calls {:?}, not {:?}", other.calls, self.calls)),
            (!ends.contains(&other.end)).then(|| format!("end {:?}, not {:?}", other.end, self.end)),
            (self.tokens.is_some() && self.tokens != other.tokens)
                .then(|| format!("tokens {:?}, not {:?}", other.tokens, self.tokens)),
        ];
        let members: Vec<String> = members.into_iter().flatten().collect();
        (!members.is_empty()).then(|| members.join("; "))
    }
}

fn end(finish: Option<&Finish>, calls: bool) -> End {
    match finish {
        Some(Finish::Length | Finish::Window) => End::Length,
        Some(Finish::ContentFilter | Finish::Refusal) => End::Filtered,
        // Gemini and Ollama say that an answer with calls is complete.
        _ if calls => End::Calls,
        _ => End::Complete,
    }
}

/// Events without what a provider's own words are kept in, which differ when it says more.
pub(super) fn without_raw(events: Vec<Event>) -> Vec<Event> {
    let strip = |delta| match delta {
        Delta::Annotation(annotation) => Delta::Annotation(Annotation { raw: Value::Null, ..annotation }),
        Delta::Foreign { kind, .. } => Delta::Foreign { kind, value: Value::Null },
        Delta::Logprobs(_) => Delta::Logprobs(Value::Null),
        other => other,
    };
    let strip = |event| match event {
        Event::Delta { choice, delta } => Event::Delta { choice, delta: strip(delta) },
        other => other,
    };
    events.into_iter().map(strip).collect()
}

/// Where events are not what they were.
pub(super) fn differs(whole: &[Event], events: &[Event]) -> Result<(), String> {
    let length = events.len().min(whole.len());
    let at = events.iter().zip(whole).position(|(one, other)| one != other).unwrap_or(length);
    if at == events.len() && at == whole.len() {
        return Ok(());
    }
    Err(format!("event {at} is {:?}, not {:?}", events.get(at), whole.get(at)))
}
