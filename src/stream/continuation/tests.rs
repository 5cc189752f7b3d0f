//! A model that says the same whoever asks it, cut and continued; and what is no continuation.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::event::{self, Said};
use super::{Refusal, Splice, Transcript, Unfit};
use crate::api::prefill::{self, Prefill};
use crate::stream::sse::Scanner;

const SEEDS: usize = 1_000;
const PROMPT_TOKENS: u64 = 11;

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

/// How a server writes its events.
struct Manner {
    line_end: &'static str,
    comments: bool,
    pretty: bool,
    ids: bool,
    byte_order_mark: bool,
    role_everywhere: bool,
    usage_null: bool,
}

impl Manner {
    fn new(random: &mut Random) -> Self {
        let mut flag = || random.below(3) == 0;
        Self {
            comments: flag(),
            pretty: flag(),
            ids: flag(),
            byte_order_mark: flag(),
            role_everywhere: flag(),
            usage_null: flag(),
            line_end: random.one(&["\n", "\r\n", "\r"]),
        }
    }

    fn event(&self, at: usize, data: &Value) -> String {
        let data = if self.pretty { format!("{data:#}") } else { data.to_string() };
        let mut lines = Vec::new();
        if self.ids {
            lines.push(format!("id: {at}"));
        }
        lines.extend(data.lines().map(|line| format!("data: {line}")));
        self.lines(&lines)
    }

    fn lines(&self, lines: &[String]) -> String {
        lines.iter().map(String::as_str).chain([""]).flat_map(|line| [line, self.line_end]).collect()
    }
}

/// What the model says to everybody: its tokens, with the reason of its end.
struct Model {
    tokens: Vec<String>,
    finish: &'static str,
}

impl Model {
    fn new(random: &mut Random) -> Self {
        let words = [
            "The",
            " mill",
            " wheel",
            " turns",
            "\n\n",
            ", ",
            "\"quoted\"",
            " \u{e4}\u{f6}",
            "\u{1f30a}",
            " the",
            " water",
            " \\n",
            ".",
            " stone",
            " and",
            "grind",
            " 1",
            "7",
            " {\"a\":",
            "\t",
            " river",
            "ing",
            " data:",
        ];
        let length = 1 + random.below(60);
        let tokens = (0..length).map(|_| (0..=random.below(2)).map(|_| random.one::<str>(&words)).collect());
        let (tokens, finish) = (tokens.collect(), random.one(&["stop", "length", "content_filter"]));
        Self { tokens, finish }
    }

    /// One server's answer to `request`, event by event.
    fn answer(&self, name: &str, request: &[u8], sends_back: bool, random: &mut Random) -> Vec<String> {
        let request: Value = serde_json::from_slice(request).expect("JSON");
        let last = request["messages"].as_array().and_then(|messages| messages.last()).expect("a message");
        let given = if last["role"] == "assistant" { last["content"].as_str().expect("text") } else { "" };
        let mut known = 0;
        let mut rest = given;
        while !rest.is_empty() {
            rest = rest.strip_prefix(self.tokens[known].as_str()).expect("what this model says");
            known += 1;
        }
        let allowed = usize::try_from(request["max_tokens"].as_u64().unwrap_or(u64::MAX)).expect("64 bits");
        let left = &self.tokens[known..];
        let (left, finish) = if left.len() > allowed { (&left[..allowed], "length") } else { (left, self.finish) };

        let manner = Manner::new(random);
        let mut chunks = vec![json!({"role": "assistant", "content": ""})];
        if sends_back && !given.trim().is_empty() {
            chunks.push(json!({"content": given.trim_end()}));
            let space = &given[given.trim_end().len()..];
            if !space.is_empty() {
                chunks.push(json!({ "content": space }));
            }
        }
        for token in left {
            chunks.push(json!({ "content": token }));
        }
        chunks.push(json!({}));
        let count = chunks.len();
        let mut events = Vec::new();
        for (at, mut delta) in chunks.into_iter().enumerate() {
            if manner.role_everywhere {
                delta["role"] = json!("assistant");
            }
            let finish = if at + 1 == count { json!(finish) } else { Value::Null };
            let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            let mut chunk = json!({"id": name, "created": name.len(), "model": name, "choices": choices});
            if manner.usage_null {
                chunk["usage"] = Value::Null;
            }
            if name.len() > 1 {
                chunk["system_fingerprint"] = json!(name);
            }
            if manner.comments {
                events.push(manner.lines(&[": keep-alive".to_owned()]));
            }
            events.push(manner.event(at, &chunk));
        }
        let (prompt, completion) = (PROMPT_TOKENS + known as u64, left.len() as u64);
        let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt + completion, "prompt_tokens_details": {"cached_tokens": prompt}});
        let choices = json!([]);
        let chunk = json!({"id": name, "created": name.len(), "model": name, "choices": choices, "usage": usage});
        events.push(manner.event(count, &chunk));
        events.push(manner.lines(&["data: [DONE]".to_owned()]));
        if manner.byte_order_mark {
            events[0].insert(0, '\u{feff}');
        }
        events
    }
}

