//! Amazon's signature, version 4, by the `aws-sigv4` crate.

use std::fmt;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use super::store::{Signed, Unsigned};

/// What Amazon calls Bedrock in signatures, whichever of its hosts is asked.
const SERVICE: &str = "bedrock";

/// Signs requests for one region with one key.
pub(super) struct Signer {
    region: String,
    identity: Identity,
}

impl Signer {
    pub(super) fn new(region: &str, credentials: Credentials) -> Self {
        Self { region: region.to_owned(), identity: credentials.into() }
    }

    pub(super) fn fixed(
        region: &str,
        id: &SecretString,
        secret: &SecretString,
        session_token: Option<&SecretString>,
    ) -> Self {
        let token = session_token.map(|token| token.expose_secret().to_owned());
        let credentials =
            Credentials::new(id.expose_secret(), secret.expose_secret(), token, None, "configuration");
        Self::new(region, credentials)
    }

    /// The headers that `request` gets.
    ///
    /// Of its path the signature covers what stands in the request line, escaped once more: that is the rule for all
    /// services but S3 ("Create a signed AWS API request"), and a model's `%3A` becomes `%253A` by it.
    pub(super) fn sign(&self, request: &Unsigned<'_>) -> Result<Signed, ()> {
        let params = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(SERVICE)
            .time(request.now)
            .settings(SigningSettings::default())
            .build()
            .map_err(drop)?
            .into();
        // The scheme is no part of what is signed.
        let url = format!("https://{}{}", request.host, request.path_and_query);
        let mut headers = Vec::with_capacity(request.headers.len() + 1);
        headers.push(("host", request.host));
        for (name, value) in request.headers {
            headers.push((name.as_str(), value.to_str().map_err(drop)?));
        }
        let signable = SignableRequest::new(
            request.method.as_str(),
            url,
            headers.into_iter(),
            SignableBody::Bytes(request.body),
        )
        .map_err(drop)?;
        let (instructions, _) = sign(signable, &params).map_err(drop)?.into_parts();
        let (headers, _) = instructions.into_parts();
        headers.iter().map(|header| marked(header.name(), header.value())).collect()
    }
}

/// A header that HPACK does not index and nobody prints.
fn marked(name: &'static str, value: &str) -> Result<(HeaderName, HeaderValue), ()> {
    let mut value = HeaderValue::from_str(value).map_err(drop)?;
    value.set_sensitive(true);
    Ok((HeaderName::from_static(name), value))
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}
