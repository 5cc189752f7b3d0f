//! Where client and upstream speak the same dialect, so that bytes go on as they came: the path there, and the little that
//! a place wants of its own.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::call::Call;
use crate::api::dialect::Dialect;
use crate::api::endpoint::Endpoint;
use crate::config::{OpenAiApi, Upstream, UpstreamKind};
use crate::dialects::{anthropic, gemini, is_claude, responses};

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// How a call is passed on as it came.
pub(super) struct Native {
    /// Path and query below the upstream's base.
    pub(super) path: Rc<str>,
    /// What is still to be done to its body, and for which model.
    pub(super) edit: fn(Bytes, &str) -> Bytes,
}

impl Native {
    fn at(path: Rc<str>) -> Self {
        Self { path, edit: |body, _| body }
    }
}

/// `None` where `upstream` does not speak the dialect of the call.
pub(super) fn form(upstream: &Upstream, call: &Call, model: &str) -> Option<Native> {
    use Endpoint as E;
    let dialect = call.endpoint.dialect();
    let as_it_is = || Native::at(call.path_for(Some(model)));
    match upstream.kind {
        UpstreamKind::Demo | UpstreamKind::OpenAi if dialect == Dialect::OpenAi => {
            has(upstream, call.endpoint).then(|| Native { edit: thoughts_of(call), ..as_it_is() })
        }
        UpstreamKind::Azure if dialect == Dialect::OpenAi => has(upstream, call.endpoint).then(|| Native {
            path: azure_path(upstream, model, &call.path_and_query).into(),
            edit: thoughts_of(call),
        }),
        UpstreamKind::Anthropic if dialect == Dialect::Anthropic => {
            Some(Native { path: call.path_for(Some(model)), edit: own_thoughts })
        }
        UpstreamKind::Gemini if dialect == Dialect::Gemini => {
            let edit = if matches!(call.endpoint, E::GenerateContent | E::StreamGenerateContent) {
                gemini_thoughts
            } else {
                gemini_model
            };
            Some(Native { path: call.path_for(Some(model)), edit })
        }
        UpstreamKind::Vertex => vertex(call, model),
        UpstreamKind::Cohere if call.endpoint == E::Rerank => Some(as_it_is()),
        UpstreamKind::Ollama if dialect == Dialect::Ollama => {
            Some(Native::at(format!("/api{}", call.path_and_query).into()))
        }
        _ => None,
    }
}

/// Whether an upstream that speaks OpenAI's dialect has this surface of it, as far as another one could stand for it.
fn has(upstream: &Upstream, endpoint: Endpoint) -> bool {
    match endpoint {
        Endpoint::Responses | Endpoint::ResponsesItem => {
            upstream.responses || upstream.api == OpenAiApi::Responses
        }
        Endpoint::ChatCompletions | Endpoint::Completions => upstream.api == OpenAiApi::Chat,
        _ => true,
    }
}

/// Google's models as on its own API; Claude with the model in the path, and a version in the body.
fn vertex(call: &Call, model: &str) -> Option<Native> {
    match call.endpoint {
        Endpoint::Messages if is_claude(model) => {
            let path = anthropic::vertex_target(model, call.streams()).into();
            let edit = |body: Bytes, model: &str| {
                let body = own_thoughts(body, model);
                anthropic::vertex_body(&body).map_or(body, Bytes::from)
            };
            Some(Native { path, edit })
        }
        Endpoint::GenerateContent | Endpoint::StreamGenerateContent | Endpoint::GeminiCountTokens
            if !is_claude(model) =>
        {
            let path = format!("/publishers/google{}", call.path_for(Some(model))).into();
            Some(Native { path, edit: gemini_thoughts })
        }
        _ => None,
    }
}

/// A body without what other providers have thought in a conversation that went on with them.
fn own_thoughts(body: Bytes, _: &str) -> Bytes {
    // What is no JSON is the upstream's to refuse.
    anthropic::own_thoughts(&body).ok().flatten().map_or(body, Bytes::from)
}

/// The same of Google's dialect.
fn gemini_thoughts(body: Bytes, model: &str) -> Bytes {
    gemini::own_thoughts(&body, model).ok().flatten().map_or(body, Bytes::from)
}

/// A body in which the model has the name that it has upstream.
fn gemini_model(body: Bytes, model: &str) -> Bytes {
    gemini::renamed(&body, model).map_or(body, Bytes::from)
}

/// The same of `OpenAI`'s, whose Responses have thoughts.
fn thoughts_of(call: &Call) -> fn(Bytes, &str) -> Bytes {
    match call.endpoint {
        Endpoint::Responses => |body, _| responses::own_thoughts(&body).ok().flatten().map_or(body, Bytes::from),
        _ => |body, _| body,
    }
}

/// Azure's dated API has the deployment in the path of what names a model, and its date in every query.
pub(super) fn azure_path(upstream: &Upstream, model: &str, path: &str) -> String {
    let Some(version) = upstream.api_version.as_ref().filter(|_| upstream.kind == UpstreamKind::Azure) else {
        return path.to_owned();
    };
    const DEPLOYED: [&str; 5] = ["/chat/", "/completions", "/embeddings", "/images/", "/audio/"];
    let is_deployed = DEPLOYED.iter().any(|prefix| path.starts_with(prefix));
    let deployment =
        if is_deployed && !model.is_empty() { format!("/deployments/{}", segment(model)) } else { String::new() };
    let and = if path.contains('?') { '&' } else { '?' };
    format!("{deployment}{path}{and}api-version={version}")
}

/// A name as one segment of a path (RFC 3986, 3.3).
pub(super) fn segment(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    if name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped
                .extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    Cow::Owned(escaped)
}

/// What a place wants in the head of every request.
pub(super) fn add_headers(upstream: &Upstream, headers: &mut Rc<HeaderMap>) {
    match upstream.kind {
        UpstreamKind::Anthropic if !headers.contains_key(&ANTHROPIC_VERSION) => {
            Rc::make_mut(headers).insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        }
        UpstreamKind::Vertex if headers.contains_key(&ANTHROPIC_VERSION) => {
            Rc::make_mut(headers).remove(&ANTHROPIC_VERSION);
        }
        _ => {}
    }
}

/// Takes out what only the client's dialect knows: its versions and betas, and what its SDK says of itself.
pub(super) fn remove_dialect(headers: &mut HeaderMap) {
    const PREFIXES: [&str; 4] = ["anthropic-", "openai-", "x-goog-", "x-stainless-"];
    let is_of_dialect = |name: &&HeaderName| PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    let names: Vec<HeaderName> = headers.keys().filter(is_of_dialect).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_one_segment_of_a_path() {
        assert_eq!(segment("gpt-4.1"), "gpt-4.1");
        assert_eq!(segment("a/b:c ?ä"), "a%2Fb%3Ac%20%3F%C3%A4");
    }

    #[test]
    fn what_only_one_dialect_knows_is_taken_out() {
        let mut headers = HeaderMap::new();
        for name in ["anthropic-beta", "x-stainless-os", "x-goog-user-project", "x-title", "user-agent"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        remove_dialect(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["user-agent", "x-title"]);
    }
}
