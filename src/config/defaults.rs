//! Every default beside its reason, with the least and the most that is accepted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Balance, HashOn, HedgeAfter, OnCancel, Tick, WantedReactor};

/// A setting: what it is when the file is silent, and the bounds of what the file may say.
pub(super) struct Setting<T, D = T> {
    /// Value of a file that does not name it.
    pub(super) default: D,
    /// Least value accepted.
    pub(super) least: T,
    /// Greatest value accepted.
    pub(super) most: T,
}

impl<T: Copy, D> Setting<T, D> {
    /// The same bounds around another default, such as what a table above has said.
    pub(super) fn or(&self, default: D) -> Self {
        Self { default, least: self.least, most: self.most }
    }
}

type Clock = Setting<Duration>;
type OptionalClock = Setting<Duration, Option<Duration>>;

const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn s(count: u64) -> Duration {
    Duration::from_secs(count)
}

const HOUR: Duration = s(3600);
const DAY: Duration = s(24 * 3600);
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// `server.listen`: loopback, because an open gateway spends the owner's money for whoever reaches it.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// `server.workers`: the default, `auto`, is decided at start; 1024 is more cores than one machine has.
pub(super) const WORKERS: Setting<usize, ()> = Setting { default: (), least: 1, most: 1024 };
/// `server.pin`: a worker that stays on its core keeps its caches, and streams are evenly spread anyway.
pub(super) const PIN: bool = true;
/// `server.reactor`: what costs less where both were measured.
pub(super) const REACTOR: WantedReactor = WantedReactor::Auto;
/// `server.tick`: costs nobody anything while the core is lightly loaded. A rest below 50 us gathers less than it
/// costs; 2 ms, several times in one exchange, begin to be felt.
pub(super) const TICK: Setting<Duration, Tick> = Setting { default: Tick::Auto, least: us(50), most: ms(2) };
/// `server.connections_max`: the default, `auto`, follows the file limit.
pub(super) const CONNECTIONS_MAX: Setting<usize, ()> = Setting { default: (), least: 1, most: 10_000_000 };
/// `server.in_flight_max`: per worker. At some 6 KiB a stream, 120 MiB; far above it one core cannot keep up.
pub(super) const IN_FLIGHT_MAX: Setting<usize> = Setting { default: 20_000, least: 1, most: 1_000_000 };
/// `server.header_timeout`: a real client sends its head in one packet; slower ones are attacks or broken.
pub(super) const HEADER_TIMEOUT: Clock = Clock { default: s(10), least: ms(100), most: s(300) };
/// `server.body_timeout`: 32 MiB in a minute is 4.5 Mbit/s, within reach of a phone.
pub(super) const BODY_TIMEOUT: Clock = Clock { default: s(60), least: ms(100), most: HOUR };
/// `server.idle_timeout`: above the 60 s of common balancers, so that they close first and never race us.
pub(super) const IDLE_TIMEOUT: Clock = Clock { default: s(75), least: ms(100), most: DAY };
/// `server.realtime.idle_timeout`: somebody thinks for long, but pings go on meanwhile.
pub(super) const REALTIME_IDLE_TIMEOUT: Clock = Clock { default: s(300), least: ms(100), most: DAY };
/// `server.realtime.total_timeout`: what OpenAI gives a session.
pub(super) const REALTIME_TOTAL_TIMEOUT: Clock = Clock { default: HOUR, least: ms(100), most: DAY };
/// `server.header_bytes_max`: heads are a few KiB. The least is what HTTP/1.1 needs for its buffer.
pub(super) const HEADER_BYTES_MAX: Setting<usize> = Setting { default: 32 * KIB, least: 8 * KIB, most: MIB };
/// `server.headers_max`: what other servers use.
pub(super) const HEADERS_MAX: Setting<usize> = Setting { default: 100, least: 16, most: 1000 };
/// `server.body_bytes_max`: some images in base64; the body is held in memory until it is sent.
pub(super) const BODY_BYTES_MAX: Setting<usize> = Setting { default: 32 * MIB, least: KIB, most: GIB };
/// `server.h2_streams_max`: what edge proxies use; a client with more opens a second connection.
pub(super) const H2_STREAMS_MAX: Setting<u32> = Setting { default: 100, least: 1, most: 10_000 };
/// `server.send_buffer`: a stream is tens of KiB in all, and what lies in the kernel cannot be taken back.
pub(super) const SEND_BUFFER: Setting<usize> = Setting { default: 64 * KIB, least: 4 * KIB, most: 16 * MIB };