/// What a client makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    finish: Option<String>,
    usage: Option<Value>,
    roles: usize,
    marks: usize,
    identities: Vec<Value>,
    done: bool,
}

impl Read {
    fn new(events: &[Bytes]) -> Self {
        // As one stream of bytes, so that nothing runs into each other unseen.
        let (bytes, mut scanner, mut read) = (events.concat(), Scanner::default(), Self::default());
        let mut rest = event::without_mark(&bytes);
        while let Some(end) = scanner.event_end(rest) {
            match event::read(&rest[..end]).expect("an event of the dialect") {
                Said::Nothing => {}
                Said::Done => read.done = true,
                Said::Data(data) => read.chunk(&serde_json::from_str(&data).expect("JSON")),
            }
            rest = &rest[end..];
        }
        assert!(rest.trim_ascii().is_empty());
        read
    }

    fn chunk(&mut self, chunk: &Value) {
        assert!(!self.done);
        if chunk["usage"].is_object() {
            self.usage = Some(chunk["usage"].clone());
        }
        self.marks += usize::from(chunk["millstream"]["continued"] == true);
        let choice = &chunk["choices"][0];
        if choice.is_object() {
            self.text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            self.roles += usize::from(choice["delta"]["role"].is_string());
            let identity = json!([chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]]);
            if self.identities.last() != Some(&identity) {
                self.identities.push(identity);
            }
            if let Some(finish) = choice["finish_reason"].as_str() {
                assert_eq!(self.finish.replace(finish.to_owned()), None);
            }
        }
    }
}

/// A stream that dies `deaths` times, at random events, and is continued. False if it died when it had said as
/// much as the request allows: no target can be asked for no token.
fn run(seed: u64, deaths: u64) -> bool {
    let mut random = Random(seed);
    let model = Model::new(&mut random);
    let mut request = json!({"stream": true, "messages": [{"role": "user", "content": "Tell of \"mills\"."}]});
    let mut allowed = u64::MAX;
    if random.below(4) == 0 {
        allowed = 1 + random.below(100);
        request["max_tokens"] = json!(allowed);
    }
    let request = request.to_string();
    assert!(prefill::eligible(request.as_bytes()));

    let uncut = model.answer("a", request.as_bytes(), false, &mut random);
    let uncut = Read::new(&uncut.into_iter().map(Bytes::from).collect::<Vec<_>>());

    let mut events = model.answer("first", request.as_bytes(), false, &mut random);
    let cut_at = |events: &[String], random: &mut Random| {
        let finish = events.iter().position(|event| event.contains(&format!("\"{}\"", model.finish)));
        let end = finish.or_else(|| events.iter().position(|event| event.contains("\"length\"")));
        usize::try_from(random.below(end.expect("it ends") as u64 + 1)).expect("small")
    };
    events.truncate(cut_at(&events, &mut random));
    let mut transcript = Transcript::new();
    let mut out: Vec<Bytes> = events.into_iter().map(Bytes::from).collect();
    for event in &out {
        transcript.event(event);
    }

    for death in 1..=deaths {
        assert_eq!(transcript.unfit(), None, "seed {seed}");
        if transcript.tokens() >= allowed {
            return false;
        }
        let (style, sends_back) =
            if random.below(2) == 0 { (Prefill::Vllm, false) } else { (Prefill::Prefix, random.below(2) == 0) };
        let asked = prefill::body(request.as_bytes(), transcript.text(), style, transcript.tokens());
        let mut events = model.answer("another", &asked.expect("a chat"), sends_back, &mut random);
        if death < deaths {
            events.truncate(cut_at(&events, &mut random));
        }
        let mut splice = Splice::new(transcript, style);
        for event in events {
            splice.event(event.into(), &mut out).unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
        }
        if death == deaths || random.below(2) == 0 {
            // Otherwise the transfer broke off, and what was held is nobody's.
            splice.end(&mut out).unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
        }
        transcript = splice.into_transcript();
    }
    let read = Read::new(&out);
    assert_eq!(read.text, uncut.text, "seed {seed}");
    assert_eq!(read.finish, uncut.finish, "seed {seed}");
    assert_eq!(read.usage, uncut.usage, "seed {seed}");
    assert!(read.done, "seed {seed}");
    assert_eq!(read.identities.len(), 1, "seed {seed}: {:?}", read.identities);
    assert!((1..=usize::try_from(deaths).expect("small")).contains(&read.marks), "seed {seed}: {}", read.marks);
    true
}

