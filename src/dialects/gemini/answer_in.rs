//! From Google's answers to events. A whole answer is a stream of one event (Gemini API reference,
//! `GenerateContentResponse`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::candidate_in::Candidate;
use super::error;
use super::fields::{get, list, many, text, whole};
use super::settings_in::tier;
use crate::dialects::conversation::{Answer, Collector, Event, Finish, Start, Usage};
use crate::dialects::{Machine, Malformed};

/// Most candidates of an answer; Google gives 8.
const CANDIDATES_MAX: u64 = 128;

/// Understands a stream.
#[derive(Debug)]
pub(super) struct Reader {
    /// For ids that Google does not give.
    unique: String,
    has_begun: bool,
    candidates: BTreeMap<u32, Candidate>,
    /// The prompt was refused: no candidate comes.
    is_blocked: bool,
}

/// Reads a whole answer, or a list of a stream's events, which is the form without `alt=sse`.
pub(super) fn whole_answer(unique: &str, body: &[u8]) -> Result<Answer, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("an answer that is not JSON"))?;
    let mut reader = Reader::new(unique);
    let mut events = Vec::new();
    for response in many(&body) {
        reader.response(response, &mut events)?;
    }
    if reader.candidates.is_empty() && !reader.is_blocked {
        return Err(Malformed("an answer without candidates"));
    }
    reader.finish(&mut events);
    events.push(Event::End);
    let mut collector = Collector::default();
    for event in events {
        collector.event(event).map_err(|_| Malformed("an error in place of an answer"))?;
    }
    collector.finish().ok_or(Malformed("an answer without end"))
}

impl Reader {
    /// For the answer to a request that has this number.
    pub(super) fn new(unique: &str) -> Self {
        Self { unique: unique.to_owned(), has_begun: false, candidates: BTreeMap::new(), is_blocked: false }
    }

    fn response(&mut self, response: &Value, events: &mut Vec<Event>) -> Result<(), Malformed> {
        if get(response, "error").is_some() {
            events.push(Event::Failed(error::of_value(response, 500)));
            return Ok(());
        }
        if !response.is_object() {
            return Err(Malformed("an event that is no object"));
        }
        let usage = get(response, "usageMetadata");
        let says_something =
            ["responseId", "candidates", "promptFeedback"].iter().any(|name| get(response, name).is_some());
        if !self.has_begun && says_something {
            self.has_begun = true;
            events.push(Event::Start(self.start(response, usage)));
        }
        for candidate in list(response, "candidates") {
            let index = whole(candidate, "index").unwrap_or(0).min(CANDIDATES_MAX);
            let index = u32::try_from(index).unwrap_or(0);
            let unique = &self.unique;
            let known = self.candidates.entry(index).or_insert_with(|| Candidate::new(index, unique));
            known.piece(candidate, events);
        }
        if let Some(feedback) = get(response, "promptFeedback") {
            self.is_blocked |= text(feedback, "blockReason").is_some();
        }
        events.extend(usage.and_then(usage_of).map(Event::Usage));
        Ok(())
    }

    fn start(&mut self, response: &Value, usage: Option<&Value>) -> Start {
        let id = text(response, "responseId").unwrap_or_default();
        // An id that is short and plain makes the ids of calls, which then tell where they come from.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (8..=24).contains(&id.len()) && id.bytes().all(is_plain) {
            id.clone_into(&mut self.unique);
        }
        let tier = usage.and_then(|usage| text(usage, "serviceTier")).and_then(tier);
        Start {
            id: id.to_owned(),
            model: text(response, "modelVersion").unwrap_or_default().to_owned(),
            created: None,
            service_tier: tier.map(str::to_owned),
            fingerprint: None,
        }
    }

    /// The ends of the candidates. They wait for the end of the transfer: older models say `STOP` with every piece.
    /// Whether all have one is the answer.
    fn finish(&mut self, events: &mut Vec<Event>) -> bool {
        let mut are_whole = !self.candidates.is_empty();
        for (index, candidate) in &mut self.candidates {
            candidate.close(events);
            match candidate.finish() {
                Some(finish) => events.push(Event::Finish { choice: *index, finish }),
                None => are_whole = false,
            }
        }
        if self.candidates.is_empty() && self.is_blocked {
            events.push(Event::Finish { choice: 0, finish: Finish::ContentFilter });
            return true;
        }
        are_whole
    }
}

impl Machine for Reader {
    fn event(&mut self, _: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        let response: Value = serde_json::from_slice(data).map_err(|_| Malformed("an event that is not JSON"))?;
        for response in many(&response) {
            self.response(response, events)?;
            if matches!(events.last(), Some(Event::Failed(_))) {
                break;
            }
        }
        Ok(())
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if self.finish(events) {
            events.push(Event::End);
        }
    }
}

/// What an answer cost. Google counts thoughts beside the candidates, and what its own tools read beside the prompt.
/// Pieces on Vertex AI say of the cost only how it is billed, which is nothing yet.
pub(super) fn usage_of(usage: &Value) -> Option<Usage> {
    let prompt = whole(usage, "promptTokenCount")?;
    let thoughts = whole(usage, "thoughtsTokenCount");
    let candidates = whole(usage, "candidatesTokenCount").unwrap_or(0);
    let audio = |name: &str| {
        let of_audio = list(usage, name).iter().filter(|part| text(part, "modality") == Some("AUDIO"));
        let tokens: u64 = of_audio.filter_map(|part| whole(part, "tokenCount")).sum();
        (tokens > 0).then_some(tokens)
    };
    Some(Usage {
        input: prompt.saturating_add(whole(usage, "toolUsePromptTokenCount").unwrap_or(0)),
        cache_read: whole(usage, "cachedContentTokenCount"),
        cache_write: None,
        cache_write_1h: None,
        input_audio: audio("promptTokensDetails"),
        output: candidates.saturating_add(thoughts.unwrap_or(0)),
        reasoning: thoughts,
        output_audio: audio("candidatesTokensDetails"),
        predicted: None,
    })
}

/// What Google says of the tokens in the form of `OpenAI`'s chat.
pub(super) fn logprobs_of(result: &Value) -> Value {
    let token = |one: &Value| {
        let token = text(one, "token").unwrap_or_default();
        let logprob = get(one, "logProbability").cloned().unwrap_or_else(|| 0.into());
        json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes() })
    };
    let tops = list(result, "topCandidates");
    let chosen = list(result, "chosenCandidates").iter().enumerate();
    let all = chosen.map(|(at, one)| {
        let mut entry = token(one);
        let top = tops.get(at).map_or(&[][..], |top| list(top, "candidates"));
        entry["top_logprobs"] = top.iter().map(token).collect();
        entry
    });
    all.collect()
}
