//! Amazon's keys, from where Amazon's own tools look for them, by the `aws-config` crate over our client.

use std::time::{Duration, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::display::DisplayErrorContext;
use bytes::Bytes;
use http::{Request, Response};
use tokio::time::timeout;

use super::http::{Client, FetchError};
use super::sign::Signer;
use super::store::{Current, Form};

/// For the whole chain, whose links are asked one after the other and repeat their requests.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Fresh credentials. The chain is built anew each time, so that files are read anew.
pub(super) async fn fetch(
    client: &Client,
    region: &str,
    profile: Option<&str>,
    now: SystemTime,
) -> Result<Current, FetchError> {
    let config = ProviderConfig::default().with_http_client(over(client.clone()));
    let mut chain = DefaultCredentialsChain::builder().region(Region::new(region.to_owned())).configure(config);
    if let Some(profile) = profile {
        chain = chain.profile_name(profile);
    }
    let asked = Box::pin(async { chain.build().await.provide_credentials().await });
    let credentials = timeout(CHAIN_TIMEOUT, asked)
        .await
        .map_err(|_| FetchError::Aws(format!("no credentials within {}s", CHAIN_TIMEOUT.as_secs())))?
        .map_err(|error| FetchError::Aws(DisplayErrorContext(&error).to_string()))?;
    let expires = credentials.expiry();
    if expires.is_some_and(|expires| expires <= now) {
        return Err(FetchError::Aws("the credentials that were found have expired".to_owned()));
    }
    Ok(Current { form: Form::Signer(Signer::new(region, credentials)), expires })
}

/// Our client in the form that Amazon's crates take.
pub(super) fn over(client: Client) -> SharedHttpClient {
    http_client_fn(move |_, _| SharedHttpConnector::new(Door(client.clone())))
}

#[derive(Debug)]
struct Door(Client);

impl HttpConnector for Door {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move { exchange(&client, request).await })
    }
}

async fn exchange(client: &Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (head, body) = request.into_parts();
    // Requests for credentials are small and built in memory.
    let body =
        body.bytes().map(Bytes::copy_from_slice).ok_or_else(|| ConnectorError::user("a streamed body".into()))?;
    let answer = client.send(Request::from_parts(head, body)).await.map_err(|error| match error {
        FetchError::Late { .. } => ConnectorError::timeout(error.into()),
        error => ConnectorError::io(error.into()),
    })?;
    let mut response = Response::new(SdkBody::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}
