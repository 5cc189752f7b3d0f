//! The part of the summary about upstreams and routes.

use std::fmt;

use super::summary::{clock, clock_or_off, clocks, quoted, size};
use super::{
    Balance, Config, Defaults, HashOn, Hedge, HedgeAfter, Model, OnCancel, OpenAiApi, Prefill, Protocol, Retry,
    Route, StreamsLimit, Target, Unsupported, Upstream, UpstreamKind,
};

pub(super) fn upstream(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    writeln!(f, "\n[[upstreams]]\nname = {}", quoted(&upstream.name))?;
    match upstream.kind {
        UpstreamKind::Demo => writeln!(f, "kind = \"demo\"")?,
        kind => {
            writeln!(f, "kind = \"{}\"\nbase_url = {}", kind.name(), quoted(&upstream.base.to_string()))?;
            dialect(f, upstream)?;
            let keys: Vec<String> =
                upstream.keys.iter().map(|key| format!("{} (weight {})", key.name, key.weight)).collect();
            writeln!(f, "# keys: {}", if keys.is_empty() { "none".to_owned() } else { keys.join(", ") })?;
            if let Some(identity) = &upstream.identity {
                writeln!(f, "# credentials: {}", identity.words())?;
            }
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
    if let Some(path) = &upstream.ca_file {
        writeln!(f, "ca_file = {}", quoted(&path.to_string_lossy()))?;
    }
    writeln!(f, "include_usage = {}", upstream.include_usage)?;
    writeln!(f, "on_cancel = \"{}\"", on_cancel(upstream.on_cancel))?;
    size(f, "drain_bytes_max", upstream.drain.bytes_max)?;
    clock(f, "drain_timeout", upstream.drain.timeout)?;
    writeln!(f, "drains_max = {}", upstream.drain.at_once_max)?;
    gate(f, upstream)?;
    match &upstream.probe {
        None => writeln!(f, "probe = \"off\"")?,
        Some(probe) => {
            writeln!(f, "probe = {}", quoted(&probe.path))?;
            clock(f, "probe_interval", probe.interval)?;
            clock(f, "probe_timeout", probe.timeout)?;
        }
    }
    writeln!(f, "prefill = \"{}\"", prefill(upstream.prefill))
}

/// What is said of an upstream's dialect beside its kind.
fn dialect(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    if let Some(preset) = upstream.preset {
        writeln!(f, "preset = \"{preset}\"")?;
    }
    if matches!(upstream.kind, UpstreamKind::OpenAi | UpstreamKind::Azure) {
        let api = match upstream.api {
            OpenAiApi::Chat => "chat",
            OpenAiApi::Responses => "responses",
        };
        writeln!(f, "api = \"{api}\"\nresponses = {}", upstream.responses)?;
    }
    if let Some(version) = &upstream.api_version {
        writeln!(f, "api_version = {}", quoted(version))?;
    }
    for member in &upstream.extra_body {
        writeln!(f, "# extra_body: {}", member.name)?;
    }
    Ok(())
}

fn gate(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    let Some(gate) = upstream.gate else { return writeln!(f, "streams_limit = \"off\"") };
    match gate.limit {
        StreamsLimit::Fixed(streams) => writeln!(f, "streams_limit = {streams}")?,
        StreamsLimit::Adaptive { initial, min, max } => {
            writeln!(f, "streams_limit = \"adaptive\"\nstreams_limit_initial = {initial}")?;
            writeln!(f, "streams_limit_min = {min}\nstreams_limit_max = {max}")?;
        }
    }
    writeln!(f, "queue_max = {}", gate.queue_max)?;
    clock(f, "queue_timeout", gate.queue_timeout)?;
    writeln!(f, "batch_share_max = {:?}", gate.batch_share_max)
}

/// `[routing]`, `[retry]` and `[[routes]]`.
pub(super) fn routes(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    writeln!(f, "\n[routing]")?;
    let default_upstream = config.default_route.as_ref().and_then(|route| route.tiers.first()?.first());
    let name = default_upstream.map_or("off", |target| config.upstreams[target.upstream].name.as_str());
    writeln!(f, "default_upstream = {}", quoted(name))?;
    writeln!(f, "\n[retry]\nbudget = {:?}", config.retry_budget.share)?;
    writeln!(f, "budget_floor = {}", config.retry_budget.floor_per_second)?;
    retry(f, config.retry)?;
    config.routes.iter().try_for_each(|entry| route(f, entry, config))?;
    config.models.iter().try_for_each(|entry| model(f, entry))
}

fn retry(f: &mut fmt::Formatter<'_>, retry: Retry) -> fmt::Result {
    writeln!(f, "attempts_max = {}", retry.attempts_max)?;
    writeln!(f, "same_target_max = {}", retry.same_target_max)?;
    clock(f, "backoff", retry.backoff)?;
    clock(f, "backoff_max", retry.backoff_max)?;
    clock_or_off(f, "attempt_timeout", retry.attempt_timeout)?;
    clock_or_off(f, "deadline", retry.deadline)
}

fn route(f: &mut fmt::Formatter<'_>, route: &Route, config: &Config) -> fmt::Result {
    writeln!(f, "\n[[routes]]\nmodel = {}", quoted(&route.model))?;
    if !route.aliases.is_empty() {
        writeln!(f, "aliases = {}", list(route.aliases.iter().map(|alias| quoted(alias))))?;
    }
    let tier = |tier: &Vec<Target>| list(tier.iter().map(|entry| target(entry, config)));
    writeln!(f, "tiers = {}", list(route.tiers.iter().map(tier)))?;
    let balance = match route.balance {
        Balance::Weighted => "weighted",
        Balance::LeastStreams => "least_streams",
        Balance::PowerOfTwo => "p2c",
        Balance::Hash => "hash",
    };
    writeln!(f, "balance = \"{balance}\"")?;
    if route.balance == Balance::Hash {
        let hash_on = match route.hash_on {
            HashOn::Session => "session",
            HashOn::User => "user",
            HashOn::Prompt => "prompt",
        };
        writeln!(f, "hash_on = \"{hash_on}\"")?;
    }
    clocks(f, route.clocks)?;
    if let Some(policy) = route.on_cancel {
        writeln!(f, "on_cancel = \"{}\"", on_cancel(policy))?;
    }
    if let Some(larger) = &route.larger {
        writeln!(f, "larger = {}", quoted(larger))?;
    }
    writeln!(f, "continue = {}", route.continues)?;
    let unsupported = match route.unsupported {
        Unsupported::Refuse => "refuse",
        Unsupported::Drop => "drop",
    };
    writeln!(f, "unsupported = \"{unsupported}\"")?;
    writeln!(f, "[routes.retry]")?;
    retry(f, route.retry)?;
    if let Some(policy) = route.hedge {
        hedge(f, policy)?;
    }
    defaults(f, &route.defaults)
}

fn model(f: &mut fmt::Formatter<'_>, model: &Model) -> fmt::Result {
    writeln!(f, "\n[[models]]\nname = {}", quoted(&model.name))?;
    for (name, tokens) in [("context", model.facts.context), ("output", model.facts.output)] {
        if let Some(tokens) = tokens {
            writeln!(f, "{name} = {tokens}")?;
        }
    }
    if let Some(capabilities) = &model.facts.capabilities {
        writeln!(f, "capabilities = {}", list(capabilities.iter().map(|capability| quoted(capability.name()))))?;
    }
    Ok(())
}

fn target(target: &Target, config: &Config) -> String {
    let upstream = &config.upstreams[target.upstream];
    let mut parts = vec![format!("upstream = {}", quoted(&upstream.name))];
    if let Some(key) = target.key.and_then(|key| upstream.keys.get(key)) {
        parts.push(format!("key = {}", quoted(&key.name)));
    }
    parts.extend(target.model.as_ref().map(|model| format!("model = {}", quoted(model))));
    parts.push(format!("weight = {}", target.weight));
    parts.push(format!("prefill = \"{}\"", prefill(target.prefill)));
    if !target.extra_body.is_empty() {
        let members = target.extra_body.iter().map(|member| format!("{} = {}", member.name, member.json));
        parts.push(format!("extra_body = {{ {} }}", members.collect::<Vec<_>>().join(", ")));
    }
    format!("{{ {} }}", parts.join(", "))
}

fn hedge(f: &mut fmt::Formatter<'_>, hedge: Hedge) -> fmt::Result {
    writeln!(f, "[routes.hedge]")?;
    match hedge.after {
        HedgeAfter::Percentile(percent) => writeln!(f, "after = \"p{percent}\"")?,
        HedgeAfter::Fixed(after) => clock(f, "after", after)?,
    }
    writeln!(f, "share_max = {:?}", hedge.share_max)
}

fn defaults(f: &mut fmt::Formatter<'_>, defaults: &Defaults) -> fmt::Result {
    if !defaults.headers.is_empty() {
        writeln!(f, "[routes.defaults.headers]")?;
    }
    for (name, value) in &defaults.headers {
        match value.to_str() {
            Ok(value_text) if !value.is_sensitive() => writeln!(f, "{name} = {}", quoted(value_text))?,
            _ => writeln!(f, "# {name}: set")?,
        }
    }
    if !defaults.body.is_empty() {
        writeln!(f, "[routes.defaults.body]")?;
    }
    for member in &defaults.body {
        let value: toml::Value = serde_json::from_str(&member.json).expect("JSON made from TOML");
        writeln!(f, "{} = {}", quoted(&member.name), dollars_doubled(value))?;
    }
    Ok(())
}

/// A value from which no variable is filled in.
fn dollars_doubled(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => toml::Value::String(text.replace('$', "$$")),
        toml::Value::Array(values) => toml::Value::Array(values.into_iter().map(dollars_doubled).collect()),
        toml::Value::Table(entries) => {
            toml::Value::Table(entries.into_iter().map(|(key, value)| (key, dollars_doubled(value))).collect())
        }
        other => other,
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    format!("[{}]", parts.collect::<Vec<_>>().join(", "))
}

fn on_cancel(policy: OnCancel) -> &'static str {
    match policy {
        OnCancel::Abort => "abort",
        OnCancel::Drain => "drain",
    }
}

fn prefill(prefill: Option<Prefill>) -> &'static str {
    match prefill {
        None => "off",
        Some(Prefill::Vllm) => "vllm",
        Some(Prefill::Prefix) => "prefix",
    }
}
