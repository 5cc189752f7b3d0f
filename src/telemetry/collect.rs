//! The scrape: sums the shards and hands the families to the `prometheus` crate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::credentials::Credentials;
use super::labels::{self, Label};
use super::metrics::{self, Computed, Family, Kind, Recorded};
use super::process::Process;
use super::series::SeriesKey;
use super::shard::width;
use super::targets::Sampled;
use super::{Shared, log};

/// Feeds a [`prometheus::Registry`].
#[derive(Debug)]
pub(super) struct Scrape {
    shared: Arc<Shared>,
    descs: Vec<Desc>,
}

/// One series while it is being built.
struct Sample<'a> {
    labels: Vec<&'a str>,
    /// The cells of one shard, or their sums over all shards.
    cells: Vec<u64>,
}

impl Scrape {
    /// Of everything in `shared`.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let descs = metrics::all()
            .map(|family| {
                let labels = family.labels.iter().map(|label| label.name().to_owned()).collect();
                Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
                    .expect("names and labels in the list are well-formed")
            })
            .collect();
        Self { shared, descs }
    }

    fn recorded(&self, metric: Recorded) -> MetricFamily {
        let layout = &self.shared.layout;
        let mut samples = Vec::new();
        for series in 0..layout.series(metric) {
            let first = layout.first_cell(metric, series);
            let cells = first..first + width(metric);
            let labels = self.label_values(metric, series);
            if metric.family().labels == [Label::Worker] {
                for (worker, shard) in self.shared.workers.iter().zip(&self.shared.shards) {
                    let cells = cells.clone().map(|cell| shard.read(cell)).collect();
                    samples.push(Sample { labels: vec![worker], cells });
                }
                continue;
            }
            let sum =
                |cell| self.shared.shards.iter().fold(0_u64, |sum, shard| sum.wrapping_add(shard.read(cell)));
            let sample = Sample { labels, cells: cells.map(sum).collect() };
            if self.is_shown(metric, series, &sample) {
                samples.push(sample);
            }
        }
        let metrics = samples.iter().map(|sample| sample.metric(metric.family())).collect();
        family(metric.family(), metrics)
    }

    /// The label values of a series, by its number.
    fn label_values(&self, metric: Recorded, series: usize) -> Vec<&str> {
        let mut rest = series;
        let mut values: Vec<_> = metric
            .family()
            .labels
            .iter()
            .rev()
            .map(|&label| {
                let size = self.shared.layout.size(label);
                let position = rest % size;
                rest /= size;
                match (label, label.words()) {
                    (Label::Upstream, _) => self.shared.names.upstreams[position].as_str(),
                    (_, Some(words)) => words[position],
                    (_, None) => "",
                }
            })
            .collect();
        values.reverse();
        values
    }

    /// Series of an endpoint that nobody uses are left out.
    fn is_shown(&self, metric: Recorded, series: usize, sample: &Sample<'_>) -> bool {
        let Some((Label::Endpoint, others)) = metric.family().labels.split_first() else { return true };
        let per_endpoint: usize = others.iter().map(|&label| self.shared.layout.size(label)).product();
        labels::endpoint_is_always_shown(series / per_endpoint) || sample.cells.iter().any(|&cell| cell > 0)
    }

    fn computed(&self, metric: Computed, process: &Process, targets: &Sampled<'_>) -> MetricFamily {
        let value = match metric {
            Computed::Requests => return self.requests(),
            Computed::BuildInfo => {
                let revision = option_env!("MILLSTREAM_REVISION").unwrap_or("unknown");
                let labels = [env!("CARGO_PKG_VERSION"), revision];
                return family(metric.family(), vec![value(metric.family(), &labels, 1.0)]);
            }
            Computed::ReactorInfo => {
                let sample = |labels: &[&str; 2]| value(metric.family(), labels, 1.0);
                return family(metric.family(), self.shared.reactor.get().map(sample).into_iter().collect());
            }
            Computed::TargetState
            | Computed::TargetStreams
            | Computed::TargetStreamsLimit
            | Computed::TargetWaiting
            | Computed::TargetFirstToken => return family(metric.family(), targets.series(metric)),
            Computed::CredentialsExpiry | Computed::CredentialsRefreshes => {
                let series = Credentials::series(&self.shared.credentials, &self.shared.names.upstreams, metric);
                return family(metric.family(), series);
            }
            Computed::Draining => Some(f64::from(u8::from(self.shared.draining.load(Ordering::Relaxed)))),
            Computed::LogLinesDropped => Some(log::lines_dropped() as f64),
            Computed::ProcessCpu => process.cpu_seconds,
            Computed::ProcessOpenFds => process.open_fds,
            Computed::ProcessMaxFds => process.max_fds,
            Computed::ProcessVirtualMemory => process.virtual_bytes,
            Computed::ProcessResidentMemory => process.resident_bytes,
            Computed::ProcessStartTime => process.start_seconds,
            Computed::ProcessThreads => process.threads,
        };
        family(
            metric.family(),
            value.map(|number| self::value(metric.family(), &[], number)).into_iter().collect(),
        )
    }

    fn requests(&self) -> MetricFamily {
        let list = Computed::Requests.family();
        let sums = self.shared.series.sums();
        let metrics = sums.iter().map(|&(key, sum)| self.request_series(list, key, sum as f64)).collect();
        family(list, metrics)
    }

    fn request_series(&self, family: &Family, key: Option<SeriesKey>, sum: f64) -> Metric {
        let Some(key) = key else { return value(family, &["other"; 5], sum) };
        let names = &self.shared.names;
        let labels = [
            labels::endpoint_word(key.endpoint),
            name(&names.routes, key.route.map(crate::units::RouteId::index)),
            name(&names.upstreams, key.upstream.map(crate::units::UpstreamId::index)),
            name(&names.keys, key.key.map(crate::units::KeyId::index)),
            &key.code.to_string(),
        ];
        value(family, &labels, sum)
    }
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let process = Process::read();
        // Sampled once, so that the families of one scrape are of one moment.
        let targets = self.shared.targets.get().map(|targets| targets.sample()).unwrap_or_default();
        let targets = Sampled::new(&self.shared.names.upstreams, targets);
        let recorded = Recorded::ALL.iter().map(|&metric| self.recorded(metric));
        recorded.chain(Computed::ALL.iter().map(|&metric| self.computed(metric, &process, &targets))).collect()
    }
}

