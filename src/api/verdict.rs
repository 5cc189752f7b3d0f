//! What an upstream's error means for the request and for the upstream: whose fault it is, and who may be asked next.
//!
//! Providers agree on statuses only roughly, so the words of the error object decide where they are known: OpenAI's
//! `code` and `type`, Anthropic's and Google's forms, which compatible servers pass on, `OpenRouter`'s numeric code, and
//! the exceptions of AWS, whose name stands in a header.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Deserialize;

use crate::api::error::RETRY_AFTER_MS;

/// Bytes of an error that are looked at. The longest that providers send (a filter's findings) have some 4 KiB.
pub const ERROR_BYTES_MAX: usize = 16 * 1024;

/// The name of an exception of AWS, and behind a colon where it is documented.
const AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// What an upstream's answer says of it and of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An answer.
    Fine,
    /// The request is at fault, and would be anywhere.
    Client,
    /// The request is too long for this model.
    TooLong,
    /// The request, or its answer, is refused for what it says.
    Policy,
    /// Too many requests; with the time after which more are welcome, if it was said.
    Throttled(Option<Duration>),
    /// The account's quota, credit or budget is used up: asking again soon is in vain.
    Spent(Option<Duration>),
    /// The account may not do this, or its key is not accepted.
    KeyRefused,
    /// The upstream failed.
    Failed,
}

/// What `status` and, where that is an error, the beginning of its body say.
pub fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    if status.is_success() {
        return Verdict::Fine;
    }
    let mut words = Words::of(body);
    if let Some(exception) = headers.get(AMZN_ERROR_TYPE).and_then(|name| name.to_str().ok()) {
        words.push(exception);
    }
    let after = retry_after(headers).or(words.delay);
    of_status(status.as_u16(), &words, after)
}

fn of_status(status: u16, words: &Words, after: Option<Duration>) -> Verdict {
    match status {
        400 if words.refuse_the_key() => Verdict::KeyRefused,
        400 | 429 if words.say_spent() => Verdict::Spent(after),
        400 | 413 | 422 => words.about_the_request().unwrap_or(Verdict::Client),
        401 => Verdict::KeyRefused,
        402 => Verdict::Spent(after),
        403 => {
            words.about_the_request().filter(|verdict| *verdict != Verdict::Client).unwrap_or(Verdict::KeyRefused)
        }
        // Anthropic leaves the time out where the month's budget is used up, and only there.
        429 if words.is_anthropic && after.is_none() => Verdict::Spent(None),
        429 | 529 => Verdict::Throttled(after),
        // A 503 that says when to come back is a limit by another name.
        503 if after.is_some() || words.have(&["server busy"]) => Verdict::Throttled(after),
        // Cohere's, for what its filters don't let through.
        498 => Verdict::Policy,
        // 424: a model of Bedrock's has failed.
        408 | 424 | 425 | 500.. => Verdict::Failed,
        _ => Verdict::Client,
    }
}

/// What the error at the beginning of a stream says; comments and events without content may stand before it, and
/// others behind. Without a word that is known it is the upstream's failure: it had accepted the request.
pub fn of_event(events: &[u8]) -> Verdict {
    let lines = events.split(|byte| matches!(byte, b'\r' | b'\n'));
    let mut last = Words::default();
    // Where each line is an event, it has no name for what it says.
    for line in lines {
        let Some(data) = line.strip_prefix(b"data:").or_else(|| line.starts_with(b"{").then_some(line)) else {
            continue;
        };
        let Ok(object) = serde_json::from_slice::<Object<'_>>(data) else { continue };
        last = Words::of_object(&object);
        if object.is_error() {
            break;
        }
    }
    of_words(&last)
}