/// `stream.keep_alive`: a quarter of the 60 s after which balancers cut silent connections.
pub(super) const KEEP_ALIVE: OptionalClock = OptionalClock { default: Some(s(15)), least: ms(100), most: HOUR };
/// `stream.early_head_after`: as `keep_alive`; earlier would turn honest status codes into error events.
pub(super) const EARLY_HEAD_AFTER: OptionalClock =
    OptionalClock { default: Some(s(15)), least: ms(100), most: HOUR };
/// `stream.response_timeout`: a whole answer takes as long as its stream would; SDKs give up after ten minutes.
pub(super) const RESPONSE_TIMEOUT: OptionalClock =
    OptionalClock { default: Some(s(600)), least: ms(100), most: DAY };
/// `stream.first_token_timeout`: of one attempt; reasoning models think for minutes before they say a word.
pub(super) const FIRST_TOKEN_TIMEOUT: OptionalClock =
    OptionalClock { default: Some(s(300)), least: ms(100), most: DAY };
/// `stream.idle_timeout`: what Envoy uses.
pub(super) const STREAM_IDLE_TIMEOUT: OptionalClock =
    OptionalClock { default: Some(s(300)), least: ms(100), most: DAY };
/// `stream.total_timeout`: off, because a long answer is not a fault.
pub(super) const TOTAL_TIMEOUT: OptionalClock =
    OptionalClock { default: None, least: ms(100), most: s(7 * 24 * 3600) };
/// `stream.slow_client_timeout`: a client that takes nothing for a minute is gone or hostile.
pub(super) const SLOW_CLIENT_TIMEOUT: OptionalClock =
    OptionalClock { default: Some(s(60)), least: ms(100), most: DAY };
/// `stream.event_hold`: events are below 1 KiB; whole answers in one event reach some tens.
pub(super) const EVENT_HOLD: Setting<usize> = Setting { default: 64 * KIB, least: KIB, most: 16 * MIB };

/// `stream.commit_bytes_max`: what comes before the first token is below 1 KiB; some send the request back.
pub(super) const COMMIT_BYTES_MAX: Setting<usize> = Setting { default: 256 * KIB, least: KIB, most: 16 * MIB };

/// Requests per minute of `[limits]` and `[[keys]]`; off by default.
pub(super) const REQUESTS_PER_MINUTE: Setting<u32, ()> = Setting { default: (), least: 1, most: 1_000_000_000 };
/// Streams at once of `[limits]` and `[[keys]]`; off by default.
pub(super) const STREAMS: Setting<u32, ()> = Setting { default: (), least: 1, most: 10_000_000 };

/// `upstreams.connections_max`: HTTP/1.1 needs one per stream; below the 28 232 ephemeral ports of Linux.
pub(super) const UPSTREAM_CONNECTIONS_MAX: Setting<usize> =
    Setting { default: 20_000, least: 1, most: 10_000_000 };