impl Sample<'_> {
    fn metric(&self, family: &Family) -> Metric {
        match family.kind {
            Kind::Counter => value(family, &self.labels, self.cells[0] as f64),
            Kind::Gauge => value(family, &self.labels, self.cells[0].cast_signed() as f64),
            Kind::Histogram(bounds) => {
                let mut metric = Metric::from_label(pairs(family, &self.labels));
                metric.set_histogram(histogram(bounds, &self.cells));
                metric
            }
        }
    }
}

/// The buckets, cumulated; the count is their sum, so that the two can never disagree.
fn histogram(bounds: &[u64], cells: &[u64]) -> Histogram {
    let mut count = 0_u64;
    let mut buckets = Vec::with_capacity(bounds.len());
    for (&bound, &cell) in bounds.iter().zip(cells) {
        count += cell;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(bound));
        bucket.set_cumulative_count(count);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(count + cells[bounds.len()]);
    histogram.set_sample_sum(seconds(cells[bounds.len() + 1]));
    histogram
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn name(names: &[String], position: Option<usize>) -> &str {
    position.and_then(|position| names.get(position)).map_or("", String::as_str)
}

fn family(list: &Family, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(list.name.to_owned());
    family.set_help(list.help.to_owned());
    family.set_field_type(match list.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram(_) => MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}

/// A counter's or gauge's series.
pub(super) fn value(family: &Family, labels: &[&str], number: f64) -> Metric {
    let mut metric = Metric::from_label(pairs(family, labels));
    if family.kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(number);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
    }
    metric
}

fn pairs(family: &Family, values: &[&str]) -> Vec<LabelPair> {
    let pair = |(label, value): (&Label, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name(label.name().to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    family.labels.iter().zip(values).map(pair).collect()
}
