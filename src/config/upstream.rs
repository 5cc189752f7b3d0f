//! `[[upstreams]]` as checked: a provider, its keys, and what it is asked to bear.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::{BodyDefault, Identity, OpenAiApi, UpstreamKind};

/// HTTP version towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ALPN decides over TLS; HTTP/1.1 without.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN or prior knowledge.
    Http2,
}

/// `[[upstreams]]`
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Name in routes, logs and metrics.
    pub name: String,
    /// Dialect.
    pub kind: UpstreamKind,
    /// The well-known one that it is.
    pub preset: Option<&'static str>,
    /// Which API it is asked by, where the kind has several.
    pub api: OpenAiApi,
    /// Whether it answers `/responses` itself; else such requests are translated.
    pub responses: bool,
    /// Azure's dated API, with deployments in the path; `None`: the one without dates.
    pub api_version: Option<String>,
    /// Members that requests to it get, on top of what they have; a target may have more.
    pub extra_body: Vec<BodyDefault>,
    /// Where it is, taken apart.
    pub base: BaseUrl,
    /// API keys, one of which is sent in the header that the kind has for it; without any, none is. Each is a
    /// target of its own.
    pub keys: Vec<UpstreamKey>,
    /// Who Millstream is there, where that is not a key.
    pub identity: Option<Identity>,
    /// HTTP version.
    pub protocol: Protocol,
    /// Connections of the whole process to it.
    pub connections_max: usize,
    /// Streams per HTTP/2 connection (the upstream's own setting counts too).
    pub h2_streams_max: usize,
    /// Deadline of name resolution.
    pub dns_timeout: Duration,
    /// Deadline of the TCP (or Unix socket) connect.
    pub connect_timeout: Duration,
    /// Deadline of the TLS and HTTP/2 handshakes.
    pub handshake_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Age after which a connection is not used again.
    pub lifetime_max: Duration,
    /// Kernel receive buffer, in bytes (`SO_RCVBUF`; the kernel doubles it).
    pub receive_buffer_bytes: usize,
    /// PEM file of additional certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Whether `stream_options.include_usage` is added to streams that do not ask for it.
    pub include_usage: bool,
    /// What happens to an answer whose client has left; a route may say otherwise.
    pub on_cancel: OnCancel,
    /// Bounds of [`OnCancel::Drain`].
    pub drain: UpstreamDrain,
    /// What bounds the streams at once of each target; `None`: nothing does.
    pub gate: Option<Gate>,
    /// How it is asked whether it is well; `None`: only real requests tell.
    pub probe: Option<Probe>,
    /// How it goes on with a given beginning of an answer, if it can; a target may say otherwise.
    pub prefill: Option<Prefill>,
}

impl Upstream {
    /// The positions of the keys that a target means by `key`: of all where it names none, and 0 where there is
    /// none.
    pub fn key_positions(&self, key: Option<usize>) -> Range<usize> {
        key.map_or_else(|| 0..self.keys.len().max(1), |key| key..key + 1)
    }
}

/// One key of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamKey {
    /// Name in routes, logs and metrics; `default` where the file has only the one key.
    pub name: String,
    /// The key itself.
    pub secret: SecretString,
    /// Its share of the requests, as against that of the upstream's other keys.
    pub weight: u32,
}

/// What happens to an answer whose client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCancel {
    /// It is broken off, and costs no more.
    Abort,
    /// It is read to its end, so that its usage is known exactly.
    Drain,
}

/// How far answers are read whose clients have left. Beyond any of these they are broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamDrain {
    /// Bytes of one answer, from the client's leaving on.
    pub bytes_max: usize,
    /// Time for one answer, from the client's leaving on.
    pub timeout: Duration,
    /// Answers at once.
    pub at_once_max: usize,
}

/// Streams at once of one target, and who waits for them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Streams at once.
    pub limit: StreamsLimit,
    /// Requests that wait for one target.
    pub queue_max: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
    /// Share of the limit that batch requests may hold.
    pub batch_share_max: f64,
}

/// Streams at once of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsLimit {
    /// As many as the file says.
    Fixed(u32),
    /// As many as the upstream turns out to bear.
    Adaptive {
        /// At the start.
        initial: u32,
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
}

/// How an upstream is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked for, below the upstream's base path, such as `/models`.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// How an upstream is asked to go on with a given beginning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefill {
    /// `continue_final_message`, as vLLM has it.
    Vllm,
    /// `prefix` on the last message, as Mistral has it.
    Prefix,
}

/// A `base_url` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or literal address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unix socket to connect to instead of `host:port` (`unix:/path/of.sock:/v1`).
    pub unix: Option<PathBuf>,
    /// Path prefix without trailing slash, such as `/v1`.
    pub path: String,
}