/// `upstreams.h2_streams_max`: what most providers announce; a connection more is cheap.
pub(super) const UPSTREAM_H2_STREAMS_MAX: Setting<usize> = Setting { default: 100, least: 1, most: 10_000 };
/// `upstreams.dns_timeout`: one lost packet and its repetition.
pub(super) const DNS_TIMEOUT: Clock = Clock { default: s(5), least: ms(10), most: s(60) };
/// `upstreams.connect_timeout`: what Envoy uses.
pub(super) const CONNECT_TIMEOUT: Clock = Clock { default: s(5), least: ms(10), most: s(60) };
/// `upstreams.handshake_timeout`: as the connect; both ends compute for milliseconds.
pub(super) const HANDSHAKE_TIMEOUT: Clock = Clock { default: s(5), least: ms(10), most: s(60) };
/// `upstreams.idle_timeout`: below the 60 s after which providers close, so that none closes under a request.
pub(super) const UPSTREAM_IDLE_TIMEOUT: Clock = Clock { default: s(55), least: s(1), most: DAY };
/// `upstreams.lifetime_max`: so that a provider's move to new addresses is followed.
pub(super) const LIFETIME_MAX: Clock = Clock { default: s(600), least: s(1), most: DAY };
/// `upstreams.receive_buffer`: bounds what a stalled stream holds in the kernel. A window begins at 64 KiB, and a
/// buffer just as large shrinks it with every chunk that lies unread: the kernel then acknowledges when the chunk is
/// read instead of when it comes, which costs the reader a tenth of its time.
pub(super) const RECEIVE_BUFFER: Setting<usize> = Setting { default: 96 * KIB, least: 4 * KIB, most: 16 * MIB };
/// `upstreams.include_usage`: without it a stream's tokens could not be counted.
pub(super) const INCLUDE_USAGE: bool = true;
/// `upstreams.keys.weight`: keys are alike unless somebody says otherwise.
pub(super) const KEY_WEIGHT: Setting<u32> = Setting { default: 1, least: 1, most: 1000 };
/// Keys of one upstream: each is a target with a state of its own in every route.
pub(super) const UPSTREAM_KEYS_MAX: usize = 16;
/// `upstreams.on_cancel`: what nobody reads should not be paid for.
pub(super) const ON_CANCEL: OnCancel = OnCancel::Abort;
/// `upstreams.drain_bytes_max`: a long answer in small events; some 100 bytes come with each token.
pub(super) const UPSTREAM_DRAIN_BYTES_MAX: Setting<usize> = Setting { default: MIB, least: KIB, most: GIB };
/// `upstreams.drain_timeout`: 3000 tokens at 50 a second.
pub(super) const UPSTREAM_DRAIN_TIMEOUT: Clock = Clock { default: s(60), least: ms(100), most: HOUR };
/// `upstreams.drains_max`: with the bytes above at most 100 MiB that are read for nobody.
pub(super) const UPSTREAM_DRAINS_MAX: Setting<usize> = Setting { default: 100, least: 1, most: 100_000 };
/// `upstreams.streams_limit`: off by default; the most is that of `limits.streams`.
pub(super) const STREAMS_LIMIT: Setting<u32, ()> = Setting { default: (), least: 1, most: 10_000_000 };
/// `models.context` and `models.output` at most: a hundred times what the longest have.
pub(super) const MODEL_TOKENS_MOST: u64 = 100_000_000;
/// `upstreams.streams_limit_initial`: low enough for a small account, and doubled within seconds where it is not.
pub(super) const STREAMS_LIMIT_INITIAL: Setting<u32> = Setting { default: 20, least: 1, most: 10_000_000 };
/// `upstreams.streams_limit_min`: one stream is how an upstream shows that it is well again.
pub(super) const STREAMS_LIMIT_MIN: Setting<u32> = Setting { default: 1, least: 1, most: 10_000_000 };
/// `upstreams.streams_limit_max`: more than one key of a provider is given.
pub(super) const STREAMS_LIMIT_MAX: Setting<u32> = Setting { default: 1000, least: 1, most: 10_000_000 };
/// `upstreams.queue_max`: at 50 answers a second, as many as are served within `queue_timeout`.
pub(super) const QUEUE_MAX: Setting<u32> = Setting { default: 1000, least: 0, most: 1_000_000 };
/// `upstreams.queue_timeout`: beyond it somebody who watches has left.
pub(super) const QUEUE_TIMEOUT: Clock = Clock { default: s(30), least: ms(1), most: HOUR };
/// `upstreams.batch_share_max`: leaves a tenth of the places free for whoever comes and is in a hurry.
pub(super) const BATCH_SHARE_MAX: Setting<f64> = Setting { default: 0.9, least: 0.0, most: 1.0 };
/// `upstreams.probe_interval`: what balancers use.
pub(super) const PROBE_INTERVAL: Clock = Clock { default: s(10), least: ms(100), most: HOUR };
/// `upstreams.probe_timeout`: a list of models is read from memory.
pub(super) const PROBE_TIMEOUT: Clock = Clock { default: s(2), least: ms(10), most: s(60) };

/// `routes.targets.weight`
pub(super) const TARGET_WEIGHT: Setting<u32> = Setting { default: 1, least: 1, most: 1000 };
/// `routes.balance`: needs no tuning, and turns away from a slow target before it fails.
pub(super) const BALANCE: Balance = Balance::PowerOfTwo;
/// `routes.hash_on`: what a client sends for this purpose.
pub(super) const HASH_ON: HashOn = HashOn::Session;
/// `routes.continue`: off, because an answer of two halves is not what the client asked for.
pub(super) const CONTINUE: bool = false;
/// `routes.hedge.after`: the slowest twentieth, where a second request costs little in all.
pub(super) const HEDGE_AFTER: HedgeAfter = HedgeAfter::Percentile(95);
/// `routes.hedge.share_max`: a twentieth, and what an estimate that lags may add.
pub(super) const HEDGE_SHARE_MAX: Setting<f64> = Setting { default: 0.07, least: 0.0, most: 1.0 };
/// `routes.hedge.after` as a duration.
pub(super) const HEDGE_AFTER_FIXED: Setting<Duration, ()> = Setting { default: (), least: ms(1), most: s(300) };

