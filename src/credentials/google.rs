//! Google's OAuth tokens: for a service account, for a person who has logged in, or from the machine.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::http::{Client, FetchError};
use super::store::Current;
use super::token;
use crate::config::GoogleIdentity;

/// What tokens are for: all of Google Cloud that the account may use.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long an assertion is good: the longest that Google takes.
const ASSERTION_LIFE: Duration = Duration::from_hours(1);
/// Who pays for a person's requests.
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// A fresh token.
pub(super) async fn fetch(
    client: &Client,
    identity: &GoogleIdentity,
    now: SystemTime,
) -> Result<Current, FetchError> {
    match identity {
        GoogleIdentity::ServiceAccount { email, key_id, private_key, token_url } => {
            let who = Claims { email, key_id: key_id.as_deref(), audience: token_url };
            let assertion = assertion(&who, private_key, now)?;
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            let form = [("grant_type", grant), ("assertion", &*assertion)];
            token::read(&client.post(token_url, &form).await?, now)
        }
        GoogleIdentity::AuthorizedUser { client_id, client_secret, refresh_token, token_url, quota_project } => {
            let form = [
                ("grant_type", "refresh_token"),
                ("client_id", client_id),
                ("client_secret", client_secret.expose_secret()),
                ("refresh_token", refresh_token.expose_secret()),
            ];
            let current = token::read(&client.post(token_url, &form).await?, now)?;
            Ok(match quota_project {
                Some(project) => token::with(current, QUOTA_PROJECT, project),
                None => current,
            })
        }
        GoogleIdentity::MetadataServer { host } => {
            let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
            let answer = client.get(&url, &[("scopes", SCOPE)], ("metadata-flavor", "Google")).await?;
            token::read(&answer, now)
        }
    }
}

/// Who asserts what to whom.
struct Claims<'c> {
    email: &'c str,
    key_id: Option<&'c str>,
    audience: &'c str,
}

/// A signed assertion that its bearer is the account (RFC 7523; "Using OAuth 2.0 for server to server applications").
fn assertion(who: &Claims<'_>, private_key: &SecretString, now: SystemTime) -> Result<String, FetchError> {
    let unreadable = FetchError::Key("the service account's private key can't be read");
    let key = PrivateKeyDer::from_pem_slice(private_key.expose_secret().as_bytes()).map_err(|_| unreadable)?;
    let key =
        any_supported_type(&key).map_err(|_| FetchError::Key("the service account's private key is of no use"))?;
    let signer = key
        .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
        .ok_or(FetchError::Key("the service account's private key is not an RSA key"))?;
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(key_id) = who.key_id {
        header["kid"] = key_id.into();
    }
    let claims = json!({
        "iss": who.email,
        "scope": SCOPE,
        "aud": who.audience,
        "iat": since_epoch.as_secs(),
        "exp": (since_epoch + ASSERTION_LIFE).as_secs(),
    });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut assertion = format!("{}.{}", encode(&header), encode(&claims));
    let signature = signer
        .sign(assertion.as_bytes())
        .map_err(|_| FetchError::Key("the service account's private key does not sign"))?;
    assertion.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
    Ok(assertion)
}