#[test]
fn a_stream_cut_at_a_random_chunk_comes_out_as_the_uncut_one() {
    let streams = (0..).filter(|seed| run(*seed, 1)).take(SEEDS);
    assert_eq!(streams.count(), SEEDS);
}

#[test]
fn a_stream_cut_three_times_comes_out_as_the_uncut_one() {
    let streams = (1_000_000..).filter(|seed| run(*seed, 3)).take(SEEDS / 4);
    assert_eq!(streams.count(), SEEDS / 4);
}

const OLD: &str = "The wheel turns because the water pushes it";

fn chunk(name: &str, delta: &str, rest: &str) -> String {
    format!(
        "data: {{\"id\":\"{name}\",\"object\":\"o\",\"created\":1,\"model\":\"{name}\",\"choices\":\
         [{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]{rest}}}\n\n"
    )
}

fn content(text: &str) -> String {
    chunk("b", &format!("\"content\":{}", json!(text)), "")
}

/// What was said up to the seam, by chunks of one character.
fn transcript() -> Transcript {
    let mut transcript = Transcript::new();
    transcript.event(chunk("a", r#""role":"assistant","content":"""#, "").as_bytes());
    for letter in OLD.chars() {
        transcript.event(chunk("a", &format!("\"content\":\"{letter}\""), "").as_bytes());
    }
    assert_eq!((transcript.text(), transcript.tokens(), transcript.unfit()), (OLD, 43, None));
    transcript
}

/// What goes out for each of `events`, up to a refusal.
fn spliced(events: &[&str]) -> Vec<Result<String, Refusal>> {
    let mut splice = Splice::new(transcript(), Prefill::Vllm);
    let all = events.iter().map(|event| {
        let mut out = Vec::new();
        splice.event(Bytes::copy_from_slice(event.as_bytes()), &mut out)?;
        Ok(String::from_utf8(out.concat()).expect("UTF-8"))
    });
    all.collect()
}

#[test]
fn events_go_out_as_those_of_the_first_target_and_at_once_behind_the_seam() {
    let last = r#"data: {"id":"b","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"service_tier":"x"}"#;
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":53,"completion_tokens":7,"total_tokens":60}}"#;
    let out = spliced(&[
        &chunk("b", r#""role":"assistant","content":"""#, ""),
        ": comment\n\n",
        &content(" down the stream, "),
        &content(" and on and on and"),
        &chunk("b", r#""role":"assistant","content":" on""#, r#","x":[1.0]"#),
        &chunk("b", r#""content":"""#, r#","system_fingerprint":"fp""#),
        &format!("{last}\r\n\r\n"),
        &format!("{usage}\n\n"),
        "data: [DONE]\n\n",
    ]);
    let out: Vec<String> = out.into_iter().map(|event| event.expect("a continuation")).collect();
    assert_eq!(&out[..3], ["", ": comment\n\n", ""]);
    let first = chunk("a", r#""content":" down the stream, ""#, "").replacen('{', &format!("{{{MARK},"), 1);
    assert_eq!(out[3], first + &chunk("a", r#""content":" and on and on and""#, ""));
    assert_eq!(out[4], chunk("a", r#""content":" on""#, r#","x":[1.0]"#));
    assert_eq!(out[5], chunk("a", r#""content":"""#, r#","system_fingerprint":null"#));
    let last = last.replace(r#"{"id":"b""#, r#"{"created":1,"model":"a","id":"a""#);
    assert_eq!(out[6], format!("{last}\r\n\r\n"));
    let usage = usage.replace("53", "10").replace(":7", ":50");
    let usage = usage.replacen('{', r#"{"id":"a","created":1,"model":"a","#, 1);
    assert_eq!(out[7], format!("{usage}\n\n"));
    assert_eq!(out[8], "data: [DONE]\n\n");
}

const MARK: &str = r#""millstream":{"continued":true}"#;

#[test]
fn an_answer_that_lacked_only_its_end_gets_it() {
    let last = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":"stop"}]}"#;
    let out = spliced(&[last, "data: [DONE]\n\n"]);
    let event = out[0].as_ref().expect("a continuation");
    assert!(event.contains(MARK) && event.contains(r#""delta":{}"#), "{event}");
}

#[test]
fn usage_adds_up_and_its_total_stays() {
    for (usage, expected) in [
        (r#"{"prompt_tokens":43,"completion_tokens":2}"#, r#"{"prompt_tokens":0,"completion_tokens":45}"#),
        (r#"{"prompt_tokens":40,"completion_tokens":2}"#, r#"{"prompt_tokens":0,"completion_tokens":42}"#),
        (r#"{ "completion_tokens": 2 }"#, r#"{ "completion_tokens": 45 }"#),
        (r#"{"completion_tokens":18446744073709551615}"#, r#"{"completion_tokens":18446744073709551615}"#),
        (
            r#"{"prompt_tokens":50,"prompt_tokens_details":{"cached_tokens":48}}"#,
            r#"{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":7}}"#,
        ),
        (
            r#"{"prompt_tokens":50,"prompt_tokens_details":{"cached_tokens":1}}"#,
            r#"{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":1}}"#,
        ),
        (r#"{"prompt_tokens":-1,"completion_tokens":1e3}"#, r#"{"prompt_tokens":-1,"completion_tokens":1e3}"#),
        ("[1]", "[1]"),
    ] {
        let out = spliced(&[
            &chunk("b", r#""content":" down the stream, and on and on.""#, ""),
            &chunk("b", "", &format!(",\"usage\":{usage}")),
        ]);
        let event = out[1].as_ref().expect("a continuation");
        assert!(event.contains(&format!("\"usage\":{expected}}}")), "{usage}: {event}");
    }
}

#[test]
fn what_is_no_continuation_is_refused_before_anything_goes_out() {
    for (events, expected) in [
        (vec![content(OLD.split_at(40).0)], Refusal::Restarted),
        (vec![content(OLD.split_at(20).0), content(OLD.split_at(20).1.split_at(20).0)], Refusal::Restarted),
        (vec![content("the water pushes it"), content(" down the stream")], Refusal::Repeated),
        (vec![content(" on"), "event: error\ndata: {}\n\n".to_owned()], Unfit::Failed.into()),
        (vec!["data: {\"error\":{\"message\":\"m\"}}\n\n".to_owned()], Unfit::Failed.into()),
        (vec![chunk("b", r#""tool_calls":[{"index":0}]"#, "")], Unfit::Foreign.into()),
        (vec![chunk("b", r#""reasoning_content":"Let me""#, "")], Unfit::Foreign.into()),
        (vec!["data: {\"choices\":[{\"index\":1}]}\n\n".to_owned()], Unfit::Choices.into()),
        (vec!["data: no\n\n".to_owned()], Unfit::Foreign.into()),
        (vec!["event: x\ndata: {}\n\n".to_owned()], Unfit::Foreign.into()),
    ] {
        let mut splice = Splice::new(transcript(), Prefill::Vllm);
        let mut out = Vec::new();
        let result = events.iter().try_for_each(|event| splice.event(event.clone().into(), &mut out));
        assert_eq!((result, out.len()), (Err(expected), 0), "{events:?}");
        assert!(!splice.has_begun());
        assert_eq!(splice.event("data: [DONE]\n\n".into(), &mut out), Err(expected), "for ever");
        assert_eq!(splice.end(&mut out), Err(expected), "for ever");
        assert!(out.is_empty());
        assert_eq!(splice.into_transcript().text(), OLD, "another target may be asked");
    }
}

#[test]
fn each_thing_that_does_not_fit_makes_a_transcript_unfit_for_ever() {
    for (event, expected) in [
        (chunk("a", r#""tool_calls":[{"index":0}]"#, ""), Unfit::Foreign),
        (chunk("a", r#""function_call":{"name":"f"}"#, ""), Unfit::Foreign),
        (chunk("a", r#""refusal":"I can't""#, ""), Unfit::Foreign),
        (chunk("a", r#""reasoning_content":"so""#, ""), Unfit::Foreign),
        (chunk("a", r#""reasoning":"so""#, ""), Unfit::Foreign),
        (chunk("a", r#""thinking":"so""#, ""), Unfit::Foreign),
        (chunk("a", r#""audio":{"data":"="}"#, ""), Unfit::Foreign),
        ("data: {\"choices\":[{\"index\":1,\"delta\":{}}]}\n\n".to_owned(), Unfit::Choices),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned(), Unfit::Finished),
        ("data: [DONE]\n\n".to_owned(), Unfit::Finished),
        ("data: {\n\n".to_owned(), Unfit::Foreign),
        (content(&"a".repeat(256 * 1024)), Unfit::Long),
    ] {
        let mut transcript = transcript();
        transcript.event(event.as_bytes());
        transcript.event(content("more").as_bytes());
        assert_eq!((transcript.unfit(), transcript.text()), (Some(expected), ""), "{event:.80}");
        let result = Splice::new(transcript, Prefill::Vllm).event(content(" on").into(), &mut Vec::new());
        assert_eq!(result, Err(expected.into()));
    }
    let mut long = Transcript::new();
    (0..256).for_each(|_| long.event(content(&"a".repeat(1024)).as_bytes()));
    assert_eq!((long.unfit(), long.text().len()), (None, 256 * 1024));
}

#[test]
fn a_server_that_says_nothing_of_use_is_not_held_for_ever() {
    let mut splice = Splice::new(transcript(), Prefill::Vllm);
    let mut out = Vec::new();
    let event = chunk("b", r#""role":"assistant","content":"""#, "");
    (0..1_000).for_each(|_| splice.event(event.clone().into(), &mut out).expect("nothing yet"));
    assert!(out.is_empty());
    let event = chunk("b", r#""content":"x""#, &format!(",\"padding\":\"{}\"", "x".repeat(40_000)));
    (0..2).for_each(|_| splice.event(event.clone().into(), &mut out).expect("a continuation"));
    assert_eq!(out.len(), 2);
}

#[test]
fn nothing_of_a_text_is_printed() {
    let splice = Splice::new(transcript(), Prefill::Vllm);
    assert!(!format!("{splice:?} {:?}", transcript()).contains("wheel"));
}

/// Pieces that events are made of, right and wrong.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "data: ",
        "data:",
        "event: error",
        ": c",
        "id: 1",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "\u{feff}",
        "[DONE]",
        "{",
        "}",
        "\"choices\":[",
        "]",
        "{\"index\":0,\"delta\":{",
        "\"content\":\"",
        "\"role\":\"assistant\"",
        ",",
        "\"",
        "\\u00",
        "\"finish_reason\":\"stop\"",
        "\"usage\":{\"prompt_tokens\":1}",
        "\"id\":null",
        "The wheel turns because",
    ]);
    let content = ".{0,20}".prop_map(|text| content(&text).into_bytes());
    let fixed = known.prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![4 => fixed, 3 => content, 1 => prop::collection::vec(any::<u8>(), 0..4)]
}

proptest! {
    #[test]
    fn no_events_make_it_panic(
        events in prop::collection::vec(prop::collection::vec(piece(), 0..8), 0..12),
        style in prop::sample::select(vec![Prefill::Vllm, Prefill::Prefix]),
        begun: bool,
    ) {
        let mut transcript = if begun { transcript() } else { Transcript::new() };
        for event in &events {
            transcript.event(&event.concat());
        }
        let fresh = if begun { self::transcript() } else { Transcript::new() };
        let mut splice = Splice::new(fresh, style);
        let mut out = Vec::new();
        for event in &events {
            if splice.event(event.concat().into(), &mut out).is_err() {
                break;
            }
        }
        let ended = splice.end(&mut out);
        prop_assert_eq!(splice.end(&mut out), ended);
        prop_assert!(out.len() <= events.len());
    }
}
