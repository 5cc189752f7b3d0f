//! Tests of the relay: whatever the network does to a stream, the client gets all of it or is told.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::{ProptestConfig, Strategy, any, proptest};

use serde_json::Value;

use super::*;
use crate::config::Env;
use crate::stream::script::{Got, Script, Step, answer, data, opaque, read_now, settings};

struct Fixture {
    name: &'static str,
    bytes: &'static [u8],
    ending: Ending,
    choices: u32,
    /// How it ends when nothing goes wrong.
    reason: EndReason,
    events: u64,
}

macro_rules! fixtures {
    ($($name:literal $ending:ident $choices:literal $reason:ident $events:literal;)*) => {
        [$(Fixture {
            name: $name,
            bytes: include_bytes!(concat!("../../../tests/fixtures/streams/", $name)),
            ending: Ending::$ending,
            choices: $choices,
            reason: EndReason::$reason,
            events: $events,
        }),*]
    };
}

const FIXTURES: [Fixture; 22] = fixtures! {
    "chat.sse" Chat 1 Completed 7;
    "chat_usage.sse" Chat 1 Completed 8;
    "chat_tools.sse" Chat 1 Completed 6;
    "chat_crlf.sse" Chat 1 Completed 6;
    "chat_ids.sse" Chat 1 Completed 4;
    "chat_two_choices.sse" Chat 2 Completed 5;
    "no_done.sse" Chat 1 Completed 7;
    "completions.sse" Chat 1 Completed 5;
    "error_midway.sse" Chat 1 UpstreamError 4;
    "error_midway_finish.sse" Chat 1 UpstreamError 3;
    "responses.sse" Responses 1 Completed 7;
    "responses_failed.sse" Responses 1 UpstreamError 6;
    "responses_error.sse" Responses 1 UpstreamError 6;
    "messages.sse" Messages 1 Completed 14;
    "messages_error.sse" Messages 1 UpstreamError 4;
    "gemini.sse" Gemini 1 Completed 5;
    "gemini_two_candidates.sse" Gemini 2 Completed 3;
    "gemini_blocked.sse" Gemini 1 Completed 1;
    "gemini_error.sse" Gemini 1 UpstreamError 2;
    "ollama_chat.ndjson" Ollama 1 Completed 5;
    "ollama_generate.ndjson" Ollama 1 Completed 3;
    "ollama_error.ndjson" Ollama 1 UpstreamError 2;
};

impl Fixture {
    fn relay(&self, script: Script, framed: bool, strip_usage: bool) -> Got {
        let (settings, _signal) = settings();
        let settings = Settings { ending: self.ending, choices: self.choices, strip_usage, ..settings };
        read_now(Relay::new(Answer { framed, ..answer(script) }, settings))
    }

    /// The stream cut at these offsets arrives as it was.
    fn check_identity(&self, at: &[usize]) {
        let got = self.relay(Script::split(self.bytes, at), true, false);
        assert!(got.bytes() == self.bytes, "{} split at {at:?}:\n{}", self.name, got.text());
        assert_eq!((got.reason(), got.end.events), (self.reason, self.events), "{} split at {at:?}", self.name);
        assert!(!got.aborted);
    }

    /// How many bytes the whole events among the first `length` bytes have.
    fn boundary(&self, length: usize) -> usize {
        let text = &self.bytes[..length];
        let end = |mark: &[u8]| memchr::memmem::rfind(text, mark).map_or(0, |at| at + mark.len());
        if self.ending == Ending::Ollama {
            let whole = &text[..end(b"\n")];
            let said = whole.trim_ascii_end().len();
            // Empty lines before the beginning of another one are kept back with it.
            let line = whole[said..].iter().position(|byte| *byte == b'\n').map_or(0, |at| said + at + 1);
            return if whole.len() == length { length } else { line };
        }
        // The event is over with the second CR, and the LF behind it may be missing.
        end(b"\n\n").max(end(b"\r\n\r\n")).max(if text.ends_with(b"\r\n\r") { length } else { 0 })
    }
}

#[test]
fn every_split_leaves_the_bytes_as_they_were() {
    for fixture in &FIXTURES {
        fixture.check_identity(&[]);
        for at in 0..=fixture.bytes.len() {
            fixture.check_identity(&[at]);
        }
        let every: Vec<usize> = (1..fixture.bytes.len()).collect();
        fixture.check_identity(&every);
    }
}

