//! What Gemini's dialect says in a request's address: the model, what is to be done with it, and a key.
//!
//! Form: Gemini API reference; Google's system parameters (`key`, `alt`) of REST calls.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::endpoint::percent_decode;

/// Query parameters that Google's APIs take for credentials.
const CREDENTIALS: [&str; 4] = ["key", "$key", "access_token", "oauth_token"];
/// The format of a streamed answer.
const ALT: [&str; 2] = ["alt", "$alt"];

/// A query without its credentials.
#[derive(Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// What is left, without the question mark.
    pub query: String,
    /// The first `key`.
    pub key: Option<String>,
}

/// Takes the credentials out of a query; `None` where there are none.
pub fn without_credentials(query: &str) -> Option<Cleaned> {
    let is_secret = |pair: &&str| CREDENTIALS.contains(&&*name(pair));
    if !query.split('&').any(|pair| is_secret(&pair)) {
        return None;
    }
    let mut keys = query.split('&').filter(is_secret).filter(|pair| name(pair).trim_start_matches('$') == "key");
    let key = keys.next().map(|pair| value(pair).into_owned());
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_secret(pair)).collect();
    Some(Cleaned { query: kept.join("&"), key })
}

/// Whether a streamed answer is to come as server-sent events. Otherwise it is one JSON array, written bit by bit.
pub fn asks_events(query: &str) -> bool {
    query.split('&').any(|pair| ALT.contains(&&*name(pair)) && value(pair) == "sse")
}

/// The path below the version: `verb` of `model`, whose name is written so that it can only be read as a name.
pub fn path(model: &str, verb: &str, query: Option<&str>) -> String {
    let mut path = String::from("/models/");
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a string takes everything");
        }
    }
    path.push(':');
    path.push_str(verb);
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        path.push('?');
        path.push_str(query);
    }
    path
}

/// A [`path`] with another model in it.
pub fn rename(path: &str, model: &str) -> String {
    let (place, query) = match path.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (path, None),
    };
    self::path(model, place.rsplit_once(':').map_or("", |(_, verb)| verb), query)
}

fn name(pair: &str) -> Cow<'_, str> {
    decoded(pair.split_once('=').map_or(pair, |(name, _)| name))
}

fn value(pair: &str) -> Cow<'_, str> {
    decoded(pair.split_once('=').map_or("", |(_, value)| value))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_however_they_are_written() {
        for (query, left, key) in [
            ("key=sk-1", "", Some("sk-1")),
            ("alt=sse&key=sk%2D1&x=1", "alt=sse&x=1", Some("sk-1")),
            ("%6bey=a&key=b", "", Some("a")),
            ("$key=a&access_token=t&oauth_token=o&y", "y", Some("a")),
            ("access_token=t", "", None),
        ] {
            let expected = Cleaned { query: left.to_owned(), key: key.map(str::to_owned) };
            assert_eq!(without_credentials(query), Some(expected), "{query}");
        }
        for query in ["", "alt=sse", "keys=1&monkey=2", "x=key"] {
            assert_eq!(without_credentials(query), None, "{query}");
        }
    }

    #[test]
    fn events_are_asked_for_by_name() {
        for (query, expected) in
            [("alt=sse", true), ("x=1&$alt=sse", true), ("%61lt=ss%65", true), ("alt=json", false), ("", false)]
        {
            assert_eq!(asks_events(query), expected, "{query}");
        }
    }

    #[test]
    fn a_path_has_one_reading() {
        let path = path("a/b:c d?#ä", "generateContent", Some("alt=sse"));
        assert_eq!(path, "/models/a/b:c%20d%3F%23%C3%A4:generateContent?alt=sse");
        assert_eq!(rename(&path, "x:y"), "/models/x:y:generateContent?alt=sse");
        assert_eq!(rename("/models/m:countTokens", "n"), "/models/n:countTokens");
    }
}
