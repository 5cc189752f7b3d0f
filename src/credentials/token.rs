//! OAuth tokens: from a token endpoint's answer to the header that shows one.

use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::http::{Answer, FetchError};
use super::store::{Current, Form};

/// What all token endpoints answer (RFC 6749 5.1), and two words of Azure's metadata server, which writes numbers as
/// strings.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Value>,
    expires_on: Option<Value>,
}

/// What they answer when they give none (RFC 6749 5.2).
#[derive(Deserialize)]
struct Denied {
    error: String,
    error_description: Option<String>,
}

/// Characters of a refusal that are logged: Entra's run to several lines.
const TOLD_MAX: usize = 300;

/// The token in `answer`, which was asked for at `asked`.
pub(super) fn read(answer: &Answer, asked: SystemTime) -> Result<Current, FetchError> {
    if !answer.status.is_success() {
        return Err(FetchError::Refused { status: answer.status, told: told(&answer.body) });
    }
    let granted: Granted =
        serde_json::from_slice(&answer.body).map_err(|_| FetchError::Malformed("no token in it"))?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", granted.access_token))
        .map_err(|_| FetchError::Malformed("its token can't stand in a header"))?;
    value.set_sensitive(true);
    let life = granted.expires_in.as_ref().and_then(seconds);
    let moment = granted.expires_on.as_ref().and_then(seconds);
    let expires = match (life, moment) {
        (Some(life), _) => asked.checked_add(life),
        (None, Some(moment)) => SystemTime::UNIX_EPOCH.checked_add(moment),
        (None, None) => None,
    };
    let expires = expires.ok_or(FetchError::Malformed("it does not say when its token expires"))?;
    if expires <= asked {
        return Err(FetchError::Malformed("its token has expired already"));
    }
    Ok(Current { form: Form::Headers(vec![(AUTHORIZATION, value)]), expires: Some(expires) })
}

/// Adds one more header to those of a token.
pub(super) fn with(mut current: Current, name: HeaderName, value: &str) -> Current {
    if let (Form::Headers(headers), Ok(mut value)) = (&mut current.form, HeaderValue::from_str(value)) {
        value.set_sensitive(true);
        headers.push((name, value));
    }
    current
}

fn seconds(value: &Value) -> Option<Duration> {
    let number = match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_i64().map(|_| 0)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.map(Duration::from_secs)
}

/// What a refusal says, on one line of bounded length. Only the two fields that are for people are read.
fn told(body: &[u8]) -> String {
    let Ok(Denied { error, error_description }) = serde_json::from_slice(body) else { return String::new() };
    let text = error_description.map_or_else(|| error.clone(), |description| format!("{error}: {description}"));
    text.chars().take(TOLD_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { status, headers: http::HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn a_life_is_read_in_every_form() {
        let asked = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        for (fields, expected) in [
            ("\"expires_in\": 3599", 4599),
            ("\"expires_in\": \"60\", \"expires_on\": \"1506484173\"", 1060),
            ("\"expires_on\": \"1506484173\"", 1_506_484_173),
        ] {
            let body = format!("{{\"access_token\": \"canary\", \"token_type\": \"Bearer\", {fields}}}");
            let current = read(&answer(200, &body), asked).expect(fields);
            let expires = current.expires.expect("an end").duration_since(SystemTime::UNIX_EPOCH);
            assert_eq!(expires.expect("later").as_secs(), expected, "{fields}");
            assert!(!format!("{current:?}").contains("canary"));
        }
    }

    #[test]
    fn what_gives_no_token_says_why() {
        let refusal = "{\"error\": \"invalid_grant\", \"error_description\": \"Bad\\r\\nsignature.\"}";
        for (status, body, expected) in [
            (400, refusal, "400 Bad Request invalid_grant: Bad  signature."),
            (500, "canary", "500 Internal Server Error"),
            (200, "canary", "no token in it"),
            (200, "{\"access_token\": \"canary\\n\", \"expires_in\": 1}", "can't stand in a header"),
            (200, "{\"access_token\": \"canary\"}", "does not say when"),
            (200, "{\"access_token\": \"canary\", \"expires_in\": 0}", "expired already"),
            (200, "{\"access_token\": \"canary\", \"expires_in\": -5}", "expired already"),
        ] {
            let error = read(&answer(status, body), SystemTime::UNIX_EPOCH).expect_err(body).to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }
}
