//! One line per exchange, when it has ended.

use std::sync::Arc;

use super::at_end::Witness;
use super::record::Record;
use crate::config::Config;
use crate::server::Peer;
use crate::stream::End;
use crate::telemetry::EndReason;
use crate::telemetry::access::AccessRecord;

/// Writes the access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    config: Arc<Config>,
}

impl AccessLog {
    /// Names keys and upstreams as `config` does.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config }
    }
}

impl Witness for AccessLog {
    fn is_interested(&self) -> bool {
        AccessRecord::enabled()
    }

    fn tell(&self, record: &Record, status: u16, end: &End) {
        let model = record.model.borrow();
        let upstream = end.upstream.or_else(|| record.upstream.get());
        AccessRecord {
            request_id: &record.id,
            peer: match record.exchange.peer() {
                Peer::Tcp(address) => Some(address.ip()),
                Peer::Unix => None,
            },
            method: record.method.as_str(),
            path: &record.path,
            endpoint: record.endpoint.get(),
            model: model.as_deref(),
            key: record.key.get().map(|key| self.config.keys[key.index()].name.as_str()),
            upstream: upstream.map(|upstream| self.config.upstreams[upstream.index()].name.as_str()),
            status,
            reason: end.reason.unwrap_or(EndReason::ClientCancelled),
            duration: record.exchange.began().elapsed(),
            time_to_first_token: end.first_token,
            bytes: end.bytes,
            chunks: end.events,
            input_tokens: end.usage.and_then(|usage| usage.prompt_tokens),
            output_tokens: end.usage.and_then(|usage| usage.completion_tokens),
            finish_reason: end.finish_reason.as_deref(),
        }
        .log();
    }
}
