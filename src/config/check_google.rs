//! Who Millstream is to Google Cloud: the settings of kind `vertex`, and the files that Google's own tools write.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use secrecy::SecretString;
use serde_json::Value as Json;

use super::check_identity::{Found, is_keyed, is_safe, variable, word};
use super::raw::Table;
use super::{GoogleIdentity, Identity, UpstreamKey};

/// Bytes of a file of credentials; a real one has 2 to 3 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Who gives tokens to people's refresh tokens (Google Identity, "Using OAuth 2.0 for web server applications").
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// Where keys are good without a project.
const EXPRESS_URL: &str = "https://aiplatform.googleapis.com/v1";

/// The name of the metadata server on Google's machines.
const METADATA_HOST: &str = "metadata.google.internal";

pub(super) fn vertex(table: &mut Table<'_>, keys: &[UpstreamKey]) -> Found {
    let project = word(table, "project", "-:.", "\"my-project\"");
    let location = word(table, "location", "-", "\"us-central1\"")
        .or_else(|| variable(table, "GOOGLE_CLOUD_LOCATION"))
        .unwrap_or_else(|| "global".to_owned());
    let file = table.take("credentials_file");
    if is_keyed(keys, [file.clone()]) {
        // A key belongs to a project, so the address may name none ("express mode").
        let base_url = project.map_or_else(|| EXPRESS_URL.to_owned(), |project| base_url(&location, &project));
        return Found { identity: None, base_url: Some(base_url) };
    }
    let (source, own_project) = match file {
        Some(value) => {
            let Some(path) = value.text().map(|path| value.document().resolve(&path)) else {
                return Found::default();
            };
            match of_file(&path) {
                Ok((source, project)) => (source, project),
                Err(what) => {
                    value.refuse(what, String::new());
                    return Found::default();
                }
            }
        }
        None => match of_environment(table) {
            Some(found) => found,
            None => return Found::default(),
        },
    };
    let project = project.or_else(|| variable(table, "GOOGLE_CLOUD_PROJECT")).or(own_project);
    if project.is_none() && !table.has("project") && !table.has("base_url") {
        table.refuse("project", "missing".to_owned(), "write project = \"my-project\"".to_owned());
    }
    let base_url = project.map(|project| base_url(&location, &project));
    Found { identity: Some(Identity::Google(source)), base_url }
}

/// By Google's "Locations": a name of its own for the whole world, for each of two continents, and for each region.
fn base_url(location: &str, project: &str) -> String {
    let host = match location {
        "global" => "aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("aiplatform.{location}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    };
    format!("https://{host}/v1/projects/{project}/locations/{location}")
}

/// Where Google's own libraries look ("Application Default Credentials"); `None` after a problem.
fn of_environment(table: &Table<'_>) -> Option<(GoogleIdentity, Option<String>)> {
    let named = variable(table, "GOOGLE_APPLICATION_CREDENTIALS");
    let folder = variable(table, "CLOUDSDK_CONFIG")
        .or_else(|| variable(table, "HOME").map(|home| format!("{home}/.config/gcloud")));
    let usual = folder.map(|folder| format!("{folder}/application_default_credentials.json"));
    if let Some(path) = named.or_else(|| usual.filter(|path| Path::new(path).is_file())) {
        return of_file(Path::new(&path))
            .map_err(|what| {
                let remedy = "write credentials_file, or set GOOGLE_APPLICATION_CREDENTIALS to a file".to_owned();
                table.refuse("credentials_file", what, remedy);
            })
            .ok();
    }
    let host = variable(table, "GCE_METADATA_HOST").unwrap_or_else(|| METADATA_HOST.to_owned());
    Some((GoogleIdentity::MetadataServer { host }, None))
}

/// Who the file at `path` speaks of, and that one's project if it says.
///
/// # Errors
/// What is wrong with it, without anything of it.
fn of_file(path: &Path) -> Result<(GoogleIdentity, Option<String>), String> {
    let shown = path.display();
    let text = read_bounded(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let json: Json = serde_json::from_str(&text).map_err(|_| format!("{shown} is not JSON"))?;
    let text = |key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
    let needed =
        |key: &str| text(key).filter(|text| !text.is_empty()).ok_or_else(|| format!("{shown} has no {key}"));
    let token_url = text("token_uri").unwrap_or_else(|| TOKEN_URL.to_owned());
    if !is_safe(&token_url) {
        return Err(format!("{shown}: its token_uri is not https://"));
    }
    match text("type").as_deref() {
        Some("service_account") => {
            let private_key = needed("private_key")?;
            if !private_key.contains("-----BEGIN ") {
                return Err(format!("{shown}: its private_key is not PEM"));
            }
            let identity = GoogleIdentity::ServiceAccount {
                email: needed("client_email")?,
                key_id: text("private_key_id"),
                private_key: SecretString::from(private_key),
                token_url,
            };
            Ok((identity, text("project_id")))
        }
        Some("authorized_user") => {
            let identity = GoogleIdentity::AuthorizedUser {
                client_id: needed("client_id")?,
                client_secret: SecretString::from(needed("client_secret")?),
                refresh_token: SecretString::from(needed("refresh_token")?),
                token_url,
                quota_project: text("quota_project_id"),
            };
            Ok((identity, text("quota_project_id")))
        }
        _ => Err(format!("{shown} is neither of type service_account nor of type authorized_user")),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
