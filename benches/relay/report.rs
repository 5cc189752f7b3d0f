//! What people read: a line for each round, a table for each load.

use std::fmt::Write;

use crate::run::Round;
use crate::scenario::{Load, Scenario};
use crate::syscalls::ALL;

/// One round in one line.
pub(crate) fn line(round: &Round) -> String {
    let outcome = &round.outcome;
    let mut text = format!(
        "{:<14} {:<24} #{}  {:>8.0}/s  cpu {:>7} us  p50 {:>7} p99 {:>8} us  busy {:>4} load {:>3.0}%",
        round.scenario,
        round.peer,
        round.number,
        rate(round),
        number(round.cpu_us_per_unit),
        number(outcome.p50_us),
        number(outcome.p99_us),
        round.gateway_busy.map_or_else(|| "-".to_owned(), |busy| format!("{:.0}%", busy * 100.0)),
        round.load_busy * 100.0,
    );
    if outcome.unclean() > 0 {
        write!(
            text,
            "\n    NOT CLEAN: {} failed, {} wrong, {} truncated; first: {}",
            outcome.failed,
            outcome.wrong,
            outcome.truncated,
            outcome.first_failure.as_deref().unwrap_or("-"),
        )
        .expect("a string takes every write");
    }
    text
}

/// The system calls of one counted round.
pub(crate) fn calls_line(round: &Round) -> String {
    let mut calls: Vec<(&String, &f64)> = round.calls.iter().filter(|(name, _)| *name != ALL).collect();
    calls.sort_by(|left, right| right.1.total_cmp(left.1));
    let named =
        calls.iter().filter(|(_, count)| **count >= 0.005).map(|(name, count)| format!("{name} {count:.2}"));
    format!(
        "{:<14} {:<24} calls each: {} ({})  at {:.0}/s",
        round.scenario,
        round.peer,
        number(round.calls.get(ALL).copied()),
        named.collect::<Vec<_>>().join(", "),
        rate(round),
    )
}

