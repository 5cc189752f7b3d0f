//! From an upstream's lines to events. A whole answer is one such line.

use serde_json::Value;

use super::{clock, error, picture};
use crate::dialects::conversation::{Delta, Event, Finish, Media, Source, Start, Usage};
use crate::dialects::provider::{Machine, Malformed};

/// Understands the lines of one answer. Its last word is a line that says `done`.
#[derive(Debug)]
pub(super) struct Lines {
    /// For the ids of calls, which older servers do not give.
    unique: String,
    started: bool,
    calls: u32,
}

impl Lines {
    pub(super) fn new(unique: &str) -> Self {
        Self { unique: unique.to_owned(), started: false, calls: 0 }
    }

    fn start(&mut self, line: &Value, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let model = line.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
        let created = line.get("created_at").and_then(Value::as_str).and_then(clock::read);
        events.push(Event::Start(Start { model, created, ..Start::default() }));
    }

    fn message(&mut self, message: &Value, events: &mut Vec<Event>) {
        let text = |name: &str| message.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        events.extend(text("thinking").map(|text| Event::delta(Delta::Reasoning(text.to_owned()))));
        events.extend(text("content").map(|text| Event::delta(Delta::Text(text.to_owned()))));
        for image in list(message, "images") {
            let Some(data) = image.as_str() else { continue };
            let kind = picture::media_type(data).map(str::to_owned);
            let media = Media::new("image", kind, Source::Base64(data.to_owned()));
            events.push(Event::delta(Delta::Media(media)));
        }
        for call in list(message, "tool_calls") {
            self.call(call, events);
        }
    }

    fn call(&mut self, call: &Value, events: &mut Vec<Event>) {
        let Some(function) = call.get("function") else { return };
        let Some(name) = function.get("name").and_then(Value::as_str) else { return };
        let nth = self.calls;
        self.calls += 1;
        let given = call.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = given.map_or_else(|| format!("call_{}_{nth}", self.unique), str::to_owned);
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(arguments) => arguments.to_string(),
        };
        let begins = Delta::ToolCall { call: nth, id, name: name.to_owned(), signature: None };
        let whole = Delta::Arguments { call: nth, text: arguments };
        events.extend([begins, whole, Delta::ToolCallEnd { call: nth }].map(Event::delta));
    }

    fn done(&self, line: &Value, events: &mut Vec<Event>) {
        let finish = match line.get("done_reason").and_then(Value::as_str).unwrap_or("stop") {
            "stop" if self.calls > 0 => Finish::ToolCalls,
            "stop" => Finish::Stop,
            "length" => Finish::Length,
            "content_filter" => Finish::ContentFilter,
            "refusal" => Finish::Refusal,
            "pause" => Finish::Pause,
            other => Finish::Other(other.to_owned()),
        };
        events.push(Event::Finish { choice: 0, finish });
        events.extend(usage(line).map(Event::Usage));
        events.push(Event::End);
    }
}

impl Machine for Lines {
    fn event(&mut self, _: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        let line: Value = serde_json::from_slice(data).map_err(|_| Malformed("a line that is no JSON"))?;
        if !line.is_object() {
            return Err(Malformed("a line that is no JSON object"));
        }
        if let Some(failure) = error::of_line(&line) {
            events.push(Event::Failed(failure));
            return Ok(());
        }
        let (message, is_done) = (line.get("message"), line.get("done") == Some(&Value::Bool(true)));
        // A line with neither is of a kind that is not known.
        if message.is_none() && !is_done {
            return Ok(());
        }
        self.start(&line, events);
        if let Some(message) = message {
            self.message(message, events);
        }
        if let Some(logprobs) =
            line.get("logprobs").filter(|list| list.as_array().is_some_and(|list| !list.is_empty()))
        {
            events.push(Event::delta(Delta::Logprobs(logprobs.clone())));
        }
        if is_done {
            self.done(&line, events);
        }
        Ok(())
    }
}

/// What it cost. A prompt that was all in the cache has no count.
fn usage(line: &Value) -> Option<Usage> {
    let count = |name: &str| line.get(name).and_then(Value::as_u64);
    let (input, output) = (count("prompt_eval_count"), count("eval_count"));
    let usage = Usage { input: input.unwrap_or(0), output: output.unwrap_or(0), ..Usage::default() };
    (input.is_some() || output.is_some()).then_some(usage)
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::FailureKind;
    use crate::dialects::frames::Framing;
    use crate::dialects::provider::Decoder;

    const STREAM: &str = concat!(
        r#"{"model":"m","created_at":"2026-08-01T12:00:00.5Z","message":{"role":"assistant","content":"","thinking":"So"},"done":false}"#,
        "\n",
        r#"{"status":"loading"}"#,
        "\n",
        r#"{"model":"m","message":{"content":"Hi é","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#,
        "\r\n",
        r#"{"model":"m","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}"#,
        "\n",
    );

    fn events(pieces: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(Framing::Lines, Box::new(Lines::new("u")));
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut events).expect("of the dialect");
        }
        // A line that is cut off is not of the dialect; what matters is what was said.
        decoder.end(&mut events).ok();
        events
    }

    #[test]
    fn a_stream_is_what_it_says() {
        let call = Delta::ToolCall { call: 0, id: "call_u_0".to_owned(), name: "f".to_owned(), signature: None };
        let start = Start { model: "m".to_owned(), created: Some(1_785_585_600), ..Start::default() };
        assert_eq!(
            events(&[STREAM.as_bytes()]),
            [
                Event::Start(start),
                Event::delta(Delta::Reasoning("So".to_owned())),
                Event::delta(Delta::Text("Hi é".to_owned())),
                Event::delta(call),
                Event::delta(Delta::Arguments { call: 0, text: r#"{"a":1}"#.to_owned() }),
                Event::delta(Delta::ToolCallEnd { call: 0 }),
                Event::Finish { choice: 0, finish: Finish::ToolCalls },
                Event::Usage(Usage { input: 3, output: 4, ..Usage::default() }),
                Event::End,
            ]
        );
    }

    #[test]
    fn every_split_is_the_same_and_no_cut_is_an_end() {
        let (stream, whole) = (STREAM.as_bytes(), events(&[STREAM.as_bytes()]));
        for at in 0..stream.len() {
            let (before, after) = stream.split_at(at);
            assert_eq!(events(&[before, after]), whole, "split at {at}");
            // Only the line feed after the last line may be missing.
            let is_whole = at >= stream.len() - 1;
            assert_eq!(events(&[before]).contains(&Event::End), is_whole, "cut at {at}");
        }
    }

    #[test]
    fn an_error_is_the_last_line() {
        let stream =
            concat!(r#"{"message":{"content":"a"},"done":false}"#, "\n", r#"{"error":"out of memory"}"#, "\n");
        let events = events(&[stream.as_bytes()]);
        let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Server, "out of memory"));
    }
}
