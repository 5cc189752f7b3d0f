//! `[routes.defaults]`: headers and members of a body, set where a request lacks them.

use http::{HeaderName, HeaderValue};
use serde_json::Value as Json;
use toml::de::DeValue;

use super::raw::{Table, Value};
use super::{BodyDefault, Defaults};

/// Entries of either table: each is looked for in every request of the route.
const ENTRIES_MAX: usize = 32;

/// Headers that the gateway or its connections decide about: of one connection only (RFC 9110 7.6.1), about a body
/// that is the client's, or about who sends.
const REFUSED_HEADERS: [&str; 18] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Members that decide where a request goes, or how its answer is read.
const REFUSED_MEMBERS: [&str; 6] = ["model", "models", "stream", "stream_options", "messages", "n"];

/// `[routes.defaults]`
pub(super) fn defaults(table: &mut Table<'_>) -> Defaults {
    let headers = bounded(table, "headers");
    Defaults {
        headers: headers.iter().filter_map(|(name, value)| header(name, value)).collect(),
        body: members(table, "body"),
    }
}

/// The members of a JSON body that the table `key` gives.
pub(super) fn members(table: &mut Table<'_>, key: &'static str) -> Vec<BodyDefault> {
    bounded(table, key).iter().filter_map(|(name, value)| member(name, value)).collect()
}

/// The entries of the table `key`, not too many.
fn bounded<'d>(table: &mut Table<'d>, key: &'static str) -> Vec<(&'d str, Value<'d>)> {
    let mut entries = table.table(key).rest();
    if entries.len() > ENTRIES_MAX {
        table.refuse_at(key, format!("more than {ENTRIES_MAX} entries"), String::new());
        entries.truncate(ENTRIES_MAX);
    }
    entries
}

/// The value is not repeated in problems: it may be a secret.
fn header(name: &str, value: &Value<'_>) -> Option<(HeaderName, HeaderValue)> {
    let Ok(header) = HeaderName::try_from(name) else {
        value.refuse_unseen("not the name of a header".to_owned(), "write such as x-title = \"app\"".to_owned());
        return None;
    };
    // To a CGI-like server "_" and "-" in a name are the same.
    if REFUSED_HEADERS.contains(&header.as_str().replace('_', "-").as_str()) {
        let remedy = if header == http::header::AUTHORIZATION {
            "write key_env, key_file or keys with the upstream"
        } else {
            "remove it"
        };
        value.refuse_unseen("this header is the gateway's own business".to_owned(), remedy.to_owned());
        return None;
    }
    let text = value.text_unseen()?;
    let Ok(mut content) = HeaderValue::try_from(text) else {
        value.refuse_unseen("not the value of a header".to_owned(), "write visible characters".to_owned());
        return None;
    };
    // What comes from a variable may be a secret, so it is shown nowhere.
    content.set_sensitive(value.has_variable());
    Some((header, content))
}

fn member(name: &str, value: &Value<'_>) -> Option<BodyDefault> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        let remedy = "write 1 to 64 letters, digits, \"_\", \"-\" or \".\"";
        value.refuse_unseen("not a name that is set in a body".to_owned(), remedy.to_owned());
        return None;
    }
    if REFUSED_MEMBERS.contains(&name) {
        let what = "this member decides where a request goes or how its answer is read";
        value.refuse_unseen(what.to_owned(), "remove it".to_owned());
        return None;
    }
    Some(BodyDefault { name: name.to_owned(), json: json(value)?.to_string() })
}

/// The value as JSON, which has no dates and no infinity.
fn json(value: &Value<'_>) -> Option<Json> {
    let found = match value.raw() {
        DeValue::String(_) => return value.text().map(Json::String),
        DeValue::Boolean(flag) => Some(Json::Bool(*flag)),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| Json::Number(number.into()))
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Json::Number)
        }
        DeValue::Array(_) => return value.elements().iter().map(json).collect(),
        DeValue::Table(_) => {
            let entries = value.table("write a table")?.rest();
            return entries.iter().map(|(name, value)| Some(((*name).to_owned(), json(value)?))).collect();
        }
        DeValue::Datetime(_) => None,
    };
    if found.is_none() {
        value.refuse("JSON has no such value".to_owned(), "write a string, a number, or true or false".to_owned());
    }
    found
}