fn of_words(words: &Words) -> Verdict {
    if words.say_spent() {
        return Verdict::Spent(words.delay);
    }
    if words.refuse_the_key() {
        return Verdict::KeyRefused;
    }
    if let Some(verdict) = words.about_the_request() {
        return verdict;
    }
    match words.status {
        Some(status @ 400..) => of_status(status, words, words.delay),
        _ if words.have(&["overloaded", "rate_limit", "too_many_requests", "RESOURCE_EXHAUSTED"]) => {
            Verdict::Throttled(words.delay)
        }
        _ if words.have(&["authentication_error", "permission_error", "invalid_api_key"]) => Verdict::KeyRefused,
        _ => Verdict::Failed,
    }
}

/// What a whole answer says where events were asked for: an error, in the forms that one has, or an answer all the same.
pub fn of_stray(body: &[u8]) -> Verdict {
    #[derive(Deserialize)]
    struct Envelope {
        error: Option<serde::de::IgnoredAny>,
    }
    let is_error = serde_json::from_slice(body).is_ok_and(|envelope: Envelope| envelope.error.is_some());
    if is_error { of_words(&Words::of(body)) } else { Verdict::Fine }
}

/// How long an answer asks to be left alone. A date is counted from the answer's own, so that no clocks are compared.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    if let Some(millis) = text(&RETRY_AFTER_MS).and_then(number) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let after = text(&RETRY_AFTER)?;
    if let Some(seconds) = number(after) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (until, now) = (httpdate::parse_http_date(after).ok()?, httpdate::parse_http_date(text(&DATE)?).ok()?);
    until.duration_since(now).ok()
}

/// The words of an error object that are worth knowing.
#[derive(Default)]
struct Words {
    /// `code`, `type`, `status` and the message, in one text.
    text: String,
    /// A numeric code that is an HTTP status.
    status: Option<u16>,
    /// Anthropic's envelope.
    is_anthropic: bool,
    /// After which Google says that more is welcome.
    delay: Option<Duration>,
}

/// The members that any provider's error has, at whichever of two levels.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(borrow)]
    error: Option<Inner<'a>>,
    #[serde(borrow)]
    code: Option<Code<'a>>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Code<'a>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    innererror: Option<Box<Self>>,
    /// Where the Responses API has it.
    #[serde(borrow)]
    response: Option<Box<Self>>,
    /// The name of an exception of AWS.
    #[serde(borrow)]
    __type: Option<Cow<'a, str>>,
    /// Google's.
    #[serde(borrow)]
    details: Option<Details<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Details<'a> {
    List(#[serde(borrow)] Vec<Detail<'a>>),
    Other(serde::de::IgnoredAny),
}

/// Of `google.rpc.ErrorInfo`, `QuotaFailure` or `RetryInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    retry_delay: Option<Cow<'a, str>>,
    #[serde(borrow)]
    violations: Vec<Violation<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Violation<'a> {
    #[serde(borrow)]
    quota_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Inner<'a> {
    Object(#[serde(borrow)] Box<Object<'a>>),
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Code<'a> {
    Number(u16),
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(serde::de::IgnoredAny),
}

impl Object<'_> {
    fn is_error(&self) -> bool {
        let is_failed = self.response.as_ref().is_some_and(|response| response.error.is_some());
        self.error.is_some() || is_failed || self.r#type.as_deref() == Some("error")
    }
}

impl Words {
    fn of(body: &[u8]) -> Self {
        // Where Google streams without events, it answers with a list.
        let body = body.trim_ascii();
        let body = body.strip_prefix(b"[").and_then(|body| body.strip_suffix(b"]")).unwrap_or(body);
        serde_json::from_slice(body).map_or_else(|_| Self::default(), |object| Self::of_object(&object))
    }

    fn of_object(object: &Object<'_>) -> Self {
        let is_anthropic = object.r#type.as_deref() == Some("error") && object.error.is_some();
        let mut words = Self { is_anthropic, ..Self::default() };
        words.add(object);
        words
    }

