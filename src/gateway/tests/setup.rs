//! What is simulated: a configuration, the moods of its upstreams, and how much is asked of them.

use std::fmt::Write as _;
use std::time::Duration;

use super::act::Mood;
use super::draw::Draw;
use crate::config::{self, Config, Env};

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// In the language of the file.
    pub(super) text: String,
    /// By upstream: its first mood and its second.
    pub(super) moods: Vec<[Mood; 2]>,
    /// When the second moods begin.
    pub(super) turn: Duration,
    pub(super) requests: usize,
    /// All requests come within this time.
    pub(super) span: Duration,
    /// When the process ends, if it does.
    pub(super) recall: Option<Duration>,
}

const KEYS: [&str; 3] = ["key-a-0123456789", "key-b-0123456789", "key-c-0123456789"];

impl Setup {
    pub(super) fn drawn(draw: &mut Draw) -> Self {
        let upstreams = 1 + draw.below(5);
        let mut text = String::new();
        let keyed: Vec<bool> = (0..upstreams).map(|position| upstream(&mut text, draw, position)).collect();
        stream(&mut text, draw);
        keys(&mut text, draw, upstreams);
        let mut targets: Vec<String> = Vec::new();
        for (position, is_keyed) in keyed.into_iter().enumerate() {
            let weight = draw.between(1, 3);
            if is_keyed && draw.percent(40) {
                for key in ["a", "b"] {
                    targets.push(format!("{{ upstream = \"u{position}\", key = \"{key}\" }}"));
                }
            } else {
                targets.push(format!("{{ upstream = \"u{position}\", weight = {weight} }}"));
            }
        }
        draw.shuffle(&mut targets);
        targets.truncate(5);
        let mut tiers: Vec<Vec<String>> = vec![Vec::new(); (1 + draw.below(3)).min(targets.len())];
        let last = tiers.len();
        for (position, target) in targets.into_iter().enumerate() {
            let tier = if position < last { position } else { draw.below(last) };
            tiers[tier].push(target);
        }
        let has_larger = draw.percent(60);
        route(&mut text, draw, "m", &tiers, has_larger);
        let long = draw.below(upstreams);
        route(&mut text, draw, "big", &[vec![format!("{{ upstream = \"u{long}\", model = \"long\" }}")]], false);
        Self {
            text,
            moods: (0..upstreams).map(|_| [Mood::drawn(draw), Mood::drawn(draw)]).collect(),
            turn: draw.ms(0, 20_000),
            requests: 5 + draw.below(36),
            span: draw.ms(100, 20_000),
            recall: draw.percent(15).then(|| draw.ms(100, 15_000)),
        }
    }

    pub(super) fn config(&self) -> Config {
        let env = Env::of([("A", KEYS[0]), ("B", KEYS[1])]);
        let config = config::parse(&self.text, "simulated", &env);
        config.unwrap_or_else(|problems| panic!("{}\n{problems:?}", self.text))
    }
}

/// A length of time as the file has it.
fn clock(draw: &mut Draw, off_percent: u64, least: u64, most: u64) -> String {
    let length = draw.between(least, most);
    if draw.percent(off_percent) { "\"off\"".to_owned() } else { format!("\"{length}ms\"") }
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    writeln!(text, "{key} = {value}").expect("a String takes everything");
}

/// Whether it has two keys.
fn upstream(text: &mut String, draw: &mut Draw, position: usize) -> bool {
    text.push_str("[[upstreams]]\n");
    line(text, "name", format!("\"u{position}\""));
    line(text, "base_url", format!("\"http://u{position}/v1\""));
    let is_keyed = draw.percent(30);
    if is_keyed {
        let keys = "[{ name = \"a\", key_env = \"A\", weight = 2 }, { name = \"b\", key_env = \"B\" }]";
        line(text, "keys", keys);
    }
    line(text, "include_usage", draw.percent(70));
    if draw.percent(35) {
        line(text, "on_cancel", "\"drain\"");
        line(text, "drain_bytes_max", draw.of(&["\"1KiB\"", "\"64KiB\""]));
        line(text, "drain_timeout", clock(draw, 0, 100, 3_000));
        line(text, "drains_max", draw.between(1, 3));
    }
    match draw.below(5) {
        0 | 1 => line(text, "streams_limit", draw.between(1, 4)),
        2 => {
            line(text, "streams_limit", "\"adaptive\"");
            line(text, "streams_limit_initial", draw.between(1, 6));
            line(text, "streams_limit_max", draw.between(6, 10));
        }
        _ => return is_keyed,
    }
    line(text, "queue_max", draw.between(0, 4));
    line(text, "queue_timeout", clock(draw, 0, 50, 3_000));
    line(text, "batch_share_max", draw.of(&["0.5", "0.9"]));
    is_keyed
}

