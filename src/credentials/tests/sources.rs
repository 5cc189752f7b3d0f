//! What each source asks, and what it makes of the answer.

use std::time::{Duration, SystemTime};

use aws_config::imds;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{Server, client};
use crate::config::{EntraIdentity, EntraSource, GoogleIdentity};
use crate::credentials::store::{Current, Form};
use crate::credentials::{aws, entra, google};

const GRANTED: (&str, &str) =
    ("200 OK", "{\"access_token\": \"canary\", \"expires_in\": 3600, \"token_type\": \"Bearer\"}");

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The headers that `current` puts into a request.
#[track_caller]
fn headers(current: &Current) -> Vec<(&str, &str)> {
    assert!(!format!("{current:?}").contains("canary"));
    assert_eq!(current.expires, Some(now() + Duration::from_hours(1)));
    let Form::Headers(headers) = &current.form else { panic!("{current:?}") };
    assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect()
}

const BEARER: (&str, &str) = ("authorization", "Bearer canary");

#[tokio::test]
async fn a_service_account_signs_who_it_is() {
    let server = Server::new().await;
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("its form");
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    let identity = GoogleIdentity::ServiceAccount {
        email: "a@p.example".to_owned(),
        key_id: Some("k1".to_owned()),
        private_key: pem.into(),
        token_url: format!("{}/token", server.base),
    };
    let client = client();
    let (requests, fetched) = server.beside(&[GRANTED], google::fetch(&client, &identity, now())).await;
    assert_eq!(headers(&fetched.expect("a token")), [BEARER]);

    let (head, form) = requests[0].split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    let assertion = form
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .expect("an assertion");
    let (signed, signature) = assertion.rsplit_once('.').expect("a signature");
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &decode(signature))
        .expect("a good signature");
    let (header, claims) = signed.split_once('.').expect("two parts");
    let [header, claims]: [Value; 2] =
        [header, claims].map(|part| serde_json::from_slice(&decode(part)).expect("JSON"));
    assert_eq!((&header["alg"], &header["kid"]), (&"RS256".into(), &"k1".into()));
    assert_eq!((&claims["iss"], &claims["iat"]), (&"a@p.example".into(), &1_700_000_000.into()));
    assert_eq!(
        (&claims["aud"], &claims["exp"]),
        (&format!("{}/token", server.base).into(), &1_700_003_600.into())
    );
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
}

#[tokio::test]
async fn a_key_of_no_use_is_told_without_it() {
    for text in ["-----BEGIN canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----"] {
        let identity = GoogleIdentity::ServiceAccount {
            email: "a@p.example".to_owned(),
            key_id: None,
            private_key: text.into(),
            token_url: "http://127.0.0.1:1/".to_owned(),
        };
        let error = google::fetch(&client(), &identity, now()).await.expect_err("a bad key").to_string();
        assert!(error.starts_with("the service account's private key"), "{error}");
    }
}

