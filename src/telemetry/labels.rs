//! Label values: closed enums become their words here, and names from the configuration are resolved once.

use std::collections::HashSet;

use crate::api::endpoint::Endpoint;
use crate::config::Config;
use crate::telemetry::{
    AttemptOutcome, CancelDrainOutcome, ConnectionState, ContinuationOutcome, Direction, EndReason, FailurePhase,
    HedgeDecision, LimitKind, Phase, QueueClass, QueueOutcome, RefreshOutcome, RetryDecision, Stage, TargetState,
};

/// A label of a family, and with it the set of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Index of the worker; each shard is a series of its own.
    Worker,
    /// Name of an upstream.
    Upstream,
    /// Surface, by [`Endpoint`]; empty where the path is none of ours.
    Endpoint,
    /// [`EndReason`]
    Reason,
    /// [`Phase`]
    Phase,
    /// [`Direction`]
    Direction,
    /// [`Source`]
    Source,
    /// [`LimitKind`]
    Limit,
    /// [`Outcome`]
    Outcome,
    /// [`Stage`]
    Stage,
    /// [`ConnectionState`]
    State,
    /// [`FailurePhase`]
    FailurePhase,
    /// [`AcceptError`]
    AcceptError,
    /// [`AttemptOutcome`]
    AttemptOutcome,
    /// [`RetryDecision`]
    RetryDecision,
    /// [`HedgeDecision`]
    HedgeDecision,
    /// [`QueueClass`]
    QueueClass,
    /// [`QueueOutcome`]
    QueueOutcome,
    /// [`ContinuationOutcome`]
    ContinuationOutcome,
    /// [`CancelDrainOutcome`]
    CancelDrainOutcome,
    /// [`RefreshOutcome`]
    RefreshOutcome,
    /// [`TargetState`]
    TargetState,
    /// Name of an upstream's key; empty where it has none.
    TargetKey,
    /// An upstream's name of a model; empty where it is the client's.
    TargetModel,
    /// How sockets are read and written.
    Reactor,
    /// Why that reactor runs.
    Ground,
    /// Model name or glob of a route.
    Route,
    /// Name of a virtual key.
    Key,
    /// HTTP status code.
    Code,
    /// Version of the program.
    Version,
    /// Revision of its source.
    Revision,
}

/// What a limit said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Go ahead.
    Allowed,
    /// Not now.
    Denied,
}

/// Why `accept` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The file limit of the process or of the machine.
    OutOfDescriptors,
    /// Anything else, such as a client that left before it was accepted.
    Other,
}

/// Where a count of tokens comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The provider told it to the client too.
    Provider,
    /// The provider told it after the client had left.
    Drained,
}

/// A closed set of label values.
pub(super) trait Value: Copy {
    /// All words, in the order of [`Value::position`].
    const VALUES: &'static [&'static str];

    /// Where this value's word is in [`Value::VALUES`].
    fn position(self) -> usize;

    /// This value's word.
    fn word(self) -> &'static str {
        Self::VALUES[self.position()]
    }
}

macro_rules! values {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl Value for $type {
            const VALUES: &'static [&'static str] = &[$($word),+];

            fn position(self) -> usize {
                // Counts in the order written here, whatever the order of the enum: a new variant does not
                // compile until it has a word, and cannot get another one's place.
                enum Position { $($variant),+ }
                match self { $(Self::$variant => Position::$variant as usize),+ }
            }
        }
    };
}

