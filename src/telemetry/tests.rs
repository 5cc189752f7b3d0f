//! The room as a whole: what is recorded is what a scrape tells, and the dashboard asks for what exists.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::api::endpoint::Endpoint;
use crate::units::{KeyId, RouteId, UpstreamId};

use super::labels::Names;
use super::metrics::{self, Kind};
use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn telemetry(workers: usize) -> Arc<Telemetry> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let names = Names {
        upstreams: names(&["openai", "local"]),
        routes: names(&["gpt-*", "a \"quoted\"\\model\n"]),
        keys: names(&["team-a"]),
    };
    let telemetry = Telemetry::with_names(names, workers);
    telemetry.set_reactor("epoll", "configured");
    telemetry.set_reactor("io_uring", "chosen");
    telemetry.set_targets(Arc::new(TwoTargets));
    telemetry
}

/// One target of which everything is known, and one of which little is.
#[derive(Debug)]
struct TwoTargets;

impl Targets for TwoTargets {
    fn sample(&self) -> Vec<TargetSample> {
        let known = TargetSample {
            upstream: UpstreamId::new(0),
            key: "second \"key\"".to_owned(),
            model: "gpt-5".to_owned(),
            state: TargetState::HalfOpen,
            streams: 7,
            limit: Some(TargetLimit { streams: 8, waiting_interactive: 2, waiting_batch: 30 }),
            first_token: Some(MILLISECOND * 250),
        };
        let unknown = TargetSample {
            upstream: UpstreamId::new(1),
            key: String::new(),
            model: String::new(),
            state: TargetState::Closed,
            streams: 0,
            limit: None,
            first_token: None,
        };
        vec![known, unknown]
    }
}

/// One of everything.
fn record_everything(recorder: &Recorder) {
    let upstream = UpstreamId::new(1);
    recorder.connection_opened();
    recorder.connection_opened();
    recorder.connection_closed();
    recorder.connection_refused();
    recorder.accept_failed(true);
    recorder.connection_handed_over();
    recorder.phase_changed(None, Some(Phase::WaitingFirstToken));
    recorder.phase_changed(Some(Phase::WaitingFirstToken), Some(Phase::Streaming));
    let (route, key) = (Some(RouteId::new(1)), Some(KeyId::new(0)));
    recorder.request_ended(Some(Endpoint::Responses), route, Some(upstream), key, 200, MILLISECOND * 7);
    recorder.request_ended(None, None, None, None, 404, MILLISECOND);
    recorder.stream_ended(Endpoint::Responses, EndReason::Completed);
    recorder.first_token(upstream, MILLISECOND * 300);
    recorder.chunk_gap(upstream, MILLISECOND * 20);
    recorder.chunks(upstream, 3);
    recorder.forward_delay(Duration::from_micros(30));
    recorder.overhead(Stage::Route, Duration::from_micros(80));
    recorder.tokens(upstream, Direction::Output, 42);
    recorder.tokens_drained(upstream, Direction::Output, 5);
    recorder.upstream_connections(upstream, ConnectionState::Active, 2);
    recorder.upstream_connections(upstream, ConnectionState::Active, -1);
    recorder.upstream_connected(upstream, MILLISECOND * 30);
    recorder.upstream_failed(upstream, FailurePhase::Dns);
    recorder.fallback(UpstreamId::new(0));
    recorder.attempt(UpstreamId::new(0), AttemptOutcome::FirstEvent);
    recorder.attempt(upstream, AttemptOutcome::Committed);
    recorder.retry(UpstreamId::new(0), RetryDecision::Elsewhere);
    recorder.hedge(HedgeDecision::Denied);
    recorder.queue_ended(QueueClass::Batch, QueueOutcome::Timeout, MILLISECOND * 40);
    recorder.queue_ended(QueueClass::Batch, QueueOutcome::Full, Duration::ZERO);
    recorder.continuation(ContinuationOutcome::Continued);
    recorder.cancel_drain(upstream, CancelDrainOutcome::Bound);
    recorder.ejected(upstream);
    recorder.limit_decided(LimitKind::KeyStreams, false);
    recorder.request_shed();
    recorder.cancel_propagated(MILLISECOND);
    recorder.loop_turn(Duration::from_micros(200));
    recorder.reactor_turned();
    recorder.reactor_rested(Duration::from_micros(300), false);
    recorder.reactor_rested(Duration::from_millis(3), true);
}