/// `retry.budget`: what linkerd and Envoy use; a storm of retries adds no more than a fifth.
pub(super) const RETRY_BUDGET: Setting<f64> = Setting { default: 0.2, least: 0.0, most: 1.0 };
/// `retry.budget_floor`: what linkerd uses, for times with few requests.
pub(super) const RETRY_BUDGET_FLOOR: Setting<u32> = Setting { default: 10, least: 0, most: 1_000_000 };
/// `retry.attempts_max`: four bad targets before the good one, and one to spare.
pub(super) const ATTEMPTS_MAX: Setting<u32> = Setting { default: 6, least: 1, most: 64 };
/// `retry.same_target_max`: what fails twice at one place fails there a third time.
pub(super) const SAME_TARGET_MAX: Setting<u32> = Setting { default: 1, least: 0, most: 16 };
/// `retry.backoff`: below what a person notices.
pub(super) const BACKOFF: Clock = Clock { default: ms(100), least: ms(1), most: s(60) };
/// `retry.backoff_max`: beyond it waiting for the same target is no better than an error.
pub(super) const BACKOFF_MAX: Clock = Clock { default: s(2), least: ms(1), most: s(300) };
/// `retry.attempt_timeout`: off, because nobody can tell a long answer from one that never comes.
pub(super) const ATTEMPT_TIMEOUT: OptionalClock = OptionalClock { default: None, least: ms(100), most: DAY };
/// `retry.deadline`: off, because the number of attempts ends them too.
pub(super) const DEADLINE: OptionalClock = OptionalClock { default: None, least: ms(100), most: DAY };

/// `health.breaker_failures`: what Envoy uses for its outlier detection.
pub(super) const BREAKER_FAILURES: Setting<u32> = Setting { default: 5, least: 1, most: 10_000 };
/// `health.breaker_ratio`: what fails half the time costs more attempts than it answers requests.
pub(super) const BREAKER_RATIO: Setting<f64> = Setting { default: 0.5, least: 0.01, most: 1.0 };
/// `health.breaker_open`: a restart behind a balancer takes as long.
pub(super) const BREAKER_OPEN: Clock = Clock { default: s(5), least: ms(10), most: HOUR };
/// `health.breaker_open_max`: an outage that has ended is noticed within a minute.
pub(super) const BREAKER_OPEN_MAX: Clock = Clock { default: s(60), least: ms(10), most: DAY };
/// `health.throttle`: limits per minute give back a sixtieth of their tokens in a second.
pub(super) const THROTTLE: Clock = Clock { default: s(1), least: ms(10), most: HOUR };
/// `health.throttle_max`: providers that say how long say at most minutes.
pub(super) const THROTTLE_MAX: Clock = Clock { default: s(300), least: ms(10), most: DAY };
/// `health.ejection`: what Envoy uses.
pub(super) const EJECTION: Clock = Clock { default: s(30), least: ms(100), most: DAY };
/// `health.ejected_share_max`: being worse than one's peers is no failure, so half of them stay.
pub(super) const EJECTED_SHARE_MAX: Setting<f64> = Setting { default: 0.5, least: 0.0, most: 1.0 };
/// `health.panic_share`: what Envoy uses; fewer could not carry the load of all.
pub(super) const PANIC_SHARE: Setting<f64> = Setting { default: 0.5, least: 0.0, most: 1.0 };
/// `health.slow_start`: what a model server needs to warm its cache.
pub(super) const SLOW_START: Clock = Clock { default: s(30), least: ms(1), most: HOUR };

/// `admin.listen`: loopback, because metrics tell who uses what.
pub(super) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// `drain.delay`: a balancer's readiness check has seen red after this long.
pub(super) const DRAIN_DELAY: Clock = Clock { default: s(5), least: s(0), most: s(300) };
/// `drain.timeout`: with the delay 115 s, just below the usual grace of two minutes.
pub(super) const DRAIN_TIMEOUT: Clock = Clock { default: s(110), least: s(0), most: DAY };

/// `log.filter`
pub(super) const LOG_FILTER: &str = "info";
/// `log.access`: one line per exchange is what an operator looks for first.
pub(super) const LOG_ACCESS: bool = true;

/// `demo.tokens_per_second`: a fast hosted model; slow enough to watch.
pub(super) const DEMO_TOKENS_PER_SECOND: f64 = 50.0;
/// `demo.seed`: any number; fixed, so that two runs look alike.
pub(super) const DEMO_SEED: Setting<u64> = Setting { default: 1, least: 0, most: i64::MAX as u64 };
/// `demo.first_token`: as a hosted model.
pub(super) const DEMO_FIRST_TOKEN: Clock = Clock { default: ms(300), least: s(0), most: s(60) };

/// Entries of one list. Positions are kept in 16 bits.
pub(super) const LIST_MAX: usize = 65_535;
