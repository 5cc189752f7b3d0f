//! Keeps credentials fresh, for as long as it is polled.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::http::Client;
use super::pace;
use super::source::Source;
use super::store::{Slot, Store};
use crate::config;
use crate::reactor::tls::TlsError;
use crate::telemetry::Telemetry;
use crate::units::UpstreamId;

/// How long a start waits for the first credentials.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches the credentials for all upstreams, each on its own time. Polled by the control thread alone.
pub struct Keeper {
    store: Arc<Store>,
    /// Each goes on for ever.
    renewals: Vec<Pin<Box<dyn Future<Output = Infallible>>>>,
    upstreams: Vec<UpstreamId>,
}

impl Keeper {
    /// For the upstreams that `store` was made for.
    ///
    /// # Errors
    /// When something has to be fetched, and TLS has no authorities to trust.
    pub fn new(
        upstreams: &[config::Upstream],
        store: &Arc<Store>,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Self, TlsError> {
        let mut keeper = Self { store: Arc::clone(store), renewals: Vec::new(), upstreams: Vec::new() };
        for (position, upstream) in upstreams.iter().enumerate() {
            let Some(source) = upstream.identity.as_ref().and_then(Source::of) else { continue };
            let renewal = Renewal {
                id: UpstreamId::new(position),
                name: upstream.name.clone(),
                source,
                client: Client::new(upstream.ca_file.as_deref())?,
                store: Arc::clone(store),
                telemetry: Arc::clone(telemetry),
            };
            keeper.upstreams.push(renewal.id);
            keeper.renewals.push(Box::pin(renewal.run()));
        }
        Ok(keeper)
    }

    /// One that fetches from `source` for the first upstream.
    #[cfg(test)]
    pub(super) fn of(source: Source, store: &Arc<Store>, telemetry: &Arc<Telemetry>) -> Self {
        let id = UpstreamId::new(0);
        let (name, client) = ("up".to_owned(), super::tests::client());
        let (store, telemetry) = (Arc::clone(store), Arc::clone(telemetry));
        let renewal = Renewal { id, name, source, client, store: Arc::clone(&store), telemetry };
        Self { store, renewals: vec![Box::pin(renewal.run())], upstreams: vec![id] }
    }

    /// Waits until every source has answered once, well or not, for a bounded time. What is not there by then comes
    /// later.
    pub async fn start(&mut self) {
        let all_tried = poll_fn(|cx| {
            self.poll(cx);
            let was_tried = |id: &UpstreamId| self.store.slot(*id).is_none_or(Slot::was_tried);
            if self.upstreams.iter().all(was_tried) { Poll::Ready(()) } else { Poll::Pending }
        });
        if timeout(START_TIMEOUT, all_tried).await.is_err() {
            tracing::warn!("some upstreams are without credentials yet");
        }
    }

    /// Keeps them fresh.
    pub async fn keep(mut self) -> Infallible {
        poll_fn(|cx| {
            self.poll(cx);
            Poll::Pending
        })
        .await
    }

    /// Polls all: they are few, and wake seldom.
    fn poll(&mut self, cx: &mut Context<'_>) {
        for renewal in &mut self.renewals {
            match renewal.as_mut().poll(cx) {
                Poll::Pending => {}
                Poll::Ready(never) => match never {},
            }
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

/// The credentials for one upstream, renewed.
struct Renewal {
    id: UpstreamId,
    name: String,
    source: Source,
    client: Client,
    store: Arc<Store>,
    telemetry: Arc<Telemetry>,
}

impl Renewal {
    async fn run(self) -> Infallible {
        let mut failures = 0_u32;
        loop {
            let pause = self.renew(&mut failures).await;
            sleep(pause).await;
        }
    }

    /// Fetches once, and says when to do so again. What is there stays until something better comes.
    async fn renew(&self, failures: &mut u32) -> Duration {
        match self.source.fetch(&self.client, now()).await {
            Ok(fresh) => {
                *failures = 0;
                let expires = fresh.expires;
                let life = expires.map(|expires| expires.duration_since(now()).unwrap_or_default());
                let pause = pace::after_success(life, chance());
                if let Some(slot) = self.store.slot(self.id) {
                    slot.put(fresh);
                }
                self.telemetry.credentials_refreshed(self.id, expires);
                tracing::debug!(upstream = %self.name, ?life, ?pause, "credentials refreshed");
                pause
            }
            Err(error) => {
                *failures = failures.saturating_add(1);
                let pause = pace::after_failures(*failures, chance());
                if let Some(slot) = self.store.slot(self.id) {
                    slot.tried();
                }
                self.telemetry.credentials_failed(self.id);
                tracing::warn!(upstream = %self.name, %error, failures, ?pause, "credentials could not be refreshed");
                pause
            }
        }
    }
}

/// A number in 0..1 that spreads replicas. The standard library seeds its hash maps from the system's random numbers.
fn chance() -> f64 {
    let random = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
    f64::from(random) / f64::from(u32::MAX)
}

#[expect(clippy::disallowed_methods, reason = "tokens expire by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
