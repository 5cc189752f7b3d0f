//! What a scrape tells about the targets of routing, whose state is kept elsewhere and read when it is asked for.
//!
//! Routing stands below this room, so it can't be named here: the composition root hands in whatever knows the
//! targets.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use prometheus::proto::Metric;

use crate::units::UpstreamId;

use super::QueueClass;
use super::collect::value;
use super::labels::Value;
use super::metrics::{Computed, Family};

/// Targets that a scrape tells about, the first of the configuration. With at most ten series each (five
/// states, streams, limit, two classes that wait, first token) they are no more than the 10,000 that
/// `millstream_requests_total` may have.
pub(super) const TARGETS_MAX: usize = 1_000;

/// Knows the targets. Asked once per scrape, on the thread that serves scrapes, never on a worker.
pub trait Targets: fmt::Debug + Send + Sync {
    /// All targets as they are now, always in the same order.
    fn sample(&self) -> Vec<TargetSample>;
}

/// One target at the moment of a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSample {
    /// Where its requests go.
    pub upstream: UpstreamId,
    /// Configured name of the upstream's key that it uses, never the key; empty where that has none. Of targets
    /// that would have the same labels, the later ones get their position (counted from one) behind it.
    pub key: String,
    /// The upstream's name of the model; empty where the client's name is passed on.
    pub model: String,
    /// Whether requests are sent to it.
    pub state: TargetState,
    /// Open streams.
    pub streams: u32,
    /// The limit on streams, and who waits for it; `None` where it has no limit.
    pub limit: Option<TargetLimit>,
    /// Moving average of the time to first token; `None` while unknown.
    pub first_token: Option<Duration>,
}

/// A target's limit on open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetLimit {
    /// As many may be open now.
    pub streams: u32,
    /// Requests of [`QueueClass::Interactive`] that wait.
    pub waiting_interactive: u32,
    /// Requests of [`QueueClass::Batch`] that wait.
    pub waiting_batch: u32,
}

/// Whether requests are sent to a target (`millstream_target_state{state}`). Where several hold, the lower one
/// in this list is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetState {
    /// Yes: its breaker is closed.
    Closed,
    /// One at a time, to find out.
    HalfOpen,
    /// No: its breaker is open.
    Open,
    /// No: it asked to be left alone for a while.
    Throttled,
    /// No: it did worse than its peers.
    Ejected,
}

/// The samples of one scrape, ready to be told.
#[derive(Debug, Default)]
pub(super) struct Sampled<'a> {
    upstreams: &'a [String],
    targets: Vec<TargetSample>,
}

impl<'a> Sampled<'a> {
    /// As many of `targets` as may be told, with labels that differ. One of an upstream that is not in
    /// `upstreams` is left out.
    pub(super) fn new(upstreams: &'a [String], mut targets: Vec<TargetSample>) -> Self {
        targets.retain(|target| target.upstream.index() < upstreams.len());
        targets.truncate(TARGETS_MAX);
        tell_apart(&mut targets);
        Self { upstreams, targets }
    }

    /// The series of a family about targets; none of any other family.
    pub(super) fn series(&self, metric: Computed) -> Vec<Metric> {
        self.targets.iter().flat_map(|target| self.series_of(metric, target)).collect()
    }

    fn series_of(&self, metric: Computed, target: &TargetSample) -> Vec<Metric> {
        let family = metric.family();
        let plain = |number: f64| vec![self.one(family, target, None, number)];
        let limit = target.limit.as_ref();
        match metric {
            Computed::TargetState => TargetState::VALUES
                .iter()
                .enumerate()
                .map(|(position, word)| {
                    let holds = position == target.state.position();
                    self.one(family, target, Some(word), f64::from(u8::from(holds)))
                })
                .collect(),
            Computed::TargetStreams => plain(f64::from(target.streams)),
            Computed::TargetStreamsLimit => limit.map_or_else(Vec::new, |limit| plain(f64::from(limit.streams))),
            Computed::TargetWaiting => limit.map_or_else(Vec::new, |limit| {
                [QueueClass::Interactive, QueueClass::Batch]
                    .map(|class| self.one(family, target, Some(class.word()), f64::from(limit.waiting(class))))
                    .to_vec()
            }),
            Computed::TargetFirstToken => {
                target.first_token.map_or_else(Vec::new, |time| plain(time.as_secs_f64()))
            }
            _ => Vec::new(),
        }
    }

