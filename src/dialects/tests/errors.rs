//! Errors keep their meaning from a provider to a client.

use http::HeaderMap;

use super::cases::{Which, each};
use super::roster;
use crate::dialects::conversation::{Failure, FailureKind};

#[test]
fn a_providers_error_is_understood() {
    each(Which::Errors, |case| {
        let failure = case.provider.failure(case.status, &HeaderMap::new(), case.body.as_bytes());
        if failure.message.trim().is_empty() {
            return Err("an error without words".to_owned());
        }
        if failure.message.contains('{') && failure.message.contains("\"message\"") {
            return Err(format!("the whole document for words: {}", failure.message));
        }
        if !fits(case.status, failure.kind) {
            return Err(format!("status {} is taken for {:?}", case.status, failure.kind));
        }
        speak(&failure)
    });
}

#[test]
fn any_body_with_any_status_is_an_error() {
    let bodies: [&[u8]; 8] = [
        b"",
        b"<html>Bad Gateway</html>",
        b"null",
        b"[]",
        b"{}",
        b"{\"error\":null}",
        b"{\"error\":{\"message\":17,\"code\":[]}}",
        b"\xff\xfe{",
    ];
    for (kind, provider) in roster::providers() {
        for status in [400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 520, 529, 599] {
            for body in bodies {
                let failure = provider.failure(status, &HeaderMap::new(), body);
                let body = String::from_utf8_lossy(body);
                assert!(!failure.message.trim().is_empty(), "{kind}: no words for {status} {body}");
                assert_eq!(failure.kind, FailureKind::of_status(status), "{kind}: {status} {body}");
                assert_eq!(speak(&failure), Ok(()), "{kind}: {status} {body}");
            }
        }
    }
}

#[test]
fn every_kind_of_error_can_be_said() {
    for kind in FailureKind::ALL {
        for status in [0, 200, 400, 500, 529] {
            let failure = Failure { kind, ..Failure::new(status, "Words \"in\" quotes.") };
            assert_eq!(speak(&failure), Ok(()), "{kind:?} with {status}");
        }
    }
}

/// Says an error in all dialects of clients.
fn speak(failure: &Failure) -> Result<(), String> {
    for speaker in roster::fronts() {
        let (status, body) = speaker.front.failure(failure, "req_1");
        let name = speaker.name;
        if !(400..600).contains(&status) || !means(status, failure.kind) {
            return Err(format!("{name} says {:?} with status {status}", failure.kind));
        }
        let body: serde_json::Value = serde_json::from_slice(&body).map_err(|error| format!("{name}: {error}"))?;
        let words = serde_json::Value::from(failure.message.as_str()).to_string();
        if !body.to_string().contains(words.trim_matches('"')) {
            return Err(format!("{name} swallows the provider's words: {body}"));
        }
    }
    Ok(())
}

/// Whether a client takes the status for this kind of error.
fn means(status: u16, kind: FailureKind) -> bool {
    use FailureKind::{
        BadRequest, Billing, Conflict, Forbidden, Overloaded, RateLimited, Server, Timeout, TooLarge,
    };
    let told = FailureKind::of_status(status);
    told == kind
        || match kind {
            // Dialects that have no word for it: a quota is a limit, and credit is a matter of the account.
            Billing => [RateLimited, Forbidden, BadRequest].contains(&told),
            TooLarge | Conflict => told == BadRequest,
            // No client does one thing for one of these and another for another.
            Server | Overloaded | Timeout => [Server, Overloaded, Timeout].contains(&told),
            _ => false,
        }
}

/// Whether an error with this status can be of this kind: providers agree on statuses only roughly.
fn fits(status: u16, kind: FailureKind) -> bool {
    FailureKind::of_status(status) == kind
        || match status {
            400 => matches!(
                kind,
                FailureKind::Unauthenticated
                    | FailureKind::Billing
                    | FailureKind::TooLarge
                    | FailureKind::NotFound
            ),
            401 | 403 => matches!(
                kind,
                FailureKind::Unauthenticated
                    | FailureKind::Forbidden
                    | FailureKind::Billing
                    | FailureKind::BadRequest
            ),
            429 => matches!(kind, FailureKind::Billing | FailureKind::Overloaded),
            500.. => matches!(kind, FailureKind::Server | FailureKind::Overloaded | FailureKind::Timeout),
            _ => false,
        }
}
