//! Health of targets: from the configuration to the policies of routing, the once-a-second look at each tier, and what a
//! scrape is told.

use super::snapshot::Snapshot;
use super::worker::Worker;
use crate::api::prefill::Prefill;
use crate::config;
use crate::routing::balance::Balance;
use crate::routing::gate::{Class, Gate, GatePolicy, Limit};
use crate::routing::health::{HealthPolicy, State};
use crate::routing::hedge::{After, HedgePolicy};
use crate::routing::table::Target;
use crate::telemetry::{QueueClass, TargetLimit, TargetSample, TargetState, Targets};
use crate::units::TargetId;

/// What `[health]` says, and defaults for the rest.
pub(super) fn policy(health: &config::Health) -> HealthPolicy {
    HealthPolicy {
        breaker_failures: health.breaker_failures,
        breaker_ratio: health.breaker_ratio,
        open: health.breaker_open,
        open_max: health.breaker_open_max,
        throttle: health.throttle,
        throttle_max: health.throttle_max,
        ejection: health.ejection,
        ejected_share_max: health.ejected_share_max,
        panic_share: health.panic_share,
        slow_start: health.slow_start,
        ..HealthPolicy::default()
    }
}

pub(super) fn gate_policy(gate: &config::Gate) -> GatePolicy {
    GatePolicy {
        limit: match gate.limit {
            config::StreamsLimit::Fixed(limit) => Limit::Fixed(limit),
            config::StreamsLimit::Adaptive { initial, min, max } => Limit::Adaptive { initial, min, max },
        },
        batch_share_max: gate.batch_share_max,
        queue_max: gate.queue_max,
    }
}

impl From<config::Balance> for Balance {
    fn from(balance: config::Balance) -> Self {
        match balance {
            config::Balance::Weighted => Self::Weighted,
            config::Balance::LeastStreams => Self::LeastStreams,
            config::Balance::PowerOfTwo => Self::PowerOfTwo,
            config::Balance::Hash => Self::Hash,
        }
    }
}

impl From<config::Hedge> for HedgePolicy {
    fn from(hedge: config::Hedge) -> Self {
        let after = match hedge.after {
            config::HedgeAfter::Fixed(after) => After::Fixed(after),
            config::HedgeAfter::Percentile(percent) => After::Quantile(f64::from(percent) / 100.0),
        };
        Self { after, share_max: hedge.share_max, ..Self::default() }
    }
}

impl From<config::Prefill> for Prefill {
    fn from(prefill: config::Prefill) -> Self {
        match prefill {
            config::Prefill::Vllm => Self::Vllm,
            config::Prefill::Prefix => Self::Prefix,
        }
    }
}

impl From<Class> for QueueClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Interactive => Self::Interactive,
            Class::Batch => Self::Batch,
        }
    }
}

impl Worker {
    /// Leaves targets out that are much worse than the others of their tier. Once a second, by one worker for all.
    pub fn judge_targets(&self) {
        let (table, now) = (&self.snapshot.table, self.now());
        let tiers: Vec<Vec<TargetId>> = table
            .routes()
            .iter()
            .flat_map(|route| &route.tiers)
            .map(|tier| tier.iter().map(|choice| choice.target).collect())
            .collect();
        for ejected in self.snapshot.board.judge(&tiers, now) {
            let upstream = table.target(ejected.target).upstream;
            let name = &self.snapshot.config.upstreams[upstream.index()].name;
            tracing::warn!(upstream = %name, target = %ejected.target, cause = ?ejected.cause,
                "left out for a while: it does much worse than the others of its tier");
            self.recorder.ejected(upstream);
        }
    }
}

/// Tells scrapes of the targets of a snapshot.
#[derive(Debug)]
pub struct Scraped(pub Snapshot);

impl Targets for Scraped {
    fn sample(&self) -> Vec<TargetSample> {
        let Snapshot { config, table, board, gates, epoch, .. } = &self.0;
        let now = epoch.elapsed();
        let waiting = |gate: &Gate, class| u32::try_from(gate.waiting(class)).unwrap_or(u32::MAX);
        let sample = |target: &Target| {
            let upstream = &config.upstreams[target.upstream.index()];
            let known = board.snapshot(target.id, now);
            TargetSample {
                upstream: target.upstream,
                key: upstream.keys.get(target.key).map_or_else(String::new, |key| key.name.clone()),
                model: target.model.as_deref().unwrap_or_default().to_owned(),
                state: match known.state {
                    State::Closed => TargetState::Closed,
                    State::HalfOpen => TargetState::HalfOpen,
                    State::Open => TargetState::Open,
                    State::Throttled => TargetState::Throttled,
                    State::Ejected => TargetState::Ejected,
                },
                streams: board.open(target.id),
                limit: gates[target.id.index()].as_ref().map(|gate| TargetLimit {
                    streams: gate.limit(),
                    waiting_interactive: waiting(gate, Class::Interactive),
                    waiting_batch: waiting(gate, Class::Batch),
                }),
                first_token: board.pace(target.id, now),
            }
        };
        table.targets().iter().map(sample).collect()
    }
}