    fn add(&mut self, object: &Object<'_>) {
        for code in [&object.code, &object.status].into_iter().flatten() {
            match code {
                Code::Number(status) => self.status = self.status.or(Some(*status)),
                Code::Text(text) => self.push(text),
                Code::Other(_) => {}
            }
        }
        for text in [&object.r#type, &object.message, &object.__type].into_iter().flatten() {
            self.push(text);
        }
        if let Some(Details::List(details)) = &object.details {
            for detail in details {
                self.add_detail(detail);
            }
        }
        match &object.error {
            Some(Inner::Object(object)) => self.add(object),
            Some(Inner::Text(text)) => self.push(text),
            Some(Inner::Other(_)) | None => {}
        }
        for inner in [&object.innererror, &object.response].into_iter().flatten() {
            self.add(inner);
        }
    }

    fn add_detail(&mut self, detail: &Detail<'_>) {
        let quotas = detail.violations.iter().filter_map(|violation| violation.quota_id.as_deref());
        for text in detail.reason.as_deref().into_iter().chain(quotas) {
            self.push(text);
        }
        let seconds = detail.retry_delay.as_deref().and_then(|delay| delay.strip_suffix('s')?.parse().ok());
        self.delay = self.delay.or_else(|| Duration::try_from_secs_f64(seconds?).ok());
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn have(&self, any: &[&str]) -> bool {
        any.iter().any(|word| self.text.contains(word))
    }

    fn say_spent(&self) -> bool {
        self.have(&[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_error",
            "enforced_spend_limit_reached",
            "credit balance is too low",
            "insufficient_credits",
            // A day's quota of Google's; the time that stands beside it is that of the minute's.
            "PerDay",
            "ServiceQuotaExceededException",
        ])
    }

    /// Whether a word says that the account, and not the request, is at fault.
    fn refuse_the_key(&self) -> bool {
        self.have(&[
            "API_KEY_INVALID",
            "FAILED_PRECONDITION",
            "ExpiredTokenException",
            "UnrecognizedClientException",
        ])
    }

    /// Why the request was refused, if a word says so.
    fn about_the_request(&self) -> Option<Verdict> {
        const TOO_LONG: &[&str] = &[
            "context_length_exceeded",
            "context_window",
            "maximum context length",
            "prompt is too long",
            "input is too long",
            "Input is too long",
            "number of tokens in the prompt cannot exceed",
            "exceeds the maximum number of tokens",
            "request_too_large",
        ];
        const POLICY: &[&str] =
            &["content_policy_violation", "content_filter", "ResponsibleAIPolicyViolation", "moderation_blocked"];
        if self.have(TOO_LONG) {
            Some(Verdict::TooLong)
        } else if self.have(POLICY) {
            Some(Verdict::Policy)
        } else {
            self.have(&["invalid_request_error", "not_found_error", "INVALID_ARGUMENT"]).then_some(Verdict::Client)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn statuses_and_words_say_whose_fault_it_is() {
        use Verdict::{Client, Failed, Fine, KeyRefused, Policy, Spent, Throttled, TooLong};
        const S3: Option<Duration> = Some(Duration::from_secs(3));
        let after = headers(&[("retry-after", "3")]);
        let none = HeaderMap::new();
        for (status, headers, body, expected) in [
            (200, &none, "", Fine),
            (400, &none, "not JSON", Client),
            (400, &none, r#"{"error":{"code":"context_length_exceeded","message":"m"}}"#, TooLong),
            (
                400,
                &none,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens"}}"#,
                TooLong,
            ),
            (413, &none, r#"{"error":{"type":"request_too_large"}}"#, TooLong),
            (
                400,
                &none,
                r#"{"error":{"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                Policy,
            ),
            (401, &none, "", KeyRefused),
            (403, &none, "{}", KeyRefused),
            (403, &none, r#"{"error":{"code":"content_policy_violation"}}"#, Policy),
            (402, &none, "", Spent(None)),
            (404, &none, r#"{"error":{"code":"model_not_found"}}"#, Client),
            (409, &none, "", Client),
            (408, &none, "", Failed),
            (429, &after, r#"{"error":{"code":"rate_limit_exceeded"}}"#, Throttled(S3)),
            (429, &none, r#"{"error":{"code":"rate_limit_exceeded"}}"#, Throttled(None)),
            (429, &none, r#"{"error":{"code":"insufficient_quota"}}"#, Spent(None)),
            (429, &none, r#"{"type":"error","error":{"type":"rate_limit_error"}}"#, Spent(None)),
            (429, &after, r#"{"type":"error","error":{"type":"rate_limit_error"}}"#, Throttled(S3)),
            (500, &none, "", Failed),
            (503, &none, "", Failed),
            (503, &after, "", Throttled(S3)),
            (529, &none, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, Throttled(None)),
            (301, &none, "", Client),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(of_answer(status, headers, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn other_dialects_say_whose_fault_it_is() {
        use Verdict::{Client, Failed, KeyRefused, Policy, Spent, Throttled, TooLong};
        let aws = |exception: &str| headers(&[("x-amzn-errortype", exception)]);
        let none = HeaderMap::new;
        let delay = Some(Duration::from_millis(36_500));
        for (status, headers, body, expected) in [
            (
                429,
                none(),
                r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"RequestsPerMinutePerProject"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36.5s"}]}}"#,
                Throttled(delay),
            ),
            (
                429,
                none(),
                r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"RequestsPerDayPerProject"}]},{"retryDelay":"36.5s"}]}}]"#,
                Spent(delay),
            ),
            (429, none(), r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":"text"}}"#, Throttled(None)),
            (
                400,
                none(),
                r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
                KeyRefused,
            ),
            (
                400,
                none(),
                r#"{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}"#,
                TooLong,
            ),
            (400, none(), r#"{"error":{"code":400,"message":"m","status":"FAILED_PRECONDITION"}}"#, KeyRefused),
            (403, none(), r#"{"error":{"code":403,"message":"m","status":"PERMISSION_DENIED"}}"#, KeyRefused),
            (404, none(), r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#, Client),
            (503, none(), r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#, Failed),
            (504, none(), r#"{"error":{"code":504,"message":"m","status":"DEADLINE_EXCEEDED"}}"#, Failed),
            (404, none(), r#"{"error":"model 'x' not found"}"#, Client),
            (503, none(), r#"{"error":"server busy, please try again"}"#, Throttled(None)),
            (500, none(), r#"{"error":"llama runner process has terminated"}"#, Failed),
            (
                429,
                aws("ThrottlingException:http://x/"),
                r#"{"message":"Too many tokens, please wait"}"#,
                Throttled(None),
            ),
            (503, aws("ServiceUnavailableException"), r#"{"message":"m"}"#, Failed),
            (400, aws("ValidationException"), r#"{"message":"Input is too long for requested model."}"#, TooLong),
            (400, aws("ValidationException"), r#"{"message":"m"}"#, Client),
            (400, aws("ServiceQuotaExceededException"), r#"{"message":"m"}"#, Spent(None)),
            (400, none(), r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#, KeyRefused),
            (403, aws("AccessDeniedException"), r#"{"Message":"m"}"#, KeyRefused),
            (404, aws("ResourceNotFoundException"), r#"{"message":"m"}"#, Client),
            (408, aws("ModelTimeoutException"), r#"{"message":"m"}"#, Failed),
            (424, aws("ModelErrorException"), r#"{"message":"m","originalStatusCode":500}"#, Failed),
            (429, aws("ModelNotReadyException"), r#"{"message":"m"}"#, Throttled(None)),
            (401, none(), r#"{"message":"invalid api token"}"#, KeyRefused),
            (
                400,
                none(),
                r#"{"message":"too many tokens: total number of tokens in the prompt cannot exceed 8 - received 9"}"#,
                TooLong,
            ),
            (498, none(), r#"{"message":"m"}"#, Policy),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(of_answer(status, &headers, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_error_in_a_stream_of_another_dialect_is_understood() {
        use Verdict::{Failed, Throttled};
        let delay = Some(Duration::from_millis(36_500));
        for (events, expected) in [
            ("{\"message\":{\"content\":\"\"},\"done\":false}\n{\"error\":\"it broke\"}\n", Failed),
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
                Throttled(None),
            ),
            ("data: {\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}\n\n", Failed),
            ("data: {\"error\":{\"code\":429,\"details\":[{\"retryDelay\":\"36.5s\"}]}}\n\n", Throttled(delay)),
        ] {
            assert_eq!(of_event(events.as_bytes()), expected, "{events}");
        }
    }

    #[test]
    fn the_error_in_a_first_event_is_understood_in_every_form() {
        use Verdict::{Client, Failed, KeyRefused, Policy, Spent, Throttled, TooLong};
        for (data, expected) in [
            (r#"{"error":{"message":"m","type":"server_error","code":null}}"#, Failed),
            (r#"{"error":"it broke"}"#, Failed),
            (r#"{"error":{"code":502,"message":"Provider returned error"}}"#, Failed),
            (r#"{"error":{"code":429,"message":"slow down"}}"#, Throttled(None)),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Throttled(None)),
            (r#"{"error":{"type":"insufficient_quota"}}"#, Spent(None)),
            (r#"{"error":{"code":"context_length_exceeded"}}"#, TooLong),
            (r#"{"type":"error","code":"content_filter","message":"m"}"#, Policy),
            (r#"{"error":{"type":"invalid_request_error","message":"bad"}}"#, Client),
            (r#"{"error":{"type":"authentication_error"}}"#, KeyRefused),
            (r#"{"code":"insufficient_quota","message":"an error by its event's name"}"#, Spent(None)),
            (
                r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"context_length_exceeded"}}}"#,
                TooLong,
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}"#,
                Throttled(None),
            ),
            (r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#, Failed),
            (r#"{"type":"response.failed","response":{"error":null}}"#, Failed),
            ("no JSON at all", Failed),
        ] {
            let role =
                r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"error":null}"#;
            let created = r#"{"type":"response.created","response":{"status":"in_progress","error":null}}"#;
            for event in [
                format!("data: {data}\n\n"),
                format!(": x\n\nevent: error\r\ndata:{data}\r\n\r\n"),
                format!(": data: x\n\ndata: {role}\n\ndata: {data}\n\ndata: [DONE]\n\n"),
                format!("event: response.created\ndata: {created}\n\ndata: {data}\n\n"),
            ] {
                assert_eq!(of_event(event.as_bytes()), expected, "{event}");
            }
        }
        let late = "data: {\"error\":{\"type\":\"server_error\"}}\n\ndata: {\"error\":{\"code\":\"insufficient_quota\"}}\n\n";
        assert_eq!(of_event(late.as_bytes()), Failed, "the first counts");
    }

    #[test]
    fn a_whole_answer_in_place_of_events_is_understood_on_however_many_lines() {
        for (body, expected) in [
            ("{\n  \"error\": {\n    \"code\": \"context_length_exceeded\"\n  }\n}\n", Verdict::TooLong),
            (r#"{"error":{"code":429,"message":"bad data: {}"}}"#, Verdict::Throttled(None)),
            (r#"{"error":null,"choices":[]}"#, Verdict::Fine),
            ("<html>", Verdict::Fine),
        ] {
            assert_eq!(of_stray(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn the_time_to_stay_away_is_read_in_every_form() {
        let ms = |millis| Some(Duration::from_millis(millis));
        for (pairs, expected) in [
            (&[("retry-after", "20")][..], ms(20_000)),
            (&[("retry-after", " 1.5 ")], ms(1_500)),
            (&[("retry-after", "20"), ("retry-after-ms", "250")], ms(250)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e300")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
            (
                &[("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT"), ("date", "Wed, 21 Oct 2026 07:28:00 GMT")],
                ms(30_000),
            ),
            (&[("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")], None),
            (&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), ("date", "Wed, 21 Oct 2026 07:28:30 GMT")], None),
        ] {
            assert_eq!(retry_after(&headers(pairs)), expected, "{pairs:?}");
        }
    }
}
