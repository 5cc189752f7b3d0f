//! Pictures of what was measured, from the JSON files of one or more runs.

mod bars;
mod curves;
mod scale;
mod svg;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::client::PROBE_PATIENCE_NS;
use crate::report::{compared, median};
use crate::run::Round;

use bars::{Bar, Bars, Group};
use curves::{Curves, Line, Point};
use scale::Unit;

/// Added latency below this is not told from none.
const ADDED_LEAST_US: f64 = 10.0;

/// Fewer than this are no curve.
const RATES_LEAST: usize = 3;

/// What is read from a round.
type Read = fn(&Round) -> Option<f64>;

/// Reads `files` and writes into `dir` every picture for which they hold something.
pub(crate) fn run(dir: &Path, files: &[PathBuf]) -> Result<()> {
    ensure!(!files.is_empty(), "name the JSON files after the folder");
    let mut rounds: Vec<Round> = Vec::new();
    for file in files {
        let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let read: Vec<Round> =
            serde_json::from_slice(&text).with_context(|| format!("read {}", file.display()))?;
        // A round with a wrong stream has nothing to tell.
        rounds.extend(read.into_iter().filter(|round| round.outcome.unclean() == 0));
    }
    fs::create_dir_all(dir)?;
    let pictures = [
        ("cpu-event.svg", cpu_bars(&rounds, "event")),
        ("cpu-request.svg", cpu_bars(&rounds, "request")),
        ("load-cpu.svg", load_cpu(&rounds)),
        ("load-p50.svg", load_latency(&rounds, "median", |round| round.outcome.p50_us)),
        ("load-p99.svg", load_latency(&rounds, "99th percentile", |round| round.outcome.p99_us)),
        ("first.svg", first(&rounds)),
    ];
    let mut out = io::stdout();
    for (name, picture) in pictures {
        let Some(picture) = picture else {
            writeln!(out, "{name}: nothing measured for it")?;
            continue;
        };
        fs::write(dir.join(name), picture)?;
        writeln!(out, "{}", dir.join(name).display())?;
    }
    Ok(())
}

/// Names in the order in which they first come.
fn names<'a>(rounds: &[&'a Round], read: fn(&'a Round) -> &'a str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for round in rounds {
        if !names.contains(&read(round)) {
            names.push(read(round));
        }
    }
    names
}

/// Median, least and most over rounds.
fn spread(rounds: &[&Round], read: Read) -> Option<(f64, f64, f64)> {
    let mut values: Vec<f64> = rounds.iter().filter_map(|round| read(round)).collect();
    let middle = median(&mut values)?;
    Some((middle, *values.first()?, *values.last()?))
}

/// The rounds of `sweep`, if there are enough rates for a curve.
fn swept(all: &[Round]) -> Vec<&Round> {
    let rounds: Vec<&Round> = all.iter().filter(|round| round.scenario.starts_with("paced-1000x")).collect();
    if names(&rounds, |round| &round.scenario).len() < RATES_LEAST { Vec::new() } else { rounds }
}

/// CPU by load and peer.
fn cpu_bars(all: &[Round], unit: &str) -> Option<String> {
    let curves = swept(all);
    let fits = |round: &&Round| {
        let request = round.scenario == "unary";
        let in_curve = curves.iter().any(|swept| swept.scenario == round.scenario);
        // Of so few events that figures for each say nothing.
        let drawn_elsewhere = in_curve || round.scenario.contains("first-") || round.streams == 0;
        !drawn_elsewhere && request == (unit == "request") && round.cpu_us_per_unit.is_some()
    };
    let rounds: Vec<&Round> = all.iter().filter(fits).collect();
    let group = |scenario: &str| {
        let of: Vec<&Round> = rounds.iter().copied().filter(|round| round.scenario == scenario).collect();
        let bar = |peer: &&str| {
            let own: Vec<&Round> = of.iter().copied().filter(|round| round.peer == *peer).collect();
            let (value, least, most) = spread(&own, |round| round.cpu_us_per_unit)?;
            Some(Bar { peer: (*peer).to_owned(), value, least, most })
        };
        Group {
            title: scenario.to_owned(),
            bars: names(&of, |round| &round.peer).iter().filter_map(bar).collect(),
        }
    };
    let groups: Vec<Group> = names(&rounds, |round| &round.scenario).into_iter().map(group).collect();
    (!groups.is_empty()).then(|| {
        Bars {
            title: format!("CPU of the gateway for each {unit}"),
            axis: format!(
                "microseconds of CPU, user and system, for each {unit} (median; whiskers: least and most)"
            ),
            groups,
        }
        .draw()
    })
}