type Column = (&'static str, fn(&Round) -> Option<f64>);

const COLUMNS: &[Column] = &[
    ("per second", |round| Some(rate(round))),
    ("CPU us", |round| round.cpu_us_per_unit),
    ("p50 us", |round| round.outcome.p50_us),
    ("p99 us", |round| round.outcome.p99_us),
    ("first p50 us", |round| round.outcome.first_p50_us),
    ("first p99 us", |round| round.outcome.first_p99_us),
    ("first > 10 s", |round| Some(round.outcome.late as f64).filter(|late| *late > 0.0)),
    ("gone p50 us", |round| round.gone_p50_us),
    ("gone p99 us", |round| round.gone_p99_us),
    ("gone unseen", |round| round.gone_unseen.map(|count| count as f64)),
    ("requests/s", |round| Some(round.outcome.requests as f64 / window(round))),
    ("calls", |round| round.calls.get(ALL).copied()),
    ("idle RSS MiB", |round| round.rss_idle_kib.map(|kib| kib as f64 / 1024.0)),
    ("RSS MiB", |round| round.rss_kib.map(|kib| kib as f64 / 1024.0)),
    ("RSS after MiB", |round| round.rss_after_kib.map(|kib| kib as f64 / 1024.0)),
    ("KiB/stream", |round| round.kib_per_stream),
    ("gateway busy %", |round| round.gateway_busy.map(|busy| busy * 100.0)),
    ("others busy %", |round| Some(round.others_busy * 100.0)),
    ("load busy %", |round| Some(round.load_busy * 100.0)),
];

/// Medians with least and most over the rounds; then ratios to nginx, what was added to a direct run, and ratios to
/// the rounds of the yardstick, if there are any.
pub(crate) fn table(scenario: &Scenario, rounds: &[Round], yardstick: &[Round]) -> String {
    let mut peers: Vec<&str> = Vec::new();
    for round in rounds {
        if !peers.contains(&round.peer.as_str()) {
            peers.push(&round.peer);
        }
    }
    let own = |peer: &str| of(peer, rounds);
    let mut text = format!("{}, per {} (median, least-most)\n", scenario.name, scenario.load.unit());
    let mut row = |title: &str, cell: &dyn Fn(&str) -> String| {
        write!(text, "{title:<24}").expect(GROWS);
        for peer in &peers {
            write!(text, "{:>28}", cell(peer)).expect(GROWS);
        }
        text.push('\n');
    };
    row("", &str::to_owned);
    for (name, read) in COLUMNS {
        if rounds.iter().any(|round| read(round).is_some()) {
            row(name, &|peer| spread(&values(&own(peer), *read)));
        }
    }
    for (title, read, base, ratio) in COMPARED {
        let value = |peer: &str| compared(&own(peer), &own(base), *read, *ratio).filter(|_| peer != *base);
        if peers.iter().any(|peer| value(peer).is_some()) {
            row(title, &|peer| number(value(peer)));
        }
    }
    if let Some(name) = scenario.yardstick {
        let (title, read) = compared_by(&scenario.load);
        let ratios = |peer: &str| within_rounds(&own(peer), &of(peer, yardstick), read, true);
        if peers.iter().any(|peer| !ratios(peer).is_empty()) {
            row(&format!("{title} / {name}"), &|peer| spread(&ratios(peer)));
        }
    }
    row("not clean", &|peer| own(peer).iter().map(|round| round.outcome.unclean()).sum::<u64>().to_string());
    text
}

const GROWS: &str = "a string takes every write";

type Compared = (&'static str, fn(&Round) -> Option<f64>, &'static str, bool);

/// Title, value, the peer compared with, and whether as a ratio or as a difference.
const COMPARED: &[Compared] = &[
    ("CPU / nginx", |round| round.cpu_us_per_unit, "nginx", true),
    ("p50 - direct us", |round| round.outcome.p50_us, "direct", false),
    ("p99 - direct us", |round| round.outcome.p99_us, "direct", false),
    ("first - direct", |round| round.outcome.first_p50_us, "direct", false),
];

/// What a load is compared with its yardstick by: first events where they are probed for, late events elsewhere.
fn compared_by(load: &Load) -> Column {
    if load.probe.is_some() {
        ("first p50", |round| round.outcome.first_p50_us)
    } else {
        ("p99", |round| round.outcome.p99_us)
    }
}

fn of<'a>(peer: &str, rounds: &'a [Round]) -> Vec<&'a Round> {
    rounds.iter().filter(|round| round.peer == peer).collect()
}

/// The median of [`within_rounds`].
pub(crate) fn compared(
    rounds: &[&Round],
    base: &[&Round],
    read: fn(&Round) -> Option<f64>,
    ratio: bool,
) -> Option<f64> {
    median(&mut within_rounds(rounds, base, read, ratio))
}

/// In each round the value against that of `base` in the same round: both saw the same machine.
fn within_rounds(rounds: &[&Round], base: &[&Round], read: fn(&Round) -> Option<f64>, ratio: bool) -> Vec<f64> {
    let pair = |round: &&Round| {
        let base = base.iter().find(|base| base.number == round.number)?;
        let (value, base) = (read(round)?, read(base)?);
        Some(if ratio { value / base } else { value - base })
    };
    rounds.iter().filter_map(pair).collect()
}

fn values(rounds: &[&Round], read: fn(&Round) -> Option<f64>) -> Vec<f64> {
    rounds.iter().filter_map(|round| read(round)).collect()
}

fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    let Some(middle) = median(&mut sorted) else {
        return "-".to_owned();
    };
    let least = number(sorted.first().copied());
    let most = number(sorted.last().copied());
    format!("{} ({least}-{most})", number(Some(middle)))
}

/// Sorts `values`; the middle one, or the mean of the middle two.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

fn rate(round: &Round) -> f64 {
    round.outcome.units as f64 / window(round)
}

fn window(round: &Round) -> f64 {
    round.outcome.window_seconds.max(f64::MIN_POSITIVE)
}

/// Three digits or so.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