values!(Endpoint {
    ChatCompletions => "chat_completions",
    Completions => "completions",
    Responses => "responses",
    ResponsesItem => "responses_item",
    Embeddings => "embeddings",
    Models => "models",
    Model => "model",
    Moderations => "moderations",
    ImageGenerations => "image_generations",
    ImageForms => "image_forms",
    AudioSpeech => "audio_speech",
    AudioForms => "audio_forms",
    Rerank => "rerank",
    Files => "files",
    Batches => "batches",
    Realtime => "realtime",
    Messages => "messages",
    CountTokens => "count_tokens",
    GenerateContent => "generate_content",
    StreamGenerateContent => "stream_generate_content",
    GeminiCountTokens => "gemini_count_tokens",
    GeminiEmbed => "gemini_embed",
    GeminiModels => "gemini_models",
    GeminiModel => "gemini_model",
    OllamaChat => "ollama_chat",
    OllamaGenerate => "ollama_generate",
    OllamaEmbed => "ollama_embed",
    OllamaTags => "ollama_tags",
    OllamaVersion => "ollama_version",
});
values!(Phase { WaitingFirstToken => "waiting_first_token", Streaming => "streaming" });
values!(EndReason {
    Completed => "completed",
    ClientCancelled => "client_cancelled",
    UpstreamError => "upstream_error",
    UpstreamTruncated => "upstream_truncated",
    FirstTokenTimeout => "ttft_timeout",
    IdleTimeout => "idle_timeout",
    TotalTimeout => "total_timeout",
    SlowReader => "slow_reader",
    Drain => "drain",
});
values!(LimitKind {
    KeyRequests => "key_requests",
    KeyStreams => "key_streams",
    GlobalRequests => "global_requests",
    GlobalStreams => "global_streams",
});
values!(Stage { Body => "body", Route => "route", Connect => "connect" });
values!(Direction { Input => "input", Output => "output" });
values!(ConnectionState { Active => "active", Idle => "idle" });
values!(FailurePhase {
    Cap => "cap",
    Dns => "dns",
    Connect => "connect",
    Handshake => "handshake",
    Response => "response",
});
values!(Outcome { Allowed => "allowed", Denied => "denied" });
values!(Source { Provider => "provider", Drained => "drained" });
values!(AttemptOutcome {
    Committed => "committed",
    ClientFault => "client_fault",
    Unreachable => "unreachable",
    Broken => "broken",
    Status => "status",
    FirstEvent => "first_event",
    Late => "late",
    Throttled => "throttled",
    Spent => "spent",
    Abandoned => "abandoned",
    HedgeLost => "hedge_lost",
});
values!(RetryDecision {
    Elsewhere => "elsewhere",
    SameTarget => "same_target",
    DeniedBudget => "denied_budget",
    DeniedAttempts => "denied_attempts",
    DeniedDeadline => "denied_deadline",
});
values!(HedgeDecision { Won => "won", Lost => "lost", Denied => "denied" });
values!(QueueClass { Interactive => "interactive", Batch => "batch" });
values!(QueueOutcome { Seated => "seated", Left => "left", Timeout => "timeout", Full => "full" });
values!(ContinuationOutcome {
    Continued => "continued",
    Refused => "refused",
    Failed => "failed",
    Unfit => "unfit",
});
values!(CancelDrainOutcome { Whole => "whole", Bound => "bound", Broken => "broken", Refused => "refused" });
values!(RefreshOutcome { Refreshed => "refreshed", Failed => "failed" });
values!(TargetState {
    Closed => "closed",
    HalfOpen => "half_open",
    Open => "open",
    Throttled => "throttled",
    Ejected => "ejected",
});
values!(AcceptError { OutOfDescriptors => "out_of_descriptors", Other => "other" });

/// The words of [`Endpoint`] and, behind them, the empty word of a path that is none of ours.
const ENDPOINTS: [&str; Endpoint::VALUES.len() + 1] = {
    let mut words = [""; Endpoint::VALUES.len() + 1];
    let mut position = 0;
    while position < Endpoint::VALUES.len() {
        words[position] = Endpoint::VALUES[position];
        position += 1;
    }
    words
};

/// Where `endpoint` is among the values of [`Label::Endpoint`].
pub(super) fn endpoint_position(endpoint: Option<Endpoint>) -> usize {
    endpoint.map_or(Endpoint::VALUES.len(), Value::position)
}

/// The word of `endpoint`; empty where the path is none of ours.
pub(super) fn endpoint_word(endpoint: Option<Endpoint>) -> &'static str {
    ENDPOINTS[endpoint_position(endpoint)]
}

/// Whether the endpoint at this position streams tokens by nature. Its series exist from the start, so that
/// the first increase is seen; those of the others appear with their first use, or a scrape would be mostly
/// zeros.
pub(super) fn endpoint_is_always_shown(position: usize) -> bool {
    [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Responses]
        .into_iter()
        .any(|endpoint| endpoint.position() == position)
}

