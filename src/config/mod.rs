//! The validated configuration. A value of these types has been checked; nothing is validated twice.
//!
//! Three steps: the file as written, with its places (`raw`); every [`Problem`] in it, not only the first
//! (`check`); and [`Config`].
//!
//! What a file may leave out: every setting (`defaults` has each with its reason), `[[keys]]` (the gateway is
//! then open, which is refused on addresses other than loopback unless `server.open = true`), and
//! `[[routes]]` (every model then goes to the first upstream). It needs at least one `[[upstreams]]`.

mod defaults;
mod problem;
mod env;
mod raw;
mod scalar;
pub mod pattern;
mod address;
mod secret;
mod kind;
mod model;
mod identity;
mod upstream;
mod route;
pub mod lookup;
mod check;
mod check_server;
mod check_keys;
mod check_kind;
mod check_identity;
mod check_google;
mod check_upstreams;
mod check_retry;
mod check_health;
mod check_defaults;
mod check_routes;
mod check_targets;
mod builtin;
mod summary;
mod summary_routes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_identity;
#[cfg(test)]
mod tests_routes;
#[cfg(test)]
mod tests_kind;

use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::builtin::{demo, from_env};
pub use self::check::check_log_filter;
pub use self::env::Env;
pub use self::identity::{AwsIdentity, AwsSource, EntraIdentity, EntraSource, GoogleIdentity, Identity};
pub use self::kind::{OpenAiApi, Preset, Unsupported, UpstreamKind};
pub use self::model::{Capability, Facts, Model};
pub use self::problem::Problem;
pub use self::route::{
    Balance, BodyDefault, Clocks, Defaults, HashOn, Hedge, HedgeAfter, Retry, RetryBudget, Route, Target,
};
pub use self::summary::Summary;
pub use self::upstream::{
    BaseUrl, Gate, OnCancel, Prefill, Probe, Protocol, StreamsLimit, Upstream, UpstreamDrain, UpstreamKey,
};

/// Reads and checks the file at `path`. Relative paths in it are relative to its directory.
///
/// # Errors
/// Every problem of the file in the order of its lines; one without a line when it cannot be read.
pub fn load(path: &Path, env: &Env) -> Result<Config, Vec<Problem>> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, &name, env),
        Err(error) => Err(vec![Problem::of_file(&name, format!("cannot be read: {error}"))]),
    }
}

/// Checks the `text` of a configuration file; `file_name` stands in problems, and its directory is where
/// relative paths begin.
///
/// # Errors
/// Every problem of the text in the order of its lines.
pub fn parse(text: &str, file_name: &str, env: &Env) -> Result<Config, Vec<Problem>> {
    check::parse(text, file_name, env)
}

/// Everything that a process needs to know, immutable once built.
#[derive(Debug)]
pub struct Config {
    /// Listeners and what a client connection may cost.
    pub server: Server,
    /// Clocks and bounds of one stream.
    pub stream: Stream,
    /// Limits of the whole gateway, all keys together.
    pub limits: Limits,
    /// Virtual keys; empty means that anybody may use the gateway.
    pub keys: Vec<Key>,
    /// Providers.
    pub upstreams: Vec<Upstream>,
    /// What a model name means, first match wins, exact names before globs.
    pub routes: Vec<Arc<Route>>,
    /// Where requests go that name no model (files, batches, stored responses): to `routing.default_upstream`,
    /// each of its keys a tier, because what one account has stored another does not know.
    pub default_route: Option<Arc<Route>>,
    /// What models can, beyond what is known of the usual ones.
    pub models: Vec<Model>,
    /// What is tried again, and how often, where a route says nothing else.
    pub retry: Retry,
    /// What the retries of all routes together may cost.
    pub retry_budget: RetryBudget,
    /// When a target is left alone, and for how long.
    pub health: Health,
    /// Metrics and health.
    pub admin: Admin,
    /// How the process stops.
    pub drain: Drain,
    /// What is logged, and how.
    pub log: Log,
    /// Behaviour of the demo upstreams.
    pub demo: DemoSettings,
}

impl Config {
    /// The resolved configuration in the form of the file, for people; secrets are left out.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }

    /// What is known of a model, as an upstream names it.
    pub fn facts(&self, model: &str) -> Facts {
        model::facts(&self.models, model)
    }

    /// What is known of a model that is `asked` for and goes by `route`: what each of its targets has.
    pub fn facts_of(&self, route: &Route, asked: &str) -> Facts {
        model::of_route(&self.models, route, asked)
    }

