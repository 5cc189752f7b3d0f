//! Looks at what is relayed and changes nothing: finish reasons, usage, errors, and the evidence of an end.
//!
//! Keys are looked for as quoted strings in the raw bytes. That is exact: inside a JSON string a quote is
//! escaped, so `"usage"` with both quotes bare is a key or a whole value, never a piece of text.

mod gemini;
mod messages;
mod ollama;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::end::Usage;
use super::window::Window;
use crate::api::endpoint::Ending;
use crate::api::sse::{self, Event};
use crate::telemetry::EndReason;

/// Bytes of a finish reason worth keeping; the known ones have at most 14.
const FINISH_REASON_BYTES_MAX: usize = 32;

/// Bytes that a usage object has at most, and objects of that name looked at in one event: what is nested
/// without end must not be read again at every level.
const USAGE_BYTES_MAX: usize = 4096;
const USAGES_MAX: usize = 16;

/// Bytes of an event that may be one without content. Azure's results of its prompt filter have about 1 KiB.
const PREAMBLE_BYTES_MAX: usize = 16 * 1024;

/// A key with its quotes, and the search for it, prepared once: preparing costs more than searching 300 bytes.
struct Key {
    text: &'static [u8],
    finder: LazyLock<Finder<'static>>,
}

macro_rules! key {
    ($name:ident, $text:literal) => {
        static $name: Key = Key { text: $text, finder: LazyLock::new(|| Finder::new($text)) };
    };
}
use key;

key!(CHOICES, b"\"choices\"");
key!(FINISH_REASON, b"\"finish_reason\"");
key!(RESPONSE, b"\"response.");
key!(SEQUENCE_NUMBER, b"\"sequence_number\"");
key!(TYPE, b"\"type\"");
key!(USAGE, b"\"usage\"");

impl Key {
    /// What stands behind each occurrence.
    fn ends<'a>(&'static self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.finder.find_iter(bytes).map(|at| &bytes[at + self.text.len()..])
    }

    /// The value of each occurrence that is a key, from its first byte on.
    fn values<'a>(&'static self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.ends(bytes).filter_map(after_colon)
    }

    /// The string values.
    fn strings<'a>(&'static self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.values(bytes).filter_map(string)
    }
}

/// What has been seen of one answer.
#[derive(Debug)]
pub struct Tap {
    ending: Ending,
    choices: u32,
    finishes: u32,
    done: bool,
    terminal: bool,
    failed: bool,
    /// An `id:` field was sent: a comment with a blank line behind it would then be an event of its own to
    /// some parsers.
    has_id: bool,
    /// A token was seen: what comes now is no preamble.
    begun: bool,
    sequence_number: u64,
    finish_reason: Option<Box<str>>,
    usage: Option<Usage>,
    /// Only while an answer comes in pieces.
    window: Option<Box<Window>>,
}

/// What one event is to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A comment or an event without data.
    Nothing,
    /// Data that is no token yet, such as `response.created`, or a chunk that names a role and nothing else.
    Preamble,
    /// Data.
    Token,
    /// The chunk without choices that carries the usage and exists only because it was asked for.
    UsageOnly,
}

impl Tap {
    /// For an answer whose end is recognised by `ending`; `choices` is the request's `n`.
    pub fn new(ending: Ending, choices: u32) -> Self {
        Self {
            ending,
            choices: choices.max(1),
            finishes: 0,
            done: false,
            terminal: false,
            failed: false,
            has_id: false,
            begun: false,
            sequence_number: 0,
            finish_reason: None,
            usage: None,
            window: None,
        }
    }

    /// One whole event.
    pub fn event(&mut self, bytes: &[u8]) -> Seen {
        if self.ending == Ending::Ollama {
            return self.ollama_line(bytes.trim_ascii());
        }
        let event = sse::event(bytes);
        self.has_id |= event.has_id;
        let data = event.data.unwrap_or_default().trim_ascii();
        if data.is_empty() {
            return Seen::Nothing;
        }
        match self.ending {
            Ending::Messages => self.messages_event(&event, data),
            Ending::Gemini => self.gemini_event(data),
            _ => self.openai_event(&event, data, bytes),
        }
    }

