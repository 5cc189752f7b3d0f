//! Upstreams that want tokens or signatures: what they are shown, what happens before there are any, and where nothing
//! of them stands.

use crate::support::client::Client;
use crate::support::setup::Setup;
use crate::support::upstream::{Http, Upstream};

const BODY: &str = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"prompt-canary\"}]}]}";
const PATH: &str = "/v1beta/models/gemini-x:generateContent";
const TRACE: &str = "[log]\nfilter = \"trace,aws_sigv4=trace\"\nformat = \"text\"";

#[test]
fn a_token_comes_in_the_background_and_nobody_waits_for_it() {
    let (upstream, machine) = (Upstream::start(Http::One), Upstream::start(Http::One));
    let base = format!("http://{}", upstream.address());
    let tables = format!(
        "[[upstreams]]\nname = \"up\"\nkind = \"vertex\"\nproject = \"p\"\nbase_url = \"{base}\"\n{TRACE}"
    );
    let host = machine.address().to_string();
    let gateway = Setup::new().tables(&tables).env("GCE_METADATA_HOST", &host).start();

    // The machine has been asked and says nothing: the gateway is there all the same.
    let asked = machine.next();
    let mut client = Client::connect(gateway.address(0));
    client.post(PATH, BODY);
    let answer = client.answer();
    assert_eq!(answer.0.status(), 503, "{answer:?}");
    assert!(upstream.is_unasked());

    assert!(asked.head.first.starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token?"));
    asked.answer(200, &[], b"{\"access_token\": \"token-canary\", \"expires_in\": 3600}");
    gateway.until("refreshed", |gateway| {
        gateway.sum("millstream_credentials_refreshes_total", &["outcome=\"refreshed\""]) == 1.0
    });
    client.ask("POST", PATH, &[("x-goog-api-key", "client-canary")], BODY.as_bytes());
    let exchange = upstream.next();
    assert_eq!(exchange.head.get("authorization"), Some("Bearer token-canary"));
    assert_eq!(exchange.head.get("x-goog-api-key"), None);
    exchange.answer(200, &[("content-type", "application/json")], b"{}");
    assert_eq!(client.answer().0.status(), 200);

    let told = gateway.admin_get("/metrics") + &gateway.log();
    assert!(told.contains("millstream_credentials_expiry_timestamp_seconds{upstream=\"up\"}"));
    assert!(!told.contains("canary"), "a secret or a prompt is told");
}

#[test]
fn requests_to_amazon_are_signed() {
    let upstream = Upstream::start(Http::One);
    let tables = format!(
        "[[upstreams]]\nname = \"up\"\nkind = \"bedrock\"\nregion = \"us-east-1\"\nbase_url = \"http://{}\"\n{TRACE}",
        upstream.address()
    );
    let gateway = Setup::new()
        .tables(&tables)
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret-canary")
        .env("AWS_SESSION_TOKEN", "token-canary")
        .start();
    let mut client = Client::connect(gateway.address(0));
    client.post(
        "/v1/chat/completions",
        "{\"model\":\"a.b-v1:0\",\"messages\":[{\"role\":\"user\",\"content\":\"prompt-canary\"}]}",
    );
    let exchange = upstream.next();
    let authorization = exchange.head.get("authorization").expect("a signature").to_owned();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(authorization.contains("/us-east-1/bedrock/aws4_request, SignedHeaders="), "{authorization}");
    assert_eq!(exchange.head.get("x-amz-security-token"), Some("token-canary"));
    assert!(exchange.head.get("x-amz-date").is_some());
    exchange.answer(400, &[("content-type", "application/json")], b"{\"message\":\"no\"}");
    assert_eq!(client.answer().0.status(), 400);
    let told = gateway.admin_get("/metrics") + &gateway.log();
    assert!(!told.contains("canary"), "a secret or a prompt is told");
}
