//! The resolved configuration in the form of the file, with secrets left out.

use std::fmt;
use std::time::Duration;

use super::scalar::{duration_text, size_text};
use super::{
    Config, Key, Limits, LogFormat, Protocol, Server, Tick, TlsVersion, Upstream, UpstreamKind, WantedReactor,
};

/// Displays a [`Config`] as TOML. Of a virtual key only the first 8 digits of its digest are shown, of an
/// upstream's key only that there is one.
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
            key(f, entry)?;
        }
        for entry in &config.upstreams {
            upstream(f, entry)?;
        }
        routes(f, config)?;
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
    clock_or_off(f, "early_head_after", stream.early_head_after)?;
    clock_or_off(f, "response_timeout", stream.response_timeout)?;
    clock_or_off(f, "first_token_timeout", stream.first_token_timeout)?;
    clock_or_off(f, "idle_timeout", stream.idle_timeout)?;
    clock_or_off(f, "total_timeout", stream.total_timeout)?;
    clock_or_off(f, "slow_client_timeout", stream.slow_client_timeout)?;
    size(f, "event_hold", stream.event_hold_bytes_max)
}

fn limits(f: &mut fmt::Formatter<'_>, limits: Limits) -> fmt::Result {
    writeln!(f, "requests_per_minute = {}", number_or(limits.requests_per_minute, "off"))?;
    writeln!(f, "streams = {}", number_or(limits.streams, "off"))
}

fn key(f: &mut fmt::Formatter<'_>, key: &Key) -> fmt::Result {
    writeln!(f, "\n[[keys]]\nname = {}", quoted(&key.name))?;
    let [first, second, third, fourth, ..] = key.sha256;
    writeln!(f, "# sha256 = \"{first:02x}{second:02x}{third:02x}{fourth:02x}…\"")?;
    if !key.models.is_empty() {
        let models: Vec<String> = key.models.iter().map(|model| quoted(model)).collect();
        writeln!(f, "models = [{}]", models.join(", "))?;
    }
    limits(f, key.limits)
}

fn upstream(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    writeln!(f, "\n[[upstreams]]\nname = {}", quoted(&upstream.name))?;
    match upstream.kind {
        UpstreamKind::Demo => writeln!(f, "kind = \"demo\"")?,
        UpstreamKind::OpenAi => {
            writeln!(f, "kind = \"openai\"\nbase_url = {}", quoted(&upstream.base.to_string()))?;
            writeln!(f, "# key: {}", if upstream.key.is_some() { "set" } else { "none" })?;
        }
    }
    let protocol = match upstream.protocol {
        Protocol::Auto => "auto",
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
    };
    writeln!(f, "protocol = \"{protocol}\"")?;
    writeln!(f, "connections_max = {}", upstream.connections_max)?;
    writeln!(f, "h2_streams_max = {}", upstream.h2_streams_max)?;
    clock(f, "dns_timeout", upstream.dns_timeout)?;
    clock(f, "connect_timeout", upstream.connect_timeout)?;
    clock(f, "handshake_timeout", upstream.handshake_timeout)?;
    clock(f, "idle_timeout", upstream.idle_timeout)?;
    clock(f, "lifetime_max", upstream.lifetime_max)?;
    size(f, "receive_buffer", upstream.receive_buffer_bytes)?;
    if let Some(ca_file) = &upstream.ca_file {
        writeln!(f, "ca_file = {}", quoted(&ca_file.to_string_lossy()))?;
    }
    writeln!(f, "include_usage = {}", upstream.include_usage)
}

fn routes(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    let name = |position: usize| quoted(&config.upstreams[position].name);
    writeln!(f, "\n[routing]")?;
    let default_upstream = config.default_upstream.map_or_else(|| quoted("off"), name);
    writeln!(f, "default_upstream = {default_upstream}")?;
    for route in &config.routes {
        writeln!(f, "\n[[routes]]\nmodel = {}", quoted(&route.model))?;
        let target = |target: &super::Target| match &target.model {
            None => name(target.upstream),
            Some(model) => format!("{{ upstream = {}, model = {} }}", name(target.upstream), quoted(model)),
        };
        let targets: Vec<String> = route.targets.iter().map(target).collect();
        writeln!(f, "targets = [{}]", targets.join(", "))?;
    }
    Ok(())
}

fn clock(f: &mut fmt::Formatter<'_>, key: &str, duration: Duration) -> fmt::Result {
    writeln!(f, "{key} = \"{}\"", duration_text(duration))
}

fn clock_or_off(f: &mut fmt::Formatter<'_>, key: &str, duration: Option<Duration>) -> fmt::Result {
    writeln!(f, "{key} = \"{}\"", or(duration.map(duration_text), "off"))
}

fn size(f: &mut fmt::Formatter<'_>, key: &str, bytes: usize) -> fmt::Result {
    writeln!(f, "{key} = \"{}\"", size_text(bytes))
}

/// A number, or `word` in quotes.
fn number_or(number: Option<impl fmt::Display>, word: &str) -> String {
    number.map_or_else(|| quoted(word), |number| number.to_string())
}

fn or(value: Option<impl fmt::Display>, word: &str) -> String {
    value.map_or_else(|| word.to_owned(), |value| value.to_string())
}

/// `text` as a TOML string from which no variable is filled in.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace('$', "$$")).to_string()
}