    /// One series of `target`, with the value of the family's last label where that is one more.
    fn one(&self, family: &Family, target: &TargetSample, last: Option<&str>, number: f64) -> Metric {
        let mut labels = vec![&*self.upstreams[target.upstream.index()], &target.key, &target.model];
        labels.extend(last);
        value(family, &labels, number)
    }
}

impl TargetLimit {
    fn waiting(&self, class: QueueClass) -> u32 {
        match class {
            QueueClass::Interactive => self.waiting_interactive,
            QueueClass::Batch => self.waiting_batch,
        }
    }
}

/// Two series with the same labels make Prometheus refuse the whole scrape, and two keys of an upstream may both
/// be without a name.
fn tell_apart(targets: &mut [TargetSample]) {
    let mut seen = HashSet::new();
    for (position, target) in targets.iter_mut().enumerate() {
        while !seen.insert((target.upstream, target.key.clone(), target.model.clone())) {
            target.key = format!("{}#{}", target.key, position + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::proto::LabelPair;

    use super::*;

    fn target(upstream: usize, key: &str, model: &str) -> TargetSample {
        TargetSample {
            upstream: UpstreamId::new(upstream),
            key: key.to_owned(),
            model: model.to_owned(),
            state: TargetState::Closed,
            streams: 0,
            limit: None,
            first_token: None,
        }
    }

    /// The values of the labels of each series.
    fn labels(series: &[Metric]) -> Vec<Vec<&str>> {
        series.iter().map(|series| series.get_label().iter().map(LabelPair::value).collect()).collect()
    }

    #[test]
    fn targets_with_the_same_names_are_told_apart() {
        let upstreams = ["up".to_owned(), "other".to_owned()];
        let targets = ["", "", "b", "b#5", "b"].map(|key| target(0, key, "m"));
        let targets = targets.into_iter().chain([target(0, "", ""), target(1, "", "m")]).collect();
        let sampled = Sampled::new(&upstreams, targets);
        let series = sampled.series(Computed::TargetStreams);
        assert_eq!(
            labels(&series),
            [
                ["up", "", "m"],
                ["up", "#2", "m"],
                ["up", "b", "m"],
                ["up", "b#5", "m"],
                ["up", "b#5#5", "m"],
                ["up", "", ""],
                ["other", "", "m"],
            ]
        );
    }

    #[test]
    fn one_state_of_each_target_holds() {
        let upstreams = ["up".to_owned()];
        let states = [
            TargetState::Closed,
            TargetState::HalfOpen,
            TargetState::Open,
            TargetState::Throttled,
            TargetState::Ejected,
        ];
        assert_eq!(states.len(), TargetState::VALUES.len());
        for state in states {
            let sampled = Sampled::new(&upstreams, vec![TargetSample { state, ..target(0, "k", "m") }]);
            let series = sampled.series(Computed::TargetState);
            assert_eq!(series.len(), TargetState::VALUES.len());
            let holding: Vec<_> =
                series.into_iter().filter(|series| series.get_gauge().get_value() > 0.5).collect();
            assert_eq!(labels(&holding), [["up", "k", "m", state.word()]]);
        }
    }

    #[test]
    fn what_a_target_does_not_have_is_not_told() {
        let upstreams = ["up".to_owned()];
        let sampled = Sampled::new(&upstreams, vec![target(0, "k", "m")]);
        for metric in [Computed::TargetStreamsLimit, Computed::TargetWaiting, Computed::TargetFirstToken] {
            assert!(sampled.series(metric).is_empty(), "{metric:?}");
        }
    }

    #[test]
    fn a_target_of_another_configuration_is_left_out() {
        let upstreams = ["up".to_owned()];
        let sampled = Sampled::new(&upstreams, vec![target(1, "k", "m"), target(0, "k", "m")]);
        assert_eq!(labels(&sampled.series(Computed::TargetStreams)), [["up", "k", "m"]]);
    }

    #[test]
    fn the_number_of_series_has_a_bound() {
        let upstreams = ["up".to_owned()];
        let limit = Some(TargetLimit { streams: 1, waiting_interactive: 0, waiting_batch: 0 });
        let full = |position: usize| TargetSample {
            limit,
            first_token: Some(Duration::ZERO),
            ..target(0, &position.to_string(), "m")
        };
        let sampled = Sampled::new(&upstreams, (0..TARGETS_MAX + 5).map(full).collect());
        let series: usize = Computed::ALL.iter().map(|&metric| sampled.series(metric).len()).sum();
        assert_eq!(series, TARGETS_MAX * 10);
        assert_eq!(TARGETS_MAX, 1_000, "which the families' help names");
    }
}
