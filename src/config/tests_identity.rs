//! Kinds of upstreams that want credentials that change, and what is told of mistakes in their settings.

use std::fs;

use secrecy::ExposeSecret;

use super::tests::refuse;
use super::*;

const ACCOUNT: &str = r#"{"type": "service_account", "project_id": "own", "client_email": "a@own.example",
    "private_key_id": "k1", "private_key": "-----BEGIN PRIVATE KEY-----\ncanary", "token_uri": "https://t.example/"}"#;

fn parse_with<const N: usize>(text: &str, variables: [(&str, &str); N]) -> Result<Config, Vec<String>> {
    let text = format!("[[upstreams]]\nname = \"u\"\n{text}");
    parse(&text, "config.toml", &Env::of(variables))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn upstream<const N: usize>(text: &str, variables: [(&str, &str); N]) -> Upstream {
    match parse_with(text, variables) {
        Ok(mut config) => {
            assert!(!config.summary().to_string().contains("canary"));
            let upstream = config.upstreams.remove(0);
            assert!(!format!("{upstream:?}").contains("canary"));
            upstream
        }
        Err(problems) => panic!("{text}: {problems:#?}"),
    }
}

/// Its address as people write it.
fn shown(upstream: &Upstream) -> String {
    upstream.base.to_string().replace(":443", "")
}

#[test]
fn bedrock_is_where_its_region_says() {
    let region = "kind = \"bedrock\"\nregion = \"eu-central-1\"\n";
    for (text, base) in [
        (region.to_owned(), "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("kind = \"bedrock\"".to_owned(), "https://bedrock-runtime.us-west-2.amazonaws.com"),
        (format!("{region}base_url = \"http://127.0.0.1:1\""), "http://127.0.0.1:1"),
        (format!("{region}key_env = \"KEY\""), "https://bedrock-runtime.eu-central-1.amazonaws.com"),
    ] {
        let upstream = upstream(&text, [("AWS_REGION", "us-west-2"), ("KEY", "canary")]);
        assert_eq!(shown(&upstream), base, "{text}");
        assert_eq!(upstream.identity.is_some(), upstream.keys.is_empty(), "{text}");
    }
}

#[test]
fn a_fixed_key_comes_from_variables() {
    let text = "kind = \"bedrock\"\nregion = \"us-east-1\"\naws_access_key_id_env = \"ID\"\n\
        aws_secret_access_key_env = \"SECRET\"\naws_session_token_env = \"TOKEN\"";
    let upstream = upstream(text, [("ID", "canary1"), ("SECRET", "canary2"), ("TOKEN", "canary3")]);
    let Some(Identity::Aws(AwsIdentity { source: AwsSource::Fixed { id, secret, session_token }, .. })) =
        upstream.identity
    else {
        panic!("{:?}", upstream.identity);
    };
    let token = session_token.expect("a token");
    assert_eq!([&id, &secret, &token].map(ExposeSecret::expose_secret), ["canary1", "canary2", "canary3"]);
}

#[test]
fn vertex_is_where_its_project_and_location_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("account.json");
    fs::write(&path, ACCOUNT).expect("written");
    let file = format!("kind = \"vertex\"\ncredentials_file = \"{}\"\n", path.display());
    for (settings, base) in [
        (
            "location = \"europe-west4\"",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/own/locations/europe-west4",
        ),
        (
            "location = \"global\"\nproject = \"p\"",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global",
        ),
        ("location = \"eu\"", "https://aiplatform.eu.rep.googleapis.com/v1/projects/own/locations/eu"),
        ("base_url = \"http://127.0.0.1:1/v1\"", "http://127.0.0.1:1/v1"),
    ] {
        let upstream = upstream(&format!("{file}{settings}"), []);
        assert_eq!(shown(&upstream), base);
        assert!(matches!(upstream.identity, Some(Identity::Google(GoogleIdentity::ServiceAccount { .. }))));
    }
    // Where Google's own tools leave it.
    let text = "kind = \"vertex\"\nlocation = \"global\"";
    upstream(text, [("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().expect("UTF-8"))]);
    fs::rename(&path, folder.path().join("application_default_credentials.json")).expect("renamed");
    upstream(text, [("CLOUDSDK_CONFIG", folder.path().to_str().expect("UTF-8"))]);
    // Else the machine.
    let found =
        upstream(&format!("{text}\nproject = \"p\""), [("HOME", "/nowhere"), ("GCE_METADATA_HOST", "h:1")]);
    assert!(
        matches!(found.identity, Some(Identity::Google(GoogleIdentity::MetadataServer { host })) if host == "h:1")
    );
    // With a key, no project is named.
    let found = upstream("kind = \"vertex\"\nkey_env = \"K\"", [("K", "canary")]);
    assert_eq!((shown(&found).as_str(), found.identity.is_none()), ("https://aiplatform.googleapis.com/v1", true));
}

#[test]
fn azure_is_entered_in_four_ways() {
    let text = "kind = \"azure\"\nbase_url = \"https://a.openai.azure.com/openai/v1\"\nentra = true\n";
    let source = |text: &str, variables: [(&str, &str); 3]| match upstream(text, variables).identity {
        Some(Identity::Entra(EntraIdentity { resource, source })) => {
            assert_eq!(resource, "https://cognitiveservices.azure.com");
            source
        }
        other => panic!("{other:?}"),
    };
    let none = ("", "");
    let secret = format!("{text}tenant_id = \"t\"\nclient_id = \"c\"\nclient_secret_env = \"S\"");
    let found = source(&secret, [("S", "canary"), ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1/"), none]);
    assert!(
        matches!(found, EntraSource::Secret { token_url, .. } if token_url == "http://127.0.0.1:1/t/oauth2/v2.0/token")
    );
    let workload = [("AZURE_FEDERATED_TOKEN_FILE", "/f"), ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
    assert!(matches!(source(text, workload), EntraSource::Federated { .. }));
    let service = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/x"), ("IDENTITY_HEADER", "canary"), none];
    assert!(matches!(source(text, service), EntraSource::AppService { .. }));
    let found = source(text, [none; 3]);
    assert!(matches!(found, EntraSource::Machine { base, client_id: None } if base == "http://169.254.169.254"));
}

#[test]
fn a_secret_is_not_sent_in_the_clear() {
    let text = "kind = \"azure\"\nbase_url = \"https://a.example\"\nentra = true";
    let problems = parse_with(text, [("AZURE_AUTHORITY_HOST", "http://login.example")]).expect_err("no TLS");
    let expected = "config.toml:5:9: upstreams[0].entra: AZURE_AUTHORITY_HOST is not https://; \
        set it to such as https://login.microsoftonline.com";
    assert_eq!(problems, [expected]);
}

#[test]
fn mistakes_are_told_with_their_remedies() {
    let bedrock = "kind = \"bedrock\"\nregion = \"us-east-1\"";
    let azure = "kind = \"azure\"\nbase_url = \"https://a.example\"";
    for (text, expected) in [
        (
            "kind = \"bedrock\"",
            vec!["1:1: upstreams[0].region: missing; write region = \"us-east-1\", or set AWS_REGION"],
        ),
        (
            &format!("{bedrock}\nkey_env = \"K\"\naws_profile = \"p\""),
            vec![
                "6:15: upstreams[0].aws_profile: the upstream has a key, which excludes other credentials; \
                remove it, or the key",
            ],
        ),
        (
            &format!("{bedrock}\naws_access_key_id_env = \"K\""),
            vec![
                "1:1: upstreams[0].aws_secret_access_key_env: missing: a key has an id and a secret; \
                write aws_secret_access_key_env as well",
            ],
        ),
        (
            &format!("{bedrock}\nproject = \"p\""),
            vec![
                "5:11: upstreams[0].project: a setting of kind \"vertex\" alone; remove it, or write kind = \"vertex\"",
            ],
        ),
        (
            &format!("{azure}\nclient_id = \"c\""),
            vec!["5:13: upstreams[0].client_id: of no use without entra; write entra = true, or remove it"],
        ),
        (
            &format!("{azure}\nentra = true\nkey_env = \"K\""),
            vec![
                "5:9: upstreams[0].entra: the upstream has a key, which excludes other credentials; \
                remove it, or the key",
            ],
        ),
        (
            &format!("{azure}\nentra = true\nclient_secret_env = \"K\""),
            vec![
                "1:1: upstreams[0].client_id: a secret is that of an application of a tenant; \
                write tenant_id and client_id",
            ],
        ),
        ("kind = \"vertex\"", vec!["1:1: upstreams[0].project: missing; write project = \"my-project\""]),
        (
            "kind = \"vertex\"\nlocation = \"a/b\"\nproject = \"p\"",
            vec!["4:12: upstreams[0].location = \"a/b\": not such a name; write location = \"us-central1\""],
        ),
    ] {
        let problems = parse_with(text, [("K", "canary")]).expect_err(text);
        let expected: Vec<String> = expected.iter().map(|line| format!("config.toml:{line}")).collect();
        assert_eq!(problems, expected, "{text}");
    }
}

#[test]
fn a_file_of_credentials_is_checked_and_never_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.json");
    for (content, expected) in [
        ("canary", "is not JSON"),
        (
            "{\"type\": \"external_account\", \"x\": \"canary\"}",
            "is neither of type service_account nor of type authorized_user",
        ),
        ("{\"type\": \"authorized_user\", \"client_id\": \"canary\"}", "has no client_secret"),
        ("{\"type\": \"service_account\", \"private_key\": \"canary\"}", "its private_key is not PEM"),
        ("{\"type\": \"service_account\", \"token_uri\": \"http://canary/\"}", "its token_uri is not https://"),
    ] {
        fs::write(&path, content).expect("written");
        let text = format!("kind = \"vertex\"\ncredentials_file = \"{}\"", path.display());
        let problems = parse_with(&text, []).expect_err(content);
        assert!(
            matches!(&problems[..], [only] if only.contains(expected) && !only.contains("canary")),
            "{problems:?}"
        );
    }
    refuse(
        "[[upstreams]]\nname = \"u\"\nkind = \"vertex\"\ncredentials_file = \"/nowhere\"",
        &["config.toml:4:20: upstreams[0].credentials_file = \"/nowhere\": /nowhere cannot be read: \
            No such file or directory (os error 2)"],
    );
}
