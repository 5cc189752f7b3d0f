//! What is told of credentials that change. They are refreshed on one thread, which no shard belongs to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus::proto::Metric;

use crate::units::UpstreamId;

use super::collect::value;
use super::labels::Value;
use super::metrics::Computed;

/// How a refresh of credentials ended (`millstream_credentials_refreshes_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshOutcome {
    /// There are new ones.
    Refreshed,
    /// There are none.
    Failed,
}

/// Of one upstream. Without a refresh nothing is told of it.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    outcomes: [AtomicU64; RefreshOutcome::VALUES.len()],
    /// Seconds since the Unix epoch; 0 where they do not expire, or are not known.
    expiry: AtomicU64,
}

impl Credentials {
    pub(super) fn refreshed(&self, expires: Option<SystemTime>) {
        let since_epoch = expires.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.expiry.store(since_epoch.as_ref().map_or(0, Duration::as_secs), Ordering::Relaxed);
        self.count(RefreshOutcome::Refreshed);
    }

    pub(super) fn failed(&self) {
        self.count(RefreshOutcome::Failed);
    }

    fn count(&self, outcome: RefreshOutcome) {
        self.outcomes[outcome.position()].fetch_add(1, Ordering::Relaxed);
    }

    /// The series of a family about credentials.
    pub(super) fn series(all: &[Self], upstreams: &[String], metric: Computed) -> Vec<Metric> {
        let family = metric.family();
        let mut series = Vec::new();
        for (of, upstream) in all.iter().zip(upstreams) {
            let counts = of.outcomes.each_ref().map(|count| count.load(Ordering::Relaxed));
            if counts.iter().all(|count| *count == 0) {
                continue;
            }
            let expiry = of.expiry.load(Ordering::Relaxed);
            match metric {
                Computed::CredentialsExpiry if expiry > 0 => {
                    series.push(value(family, &[upstream], expiry as f64));
                }
                Computed::CredentialsRefreshes => {
                    let told = |(word, count): (&&str, u64)| value(family, &[upstream, word], count as f64);
                    series.extend(RefreshOutcome::VALUES.iter().zip(counts).map(told));
                }
                _ => {}
            }
        }
        series
    }
}

/// What [`super::Telemetry`] has for whoever refreshes.
impl super::Telemetry {
    /// There are new credentials for `upstream`, which are good until `expires`.
    pub fn credentials_refreshed(&self, upstream: UpstreamId, expires: Option<SystemTime>) {
        if let Some(of) = self.shared.credentials.get(upstream.index()) {
            of.refreshed(expires);
        }
    }

    /// There are no new credentials for `upstream`.
    pub fn credentials_failed(&self, upstream: UpstreamId) {
        if let Some(of) = self.shared.credentials.get(upstream.index()) {
            of.failed();
        }
    }
}