fn stream(text: &mut String, draw: &mut Draw) {
    text.push_str("[stream]\n");
    line(text, "keep_alive", clock(draw, 30, 100, 1_500));
    line(text, "event_hold", draw.of(&["\"1KiB\"", "\"64KiB\""]));
    line(text, "commit_bytes_max", draw.of(&["\"1KiB\"", "\"2KiB\"", "\"64KiB\""]));
    text.push_str("[retry]\n");
    line(text, "budget", draw.of(&["0.0", "0.2", "1.0"]));
    line(text, "budget_floor", draw.of(&[0, 1, 10, 100]));
    text.push_str("[health]\n");
    line(text, "breaker_failures", draw.between(1, 6));
    line(text, "breaker_open", clock(draw, 0, 100, 3_000));
    line(text, "ejection", clock(draw, 0, 500, 5_000));
    line(text, "ejected_share_max", draw.of(&["0.0", "0.34", "0.5", "1.0"]));
    line(text, "panic_share", draw.of(&["0.0", "0.5"]));
    text.push_str("[limits]\n");
    if draw.percent(25) {
        line(text, "streams", draw.between(3, 12));
    }
}

fn keys(text: &mut String, draw: &mut Draw, upstreams: usize) {
    for position in 0..draw.below(4) {
        text.push_str("[[keys]]\n");
        line(text, "name", format!("\"k{position}\""));
        line(text, "sha256", format!("\"{position:064x}\""));
        if draw.percent(30) {
            line(text, "streams", draw.between(2, 8));
        }
        line(text, "priority", draw.of(&["\"interactive\"", "\"batch\""]));
        if draw.percent(15) {
            line(text, "upstreams", format!("[\"u{}\"]", draw.below(upstreams)));
        }
    }
}

fn route(text: &mut String, draw: &mut Draw, model: &str, tiers: &[Vec<String>], has_larger: bool) {
    text.push_str("[[routes]]\n");
    line(text, "model", format!("\"{model}\""));
    let tiers: Vec<String> = tiers.iter().map(|tier| format!("[{}]", tier.join(", "))).collect();
    line(text, "tiers", format!("[{}]", tiers.join(", ")));
    let balance = draw.of(&["weighted", "least_streams", "p2c", "hash"]);
    line(text, "balance", format!("\"{balance}\""));
    if balance == "hash" {
        line(text, "hash_on", draw.of(&["\"session\"", "\"user\"", "\"prompt\""]));
    }
    if has_larger {
        line(text, "larger", "\"big\"");
    }
    line(text, "early_head_after", clock(draw, 60, 100, 1_500));
    line(text, "response_timeout", clock(draw, 30, 500, 6_000));
    line(text, "first_token_timeout", clock(draw, 5, 200, 3_000));
    line(text, "idle_timeout", clock(draw, 5, 200, 3_000));
    line(text, "total_timeout", clock(draw, 50, 500, 8_000));
    if draw.percent(20) {
        line(text, "on_cancel", draw.of(&["\"drain\"", "\"abort\""]));
    }
    text.push_str("[routes.retry]\n");
    line(text, "attempts_max", draw.between(1, 6));
    line(text, "same_target_max", draw.between(0, 3));
    line(text, "backoff", clock(draw, 0, 1, 100));
    line(text, "backoff_max", clock(draw, 0, 100, 1_000));
    line(text, "attempt_timeout", clock(draw, 50, 200, 2_000));
    line(text, "deadline", clock(draw, 60, 300, 3_000));
    if draw.percent(50) {
        text.push_str("[routes.hedge]\n");
        line(text, "after", draw.of(&["\"p50\"", "\"p95\"", "\"10ms\"", "\"50ms\"", "\"200ms\"", "\"1s\""]));
        line(text, "share_max", draw.of(&["0.07", "0.5", "1.0"]));
    }
}
