//! From the file as written to [`Config`]: the order of the sections, and the sections too small for a file.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use toml::de::DeTable;
use tracing_subscriber::EnvFilter;

use super::env::Env;
use super::problem::Problem;
use super::raw::{Document, Table};
use super::{Config, DemoSettings, Drain, Limits, Log, LogFormat};
use super::{check_health, check_keys, check_retry, check_routes, check_server, check_upstreams, defaults, model};

/// Checks `text` whole; see [`super::parse`].
pub(super) fn parse(text: &str, file_name: &str, env: &Env) -> Result<Config, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let document = Document::new(file_name, text, env);
    // A broken text is not read further: what is missing from it may stand in the broken part.
    let mut last = None;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        // A parser that lost its way complains several times about one place.
        let line = text.get(..span.start).map(|before| before.matches('\n').count());
        if last.replace(line) != Some(line) {
            let message = error.message().replace('\n', ", ");
            document.report(&(span.start..span.end.max(1)), "", None, message, String::new());
        }
    }
    let config = errors.is_empty().then(|| config(document.root(table.get_ref())));
    match (config, document.into_problems()) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems),
    }
}

/// Whether `filter` is one that the log understands.
///
/// # Errors
/// A sentence on what is wrong with it.
pub fn check_log_filter(filter: &str) -> Result<(), String> {
    EnvFilter::builder().parse(filter).map(drop).map_err(|error| format!("not a log filter: {error}"))
}

/// Reads every section. Where there is a problem the result is of no use, but reading goes on.
fn config(mut root: Table<'_>) -> Config {
    let mut server = root.table("server");
    let (listen, remote) = check_server::listen(&mut server);
    let open = check_server::open(&mut server);
    let upstreams = check_upstreams::upstreams(&mut root);
    let keys = check_keys::keys(&mut root, &upstreams);
    check_server::require_keys(remote.as_ref(), open.as_ref(), !keys.is_empty());
    let admin = check_server::admin(&mut root.table("admin"), &listen);
    let server = check_server::server(&mut server, listen);
    let stream = check_retry::stream(&mut root.table("stream"));
    let (retry_budget, retry) = check_retry::retry(&mut root.table("retry"));
    let above = check_routes::Above { upstreams: &upstreams, clocks: stream.clocks, retry };
    let default_route = check_routes::default_route(&mut root.table("routing"), &above);
    let routes = check_routes::routes(&mut root, &above);
    Config {
        server,
        stream,
        limits: limits(&mut root.table("limits")),
        keys,
        upstreams,
        routes: routes.into_iter().map(Arc::new).collect(),
        default_route: default_route.map(Arc::new),
        models: model::models(&mut root),
        retry,
        retry_budget,
        health: check_health::health(&mut root.table("health")),
        admin,
        drain: drain(&mut root.table("drain")),
        log: log(&mut root.table("log")),
        demo: demo(&mut root.table("demo")),
    }
}

/// The limits of `[limits]`, or those of one virtual key.
pub(super) fn limits(table: &mut Table<'_>) -> Limits {
    Limits {
        requests_per_minute: table.whole_or("requests_per_minute", "off", &defaults::REQUESTS_PER_MINUTE),
        streams: table.whole_or("streams", "off", &defaults::STREAMS),
    }
}

/// `[drain]`
fn drain(table: &mut Table<'_>) -> Drain {
    Drain {
        delay: table.duration("delay", &defaults::DRAIN_DELAY),
        timeout: table.duration("timeout", &defaults::DRAIN_TIMEOUT),
    }
}

/// `[log]`
fn log(table: &mut Table<'_>) -> Log {
    let filter = table.take("filter").and_then(|value| {
        let filter = value.text()?;
        match check_log_filter(&filter) {
            Ok(()) => Some(filter),
            Err(what) => {
                value.refuse(what, "write \"info\" or \"info,millstream=debug\"".to_owned());
                None
            }
        }
    });
    let formats = [("auto", None), ("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json))];
    let auto = if table.document().env.terminal() { LogFormat::Text } else { LogFormat::Json };
    Log {
        filter: filter.unwrap_or_else(|| defaults::LOG_FILTER.to_owned()),
        format: table.choice("format", &formats, None).unwrap_or(auto),
        access: table.flag("access", defaults::LOG_ACCESS),
    }
}

/// `[demo]`
fn demo(table: &mut Table<'_>) -> DemoSettings {
    let (least, most) = DemoSettings::TOKENS_PER_SECOND.into_inner();
    let pace = table.take("tokens_per_second").and_then(|value| value.real(least, most));
    DemoSettings {
        tokens_per_second: pace.unwrap_or(defaults::DEMO_TOKENS_PER_SECOND),
        seed: table.whole("seed", &defaults::DEMO_SEED),
        first_token: table.duration("first_token", &defaults::DEMO_FIRST_TOKEN),
    }
}

/// Whether `name` may stand in logs, metrics and routes; if not, the problem.
pub(super) fn is_name(name: &str) -> Result<(), (String, String)> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        Ok(())
    } else {
        Err(("not a name".to_owned(), "write 1 to 64 letters, digits, \".\", \"_\" or \"-\"".to_owned()))
    }
}

/// The tables of a list, cut at the length that positions can count.
pub(super) fn bounded<'d>(root: &mut Table<'d>, key: &'static str) -> Vec<Table<'d>> {
    let mut tables = root.tables(key);
    if let Some(first_beyond) = tables.get(defaults::LIST_MAX) {
        first_beyond.refuse("", format!("more than {} entries", defaults::LIST_MAX), String::new());
        tables.truncate(defaults::LIST_MAX);
    }
    tables
}

/// The name of one entry of a list, which no earlier entry has: `seen` holds theirs. `None` after a problem.
pub(super) fn unique_name(table: &mut Table<'_>, example: &str, seen: &mut HashSet<String>) -> Option<String> {
    table.require("name", example).and_then(|value| {
        let name = value.text()?;
        if let Err((what, remedy)) = is_name(&name) {
            value.refuse(what, remedy);
            return None;
        }
        if !seen.insert(name.clone()) {
            value.refuse("an earlier entry has the same name".to_owned(), "choose another name".to_owned());
        }
        Some(name)
    })
}

/// Refuses two settings of which the first is the greater, where `table` has set either.
pub(super) fn ordered<T: PartialOrd + Debug>(table: &Table<'_>, settings: [(&'static str, T); 2]) {
    let [(lower, least), (upper, most)] = settings;
    if least <= most {
        return;
    }
    if table.has(lower) {
        let remedy = format!("write at most {most:?}, or raise {upper}");
        table.refuse_at(lower, format!("more than {upper}"), remedy);
    } else if table.has(upper) {
        table.refuse_at(
            upper,
            format!("less than {lower}"),
            format!("write at least {least:?}, or lower {lower}"),
        );
    }
}
