//! `[[upstreams]]`

use std::collections::HashSet;

use super::check::{bounded, unique_name};
use super::raw::{Table, Value};
use super::{BaseUrl, Protocol, Upstream, UpstreamKind, defaults, secret};

/// Every upstream of the file, and their names (`None` where the name itself is a problem).
pub(super) fn upstreams(root: &mut Table<'_>) -> (Vec<Upstream>, Vec<Option<String>>) {
    let mut seen = HashSet::new();
    let (upstreams, names): (Vec<Upstream>, Vec<Option<String>>) = bounded(root, "upstreams")
        .iter_mut()
        .map(|table| {
            let name = unique_name(table, "\"openai\"", &mut seen);
            (upstream(table, name.clone().unwrap_or_default()), name)
        })
        .unzip();
    if upstreams.is_empty() {
        let remedy = "add [[upstreams]] with a name, a base_url and a key_env, or try: millstream demo";
        root.refuse("upstreams", "there is none".to_owned(), remedy.to_owned());
    }
    (upstreams, names)
}

fn upstream(table: &mut Table<'_>, name: String) -> Upstream {
    let kinds = [("openai", UpstreamKind::OpenAi), ("demo", UpstreamKind::Demo)];
    let kind = table.choice("kind", &kinds, UpstreamKind::OpenAi);
    let (base, key, ca_file) = match kind {
        UpstreamKind::OpenAi => (
            table.require("base_url", "\"https://api.openai.com/v1\"").and_then(|value| base_url(&value)),
            secret::read(table, None).ok().flatten().map(|(secret, _)| secret),
            table.take("ca_file").and_then(|value| secret::readable_pem(&value)),
        ),
        UpstreamKind::Demo => {
            refuse_settings_of_remote(table);
            (None, None, None)
        }
    };
    let protocols = [("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];
    Upstream {
        name,
        kind,
        base: base.unwrap_or_else(BaseUrl::placeholder),
        key,
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
        include_usage: table.flag("include_usage", defaults::INCLUDE_USAGE),
    }
}

/// `base_url`, not repeated in problems because it may hold a password.
fn base_url(value: &Value<'_>) -> Option<BaseUrl> {
    let base = value.text_unseen()?.parse();
    base.map_err(|what| {
        value.refuse_unseen(what, "write such as \"https://api.openai.com/v1\"".to_owned());
    })
    .ok()
}

/// A demo upstream is inside this process, so it has no address and no key.
fn refuse_settings_of_remote(table: &mut Table<'_>) {
    for key in ["base_url", "key_env", "key_file", "ca_file"] {
        if let Some(value) = table.take(key) {
            value.refuse_unseen("an upstream of kind \"demo\" takes none".to_owned(), "remove it".to_owned());
        }
    }
}
