//! Who Millstream is to an upstream, where that is not a key: the settings of kinds `bedrock`, `vertex` and `azure`.

use super::raw::{Table, Value};
use super::{AwsIdentity, AwsSource, EntraIdentity, EntraSource, Identity, UpstreamKey, UpstreamKind};
use super::{check_google, secret};

/// Settings of each kind that no other one has.
const OWN: [(UpstreamKind, &[&str]); 3] = [
    (UpstreamKind::Bedrock, &["region", "aws_profile", AWS_ID, AWS_SECRET, AWS_SESSION]),
    (UpstreamKind::Vertex, &["project", "location", "credentials_file"]),
    (UpstreamKind::Azure, &["entra", "tenant_id", "client_id", CLIENT_SECRET_ENV, CLIENT_SECRET_FILE, "resource"]),
];

const AWS_ID: &str = "aws_access_key_id_env";
const AWS_SECRET: &str = "aws_secret_access_key_env";
const AWS_SESSION: &str = "aws_session_token_env";
const CLIENT_SECRET_ENV: &str = "client_secret_env";
const CLIENT_SECRET_FILE: &str = "client_secret_file";

/// What tokens for Azure's models are for, if nothing else is said (Azure `OpenAI`, "Microsoft Entra ID authentication").
const AZURE_RESOURCE: &str = "https://cognitiveservices.azure.com";
const AZURE_AUTHORITY: &str = "https://login.microsoftonline.com";
/// The address of the metadata server of Azure's machines.
const AZURE_MACHINE: &str = "http://169.254.169.254";

/// What the settings say.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Who Millstream is; `None` where a key says it, or nothing needs to.
    pub(super) identity: Option<Identity>,
    /// Where the upstream is if its `base_url` is not written.
    pub(super) base_url: Option<String>,
}

/// Reads the settings of `kind` in the table of an upstream with these `keys`.
pub(super) fn read(table: &mut Table<'_>, kind: UpstreamKind, keys: &[UpstreamKey]) -> Found {
    refuse_settings_of_others(table, kind);
    match kind {
        UpstreamKind::Bedrock => bedrock(table, keys),
        UpstreamKind::Vertex => check_google::vertex(table, keys),
        UpstreamKind::Azure => Found { identity: entra(table, keys), base_url: None },
        _ => Found::default(),
    }
}

fn refuse_settings_of_others(table: &mut Table<'_>, kind: UpstreamKind) {
    for (owner, settings) in OWN.iter().filter(|(owner, _)| *owner != kind) {
        for setting in settings.iter().filter(|setting| table.has(setting)).copied().collect::<Vec<_>>() {
            if let Some(value) = table.take(setting) {
                let what = format!("a setting of kind \"{}\" alone", owner.name());
                value.refuse_unseen(what, format!("remove it, or write kind = \"{}\"", owner.name()));
            }
        }
    }
}

/// Refuses what says who Millstream is beside a key that says it already; whether there is such a key.
pub(super) fn is_keyed<'d>(keys: &[UpstreamKey], beside: impl IntoIterator<Item = Option<Value<'d>>>) -> bool {
    if keys.is_empty() {
        return false;
    }
    for value in beside.into_iter().flatten() {
        let remedy = "remove it, or the key".to_owned();
        value.refuse_unseen("the upstream has a key, which excludes other credentials".to_owned(), remedy);
    }
    true
}

/// The variable `name`, unless it is empty.
pub(super) fn variable(table: &Table<'_>, name: &str) -> Option<String> {
    table.document().env.get(name).filter(|value| !value.is_empty())
}

/// The string `key`, which may hold letters, digits and what else is `allowed`.
pub(super) fn word(table: &mut Table<'_>, key: &'static str, allowed: &str, example: &str) -> Option<String> {
    let value = table.take(key)?;
    let text = value.text()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || allowed.contains(c);
    if (1..=128).contains(&text.len()) && text.chars().all(fits) {
        return Some(text);
    }
    value.refuse("not such a name".to_owned(), format!("write {key} = {example}"));
    None
}

/// Whether a secret may be sent there: over TLS, or to this machine.
pub(super) fn is_safe(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://127.0.0.1:") || url.starts_with("http://localhost:")
}

// ---------------------------------------------------------------------------------------------- Amazon

fn bedrock(table: &mut Table<'_>, keys: &[UpstreamKey]) -> Found {
    let region = region(table);
    let fixed = [AWS_ID, AWS_SECRET, AWS_SESSION].map(|key| table.take(key));
    let profile = table.take("aws_profile");
    let base_url = region.as_ref().map(|region| {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://bedrock-runtime.{region}.amazonaws.com{suffix}")
    });
    let is_keyed = is_keyed(keys, fixed.iter().cloned().chain([profile.clone()]));
    if region.is_none() && !table.has("region") {
        let remedy = "write region = \"us-east-1\", or set AWS_REGION".to_owned();
        table.refuse("region", "missing".to_owned(), remedy);
    }
    if is_keyed {
        return Found { identity: None, base_url };
    }
    let source = aws_source(table, fixed, profile);
    let identity = region.zip(source).map(|(region, source)| Identity::Aws(AwsIdentity { region, source }));
    Found { identity, base_url }
}

/// The region that is written, or else that of the environment.
fn region(table: &mut Table<'_>) -> Option<String> {
    /// Where Bedrock began. Whoever writes an address and no region does not ask Amazon itself.
    const USUAL: &str = "us-east-1";
    if table.has("region") {
        return word(table, "region", "-", "\"us-east-1\"");
    }
    // Known, so that it is proposed for what is like it.
    table.take("region");
    let usual = || table.has("base_url").then(|| USUAL.to_owned());
    let found = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| variable(table, name));
    let found = found.or_else(usual)?;
    found.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-').then_some(found)
}

