//! `[[routes]]` as checked: where the requests of a model go, and what is done when that fails. What a route leaves
//! to `[stream]`, `[retry]` or its upstreams is filled in.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::defaults::TARGET_WEIGHT;
use super::{OnCancel, Prefill, Unsupported, Upstream};

/// `[[routes]]`
#[derive(Clone, Debug)]
pub struct Route {
    /// A model name or a glob; empty for the route of requests that name no model.
    pub model: String,
    /// More names for it, without wildcards.
    pub aliases: Vec<String>,
    /// In the order in which they are tried. None is empty.
    pub tiers: Vec<Vec<Target>>,
    /// Who of a tier is asked.
    pub balance: Balance,
    /// What [`Balance::Hash`] goes by.
    pub hash_on: HashOn,
    /// Deadlines and the like.
    pub clocks: Clocks,
    /// What happens to answers whose client has left; `None`: what the upstream says.
    pub on_cancel: Option<OnCancel>,
    /// The model that requests go to which are too long for this one, or which its provider refuses for their
    /// content. Some route has it, and following it from route to route ends.
    pub larger: Option<String>,
    /// Whether a stream that breaks off is gone on with elsewhere.
    pub continues: bool,
    /// What is tried again, and how often.
    pub retry: Retry,
    /// When a second target is asked beside the first; `None`: never.
    pub hedge: Option<Hedge>,
    /// What requests get that they lack.
    pub defaults: Defaults,
    /// What happens to requests that a target can't honour in all that they ask for.
    pub unsupported: Unsupported,
}

impl Route {
    /// Its model and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.model].into_iter().chain(&self.aliases).map(String::as_str)
    }
}

/// One target of a route.
#[derive(Clone, Debug)]
pub struct Target {
    /// Position in [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// Position in [`Upstream::keys`](super::Upstream::keys); `None`: each of its keys, or none where it has none.
    pub key: Option<usize>,
    /// The upstream's name for the model, where it differs from the client's.
    pub model: Option<String>,
    /// Its share of the requests, as against that of the tier's other targets.
    pub weight: u32,
    /// How it goes on with a given beginning of an answer, if it can. The same for the same model of an upstream.
    pub prefill: Option<Prefill>,
    /// Members that requests to it get, on top of what they have, those of its upstream included. The same for the same
    /// model of an upstream.
    pub extra_body: Vec<BodyDefault>,
}

impl Target {
    /// One that says nothing of itself.
    pub(super) fn plain(upstream: usize, key: Option<usize>, of: &Upstream) -> Self {
        let (prefill, extra_body) = (of.prefill, of.extra_body.clone());
        Self { upstream, key, model: None, weight: TARGET_WEIGHT.default, prefill, extra_body }
    }
}

/// Who of a tier is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// By weight alone.
    Weighted,
    /// Whoever has the fewest open streams for its weight.
    LeastStreams,
    /// The better of two drawn by weight: by open streams and time to the first token.
    PowerOfTwo,
    /// The same one for the same key, so that its cache knows the prompt.
    Hash,
}

/// What [`Balance::Hash`] goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The header `x-session-id`.
    Session,
    /// The body's `prompt_cache_key`, else its `user`.
    User,
    /// The beginning of the body's `messages` or `prompt`.
    Prompt,
}

/// Clocks of one request; `None` is `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// When the response head of a stream is sent although the upstream has not answered yet, so that
    /// keep-alive comments can flow. Later failures are then error events instead of status codes.
    pub early_head_after: Option<Duration>,
    /// From the request's arrival to the end of a JSON answer, or the head of another one that is no stream.
    pub response_timeout: Option<Duration>,
    /// From the beginning of an attempt to its first event.
    pub first_token_timeout: Option<Duration>,
    /// Silence of the upstream between two reads.
    pub idle_timeout: Option<Duration>,
    /// From the request's arrival to the last byte of its answer.
    pub total_timeout: Option<Duration>,
}

/// What is tried again, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts at one request of which an upstream saw something, the first included.
    pub attempts_max: u32,
    /// How many of them may be repetitions at a target that was asked before.
    pub same_target_max: u32,
    /// Wait before the first repetition; each further one waits twice as long.
    pub backoff: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// From the beginning of an attempt to the end of its answer, where that is no stream.
    pub attempt_timeout: Option<Duration>,
    /// From the request's arrival; no attempt begins later.
    pub deadline: Option<Duration>,
}

/// What retries may cost, all routes together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries at once, as a share of the live requests.
    pub share: f64,
    /// Retries per second that are always allowed.
    pub floor_per_second: u32,
}

/// `[routes.hedge]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge {
    /// How long the first target may be silent.
    pub after: HedgeAfter,
    /// Share of requests that may get a second attempt so.
    pub share_max: f64,
}

/// How long a target may be silent before a second one is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// As long as so many percent (50 to 99) of the route's first tokens take.
    Percentile(u8),
    /// This long.
    Fixed(Duration),
}

/// What requests get that they lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Headers; sensitive are those that came from a variable.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Members of a JSON body's top level.
    pub body: Vec<BodyDefault>,
}

/// One member of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyDefault {
    /// Its name: letters, digits, `_`, `-` and `.`, so that it stands between quotes as it is.
    pub name: String,
    /// Its value as JSON.
    pub json: String,
}
