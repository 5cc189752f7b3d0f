//! The resolved configuration in the form of the file, with secrets left out.

use std::fmt;
use std::time::Duration;

use super::scalar::{duration_text, size_text};
use super::summary_routes::{routes, upstream};
use super::{Clocks, Config, Health, Key, Limits, LogFormat, Priority, Server, Tick, TlsVersion, WantedReactor};

/// Displays a [`Config`] as TOML. Of a virtual key only the first 8 digits of its digest are shown, of an
/// upstream's keys only their names, of a header that came from a variable only its name.
#[derive(Debug)]
pub struct Summary<'c>(pub(super) &'c Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(config) = self;
        server(f, &config.server, config.keys.is_empty())?;
        stream(f, config)?;
        writeln!(f, "\n[limits]")?;
        limits(f, config.limits)?;
        for entry in &config.keys {
            key(f, entry, config)?;
        }
        for entry in &config.upstreams {
            upstream(f, entry)?;
        }
        routes(f, config)?;
        health(f, config.health)?;
        writeln!(f, "\n[admin]")?;
        writeln!(f, "listen = \"{}\"", or(config.admin.listen, "off"))?;
        writeln!(f, "\n[drain]")?;
        clock(f, "delay", config.drain.delay)?;
        clock(f, "timeout", config.drain.timeout)?;
        writeln!(f, "\n[log]")?;
        writeln!(f, "filter = {}", quoted(&config.log.filter))?;
        let format = match config.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        writeln!(f, "format = \"{format}\"")?;
        writeln!(f, "access = {}", config.log.access)?;
        writeln!(f, "\n[demo]")?;
        writeln!(f, "tokens_per_second = {:?}", config.demo.tokens_per_second)?;
        writeln!(f, "seed = {}", config.demo.seed)?;
        clock(f, "first_token", config.demo.first_token)
    }
}

fn server(f: &mut fmt::Formatter<'_>, server: &Server, keyless: bool) -> fmt::Result {
    writeln!(f, "[server]")?;
    let listen: Vec<String> = server.listen.iter().map(|address| quoted(&address.to_string())).collect();
    writeln!(f, "listen = [{}]", listen.join(", "))?;
    if keyless && server.listen.iter().any(super::Address::is_remote) {
        writeln!(f, "open = true")?;
    }
    writeln!(f, "workers = {}", number_or(server.workers, "auto"))?;
    writeln!(f, "pin = {}", server.pin)?;
    let reactor = match server.reactor {
        WantedReactor::Auto => "auto",
        WantedReactor::IoUring => "io_uring",
        WantedReactor::Epoll => "epoll",
    };
    writeln!(f, "reactor = \"{reactor}\"")?;
    match server.tick {
        Tick::Auto => writeln!(f, "tick = \"auto\"")?,
        Tick::Off => writeln!(f, "tick = \"off\"")?,
        Tick::Fixed(duration) => clock(f, "tick", duration)?,
    }
    writeln!(f, "connections_max = {}", number_or(server.connections_max, "auto"))?;
    writeln!(f, "in_flight_max = {}", server.in_flight_max)?;
    clock(f, "header_timeout", server.header_timeout)?;
    clock(f, "body_timeout", server.body_timeout)?;
    clock(f, "idle_timeout", server.idle_timeout)?;
    size(f, "header_bytes_max", server.header_bytes_max)?;
    writeln!(f, "headers_max = {}", server.headers_max)?;
    size(f, "body_bytes_max", server.body_bytes_max)?;
    writeln!(f, "h2_streams_max = {}", server.h2_streams_max)?;
    size(f, "send_buffer", server.send_buffer_bytes)?;
    writeln!(f, "\n[server.realtime]")?;
    clock(f, "idle_timeout", server.realtime.idle_timeout)?;
    clock(f, "total_timeout", server.realtime.total_timeout)?;
    let Some(tls) = &server.tls else { return Ok(()) };
    writeln!(f, "\n[server.tls]")?;
    writeln!(f, "cert = {}", quoted(&tls.cert.to_string_lossy()))?;
    writeln!(f, "key = {}", quoted(&tls.key.to_string_lossy()))?;
    let version = match tls.min_version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    };
    writeln!(f, "min_version = \"{version}\"")
}