fn aws_source<'d>(
    table: &Table<'d>,
    [id, secret, session_token]: [Option<Value<'d>>; 3],
    profile: Option<Value<'d>>,
) -> Option<AwsSource> {
    let (id, secret) = match (id, secret) {
        (None, None) => {
            if let Some(token) = session_token {
                let remedy = format!("write {AWS_ID} and {AWS_SECRET} as well");
                token.refuse_unseen("a token without its key".to_owned(), remedy);
                return None;
            }
            return match profile {
                None => Some(AwsSource::Chain { profile: None }),
                Some(profile) => Some(AwsSource::Chain { profile: Some(profile.text()?) }),
            };
        }
        (Some(id), Some(secret)) => (id, secret),
        (Some(_), None) => return refuse_half(table, AWS_SECRET),
        (None, Some(_)) => return refuse_half(table, AWS_ID),
    };
    if let Some(profile) = profile {
        let remedy = "remove it, or the key's variables".to_owned();
        profile.refuse("there is a key already".to_owned(), remedy);
    }
    let [id, secret] = [&id, &secret].map(|value| secret::from_variable(value).ok());
    let session_token = match &session_token {
        None => None,
        Some(value) => Some(secret::from_variable(value).ok()?),
    };
    Some(AwsSource::Fixed { id: id?, secret: secret?, session_token })
}

fn refuse_half(table: &Table<'_>, missing: &'static str) -> Option<AwsSource> {
    table.refuse(missing, "missing: a key has an id and a secret".to_owned(), format!("write {missing} as well"));
    None
}

// ------------------------------------------------------------------------------------------- Microsoft

/// The settings of `entra = true`, and what Azure puts into the environment.
fn entra(table: &mut Table<'_>, keys: &[UpstreamKey]) -> Option<Identity> {
    let wanted = table.take("entra");
    let is_wanted = wanted.as_ref().is_some_and(|value| value.flag() == Some(true));
    let tenant = word(table, "tenant_id", "-.", "\"00000000-0000-0000-0000-000000000000\"");
    let client_id = word(table, "client_id", "-", "\"00000000-0000-0000-0000-000000000000\"");
    let secret = secret::read_as(table, [CLIENT_SECRET_ENV, CLIENT_SECRET_FILE], None);
    let resource = table.take("resource").and_then(|value| resource(&value));
    if !is_wanted || is_keyed(keys, [wanted]) {
        let stray = ["tenant_id", "client_id", CLIENT_SECRET_ENV, CLIENT_SECRET_FILE, "resource"];
        for setting in stray.into_iter().filter(|setting| !is_wanted && table.has(setting)) {
            let remedy = "write entra = true, or remove it".to_owned();
            table.refuse_at(setting, "of no use without entra".to_owned(), remedy);
        }
        return None;
    }
    let source = entra_source(table, tenant, client_id, secret.ok()?.map(|(secret, _)| secret))?;
    Some(Identity::Entra(EntraIdentity {
        resource: resource.unwrap_or_else(|| AZURE_RESOURCE.to_owned()),
        source,
    }))
}

fn entra_source(
    table: &Table<'_>,
    tenant: Option<String>,
    client_id: Option<String>,
    secret: Option<secrecy::SecretString>,
) -> Option<EntraSource> {
    let tenant = tenant.or_else(|| variable(table, "AZURE_TENANT_ID"));
    let authority = variable(table, "AZURE_AUTHORITY_HOST").unwrap_or_else(|| AZURE_AUTHORITY.to_owned());
    if !is_safe(&authority) {
        let remedy = "set it to such as https://login.microsoftonline.com".to_owned();
        table.refuse_at("entra", "AZURE_AUTHORITY_HOST is not https://".to_owned(), remedy);
        return None;
    }
    let token_url = |tenant: &str| format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
    if let Some(secret) = secret {
        let Some((tenant, client_id)) = tenant.as_ref().zip(client_id) else {
            let remedy = "write tenant_id and client_id".to_owned();
            table.refuse("client_id", "a secret is that of an application of a tenant".to_owned(), remedy);
            return None;
        };
        return Some(EntraSource::Secret { token_url: token_url(tenant), client_id, secret });
    }
    if let Some(file) = variable(table, "AZURE_FEDERATED_TOKEN_FILE") {
        let Some((tenant, client_id)) = tenant.zip(client_id.or_else(|| variable(table, "AZURE_CLIENT_ID")))
        else {
            let remedy = "write tenant_id and client_id, or set AZURE_TENANT_ID and AZURE_CLIENT_ID".to_owned();
            let what = "AZURE_FEDERATED_TOKEN_FILE is set, but it is not known for whom".to_owned();
            table.refuse("client_id", what, remedy);
            return None;
        };
        return Some(EntraSource::Federated { token_url: token_url(&tenant), client_id, token_file: file.into() });
    }
    let inside = variable(table, "IDENTITY_ENDPOINT").zip(variable(table, "IDENTITY_HEADER"));
    if let Some((endpoint, header)) = inside {
        return Some(EntraSource::AppService { endpoint, header: header.into(), client_id });
    }
    let base = variable(table, "AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| AZURE_MACHINE.to_owned());
    Some(EntraSource::Machine { base: base.trim_end_matches('/').to_owned(), client_id })
}

fn resource(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'&' | b'?' | b'#'));
    if text.starts_with("https://") && is_plain {
        return Some(text.trim_end_matches("/.default").trim_end_matches('/').to_owned());
    }
    value.refuse("not a resource".to_owned(), "write such as \"https://ai.azure.com\"".to_owned());
    None
}