impl Label {
    /// The label's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Upstream => "upstream",
            Self::Endpoint => "endpoint",
            Self::Reason | Self::Ground => "reason",
            Self::Phase | Self::FailurePhase => "phase",
            Self::Direction => "direction",
            Self::Source => "source",
            Self::Limit => "limit",
            Self::Outcome
            | Self::AttemptOutcome
            | Self::QueueOutcome
            | Self::ContinuationOutcome
            | Self::CancelDrainOutcome
            | Self::RefreshOutcome => "outcome",
            Self::RetryDecision | Self::HedgeDecision => "decision",
            Self::QueueClass => "class",
            Self::Stage => "stage",
            Self::State | Self::TargetState => "state",
            Self::AcceptError => "kind",
            Self::Reactor => "reactor",
            Self::Route => "route",
            Self::Key | Self::TargetKey => "key",
            Self::TargetModel => "model",
            Self::Code => "code",
            Self::Version => "version",
            Self::Revision => "revision",
        }
    }

    /// The words of a closed set; `None` where the values come from the configuration, from traffic, or from a
    /// room that has the set.
    pub(super) const fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Endpoint => Some(&ENDPOINTS),
            Self::Reason => Some(EndReason::VALUES),
            Self::Phase => Some(Phase::VALUES),
            Self::FailurePhase => Some(FailurePhase::VALUES),
            Self::Direction => Some(Direction::VALUES),
            Self::Source => Some(Source::VALUES),
            Self::Limit => Some(LimitKind::VALUES),
            Self::Outcome => Some(Outcome::VALUES),
            Self::Stage => Some(Stage::VALUES),
            Self::State => Some(ConnectionState::VALUES),
            Self::AcceptError => Some(AcceptError::VALUES),
            Self::AttemptOutcome => Some(AttemptOutcome::VALUES),
            Self::RetryDecision => Some(RetryDecision::VALUES),
            Self::HedgeDecision => Some(HedgeDecision::VALUES),
            Self::QueueClass => Some(QueueClass::VALUES),
            Self::QueueOutcome => Some(QueueOutcome::VALUES),
            Self::ContinuationOutcome => Some(ContinuationOutcome::VALUES),
            Self::CancelDrainOutcome => Some(CancelDrainOutcome::VALUES),
            Self::RefreshOutcome => Some(RefreshOutcome::VALUES),
            Self::TargetState => Some(TargetState::VALUES),
            Self::Worker
            | Self::Upstream
            | Self::Reactor
            | Self::Ground
            | Self::Route
            | Self::Key
            | Self::TargetKey
            | Self::TargetModel
            | Self::Code
            | Self::Version
            | Self::Revision => None,
        }
    }
}

/// Names from the configuration, by position.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) upstreams: Vec<String>,
    pub(super) routes: Vec<String>,
    pub(super) keys: Vec<String>,
}

impl Names {
    /// The names of everything in `config`.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            upstreams: distinct(config.upstreams.iter().map(|upstream| upstream.name.as_str())),
            routes: distinct(config.routes.iter().map(|route| route.model.as_str())),
            keys: distinct(config.keys.iter().map(|key| key.name.as_str())),
        }
    }
}

/// Two series with the same labels make Prometheus refuse the whole scrape, so a name met before gets the
/// position of its entry (counted from one) behind it.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = HashSet::new();
    names
        .enumerate()
        .map(|(position, name)| {
            let mut name = name.to_owned();
            while !seen.insert(name.clone()) {
                name = format!("{name}#{}", position + 1);
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_at_their_positions() {
        assert_eq!(EndReason::VALUES[EndReason::Drain.position()], "drain");
        assert_eq!(EndReason::VALUES[EndReason::FirstTokenTimeout.position()], "ttft_timeout");
        assert_eq!(endpoint_word(Some(Endpoint::Batches)), "batches");
        assert_eq!(endpoint_word(None), "");
    }

    #[test]
    fn names_are_made_distinct() {
        let names = distinct(["a", "b", "a", "a", "a#3"].into_iter());
        assert_eq!(names, ["a", "b", "a#3", "a#4", "a#3#5"]);
    }
}