#[tokio::test]
async fn a_person_and_a_machine_of_google_get_tokens() {
    let server = Server::new().await;
    let person = GoogleIdentity::AuthorizedUser {
        client_id: "c".to_owned(),
        client_secret: "s&".into(),
        refresh_token: "r".into(),
        token_url: server.base.clone(),
        quota_project: Some("q".to_owned()),
    };
    let client = client();
    let (requests, fetched) = server.beside(&[GRANTED], google::fetch(&client, &person, now())).await;
    assert_eq!(headers(&fetched.expect("a token")), [BEARER, ("x-goog-user-project", "q")]);
    let form = "\r\n\r\ngrant_type=refresh_token&client_id=c&client_secret=s%26&refresh_token=r";
    assert!(requests[0].ends_with(form), "{}", requests[0]);

    let machine = GoogleIdentity::MetadataServer { host: server.base.replace("http://", "") };
    let (requests, fetched) = server.beside(&[GRANTED], google::fetch(&client, &machine, now())).await;
    assert_eq!(headers(&fetched.expect("a token")), [BEARER]);
    let line = "GET /computeMetadata/v1/instance/service-accounts/default/token?\
        scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform HTTP/1.1\r\n";
    assert!(requests[0].starts_with(line), "{}", requests[0]);
    assert!(requests[0].contains("metadata-flavor: Google\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn entra_gives_tokens_in_four_ways() {
    let server = Server::new().await;
    let (folder, client) = (tempfile::tempdir().expect("a folder"), client());
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "other.token\n").expect("written");
    let token_url = format!("{}/t/oauth2/v2.0/token", server.base);
    let id = "c".to_owned();
    let scope = "scope=https%3A%2F%2Fr.example%2F.default";
    let resource = "resource=https%3A%2F%2Fr.example&client_id=c HTTP/1.1";
    for (source, line, rest) in [
        (
            EntraSource::Secret { token_url: token_url.clone(), client_id: id.clone(), secret: "s".into() },
            "POST /t/oauth2/v2.0/token HTTP/1.1".to_owned(),
            format!("grant_type=client_credentials&client_id=c&client_secret=s&{scope}"),
        ),
        (
            EntraSource::Federated { token_url, client_id: id.clone(), token_file },
            "POST /t/oauth2/v2.0/token HTTP/1.1".to_owned(),
            format!(
                "grant_type=client_credentials&client_id=c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A\
                client-assertion-type%3Ajwt-bearer&client_assertion=other.token&{scope}"
            ),
        ),
        (
            EntraSource::Machine { base: server.base.clone(), client_id: Some(id.clone()) },
            format!("GET /metadata/identity/oauth2/token?api-version=2018-02-01&{resource}"),
            "metadata: true\r\n".to_owned(),
        ),
        (
            EntraSource::AppService {
                endpoint: format!("{}/x?y=z", server.base),
                header: "h".into(),
                client_id: Some(id),
            },
            format!("GET /x?y=z&api-version=2019-08-01&{resource}"),
            "x-identity-header: h\r\n".to_owned(),
        ),
    ] {
        let identity = EntraIdentity { resource: "https://r.example".to_owned(), source };
        let (requests, fetched) = server.beside(&[GRANTED], entra::fetch(&client, &identity, now())).await;
        assert_eq!(headers(&fetched.expect("a token")), [BEARER]);
        assert_eq!(requests[0].lines().next(), Some(&*line));
        assert!(requests[0].contains(&rest), "{}", requests[0]);
    }
}

#[tokio::test]
async fn refusals_and_redirects_are_no_tokens() {
    let server = Server::new().await;
    let machine = GoogleIdentity::MetadataServer { host: server.base.replace("http://", "") };
    let client = client();
    for (status, body, expected) in [
        ("400 Bad Request", "{\"error\": \"invalid_scope\"}", "400 Bad Request invalid_scope"),
        ("302 Found", "", "302 Found"),
    ] {
        let (_, fetched) = server.beside(&[(status, body)], google::fetch(&client, &machine, now())).await;
        let error = fetched.expect_err(status).to_string();
        assert!(error.contains(expected), "{error}");
    }
    drop(server);
    let error = google::fetch(&client, &machine, now()).await.expect_err("nobody is there").to_string();
    assert!(error.starts_with("127.0.0.1: "), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    let server = Server::new().await;
    let machine = GoogleIdentity::MetadataServer { host: server.base.replace("http://", "") };
    let (body, client) = ("x".repeat(300 * 1024), client());
    // The server may find its client gone before it has written all.
    let answers = [("200 OK", &*body), ("200 OK", "")];
    tokio::select! {
        _ = server.serve(&answers) => panic!("one connection is all"),
        fetched = google::fetch(&client, &machine, now()) => {
            let error = fetched.expect_err("too long").to_string();
            assert!(error.contains("length limit exceeded"), "{error}");
        }
    }
}

#[tokio::test]
async fn amazons_crates_ask_by_our_client() {
    let server = Server::new().await;
    let config = ProviderConfig::without_region().with_http_client(aws::over(client()));
    let machine = imds::Client::builder().configure(&config).endpoint(&server.base).expect("a URL").build();
    let provider =
        imds::credentials::ImdsCredentialsProvider::builder().configure(&config).imds_client(machine).build();
    let key =
        "{\"Code\": \"Success\", \"Type\": \"AWS-HMAC\", \"AccessKeyId\": \"id\", \"SecretAccessKey\": \"s\",
        \"Token\": \"t\", \"Expiration\": \"2099-01-01T00:00:00Z\", \"LastUpdated\": \"2021-09-17T20:57:08Z\"}";
    let token = ("200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600", "imds-token");
    let answers = [token, ("200 OK", "role"), ("200 OK", key)];
    let (requests, found) = server.beside(&answers, provider.provide_credentials()).await;
    let found = found.expect("credentials");
    assert_eq!((found.access_key_id(), found.session_token()), ("id", Some("t")));
    assert!(requests[0].starts_with("PUT /latest/api/token"), "{requests:?}");
    assert!(requests[2].contains("x-aws-ec2-metadata-token: imds-token"), "{requests:?}");
}
