//! Microsoft Entra's OAuth tokens: for an application by its secret or by somebody else's token, or for the machine.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use secrecy::ExposeSecret as _;

use super::http::{Client, FetchError};
use super::store::Current;
use super::token;
use crate::config::{EntraIdentity, EntraSource};

/// Bytes of a file with a token.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A fresh token.
pub(super) async fn fetch(
    client: &Client,
    identity: &EntraIdentity,
    now: SystemTime,
) -> Result<Current, FetchError> {
    let resource = identity.resource.as_str();
    let scope = format!("{resource}/.default");
    let grant = ("grant_type", "client_credentials");
    let answer = match &identity.source {
        EntraSource::Secret { token_url, client_id, secret } => {
            let secret = ("client_secret", secret.expose_secret());
            client.post(token_url, &[grant, ("client_id", client_id), secret, ("scope", &scope)]).await?
        }
        EntraSource::Federated { token_url, client_id, token_file } => {
            let assertion = read(token_file)?;
            let form = [
                grant,
                ("client_id", client_id),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion.trim()),
                ("scope", &scope),
            ];
            client.post(token_url, &form).await?
        }
        EntraSource::Machine { base, client_id } => {
            let url = format!("{base}/metadata/identity/oauth2/token");
            let form = question("2018-02-01", resource, client_id.as_deref());
            client.get(&url, &form, ("metadata", "true")).await?
        }
        EntraSource::AppService { endpoint, header, client_id } => {
            let form = question("2019-08-01", resource, client_id.as_deref());
            client.get(endpoint, &form, ("x-identity-header", header.expose_secret())).await?
        }
    };
    token::read(&answer, now)
}

/// What a managed identity's endpoint is asked ("How to use managed identities to acquire an access token").
fn question<'q>(version: &'q str, resource: &'q str, client_id: Option<&'q str>) -> Vec<(&'q str, &'q str)> {
    let mut form = vec![("api-version", version), ("resource", resource)];
    form.extend(client_id.map(|client_id| ("client_id", client_id)));
    form
}

/// The file is small and local, and this thread has nothing urgent.
fn read(path: &Path) -> Result<String, FetchError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| FetchError::File { path: path.display().to_string(), error })?;
    Ok(text)
}
