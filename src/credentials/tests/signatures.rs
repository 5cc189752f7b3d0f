//! Signatures, checked by a verifier that shares nothing with the signer but the rules ("Create a signed AWS API
//! request").

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use crate::credentials::sign::Signer;
use crate::credentials::store::Unsigned;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// RFC 2104, for keys of at most a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// What the signature of a request with these headers must be.
fn expected(method: &str, canonical_path: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let body = hex(&Sha256::digest(body));
    let canonical =
        format!("{method}\n{canonical_path}\n{query}\n{}\n{}\n{body}", lines.concat(), names.join(";"));
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n20231114T221320Z\n20231114/us-east-1/bedrock/aws4_request\n{digest}");
    let key = ["20231114", "us-east-1", "bedrock", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, to_sign.as_bytes()))
}

#[test]
fn the_verifier_knows_a_published_signature() {
    // The signing key of the worked example in Amazon's guide to the signature ("Examples of how to derive a signing key").
    let key = ["20150830", "us-east-1", "iam", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

#[test]
fn what_is_sent_is_what_is_signed() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let signer = Signer::fixed("us-east-1", &"AKIDEXAMPLE".into(), &SECRET.into(), Some(&"token-canary".into()));
    for (method, target, canonical_path, query, body) in [
        (
            Method::POST,
            "/model/anthropic.claude-v1%3A0/converse",
            "/model/anthropic.claude-v1%253A0/converse",
            "",
            "{}",
        ),
        (
            Method::POST,
            "/model/amazon.nova-lite-v1:0/converse",
            "/model/amazon.nova-lite-v1%3A0/converse",
            "",
            "ü",
        ),
        (
            Method::POST,
            "/model/arn%3Aaws%3Abedrock%3Aeu%2Fx/converse-stream",
            "/model/arn%253Aaws%253Abedrock%253Aeu%252Fx/converse-stream",
            "",
            "",
        ),
        (Method::GET, "/foundation-models?b=2&a=1%20x", "/foundation-models", "a=1%20x&b=2", ""),
    ] {
        let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let host = "bedrock-runtime.us-east-1.amazonaws.com";
        let unsigned = Unsigned {
            method: &method,
            host,
            path_and_query: target,
            headers: &content_type,
            body: body.as_bytes(),
            now,
        };
        let signed = signer.sign(&unsigned).expect("signed");
        assert!(signed.iter().all(|(_, value)| value.is_sensitive()));
        let signed: HeaderMap = signed.into_iter().collect();
        let headers = [
            ("content-type", "application/json"),
            ("host", host),
            ("x-amz-date", "20231114T221320Z"),
            ("x-amz-security-token", "token-canary"),
        ];
        for (name, value) in &headers[2..] {
            assert_eq!(signed[*name], *value);
        }
        let signature = expected(method.as_str(), canonical_path, query, &headers, body.as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/bedrock/aws4_request, \
            SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature={signature}"
        );
        assert_eq!(signed["authorization"], authorization, "{target}");
    }
    assert!(!format!("{signer:?}").contains("canary") && !format!("{signer:?}").contains(SECRET));
}
