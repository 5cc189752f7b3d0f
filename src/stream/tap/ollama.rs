//! Lines of `Ollama`'s answers.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Key, Seen, Tap, is_error, key, number};
use crate::stream::end::Usage;

key!(DONE, b"\"done\"");
key!(DONE_REASON, b"\"done_reason\"");
key!(PROMPT_EVAL_COUNT, b"\"prompt_eval_count\"");
key!(EVAL_COUNT, b"\"eval_count\"");
key!(TOTAL_DURATION, b"\"total_duration\"");

#[derive(Deserialize)]
struct Line<'a> {
    done: Option<bool>,
    #[serde(borrow)]
    done_reason: Option<Cow<'a, str>>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    /// Of `/api/chat`.
    #[serde(borrow)]
    message: Option<Said<'a>>,
    /// Of `/api/generate`.
    #[serde(borrow)]
    response: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    tool_calls: Option<IgnoredAny>,
}

impl Line<'_> {
    fn says_nothing(&self) -> bool {
        let message = self.message.iter().flat_map(|said| said.content.iter().chain(&said.thinking));
        let mut texts = self.response.iter().chain(&self.thinking).chain(message);
        texts.all(|text| text.is_empty()) && self.message.as_ref().is_none_or(|said| said.tool_calls.is_none())
    }
}

impl Tap {
    pub(super) fn ollama_line(&mut self, line: &[u8]) -> Seen {
        if line.is_empty() {
            return Seen::Nothing;
        }
        if is_error(line) {
            self.failed = true;
            return Seen::Token;
        }
        // What a tool is called with may have that key too; the line is read then.
        let may_be_last = is_done(line);
        if self.begun && !may_be_last {
            return Seen::Token;
        }
        let parsed = serde_json::from_slice::<Line<'_>>(line);
        match parsed {
            Ok(line) if line.done == Some(true) => {
                self.terminal = true;
                self.used(Usage { prompt_tokens: line.prompt_eval_count, completion_tokens: line.eval_count });
                if let Some(reason) = line.done_reason {
                    self.finish_because(reason.as_bytes());
                }
            }
            Ok(line) if !self.begun && line.says_nothing() => return Seen::Preamble,
            Ok(_) | Err(_) => {}
        }
        self.begun = true;
        Seen::Token
    }

    /// Of what was too long to be read as a whole: how it begins, and its end. The last line of `/api/generate` may have
    /// a long `context`, which stands between its `done` and its durations; no other line has those.
    pub(super) fn ollama_end(&mut self, head: &[u8], bytes: &[u8]) {
        if TOTAL_DURATION.values(bytes).next().is_none() {
            return;
        }
        self.terminal |= is_done(head) || is_done(bytes);
        let count = |key: &'static Key| key.values(bytes).last().and_then(number);
        self.used(Usage { prompt_tokens: count(&PROMPT_EVAL_COUNT), completion_tokens: count(&EVAL_COUNT) });
        if let Some(reason) = DONE_REASON.strings(bytes).chain(DONE_REASON.strings(head)).last() {
            self.finish_because(reason);
        }
    }
}

fn is_done(bytes: &[u8]) -> bool {
    DONE.values(bytes).any(|value| value.starts_with(b"true"))
}
