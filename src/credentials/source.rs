//! Where the credentials for one upstream come from.

use std::time::SystemTime;

use super::http::{Client, FetchError};
use super::store::Current;
use super::{aws, entra, google};
use crate::config::{AwsIdentity, AwsSource, EntraIdentity, GoogleIdentity, Identity};

/// Something that gives credentials again and again.
#[derive(Debug)]
pub(super) enum Source {
    Google(GoogleIdentity),
    Entra(EntraIdentity),
    Aws {
        region: String,
        profile: Option<String>,
    },
    #[cfg(test)]
    Script(Script),
}

/// What comes instead, fetch by fetch.
#[cfg(test)]
pub(super) struct Script(pub(super) Box<dyn Fn(SystemTime) -> Result<Current, FetchError>>);

#[cfg(test)]
impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Source {
    /// `None` where there is nothing to fetch.
    pub(super) fn of(identity: &Identity) -> Option<Self> {
        match identity {
            Identity::Google(identity) => Some(Self::Google(identity.clone())),
            Identity::Entra(identity) => Some(Self::Entra(identity.clone())),
            Identity::Aws(AwsIdentity { region, source: AwsSource::Chain { profile } }) => {
                Some(Self::Aws { region: region.clone(), profile: profile.clone() })
            }
            Identity::Aws(AwsIdentity { source: AwsSource::Fixed { .. }, .. }) => None,
        }
    }

    /// Fresh ones.
    ///
    /// # Cancel safety
    /// Dropping the future closes its connection.
    pub(super) async fn fetch(&self, client: &Client, now: SystemTime) -> Result<Current, FetchError> {
        match self {
            Self::Google(identity) => google::fetch(client, identity, now).await,
            Self::Entra(identity) => entra::fetch(client, identity, now).await,
            Self::Aws { region, profile } => aws::fetch(client, region, profile.as_deref(), now).await,
            #[cfg(test)]
            Self::Script(script) => script.0(now),
        }
    }
}