    fn openai_event(&mut self, event: &Event<'_>, data: &[u8], bytes: &[u8]) -> Seen {
        if data == b"[DONE]" {
            self.done = true;
            return Seen::Nothing;
        }
        if event.name == Some(b"error") || is_error(data) {
            self.failed = true;
            return Seen::Token;
        }
        let usage_only = self.look_for_usage(bytes);
        if self.ending == Ending::Responses {
            return self.responses_event(event.name, bytes);
        }
        // Some servers speak the Responses form where nobody asked for it. A finish reason, be it null, stands in nearly
        // every chunk of chat and spares the search for that.
        if !self.look_for_finishes(bytes) && RESPONSE.ends(bytes).next().is_some() {
            return self.responses_event(event.name, bytes);
        }
        if usage_only {
            return Seen::UsageOnly;
        }
        // Looked into until the first token only: that is one chunk or two.
        self.begun = self.begun || !is_preamble(data);
        if self.begun { Seen::Token } else { Seen::Preamble }
    }

    /// Whether this event says something of the answer.
    pub fn says_something(&self, bytes: &[u8]) -> bool {
        match self.ending {
            Ending::Messages | Ending::Gemini | Ending::Ollama => {
                Self::new(self.ending, self.choices).event(bytes) == Seen::Token
            }
            Ending::Chat | Ending::Responses | Ending::Transfer => {
                !sse::event(bytes).data.is_none_or(|data| is_preamble(data.trim_ascii()))
            }
        }
    }

    /// A piece of an event that is too long to be held, or of an answer that is no event stream.
    pub fn piece(&mut self, bytes: &[u8]) {
        self.window.get_or_insert_default().push(bytes);
    }

    /// All pieces have been seen. `head` is the beginning of the event they made, empty for other answers.
    pub fn pieces_end(&mut self, head: &[u8]) -> Seen {
        let Some(mut window) = self.window.take() else { return Seen::Nothing };
        let finishes = self.finishes;
        let seen = if head.is_empty() { Seen::Nothing } else { self.event(head) };
        let end = window.bytes();
        match self.ending {
            // Long events of this dialect are of contents, which may say anything.
            Ending::Messages if head.is_empty() => self.messages_end(end),
            Ending::Messages => {}
            Ending::Gemini => self.gemini_end(end),
            Ending::Ollama => self.ollama_end(head, end),
            Ending::Chat | Ending::Responses | Ending::Transfer => {
                self.look_for_usage(end);
                if self.finishes == finishes && self.ending != Ending::Responses {
                    self.look_for_finishes(end);
                }
            }
        }
        seen
    }

    /// A whole answer where an event stream was promised. True when it is an error in a form that a client
    /// of the dialect understands.
    pub fn stray(&mut self, text: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Envelope {
            error: Option<IgnoredAny>,
        }
        let is_error = serde_json::from_slice(text).is_ok_and(|envelope: Envelope| envelope.error.is_some());
        self.failed |= is_error;
        is_error
    }

    /// Whether what was seen proves that the answer is whole, given that its transfer ended as it should.
    /// `framed` is false when the transfer's only end mark is the close of the connection, which a cut gives
    /// as well: then nothing but the dialect's own last word will do.
    pub fn is_complete(&self, framed: bool) -> bool {
        if self.done || self.terminal || self.failed {
            return true;
        }
        match self.ending {
            Ending::Chat | Ending::Gemini => framed && self.finishes >= self.choices,
            Ending::Responses | Ending::Messages | Ending::Ollama => false,
            Ending::Transfer => framed,
        }
    }

    /// Whether the dialect's last word has been said, after which a break of the transfer loses nothing.
    pub fn is_over(&self) -> bool {
        self.done || self.terminal
    }

    /// How the answer ended in its own words, if it said so: nothing of it is missing then, and nothing is to
    /// be added.
    pub fn last_word(&self) -> Option<EndReason> {
        let over = self.is_over().then_some(EndReason::Completed);
        if self.failed { Some(EndReason::UpstreamError) } else { over }
    }

    /// How the end is recognised.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Whether any event had an `id` field.
    pub fn has_id(&self) -> bool {
        self.has_id
    }

    /// The number that the next event of a Responses stream would have.
    pub fn next_sequence_number(&self) -> u64 {
        self.sequence_number
    }

    /// As reported.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The last one seen.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// Takes the finish reasons in `bytes`, and says whether there was any, also one that is null.
    fn look_for_finishes(&mut self, bytes: &[u8]) -> bool {
        let mut found = false;
        for value in FINISH_REASON.values(bytes) {
            found = true;
            // Some servers say an empty reason where others say null.
            if let Some(reason) = string(value).filter(|reason| !reason.is_empty()) {
                self.finishes = self.finishes.saturating_add(1);
                self.failed |= reason == b"error";
                self.finish_because(reason);
            }
        }
        found
    }