/// The value of a sample, by its whole name with labels.
fn sample(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_scrape_sums_the_shards() {
    let telemetry = telemetry(3);
    for worker in 0..3 {
        record_everything(&telemetry.recorder(worker));
    }
    telemetry.recorder(1).connection_opened();
    telemetry.set_draining(true);
    let text = telemetry.encode();
    for (series, value) in [
        (r#"millstream_connections{worker="0"}"#, 1.0),
        (r#"millstream_connections{worker="1"}"#, 2.0),
        ("millstream_connections_total", 7.0),
        ("millstream_connections_refused_total", 3.0),
        (r#"millstream_accept_errors_total{kind="out_of_descriptors"}"#, 3.0),
        (r#"millstream_accept_errors_total{kind="other"}"#, 0.0),
        (r#"millstream_connections_handed_over_total{worker="2"}"#, 1.0),
        (r#"millstream_streams_active{phase="waiting_first_token"}"#, 0.0),
        (r#"millstream_streams_active{phase="streaming"}"#, 3.0),
        (r#"millstream_streams{worker="2"}"#, 1.0),
        (r#"millstream_stream_ends_total{endpoint="responses",reason="completed"}"#, 3.0),
        (r#"millstream_stream_ends_total{endpoint="chat_completions",reason="ttft_timeout"}"#, 0.0),
        (
            r#"millstream_requests_total{endpoint="responses",route="a \"quoted\"\\model\n",upstream="local",key="team-a",code="200"}"#,
            3.0,
        ),
        (r#"millstream_requests_total{endpoint="",route="",upstream="",key="",code="404"}"#, 3.0),
        (r#"millstream_request_duration_seconds_bucket{endpoint="responses",le="0.005"}"#, 0.0),
        (r#"millstream_request_duration_seconds_bucket{endpoint="responses",le="0.01"}"#, 3.0),
        (r#"millstream_request_duration_seconds_bucket{endpoint="responses",le="+Inf"}"#, 3.0),
        (r#"millstream_request_duration_seconds_sum{endpoint="responses"}"#, 0.021),
        (r#"millstream_request_duration_seconds_count{endpoint=""}"#, 3.0),
        (r#"millstream_time_to_first_token_seconds_bucket{upstream="local",le="60"}"#, 3.0),
        (r#"millstream_time_to_first_token_seconds_count{upstream="openai"}"#, 0.0),
        (r#"millstream_chunks_total{upstream="local"}"#, 9.0),
        (r#"millstream_chunk_forward_delay_seconds_bucket{le="0.00005"}"#, 3.0),
        (r#"millstream_overhead_seconds_count{stage="route"}"#, 3.0),
        (r#"millstream_tokens_total{upstream="local",direction="output",source="provider"}"#, 126.0),
        (r#"millstream_upstream_connections{upstream="local",state="active"}"#, 3.0),
        (r#"millstream_upstream_failures_total{upstream="local",phase="dns"}"#, 3.0),
        (r#"millstream_fallbacks_total{upstream="openai"}"#, 3.0),
        (r#"millstream_tokens_total{upstream="local",direction="output",source="drained"}"#, 15.0),
        (r#"millstream_attempts_total{upstream="openai",outcome="first_event"}"#, 3.0),
        (r#"millstream_attempts_total{upstream="local",outcome="committed"}"#, 3.0),
        (r#"millstream_attempts_total{upstream="local",outcome="hedge_lost"}"#, 0.0),
        (r#"millstream_retries_total{upstream="openai",decision="elsewhere"}"#, 3.0),
        (r#"millstream_hedges_total{decision="denied"}"#, 3.0),
        (r#"millstream_queue_ends_total{class="batch",outcome="timeout"}"#, 3.0),
        (r#"millstream_queue_ends_total{class="batch",outcome="full"}"#, 3.0),
        (r#"millstream_queue_wait_seconds_bucket{class="batch",le="0.025"}"#, 0.0),
        (r#"millstream_queue_wait_seconds_bucket{class="batch",le="0.05"}"#, 3.0),
        (r#"millstream_queue_wait_seconds_count{class="batch"}"#, 3.0),
        (r#"millstream_queue_wait_seconds_count{class="interactive"}"#, 0.0),
        (r#"millstream_continuations_total{outcome="continued"}"#, 3.0),
        (r#"millstream_cancel_drains_total{upstream="local",outcome="bound"}"#, 3.0),
        (r#"millstream_ejections_total{upstream="local"}"#, 3.0),
        (r#"millstream_ratelimit_decisions_total{limit="key_streams",outcome="denied"}"#, 3.0),
        ("millstream_draining", 1.0),
        (r#"millstream_reactor_turns_total{worker="1"}"#, 1.0),
        (r#"millstream_reactor_rest_seconds_bucket{worker="1",le="0.0002"}"#, 0.0),
        (r#"millstream_reactor_rest_seconds_bucket{worker="1",le="0.0003"}"#, 1.0),
        (r#"millstream_reactor_rest_seconds_count{worker="1"}"#, 2.0),
        (r#"millstream_reactor_rests_cut_total{worker="1"}"#, 1.0),
        (r#"millstream_reactor_info{reactor="epoll",reason="configured"}"#, 1.0),
    ] {
        assert_eq!(sample(&text, series), Some(value), "{series}\n{text}");
    }
    assert!(!text.contains(r#"stream_ends_total{endpoint="batches""#));
}

#[test]
fn a_scrape_asks_for_the_targets() {
    let text = telemetry(1).encode();
    let known = r#"upstream="openai",key="second \"key\"",model="gpt-5""#;
    let unknown = r#"upstream="local",key="",model="""#;
    for (series, value) in [
        (format!(r#"millstream_target_state{{{known},state="half_open"}}"#), Some(1.0)),
        (format!(r#"millstream_target_state{{{known},state="closed"}}"#), Some(0.0)),
        (format!(r#"millstream_target_state{{{unknown},state="closed"}}"#), Some(1.0)),
        (format!("millstream_target_streams{{{known}}}"), Some(7.0)),
        (format!("millstream_target_streams{{{unknown}}}"), Some(0.0)),
        (format!("millstream_target_streams_limit{{{known}}}"), Some(8.0)),
        (format!("millstream_target_streams_limit{{{unknown}}}"), None),
        (format!(r#"millstream_target_waiting{{{known},class="interactive"}}"#), Some(2.0)),
        (format!(r#"millstream_target_waiting{{{known},class="batch"}}"#), Some(30.0)),
        (format!(r#"millstream_target_waiting{{{unknown},class="batch"}}"#), None),
        (format!("millstream_target_first_token_seconds{{{known}}}"), Some(0.25)),
        (format!("millstream_target_first_token_seconds{{{unknown}}}"), None),
    ] {
        assert_eq!(sample(&text, &series), value, "{series}\n{text}");
    }
}

#[test]
fn before_the_targets_exist_nothing_is_told_about_them() {
    assert!(!Telemetry::for_tests(1).encode().contains("millstream_target_"));
}

#[test]
fn every_listed_family_is_exposed_with_its_help() {
    let telemetry = telemetry(1);
    record_everything(&telemetry.recorder(0));
    telemetry
        .credentials_refreshed(UpstreamId::new(0), Some(SystemTime::UNIX_EPOCH + Duration::from_hours(1_139_568)));
    telemetry.credentials_failed(UpstreamId::new(1));
    let text = telemetry.encode();
    for line in [
        r#"millstream_credentials_expiry_timestamp_seconds{upstream="openai"} 4102444800"#,
        r#"millstream_credentials_refreshes_total{upstream="openai",outcome="refreshed"} 1"#,
        r#"millstream_credentials_refreshes_total{upstream="local",outcome="failed"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for family in metrics::all() {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let (name, help) = (family.name, family.help);
        assert!(text.contains(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}")), "{name}\n{text}");
    }
}

#[test]
fn promtool_finds_nothing_to_say() {
    let telemetry = telemetry(2);
    record_everything(&telemetry.recorder(0));
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) => return writeln!(io::stderr(), "not checked: promtool: {error}").unwrap(),
    };
    promtool.stdin.take().unwrap().write_all(telemetry.encode().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn nothing_is_lost_while_a_scrape_runs() {
    const SAMPLES: u64 = 20_000;
    let telemetry = telemetry(2);
    let running = AtomicUsize::new(2);
    thread::scope(|threads| {
        for worker in 0..2 {
            let (telemetry, running) = (&telemetry, &running);
            threads.spawn(move || {
                let recorder = telemetry.recorder(worker);
                for sample in 0..SAMPLES {
                    recorder.chunks(UpstreamId::new(0), 1);
                    recorder.forward_delay(Duration::from_nanos(sample));
                    let status = 200 + u16::try_from(sample % 50).unwrap();
                    recorder.request_ended(None, None, None, None, status, Duration::ZERO);
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let mut before = 0.0;
        while running.load(Ordering::Acquire) > 0 {
            let now = sample(&telemetry.encode(), r#"millstream_chunks_total{upstream="openai"}"#).unwrap();
            assert!(now >= before, "a counter went from {before} to {now}");
            before = now;
        }
    });
    let text = telemetry.encode();
    let expected = 2.0 * SAMPLES as f64;
    assert_eq!(sample(&text, r#"millstream_chunks_total{upstream="openai"}"#), Some(expected));
    assert_eq!(sample(&text, "millstream_chunk_forward_delay_seconds_count"), Some(expected));
    let requests: u64 = text
        .lines()
        .filter(|line| line.starts_with("millstream_requests_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(requests, 2 * SAMPLES);
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/millstream.json");
    let dashboard: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let known: HashMap<&str, Kind> = metrics::all().map(|family| (family.name, family.kind)).collect();
    let mut named = HashSet::new();
    names_in(&dashboard, &mut named);
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let exists = match histogram {
            Some(family) => matches!(known.get(family), Some(Kind::Histogram(_))),
            None => known.contains_key(name.as_str()),
        };
        assert!(exists, "{name} is in no list");
    }
}

/// Every metric of ours named in a string of `value`.
fn names_in(value: &serde_json::Value, names: &mut HashSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let ours = words.filter(|word| word.starts_with("millstream_") || word.starts_with("process_"));
            names.extend(ours.map(str::to_owned));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| names_in(value, names)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| names_in(value, names)),
        _ => {}
    }
}