fn stream(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    let stream = &config.stream;
    writeln!(f, "\n[stream]")?;
    clock_or_off(f, "keep_alive", stream.keep_alive)?;
    clocks(f, stream.clocks)?;
    clock_or_off(f, "slow_client_timeout", stream.slow_client_timeout)?;
    size(f, "event_hold", stream.event_hold_bytes_max)?;
    size(f, "commit_bytes_max", stream.commit_bytes_max)
}

fn limits(f: &mut fmt::Formatter<'_>, limits: Limits) -> fmt::Result {
    writeln!(f, "requests_per_minute = {}", number_or(limits.requests_per_minute, "off"))?;
    writeln!(f, "streams = {}", number_or(limits.streams, "off"))
}

fn key(f: &mut fmt::Formatter<'_>, key: &Key, config: &Config) -> fmt::Result {
    writeln!(f, "\n[[keys]]\nname = {}", quoted(&key.name))?;
    let [first, second, third, fourth, ..] = key.sha256;
    writeln!(f, "# sha256 = \"{first:02x}{second:02x}{third:02x}{fourth:02x}…\"")?;
    if !key.models.is_empty() {
        let models: Vec<String> = key.models.iter().map(|model| quoted(model)).collect();
        writeln!(f, "models = [{}]", models.join(", "))?;
    }
    let priority = match key.priority {
        Priority::Interactive => "interactive",
        Priority::Batch => "batch",
    };
    writeln!(f, "priority = \"{priority}\"")?;
    if !key.upstreams.is_empty() {
        let names: Vec<String> = key.upstreams.iter().map(|at| quoted(&config.upstreams[*at].name)).collect();
        writeln!(f, "upstreams = [{}]", names.join(", "))?;
    }
    limits(f, key.limits)
}

fn health(f: &mut fmt::Formatter<'_>, health: Health) -> fmt::Result {
    writeln!(f, "\n[health]")?;
    writeln!(f, "breaker_failures = {}", health.breaker_failures)?;
    writeln!(f, "breaker_ratio = {:?}", health.breaker_ratio)?;
    clock(f, "breaker_open", health.breaker_open)?;
    clock(f, "breaker_open_max", health.breaker_open_max)?;
    clock(f, "throttle", health.throttle)?;
    clock(f, "throttle_max", health.throttle_max)?;
    clock(f, "ejection", health.ejection)?;
    writeln!(f, "ejected_share_max = {:?}", health.ejected_share_max)?;
    writeln!(f, "panic_share = {:?}", health.panic_share)?;
    clock(f, "slow_start", health.slow_start)
}

pub(super) fn clocks(f: &mut fmt::Formatter<'_>, clocks: Clocks) -> fmt::Result {
    clock_or_off(f, "early_head_after", clocks.early_head_after)?;
    clock_or_off(f, "response_timeout", clocks.response_timeout)?;
    clock_or_off(f, "first_token_timeout", clocks.first_token_timeout)?;
    clock_or_off(f, "idle_timeout", clocks.idle_timeout)?;
    clock_or_off(f, "total_timeout", clocks.total_timeout)
}

pub(super) fn clock(f: &mut fmt::Formatter<'_>, key: &str, duration: Duration) -> fmt::Result {
    writeln!(f, "{key} = \"{}\"", duration_text(duration))
}

pub(super) fn clock_or_off(f: &mut fmt::Formatter<'_>, key: &str, duration: Option<Duration>) -> fmt::Result {
    writeln!(f, "{key} = \"{}\"", or(duration.map(duration_text), "off"))
}

pub(super) fn size(f: &mut fmt::Formatter<'_>, key: &str, bytes: usize) -> fmt::Result {
    writeln!(f, "{key} = \"{}\"", size_text(bytes))
}

/// A number, or `word` in quotes.
fn number_or(number: Option<impl fmt::Display>, word: &str) -> String {
    number.map_or_else(|| quoted(word), |number| number.to_string())
}

pub(super) fn or(value: Option<impl fmt::Display>, word: &str) -> String {
    value.map_or_else(|| word.to_owned(), |value| value.to_string())
}

/// `text` as a TOML string from which no variable is filled in.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.replace('$', "$$")).to_string()
}
