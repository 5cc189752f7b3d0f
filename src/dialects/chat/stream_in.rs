//! Reads answers: streams of `chat.completion.chunk`, and whole ones as if they were a stream of one chunk, so that both
//! are read alike.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error;
use super::finish;
use super::speech::{Speech, seed};
use super::usage;
use crate::dialects::conversation::{Annotation, Answer, Collector, Delta, Event, Finish, Start, Usage};
use crate::dialects::json::{list, number, owned, some, text};
use crate::dialects::{Machine, Malformed};

/// Choices of one answer. More is no answer; what follows is left out.
const CHOICES_MAX: usize = 256;

/// Understands the chunks of one answer.
#[derive(Debug)]
pub(super) struct Chunks {
    unique: String,
    whole: bool,
    is_begun: bool,
    choices: BTreeMap<u32, Heard>,
    usage: Option<Usage>,
    /// Perplexity's sources, which come with every chunk.
    sources: Vec<Annotation>,
}

#[derive(Debug)]
struct Heard {
    speech: Speech,
    /// Why it ends. Told at the end: pieces may follow it.
    finish: Option<Finish>,
}

impl Chunks {
    /// For a stream, or (`whole`) for one answer that is said at once.
    pub(super) fn new(unique: &str, whole: bool) -> Self {
        Self {
            unique: unique.to_owned(),
            whole,
            is_begun: false,
            choices: BTreeMap::new(),
            usage: None,
            sources: Vec::new(),
        }
    }

    fn chunk(&mut self, chunk: &Value, events: &mut Vec<Event>) {
        let choices = list(chunk, "choices");
        // Azure says first what its filters think of the prompt, without a name of the answer.
        if !self.is_begun && (self.whole || !choices.is_empty() || text(chunk, "id").is_some()) {
            self.is_begun = true;
            events.push(Event::Start(start(chunk)));
        }
        for choice in choices {
            self.choice(choice, events);
            if matches!(events.last(), Some(Event::Failed(_))) {
                return;
            }
        }
        self.sources(chunk);
        if let Some(usage) = usage::of(chunk).filter(|usage| self.usage != Some(*usage)) {
            self.usage = Some(usage);
            events.push(Event::Usage(usage));
        }
    }

    fn choice(&mut self, choice: &Value, events: &mut Vec<Event>) {
        let index = number(choice, "index").and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        if self.choices.len() >= CHOICES_MAX && !self.choices.contains_key(&index) {
            return;
        }
        let (unique, whole) = (&self.unique, self.whole);
        let new = || Heard { speech: Speech::new(seed(unique, index), whole), finish: None };
        let heard = self.choices.entry(index).or_insert_with(new);
        let mut deltas = Vec::new();
        let keys = if whole { ["message", "delta"] } else { ["delta", "message"] };
        if let Some(said) = keys.into_iter().find_map(|key| some(choice, key)) {
            heard.speech.hear(said, &mut deltas);
        }
        let logprobs = some(choice, "logprobs").and_then(|logprobs| some(logprobs, "content"));
        deltas.extend(logprobs.filter(|content| content.is_array()).cloned().map(Delta::Logprobs));
        events.extend(deltas.into_iter().map(|delta| Event::Delta { choice: index, delta }));
        if some(choice, "error").is_some() {
            events.push(Event::Failed(error::in_stream(choice)));
        } else if let (Some(word), None) = (text(choice, "finish_reason"), &heard.finish) {
            match finish::read(word, heard.speech.has_calls()) {
                Ok(finish) => heard.finish = Some(finish),
                Err(failure) => events.push(Event::Failed(failure)),
            }
        }
    }

    /// Sources of the whole answer ("Perplexity, chat completions": `search_results`, and before it `citations`).
    fn sources(&mut self, chunk: &Value) {
        let found = list(chunk, "search_results").iter().map(|source| Annotation {
            url: owned(source, "url"),
            title: owned(source, "title"),
            cited: owned(source, "snippet"),
            ..Annotation::default()
        });
        let mut found: Vec<_> = found.collect();
        if found.is_empty() {
            let urls = list(chunk, "citations").iter().filter_map(Value::as_str);
            found = urls.map(|url| Annotation { url: Some(url.to_owned()), ..Annotation::default() }).collect();
        }
        if !found.is_empty() {
            self.sources = found;
        }
    }

    /// Tells what was held for the end, and the end.
    fn over(&mut self, events: &mut Vec<Event>) {
        for source in std::mem::take(&mut self.sources) {
            events.push(Event::delta(Delta::Annotation(source)));
        }
        for (index, heard) in &mut self.choices {
            if let Some(mut finish) = heard.finish.take() {
                // The reason may have come before the call.
                if finish == Finish::Stop && heard.speech.has_calls() {
                    finish = Finish::ToolCalls;
                }
                events.push(Event::Finish { choice: *index, finish });
            }
        }
        events.push(Event::End);
    }
}

impl Machine for Chunks {
    fn event(&mut self, name: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        if data == b"[DONE]" {
            if self.is_begun {
                self.over(events);
            }
            return Ok(());
        }
        let chunk: Value = serde_json::from_slice(data).map_err(|_| Malformed("a chunk that is no JSON"))?;
        if name == Some("error") || error::is_one(&chunk) {
            events.push(Event::Failed(error::in_stream(&chunk)));
        } else if chunk.is_object() {
            self.chunk(&chunk, events);
        } else {
            return Err(Malformed("a chunk that is no object"));
        }
        Ok(())
    }

    /// Some servers leave `[DONE]` out.
    fn end(&mut self, events: &mut Vec<Event>) {
        if !self.choices.is_empty() && self.choices.values().all(|heard| heard.finish.is_some()) {
            self.over(events);
        }
    }
}

/// Reads a whole answer.
pub(super) fn answer(body: &[u8], unique: &str) -> Result<Answer, Malformed> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Malformed("an answer that is no JSON"))?;
    if !answer.get("choices").is_some_and(Value::is_array) {
        return Err(Malformed("an answer without choices"));
    }
    let (mut chunks, mut events) = (Chunks::new(unique, true), Vec::new());
    chunks.chunk(&answer, &mut events);
    chunks.over(&mut events);
    let mut collector = Collector::default();
    for event in events {
        collector.event(event).map_err(|_| Malformed("an answer that the provider broke off"))?;
    }
    collector.finish().ok_or(Malformed("an answer without end"))
}

fn start(chunk: &Value) -> Start {
    Start {
        id: owned(chunk, "id").unwrap_or_default(),
        model: owned(chunk, "model").unwrap_or_default(),
        created: number(chunk, "created"),
        service_tier: owned(chunk, "service_tier"),
        fingerprint: owned(chunk, "system_fingerprint"),
    }
}