#[test]
fn every_pair_of_splits_leaves_the_bytes_as_they_were() {
    for name in ["chat_crlf.sse", "error_midway_finish.sse", "ollama_error.ndjson"] {
        let fixture = FIXTURES.iter().find(|fixture| fixture.name == name).expect("a fixture");
        // Around line ends, where there is something to get wrong, and in strides elsewhere.
        let near_line_end = |&at: &usize| {
            at % 16 == 0 || fixture.bytes[at.saturating_sub(3)..].iter().take(6).any(|b| b"\r\n".contains(b))
        };
        let offsets: Vec<usize> = (0..fixture.bytes.len()).filter(near_line_end).collect();
        for (n, &first) in offsets.iter().enumerate() {
            for &second in &offsets[n..] {
                fixture.check_identity(&[first, second]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_splits_leave_the_bytes_as_they_were(
        n in 0..FIXTURES.len(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40),
        hold in (0..600_usize).prop_map(|hold| hold * 4),
    ) {
        let fixture = &FIXTURES[n];
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(fixture.bytes.len())).collect();
        at.sort_unstable();
        fixture.check_identity(&at);
        // Over-long events go out in pieces, and are understood all the same.
        let (settings, _signal) = settings();
        let settings = Settings { ending: fixture.ending, choices: fixture.choices, event_hold_bytes_max: hold, ..settings };
        let got = read_now(Relay::new(answer(Script::split(fixture.bytes, &at)), settings));
        assert!(got.bytes() == fixture.bytes, "{} split at {at:?}, held {hold}:\n{}", fixture.name, got.text());
        assert_eq!((got.reason(), got.end.events), (fixture.reason, fixture.events), "{} split at {at:?}, held {hold}", fixture.name);
    }
}

#[test]
fn strip_usage_takes_exactly_the_usage_chunk_out_at_every_split() {
    for fixture in &FIXTURES[..4] {
        let text = String::from_utf8_lossy(fixture.bytes).into_owned();
        let line_end = if text.contains('\r') { "\r\n\r\n" } else { "\n\n" };
        let stripped: String =
            text.split_inclusive(line_end).filter(|event| !event.contains("\"choices\":[],")).collect();
        for at in 0..=fixture.bytes.len() {
            let got = fixture.relay(Script::split(fixture.bytes, &[at]), true, true);
            assert_eq!(got.text(), stripped, "{} split at {at}", fixture.name);
            assert_eq!(got.end.usage.is_some(), text.contains("prompt_tokens"));
        }
    }
}

/// What a careful reader of whole events knows of an end.
#[derive(Default)]
struct Evidence {
    over: bool,
    failed: bool,
    finishes: u32,
}

impl Evidence {
    fn of(text: &str) -> Self {
        let mut evidence = Self::default();
        let said = |line| data_of(line).filter(|data| !data.is_empty());
        for data in text.lines().filter_map(said) {
            let json: Value = serde_json::from_str(data).unwrap_or_default();
            let kind = json["type"].as_str().unwrap_or_default();
            evidence.failed |= json["error"].is_object()
                || json["error"].is_string()
                || matches!(kind, "error" | "response.failed");
            evidence.over |= data == "[DONE]"
                || matches!(kind, "response.completed" | "message_stop")
                || json["done"] == true
                || evidence.failed;
            let choices = json["choices"].as_array().into_iter().flatten();
            evidence.finishes +=
                u32::from(choices.filter(|choice| choice["finish_reason"].is_string()).count() > 0);
            let candidates = json["candidates"].as_array().into_iter().flatten();
            evidence.finishes +=
                u32::from(candidates.filter(|candidate| candidate["finishReason"].is_string()).count() > 0);
            evidence.finishes += u32::from(json["promptFeedback"]["blockReason"].is_string());
        }
        evidence
    }
}

/// What a line says, of an event or by itself.
fn data_of(line: &str) -> Option<&str> {
    line.strip_prefix("data: ").or_else(|| line.starts_with('{').then_some(line))
}

/// A stream that is cut is a prefix of itself and one error event, unless its last word was among it.
fn check_cut(fixture: &Fixture, length: usize, framed: bool, fail: bool) {
    let about = format!("{} cut at {length}, framed {framed}, fail {fail}", fixture.name);
    let steps = [data(&fixture.bytes[..length])].into_iter().chain(fail.then_some(Step::Fail));
    let got = fixture.relay(Script::new(steps), framed, false);
    let (boundary, text) = (fixture.boundary(length), got.text());
    let mut expected = String::from_utf8_lossy(&fixture.bytes[..boundary]).into_owned();
    // An event that lacks nothing but its blank line is whole, if the transfer ended as it should. It goes on
    // as it is; only an event of ours behind it needs the line.
    let mut missing = "";
    let tail = String::from_utf8_lossy(&fixture.bytes[boundary..length]);
    let last_line = tail.trim_end().lines().last().and_then(data_of).unwrap_or_default();
    if !fail && (last_line == "[DONE]" || serde_json::from_str::<Value>(last_line).is_ok()) {
        expected += &tail;
        let is_line = fixture.ending == Ending::Ollama;
        missing = if tail.ends_with('\n') || is_line { "\n" } else { "\n\n" };
    }
    assert!(text.starts_with(&expected) && !got.aborted, "{about}: {text}");
    let evidence = Evidence::of(&format!("{expected}{missing}"));
    let is_finished =
        matches!(fixture.ending, Ending::Chat | Ending::Gemini) && evidence.finishes >= fixture.choices;
    let error = &text[expected.len()..];
    if evidence.over || framed && !fail && is_finished {
        let reason = if evidence.failed { EndReason::UpstreamError } else { EndReason::Completed };
        assert_eq!((error, got.reason()), ("", reason), "{about}");
    } else {
        let (form, end) = match fixture.ending {
            Ending::Responses | Ending::Messages => ("event: error\ndata: {\"type\":\"error\"", "\n\n"),
            Ending::Ollama => ("{\"error\":\"", "\n"),
            _ => ("data: {\"error\":{", "\n\n"),
        };
        let error = error.strip_prefix(missing).unwrap_or(error);
        // Google's clients get it once more, as a body.
        let error = match error.split_once("\n\n{\"error\":") {
            Some((event, _)) if fixture.ending == Ending::Gemini => format!("{event}\n\n"),
            _ => error.to_owned(),
        };
        assert!(error.starts_with(form) && error.find(end) == Some(error.len() - end.len()), "{about}: {error}");
        let reason = if fail { EndReason::UpstreamError } else { EndReason::UpstreamTruncated };
        assert_eq!(got.reason(), reason, "{about}");
    }
    assert_eq!(text.contains("data: [DONE]"), expected.contains("data: [DONE]"), "{about}");
}

#[test]
fn a_cut_is_told_unless_the_last_word_was_said() {
    for fixture in &FIXTURES {
        for length in 0..=fixture.bytes.len() {
            check_cut(fixture, length, true, true);
            check_cut(fixture, length, true, false);
            check_cut(fixture, length, false, false);
        }
    }
}

/// Answers recorded from providers, if there are any here: all arrive as they were, and none is misjudged.
#[test]
fn recorded_streams_arrive_as_they_were() {
    let Some(folder) = Env::process().get("RECORDINGS_DIR") else { return };
    let read = |path: PathBuf| fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
    let folders = read(folder.into()).filter(|path| path.is_dir());
    for path in folders.flat_map(read).filter(|path| path.extension().is_some_and(|extension| extension == "json"))
    {
        let text = fs::read_to_string(&path).expect("a recording");
        let recording: Value = serde_json::from_str(&text).expect("JSON");
        let Some(body) = recording["response"]["body"].as_str() else { continue };
        let ending = match recording["kind"].as_str() {
            Some("chat") => Ending::Chat,
            Some("responses") => Ending::Responses,
            _ => continue,
        };
        if recording["stream"] == true {
            let length = body.len();
            let some: Vec<usize> = (1..length).step_by(length / 13 + 1).collect();
            for at in [vec![], some, (1..length).step_by(97).collect(), (1..length).step_by(1_461).collect()] {
                let (settings, _signal) = settings();
                let relay =
                    Relay::new(answer(Script::split(body.as_bytes(), &at)), Settings { ending, ..settings });
                let got = read_now(relay);
                assert!(got.bytes() == body.as_bytes(), "{}", path.display());
                let failed = Evidence::of(body).failed || body.contains("\nevent: error");
                let reason = if failed { EndReason::UpstreamError } else { EndReason::Completed };
                assert_eq!(got.reason(), reason, "{}", path.display());
                assert!(failed || got.end.finish_reason.is_some(), "{}: no finish reason", path.display());
                assert_eq!(got.end.usage.is_some(), has_usage(body), "{}: {:?}", path.display(), got.end);
            }
        } else {
            let (settings, _signal) = settings();
            let got = read_now(Relay::new(opaque(Script::split(body.as_bytes(), &[])), settings));
            assert!(got.bytes() == body.as_bytes());
            assert_eq!(got.end.usage.is_some(), has_usage(body), "{}: {:?}", path.display(), got.end);
        }
    }
}

fn has_usage(body: &str) -> bool {
    body.contains("\"prompt_tokens\":") || body.contains("\"input_tokens\":")
}
