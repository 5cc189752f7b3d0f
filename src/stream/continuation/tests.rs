//! A model that says the same whoever asks it, cut and continued; and what is no continuation.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::model::{Model, Random, Read};
use super::{Refusal, Splice, Transcript, Unfit};
use crate::api::prefill::{self, Prefill};

const SEEDS: usize = 1_000;
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
        assert!(transcript.event(event));
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
        (vec!["data: [DONE]\n\n".to_owned()], Refusal::Empty),
        (vec!["data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n".to_owned()], Refusal::Empty),
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
    (0..256).for_each(|_| assert!(long.event(content(&"a".repeat(1024)).as_bytes())));
    assert_eq!((long.unfit(), long.text().len()), (None, 256 * 1024));
}

#[test]
fn an_error_is_not_taken_down_and_changes_nothing() {
    for event in [
        "data: {\"error\":{\"message\":\"m\"}}\n\n",
        "event: error\ndata: {}\n\n",
        &chunk("a", "", ",\"error\":\"x\""),
    ] {
        let mut transcript = transcript();
        assert!(!transcript.event(event.as_bytes()), "{event}");
        assert_eq!((transcript.text(), transcript.tokens(), transcript.unfit()), (OLD, 43, None));
    }
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