/// One curve for each peer: `x` and `read` of its rounds, in the order of `x`.
fn lines(rounds: &[&Round], x: Read, read: impl Fn(&[&Round]) -> Option<Point>) -> Vec<Line> {
    let line = |peer: &str| {
        let own: Vec<&Round> = rounds.iter().copied().filter(|round| round.peer == peer).collect();
        let mut at: Vec<f64> = own.iter().filter_map(|round| x(round)).collect();
        at.sort_by(f64::total_cmp);
        at.dedup();
        let of = |at: f64| own.iter().copied().filter(|round| x(round) == Some(at)).collect::<Vec<_>>();
        let points = at.into_iter().filter_map(|at| Some(Point { x: at, ..read(&of(at))? })).collect();
        Line { peer: peer.to_owned(), points }
    };
    let lines = names(rounds, |round| &round.peer).into_iter().map(line);
    lines.filter(|line: &Line| !line.points.is_empty()).collect()
}

/// Events that all streams of a load shall have in a second.
fn asked_rate(round: &Round) -> Option<f64> {
    Some(round.streams as f64 * round.rate?)
}

fn load_cpu(all: &[Round]) -> Option<String> {
    let rounds = swept(all);
    let point = |own: &[&Round]| {
        let (y, least, most) = spread(own, |round| round.cpu_us_per_unit)?;
        Some(Point { x: 0.0, y, least, most, above: false })
    };
    Curves {
        title: "What an event costs, by load".to_owned(),
        x_axis: "events a second, 1,000 streams".to_owned(),
        x_unit: Unit::Count,
        y_axis: "CPU for each event".to_owned(),
        y_unit: Unit::Microseconds,
        limit: None,
        lines: lines(&rounds, asked_rate, point),
    }
    .draw()
}

fn load_latency(all: &[Round], which: &str, read: Read) -> Option<String> {
    let rounds = swept(all);
    let direct: Vec<&Round> = rounds.iter().copied().filter(|round| round.peer == "direct").collect();
    let point = |own: &[&Round]| {
        let base: Vec<&Round> = direct
            .iter()
            .copied()
            .filter(|base| base.scenario == own.first().map_or("", |own| &own.scenario))
            .collect();
        let added = |own: &[&Round]| compared(own, &base, read, false).map(|added| added.max(ADDED_LEAST_US));
        let mut each: Vec<f64> = own.iter().filter_map(|round| added(&[round])).collect();
        each.sort_by(f64::total_cmp);
        Some(Point { x: 0.0, y: added(own)?, least: *each.first()?, most: *each.last()?, above: false })
    };
    let others: Vec<&Round> = rounds.iter().copied().filter(|round| round.peer != "direct").collect();
    Curves {
        title: format!("Latency added to an event, by load: {which}"),
        x_axis: "events a second, 1,000 streams".to_owned(),
        x_unit: Unit::Count,
        y_axis: "added to a direct connection (10 µs: that or less)".to_owned(),
        y_unit: Unit::Microseconds,
        limit: None,
        lines: lines(&others, asked_rate, point),
    }
    .draw()
}

fn first(all: &[Round]) -> Option<String> {
    let rounds: Vec<&Round> = all.iter().filter(|round| round.scenario.starts_with("first-")).collect();
    let patience = PROBE_PATIENCE_NS as f64 / 1000.0;
    let point = |own: &[&Round]| {
        let (y, least, most) = spread(own, |round| round.outcome.first_p50_us)?;
        // The histogram is 2 % coarse.
        let above = y > patience * 0.97 && own.iter().any(|round| round.outcome.late > 0);
        Some(Point { x: 0.0, y: y.min(patience), least: least.min(patience), most: most.min(patience), above })
    };
    Curves {
        title: "The first token of one more user".to_owned(),
        x_axis: "streams that run already".to_owned(),
        x_unit: Unit::Count,
        y_axis: "from a new client's request to its first event, median".to_owned(),
        y_unit: Unit::Microseconds,
        limit: Some((patience, "not within 10 s".to_owned())),
        lines: lines(&rounds, |round| Some(round.streams as f64), point),
    }
    .draw()
}