    /// Where the targets of one route differ in what they can, a line each, for people.
    pub fn differences(&self) -> Vec<String> {
        model::differences(&self.models, &self.routes, &self.upstreams)
    }
}

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, IPv4 or IPv6; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect.
    pub listen: Vec<Address>,
    /// Worker threads; `None` is min(cores, cgroup CPU quota).
    pub workers: Option<usize>,
    /// Whether each worker is pinned to a core.
    pub pin: bool,
    /// How sockets are read and written.
    pub reactor: WantedReactor,
    /// How far apart the turns of a busy worker's event loop are held.
    pub tick: Tick,
    /// Connections over all workers; `None` is a little below half the file limit.
    pub connections_max: Option<usize>,
    /// Streams and requests in flight on one worker before it sheds load.
    pub in_flight_max: usize,
    /// From the first byte of a request (or the accept) to the end of its head.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the request body.
    pub body_timeout: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// Bytes of a request head, and of the write buffer of an HTTP/1.1 connection.
    pub header_bytes_max: usize,
    /// Number of header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub h2_streams_max: u32,
    /// Kernel send buffer of a client connection, in bytes (`SO_SNDBUF`; the kernel doubles it).
    pub send_buffer_bytes: usize,
    /// Bounds of WebSockets that are passed through.
    pub realtime: Realtime,
    /// TLS, where the TCP listeners shall speak it. Unix sockets never do.
    pub tls: Option<ServerTls>,
}

/// `server.reactor`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedReactor {
    /// The one that costs less, as measured.
    Auto,
    /// io_uring, or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `server.tick`: how long a worker may rest between two turns of its event loop, so that the next turn serves
/// what many streams have brought meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// The busier the core, the longer, up to a bound.
    Auto,
    /// Never.
    Off,
    /// So that this much passes from the beginning of a turn that had work to the next, however busy the core.
    Fixed(Duration),
}

/// `[server.realtime]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realtime {
    /// How long both sides may be silent.
    pub idle_timeout: Duration,
    /// How long one session may take.
    pub total_timeout: Duration,
}

/// `[server.tls]`
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// PEM file of the certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// Oldest protocol version accepted.
    pub min_version: TlsVersion,
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// `[stream]`; `None` is `"off"`.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The clocks of routes that set none of their own. A request is timed by those of its route.
    pub clocks: Clocks,
    /// Silence towards the client after which a comment is sent.
    pub keep_alive: Option<Duration>,
    /// How long a client may take none of the bytes that wait for it.
    pub slow_client_timeout: Option<Duration>,
    /// Bytes of an incomplete event kept back, so that a break in its middle can still be told as an error
    /// event. A longer event is passed on in pieces, and a break in it aborts the transfer.
    pub event_hold_bytes_max: usize,
    /// Bytes of an answer kept back until its first token, so that what goes wrong before it can still be tried
    /// elsewhere. With more than these the answer goes out as it is.
    pub commit_bytes_max: usize,
}

/// Requests per minute and streams at once; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Requests admitted per minute.
    pub requests_per_minute: Option<u32>,
    /// Requests in flight at once, streams included until their last byte.
    pub streams: Option<u32>,
}

/// `[[keys]]`: a virtual key. The key itself is not kept, only its digest.
#[derive(Clone, Debug)]
pub struct Key {
    /// Name in logs and metrics.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Globs (`*` and `?`) of the model names it may use; empty allows every model.
    pub models: Vec<String>,
    /// Limits of this key.
    pub limits: Limits,
    /// Who goes first where requests wait for an upstream.
    pub priority: Priority,
    /// Positions in [`Config::upstreams`] of those that it may use; empty allows every upstream.
    pub upstreams: Vec<usize>,
}

/// The class of a request where requests wait for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the answer.
    Interactive,
    /// Nobody does.
    Batch,
}

/// `[health]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Failures in a row after which a target is left alone.
    pub breaker_failures: u32,
    /// Share of failures among its attempts of late after which it is, too.
    pub breaker_ratio: f64,
    /// How long, the first time.
    pub breaker_open: Duration,
    /// How long at most: each time without a success between doubles it.
    pub breaker_open_max: Duration,
    /// How long a target that throttles is left alone where it does not say.
    pub throttle: Duration,
    /// How long at most, whatever it says.
    pub throttle_max: Duration,
    /// How long a target is left out that is much worse than the others of its tier.
    pub ejection: Duration,
    /// Share of a tier's targets that may be left out for that at once.
    pub ejected_share_max: f64,
    /// When less than this share of a tier's targets is well, all of them are asked.
    pub panic_share: f64,
    /// How long a target that comes back takes to get its full share again.
    pub slow_start: Duration,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where metrics and health are served; `None` is off.
    pub listen: Option<SocketAddr>,
}

/// `[drain]`
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// From the signal (readiness red) to the close of the listeners, so that a balancer notices.
    pub delay: Duration,
    /// From the close of the listeners to the end of the streams that still run.
    pub timeout: Duration,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `millstream=debug`.
    pub filter: String,
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// Whether each exchange leaves a line at its end.
    pub access: bool,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[demo]`: how the demo upstream answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DemoSettings {
    /// Tokens per second of one stream.
    pub tokens_per_second: f64,
    /// Start of the pseudo-random choices: the same seed gives the same answers.
    pub seed: u64,
    /// From the request to the first token.
    pub first_token: Duration,
}

impl DemoSettings {
    /// The speeds that are accepted, in tokens per second.
    pub const TOKENS_PER_SECOND: RangeInclusive<f64> = 0.1..=100_000.0;
}