    fn finish_because(&mut self, reason: &[u8]) {
        let reason = &reason[..reason.len().min(FINISH_REASON_BYTES_MAX)];
        if self.finish_reason.as_deref().map(str::as_bytes) != Some(reason) {
            self.finish_reason = Some(String::from_utf8_lossy(reason).into());
        }
    }

    fn responses_event(&mut self, name: Option<&[u8]>, bytes: &[u8]) -> Seen {
        if let Some(number) = SEQUENCE_NUMBER.values(bytes).next().and_then(number) {
            self.sequence_number = number.saturating_add(1);
        }
        let named = name.and_then(|name| name.strip_prefix(b"response."));
        let mut types = TYPE.strings(bytes).enumerate();
        let kind = named.or_else(|| {
            types.find_map(|(at, kind)| {
                kind.strip_prefix(b"response.").or_else(|| (at == 0 && kind == b"error").then_some(kind))
            })
        });
        match kind {
            Some(kind @ (b"completed" | b"failed" | b"incomplete")) => {
                self.terminal = true;
                self.failed |= kind == b"failed";
                self.finish_because(kind);
                Seen::Token
            }
            Some(b"created" | b"in_progress" | b"queued") => Seen::Preamble,
            Some(b"error") => {
                self.failed = true;
                Seen::Token
            }
            _ => Seen::Token,
        }
    }

    /// Takes the usage object of `bytes`, and says whether they are a chunk that exists for it alone.
    fn look_for_usage(&mut self, bytes: &[u8]) -> bool {
        let mut found = false;
        for value in USAGE.ends(bytes).take(USAGES_MAX).filter_map(after_colon) {
            if !value.starts_with(b"{") {
                continue;
            }
            let mut values = serde_json::Deserializer::from_slice(&value[..value.len().min(USAGE_BYTES_MAX)])
                .into_iter::<Usage>();
            if let Some(Ok(usage)) = values.next()
                && usage != Usage::default()
            {
                self.used(usage);
                found = true;
            }
        }
        found && has_no_choices(bytes)
    }

    /// What is reported later counts.
    fn used(&mut self, usage: Usage) {
        if usage != Usage::default() {
            let known = self.usage.get_or_insert_default();
            known.prompt_tokens = usage.prompt_tokens.or(known.prompt_tokens);
            known.completion_tokens = usage.completion_tokens.or(known.completion_tokens);
        }
    }
}

/// A string value, without its quotes.
fn string(value: &[u8]) -> Option<&[u8]> {
    let value = value.strip_prefix(b"\"")?;
    Some(&value[..memchr::memchr(b'"', value)?])
}

/// What a value is, when a colon (and spaces) stand before it.
fn after_colon(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

/// Whether the data is an object whose first key is `error` with an object or a string in it, or `type` with
/// `error` in it: the forms of an error chunk. (`"error":null` stands in many healthy Responses events.)
fn is_error(data: &[u8]) -> bool {
    let Some(rest) = data.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) else { return false };
    if let Some(rest) = rest.strip_prefix(b"\"error\"") {
        return after_colon(rest).is_some_and(|value| value.starts_with(b"{") || value.starts_with(b"\""));
    }
    let kind = rest.strip_prefix(b"\"type\"").and_then(after_colon);
    kind.is_some_and(|kind| kind.starts_with(b"\"error\""))
}

/// Whether a chunk of chat says nothing yet: it has no choices, or choices with a role and empty content. Providers
/// send such a chunk when they begin, some of them before they know whether they can.
fn is_preamble(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow)]
        choices: Vec<Choice<'a>>,
    }
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow)]
        delta: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
        text: Option<Cow<'a, str>>,
        finish_reason: Option<IgnoredAny>,
    }
    let says_nothing = |choice: &Choice<'_>| {
        let is_empty = |value: &RawValue| matches!(value.get(), "null" | "\"\"" | "[]");
        let members = choice.delta.as_ref();
        choice.finish_reason.is_none()
            && choice.text.as_ref().is_none_or(|text| text.is_empty())
            && members.is_none_or(|delta| delta.iter().all(|(name, value)| name == "role" || is_empty(value)))
    };
    data.len() <= PREAMBLE_BYTES_MAX
        && serde_json::from_slice(data).is_ok_and(|chunk: Chunk<'_>| chunk.choices.iter().all(says_nothing))
}

fn has_no_choices(bytes: &[u8]) -> bool {
    CHOICES.ends(bytes).next().and_then(after_colon).is_some_and(|value| {
        value.strip_prefix(b"[").is_some_and(|value| value.trim_ascii_start().starts_with(b"]"))
    })
}

/// The whole number that stands at the beginning of a value.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
