//! `[[upstreams]]`

use std::collections::HashSet;

use secrecy::SecretString;

use super::check::{self, bounded, unique_name};
use super::check_identity::{self, Found};
use super::check_kind::{self, Spoken};
use super::raw::{Table, Value};
use super::{BaseUrl, Gate, OnCancel, Prefill, Probe, Protocol, StreamsLimit, defaults, secret};
use super::{Upstream, UpstreamDrain, UpstreamKey, UpstreamKind};

/// Every upstream of the file; without a name where the name itself is a problem.
pub(super) fn upstreams(root: &mut Table<'_>) -> Vec<Upstream> {
    let mut seen = HashSet::new();
    let mut upstreams = Vec::new();
    for mut table in bounded(root, "upstreams") {
        let name = unique_name(&mut table, "\"openai\"", &mut seen);
        upstreams.push(upstream(&mut table, name.unwrap_or_default()));
    }
    if upstreams.is_empty() {
        let remedy = "add [[upstreams]] with a name, a base_url and a key_env, or try: millstream demo";
        root.refuse("upstreams", "there is none".to_owned(), remedy.to_owned());
    }
    upstreams
}

fn upstream(table: &mut Table<'_>, name: String) -> Upstream {
    let kind = check_kind::kind(table);
    let (keys, found, ca_file) = if kind == UpstreamKind::Demo {
        refuse_settings_of_remote(table);
        (Vec::new(), Found::default(), None)
    } else {
        let keys = keys(table);
        let found = check_identity::read(table, kind, &keys);
        (keys, found, table.take("ca_file").and_then(|value| secret::readable_pem(&value)))
    };
    let Spoken { preset, base, api, responses, api_version, extra_body } =
        check_kind::spoken(table, kind, found.base_url.as_deref());
    // It refuses the option, and tells the usage unasked.
    let include_usage = defaults::INCLUDE_USAGE && preset.is_none_or(|preset| preset.name != "mistral");
    let protocols = [("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];
    Upstream {
        name,
        kind,
        preset: preset.map(|preset| preset.name),
        api,
        responses,
        api_version,
        extra_body,
        base: base.unwrap_or_else(BaseUrl::placeholder),
        keys,
        identity: found.identity,
        protocol: table.choice("protocol", &protocols, Protocol::Auto),
        connections_max: table.whole("connections_max", &defaults::UPSTREAM_CONNECTIONS_MAX),
        h2_streams_max: table.whole("h2_streams_max", &defaults::UPSTREAM_H2_STREAMS_MAX),
        dns_timeout: table.duration("dns_timeout", &defaults::DNS_TIMEOUT),
        connect_timeout: table.duration("connect_timeout", &defaults::CONNECT_TIMEOUT),
        handshake_timeout: table.duration("handshake_timeout", &defaults::HANDSHAKE_TIMEOUT),
        idle_timeout: table.duration("idle_timeout", &defaults::UPSTREAM_IDLE_TIMEOUT),
        lifetime_max: table.duration("lifetime_max", &defaults::LIFETIME_MAX),
        receive_buffer_bytes: table.size("receive_buffer", &defaults::RECEIVE_BUFFER),
        ca_file,
        include_usage: table.flag("include_usage", include_usage),
        on_cancel: on_cancel(table).unwrap_or(defaults::ON_CANCEL),
        drain: UpstreamDrain {
            bytes_max: table.size("drain_bytes_max", &defaults::UPSTREAM_DRAIN_BYTES_MAX),
            timeout: table.duration("drain_timeout", &defaults::UPSTREAM_DRAIN_TIMEOUT),
            at_once_max: table.whole("drains_max", &defaults::UPSTREAM_DRAINS_MAX),
        },
        gate: gate(table),
        probe: probe(table),
        prefill: prefill(table, None),
    }
}

/// The keys that the upstream may be sent: several with names, or one, or none.
fn keys(table: &mut Table<'_>) -> Vec<UpstreamKey> {
    let several = table.take("keys");
    let one = secret::read(table, several.as_ref()).ok().flatten();
    let Some(value) = several else {
        let weight = defaults::KEY_WEIGHT.default;
        return one
            .map(|(secret, _)| UpstreamKey { name: "default".to_owned(), secret, weight })
            .into_iter()
            .collect();
    };
    let elements = value.elements();
    let most = defaults::UPSTREAM_KEYS_MAX;
    if elements.is_empty() || elements.len() > most {
        let remedy = format!("write 1 to {most} keys, or leave them out where it wants none");
        value.refuse_unseen(format!("an upstream with {} keys", elements.len()), remedy);
    }
    let mut seen = HashSet::new();
    elements.iter().take(most).filter_map(|element| key(element, &mut seen)).collect()
}

/// One of `upstreams.keys`.
fn key(value: &Value<'_>, seen: &mut HashSet<String>) -> Option<UpstreamKey> {
    let mut table = value.table("write { name = \"a\", key_env = \"NAME\" }")?;
    let name = unique_name(&mut table, "\"a\"", seen);
    let weight = table.whole("weight", &defaults::KEY_WEIGHT);
    let source = secret::read(&mut table, None);
    if matches!(source, Ok(None)) {
        let remedy = "write key_env = \"NAME\" or key_file = \"/path\"";
        table.refuse("", "the key has no source".to_owned(), remedy.to_owned());
    }
    // Kept without its secret after a problem, so that targets that name it are not refused as well.
    let secret = source.ok().flatten().map_or_else(|| SecretString::from(""), |(secret, _)| secret);
    Some(UpstreamKey { name: name?, secret, weight })
}

/// `on_cancel` of an upstream or a route, where it is set.
pub(super) fn on_cancel(table: &mut Table<'_>) -> Option<OnCancel> {
    table.take("on_cancel")?.choice(&[("abort", OnCancel::Abort), ("drain", OnCancel::Drain)])
}

/// `prefill` of an upstream or a target, which is that `above` where it is silent.
pub(super) fn prefill(table: &mut Table<'_>, above: Option<Prefill>) -> Option<Prefill> {
    let words = [("off", None), ("vllm", Some(Prefill::Vllm)), ("prefix", Some(Prefill::Prefix))];
    table.choice("prefill", &words, above)
}

/// The settings of what bounds the streams at once of one target.
fn gate(table: &mut Table<'_>) -> Option<Gate> {
    let initial = table.whole("streams_limit_initial", &defaults::STREAMS_LIMIT_INITIAL);
    let min = table.whole("streams_limit_min", &defaults::STREAMS_LIMIT_MIN);
    let max = table.whole("streams_limit_max", &defaults::STREAMS_LIMIT_MAX);
    check::ordered(table, [("streams_limit_min", min), ("streams_limit_initial", initial)]);
    check::ordered(table, [("streams_limit_initial", initial), ("streams_limit_max", max)]);
    let queue_max = table.whole("queue_max", &defaults::QUEUE_MAX);
    let queue_timeout = table.duration("queue_timeout", &defaults::QUEUE_TIMEOUT);
    let batch_share_max = table.real("batch_share_max", &defaults::BATCH_SHARE_MAX);
    let value = table.take("streams_limit").filter(|value| !value.is("off"))?;
    let bounds = &defaults::STREAMS_LIMIT;
    let limit = if value.is("adaptive") {
        StreamsLimit::Adaptive { initial, min, max }
    } else if value.is_text() && !value.has_variable() {
        let remedy = format!("write {} to {}, \"adaptive\" or \"off\"", bounds.least, bounds.most);
        value.refuse("not a whole number".to_owned(), remedy);
        return None;
    } else {
        StreamsLimit::Fixed(value.whole(bounds.least, bounds.most)?)
    };
    Some(Gate { limit, queue_max, queue_timeout, batch_share_max })
}

/// The settings of what asks an upstream whether it is well.
fn probe(table: &mut Table<'_>) -> Option<Probe> {
    let interval = table.duration("probe_interval", &defaults::PROBE_INTERVAL);
    let timeout = table.duration("probe_timeout", &defaults::PROBE_TIMEOUT);
    check::ordered(table, [("probe_timeout", timeout), ("probe_interval", interval)]);
    let value = table.take("probe").filter(|value| !value.is("off"))?;
    let path = value.text()?;
    let is_plain = |b: u8| b.is_ascii_graphic() && b != b'#';
    if !path.starts_with('/') || path.len() > 1024 || !path.bytes().all(is_plain) {
        let remedy = "write a path below base_url such as \"/models\", or \"off\"";
        value.refuse("not a path".to_owned(), remedy.to_owned());
        return None;
    }
    Some(Probe { path, interval, timeout })
}

/// A demo upstream is inside this process, so it has no address and no key.
fn refuse_settings_of_remote(table: &mut Table<'_>) {
    for key in ["base_url", "key_env", "key_file", "keys", "ca_file"] {
        if let Some(value) = table.take(key) {
            value.refuse_unseen("an upstream of kind \"demo\" takes none".to_owned(), "remove it".to_owned());
        }
    }
}
