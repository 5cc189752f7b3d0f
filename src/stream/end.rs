//! How an exchange ended, told once to everything attached to its body.

use std::time::Duration;

use serde::Deserialize;

use crate::telemetry::EndReason;
use crate::units::UpstreamId;

/// The end of one exchange.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// Why it ended. `None` only while it runs.
    pub reason: Option<EndReason>,
    /// Whether an event stream was relayed.
    pub streamed: bool,
    /// Who answered, if anybody did.
    pub upstream: Option<UpstreamId>,
    /// Body bytes handed to the client's connection.
    pub bytes: u64,
    /// Events relayed.
    pub events: u64,
    /// From the request's arrival to its first token.
    pub first_token: Option<Duration>,
    /// As reported by the provider.
    pub usage: Option<Usage>,
    /// As reported by the provider, the last one seen.
    pub finish_reason: Option<Box<str>>,
}

/// Token counts as a provider reports them, whichever API they came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Reported")]
pub struct Usage {
    /// Prompt tokens.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens.
    pub completion_tokens: Option<u64>,
}

impl Usage {
    /// What of this was not in `told`.
    #[must_use]
    pub fn beyond(self, told: Self) -> Self {
        let beyond = |all: Option<u64>, told: Option<u64>| all.map(|all| all.saturating_sub(told.unwrap_or(0)));
        Self {
            prompt_tokens: beyond(self.prompt_tokens, told.prompt_tokens),
            completion_tokens: beyond(self.completion_tokens, told.completion_tokens),
        }
    }
}

/// The two names of each count. Not aliases of one field: some providers send both. Anthropic counts what is read from the
/// cache, or put there, beside the input.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the providers'")]
struct Reported {
    prompt_tokens: Option<u64>,
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl From<Reported> for Usage {
    fn from(reported: Reported) -> Self {
        let beside = [reported.cache_read_input_tokens, reported.cache_creation_input_tokens];
        let input =
            reported.input_tokens.map(|input| beside.into_iter().flatten().fold(input, u64::saturating_add));
        Self {
            prompt_tokens: reported.prompt_tokens.or(input),
            completion_tokens: reported.completion_tokens.or(reported.output_tokens),
        }
    }
}

/// The transfer must be broken off, not ended: an end would look like success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream was broken off ({0:?})")]
pub struct Abort(pub EndReason);
