//! The `x-ratelimit-*` headers, in the form that OpenAI's clients parse.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// Where one limit of requests per minute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Requests per minute.
    pub(super) limit: u32,
    /// Requests that would be admitted now.
    pub(super) remaining: u32,
    /// Until all of `limit` would be admitted again, at most one request's share of the minute too long.
    pub(super) reset: Duration,
}

/// What a response says about the limit of requests that is nearest to its end. Nothing, where none is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders(Option<Window>);

impl RateHeaders {
    pub(super) fn new(window: Window) -> Self {
        Self(Some(window))
    }

    /// The one of two limits with fewer requests left.
    pub(super) fn nearest(key: Option<Window>, global: Option<Window>) -> Self {
        Self([key, global].into_iter().flatten().min_by_key(|window| window.remaining))
    }

    /// Writes the headers over those of the upstream, which speak of the gateway's account there.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let Some(window) = &self.0 else { return };
        headers.insert(LIMIT, window.limit.into());
        headers.insert(REMAINING, window.remaining.into());
        let reset = HeaderValue::try_from(go_duration(window.reset)).expect("digits and letters");
        headers.insert(RESET, reset);
    }
}

/// `duration` in the form of Go's `time.Duration`, rounded up to milliseconds: `12ms`, `1.5s`, `6m0s`.
fn go_duration(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    if seconds == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let mut text = String::new();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let written = if hours > 0 {
        write!(text, "{hours}h{minutes}m{seconds}")
    } else if minutes > 0 {
        write!(text, "{minutes}m{seconds}")
    } else {
        write!(text, "{seconds}")
    };
    written.expect("a String takes everything");
    if millis > 0 {
        text.push_str(format!(".{millis:03}").trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (micros, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (12_000, "12ms"),
            (999_001, "1s"),
            (1_000_000, "1s"),
            (1_500_000, "1.5s"),
            (1_012_000, "1.012s"),
            (59_999_999, "1m0s"),
            (360_000_000, "6m0s"),
            (3_600_000_000, "1h0m0s"),
            (3_661_500_000, "1h1m1.5s"),
        ] {
            assert_eq!(go_duration(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn the_nearest_limit_is_told() {
        let window = |limit, remaining| Window { limit, remaining, reset: Duration::from_mins(6) };
        let check = |key, global, expected: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            RateHeaders::nearest(key, global).apply(&mut headers);
            let written: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect();
            assert_eq!(written, expected);
        };
        let told = |limit, remaining| {
            [
                ("x-ratelimit-limit-requests", limit),
                ("x-ratelimit-remaining-requests", remaining),
                ("x-ratelimit-reset-requests", "6m0s"),
            ]
        };
        check(None, None, &[]);
        check(Some(window(60, 5)), Some(window(600, 6)), &told("60", "5"));
        check(Some(window(60, 5)), Some(window(600, 4)), &told("600", "4"));
        check(None, Some(window(600, 4)), &told("600", "4"));
    }
}
