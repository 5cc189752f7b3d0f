//! Luck without a fuzzer: random bytes, and fixtures in which some bytes are others.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::cases::Case;
use super::{cases, golden, hostile, roster, wire};

/// Tries of each test: some seconds.
const TRIES: u32 = 600;
/// Bytes of a fixture that is mutated.
const BYTES_MAX: usize = 6 * 1024;

/// Pieces that mean something to parsers.
const PIECES: &[&str] = &[
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "-1",
    "1e400",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\n",
    "\n\n",
    "\r",
    "data: ",
    "event: ",
    "data: [DONE]\n\n",
    "\"",
    "\\",
    ",",
    "{\"a\":",
    "\u{feff}",
    "é",
    "0.5",
    ": ping\n\n",
];

/// Members that dialects have.
const NAMES: &[&str] = &[
    "model",
    "messages",
    "role",
    "content",
    "type",
    "text",
    "choices",
    "delta",
    "usage",
    "error",
    "message",
    "parts",
    "contents",
    "input",
    "output",
    "tools",
    "function",
    "name",
    "arguments",
    "id",
    "index",
    "stream",
    "candidates",
    "response",
    "item",
    "content_block",
    "finish_reason",
    "stop_reason",
    "done",
    "format",
    "schema",
    "source",
];

/// Bytes of a seed that the fuzzer begins with: it does better with small ones.
const SEED_BYTES_MAX: usize = 1024;

/// What is done to a text at a place.
#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Insert(&'static str),
    Remove(usize),
    Repeat(usize),
    Cut,
}

/// An input, and the fixture that it comes from.
type Seed = (String, Vec<u8>);

#[test]
fn no_stream_is_too_strange() {
    let seeds = ours(|case| case.stream && case.status < 400)
        .map(|case| (case.flat_name(), [&[number(&case), 16][..], &wire::bytes(&case.kind, &case.body)].concat()));
    run("stream", seeds.collect(), hostile::stream);
}

#[test]
fn no_document_is_too_strange() {
    let seeds = ours(|case| !case.stream || case.status >= 400)
        .map(|case| (case.flat_name(), [&[number(&case)], case.body.as_bytes()].concat()));
    run("document", seeds.collect(), hostile::document);
}

#[test]
fn no_request_is_too_strange() {
    run("request", requests(), hostile::request);
}

/// Tries a promise on the seeds, and on what becomes of them.
fn run(target: &str, mut seeds: Vec<Seed>, promise: fn(&[u8])) {
    seeds.retain(|(_, seed)| seed.len() <= BYTES_MAX);
    assert!(!seeds.is_empty(), "nothing to mutate");
    if golden::blesses() {
        bless(target, &seeds);
    }
    for (_, seed) in &seeds {
        promise(seed);
    }
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, seed)| seed).collect();
    let mutated = (select(seeds), vec((any::<u16>(), change()), 1..6))
        .prop_map(|(seed, changes)| changes.into_iter().fold(seed, mutate));
    let input = prop_oneof![8 => mutated, 1 => vec(any::<u8>(), 0..512), 1 => json()];
    let config = Config { cases: TRIES, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&input, |input| {
        promise(&input);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Writes the seeds down for the fuzzer.
fn bless(target: &str, seeds: &[Seed]) {
    let folder = cases::golden().join("../../fuzz/corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder that can be made");
    for (name, seed) in seeds.iter().filter(|(_, seed)| seed.len() <= SEED_BYTES_MAX) {
        fs::write(folder.join(format!("seed-{name}")), seed).expect("a file that can be written");
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<u8>().prop_map(Change::Set),
        select(PIECES).prop_map(Change::Insert),
        (1..40_usize).prop_map(Change::Remove),
        (1..200_usize).prop_map(Change::Repeat),
        Just(Change::Cut),
    ]
}

fn mutate(mut bytes: Vec<u8>, (at, change): (u16, Change)) -> Vec<u8> {
    let at = if bytes.is_empty() { 0 } else { usize::from(at) % bytes.len() };
    match change {
        Change::Set(byte) if !bytes.is_empty() => bytes[at] = byte,
        Change::Set(_) => {}
        Change::Insert(piece) => drop(bytes.splice(at..at, piece.bytes())),
        Change::Remove(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
        Change::Repeat(count) => {
            let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
            drop(bytes.splice(at..at, piece));
        }
        Change::Cut => bytes.truncate(at),
    }
    bytes
}

/// Documents with the members that dialects have, at the wrong places.
fn json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| serde_json::json!(number).to_string()),
        select(NAMES).prop_map(|name| format!("{name:?}")),
    ];
    let names = select(NAMES);
    let value = leaf.prop_recursive(5, 40, 5, move |inner| {
        let member = (names.clone(), inner.clone()).prop_map(|(name, value)| format!("{name:?}:{value}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    (any::<u8>(), value).prop_map(|(which, value)| [&[which], value.as_bytes()].concat())
}

fn ours(which: impl Fn(&Case) -> bool) -> impl Iterator<Item = Case> {
    cases::all().into_iter().filter(move |case| case.is_ours && which(case))
}

/// Which of the providers it is.
fn number(case: &Case) -> u8 {
    let at = roster::providers().iter().position(|(kind, _)| *kind == case.kind);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
}

/// The requests of the fixtures, for the front whose dialect they are in.
fn requests() -> Vec<Seed> {
    let fronts = roster::fronts();
    let seed = |case: Case| {
        let front = fronts.iter().position(|speaker| speaker.name == case.kind)?;
        let (front, request) = (u8::try_from(front).ok()?, case.request.to_string());
        case.request.is_object().then(|| (case.flat_name(), [&[front], request.as_bytes()].concat()))
    };
    ours(|_| true).filter_map(seed).collect()
}
