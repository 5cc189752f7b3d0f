//! Who Millstream is to an upstream that wants no key but credentials that change: where they come from.

use std::path::PathBuf;

use secrecy::SecretString;

/// Where an upstream's credentials come from. A key and an identity exclude each other.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Amazon: requests are signed.
    Aws(AwsIdentity),
    /// Google Cloud: an OAuth token.
    Google(GoogleIdentity),
    /// Microsoft Entra: an OAuth token.
    Entra(EntraIdentity),
}

impl Identity {
    /// Where they come from, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Aws(AwsIdentity { region, source }) => match source {
                AwsSource::Fixed { .. } => format!("an access key, region {region}"),
                AwsSource::Chain { profile: None } => format!("Amazon's chain, region {region}"),
                AwsSource::Chain { profile: Some(profile) } => {
                    format!("Amazon's chain with profile {profile}, region {region}")
                }
            },
            Self::Google(GoogleIdentity::ServiceAccount { email, .. }) => format!("the service account {email}"),
            Self::Google(GoogleIdentity::AuthorizedUser { .. }) => "a person's login to Google".to_owned(),
            Self::Google(GoogleIdentity::MetadataServer { host }) => format!("the metadata server {host}"),
            Self::Entra(EntraIdentity { source, .. }) => match source {
                EntraSource::Secret { client_id, .. } => format!("the Entra application {client_id}"),
                EntraSource::Federated { client_id, token_file, .. } => {
                    format!("the Entra application {client_id}, by {}", token_file.display())
                }
                EntraSource::Machine { .. } => "the machine's managed identity".to_owned(),
                EntraSource::AppService { .. } => "the service's managed identity".to_owned(),
            },
        }
    }
}

/// Who signs requests to Amazon.
#[derive(Clone, Debug)]
pub struct AwsIdentity {
    /// The region that signatures are made for.
    pub region: String,
    /// Where the key comes from.
    pub source: AwsSource,
}

/// Where Amazon's key comes from.
#[derive(Clone, Debug)]
pub enum AwsSource {
    /// From where Amazon's own tools look for it: variables, profile, web identity, container, machine.
    Chain {
        /// The profile, if not the usual one.
        profile: Option<String>,
    },
    /// From the configuration.
    Fixed {
        /// The access key's id.
        id: SecretString,
        /// The access key itself.
        secret: SecretString,
        /// What comes with a key of limited life.
        session_token: Option<SecretString>,
    },
}

/// Who asks Google for a token.
#[derive(Clone, Debug)]
pub enum GoogleIdentity {
    /// A service account, by its private key.
    ServiceAccount {
        /// Its name.
        email: String,
        /// Which of its keys it is.
        key_id: Option<String>,
        /// The key, PEM.
        private_key: SecretString,
        /// Who gives tokens.
        token_url: String,
    },
    /// A person, as `gcloud auth application-default login` leaves it.
    AuthorizedUser {
        /// Of the program that the person logged in to.
        client_id: String,
        /// Of the same.
        client_secret: SecretString,
        /// What stands for the person.
        refresh_token: SecretString,
        /// Who gives tokens.
        token_url: String,
        /// The project that pays for the requests.
        quota_project: Option<String>,
    },
    /// Whoever the machine's metadata server says.
    MetadataServer {
        /// Its host, with a port where it is not 80.
        host: String,
    },
}

/// Who asks Microsoft Entra for a token, and for what.
#[derive(Clone, Debug)]
pub struct EntraIdentity {
    /// What the token is for, without `/.default`.
    pub resource: String,
    /// Who asks.
    pub source: EntraSource,
}

/// Who asks Microsoft Entra for a token.
#[derive(Clone, Debug)]
pub enum EntraSource {
    /// An application, by a secret.
    Secret {
        /// Who gives tokens.
        token_url: String,
        /// The application.
        client_id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// An application, by a token that somebody else keeps fresh in a file (workload identity).
    Federated {
        /// Who gives tokens.
        token_url: String,
        /// The application.
        client_id: String,
        /// The file, read anew each time.
        token_file: PathBuf,
    },
    /// The managed identity of a machine.
    Machine {
        /// Of the machine's metadata server, such as `http://169.254.169.254`.
        base: String,
        /// Which identity, where the machine has several.
        client_id: Option<String>,
    },
    /// The managed identity of an App Service.
    AppService {
        /// Who gives tokens.
        endpoint: String,
        /// What shows that the request comes from inside.
        header: SecretString,
        /// Which identity, where the service has several.
        client_id: Option<String>,
    },
}
