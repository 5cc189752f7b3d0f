//! The access log: one event per exchange, at its end. No content, no query string, no key.

use std::net::IpAddr;
use std::time::Duration;

use crate::api::endpoint::Endpoint;

use super::EndReason;
use super::labels::endpoint_word;

/// Target of the events; `millstream::access=off` in the filter silences them.
pub const TARGET: &str = "millstream::access";

/// Bytes of a text field. Paths and model names come from clients, who may send as much as they like.
const TEXT_BYTES_MAX: usize = 256;

/// What is said about one exchange. `None` is left out.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// Request id, ours or the client's.
    pub request_id: &'a str,
    /// Address of the client; `None` on Unix sockets.
    pub peer: Option<IpAddr>,
    /// HTTP method.
    pub method: &'a str,
    /// Path. A query string is cut off here, should one come.
    pub path: &'a str,
    /// Surface; `None` where the path is none of ours.
    pub endpoint: Option<Endpoint>,
    /// Model, as the client named it.
    pub model: Option<&'a str>,
    /// Name of the virtual key.
    pub key: Option<&'a str>,
    /// Name of the upstream that answered, or was last asked.
    pub upstream: Option<&'a str>,
    /// HTTP status of the answer.
    pub status: u16,
    /// How the exchange ended.
    pub reason: EndReason,
    /// From the request's arrival to the end of its answer.
    pub duration: Duration,
    /// From the request's arrival to the first event of its stream.
    pub time_to_first_token: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Events relayed.
    pub chunks: u64,
    /// Prompt tokens, as the provider reported them.
    pub input_tokens: Option<u64>,
    /// Completion tokens, as the provider reported them.
    pub output_tokens: Option<u64>,
    /// Why the model stopped, in the provider's word.
    pub finish_reason: Option<&'a str>,
}

impl AccessRecord<'_> {
    /// Whether [`AccessRecord::log`] would leave a line; where not, a record need not be made.
    pub fn enabled() -> bool {
        tracing::enabled!(target: TARGET, tracing::Level::INFO)
    }

    /// Emits the event.
    pub fn log(&self) {
        let path = self.path.split_once('?').map_or(self.path, |(path, _)| path);
        tracing::info!(
            target: TARGET,
            request_id = clip(self.request_id),
            peer = self.peer.map(tracing::field::display),
            method = clip(self.method),
            path = clip(path),
            endpoint = self.endpoint.map(|endpoint| endpoint_word(Some(endpoint))),
            model = self.model.map(clip),
            key = self.key,
            upstream = self.upstream,
            status = self.status,
            reason = self.reason.as_str(),
            duration_ms = milliseconds(self.duration),
            ttft_ms = self.time_to_first_token.map(milliseconds),
            bytes = self.bytes,
            chunks = self.chunks,
            input_tokens = self.input_tokens,
            output_tokens = self.output_tokens,
            finish_reason = self.finish_reason.map(clip),
            "exchange ended"
        );
    }
}

/// The start of `text`, no longer than [`TEXT_BYTES_MAX`].
fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_clipped_between_characters() {
        assert_eq!(clip("short"), "short");
        let text = format!("{}é", "x".repeat(TEXT_BYTES_MAX - 1));
        assert_eq!(clip(&text), "x".repeat(TEXT_BYTES_MAX - 1));
    }
}
