//! The tests of `tests/e2e` once more, over io_uring.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::float_cmp,
    clippy::format_collect,
    clippy::format_push_string,
    unreachable_pub,
    reason = "tests wait on sockets in real time, on threads of their own"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../e2e/cancel.rs"]
mod cancel;
#[path = "../e2e/chat.rs"]
mod chat;
#[path = "../e2e/choice.rs"]
mod choice;
#[path = "../e2e/continuation.rs"]
mod continuation;
#[path = "../e2e/credentials.rs"]
mod credentials;
#[path = "../e2e/dialects.rs"]
mod dialects;
#[path = "../e2e/disconnect.rs"]
mod disconnect;
#[path = "../e2e/drain.rs"]
mod drain;
#[path = "../e2e/faults.rs"]
mod faults;
#[path = "../e2e/health.rs"]
mod health;
#[path = "../e2e/hedging.rs"]
mod hedging;
#[path = "../e2e/limits.rs"]
mod limits;
#[path = "../e2e/pool.rs"]
mod pool;
#[path = "../e2e/queueing.rs"]
mod queueing;
#[path = "../e2e/reactor.rs"]
mod reactor;
#[path = "../e2e/realtime.rs"]
mod realtime;
#[path = "../e2e/resilience.rs"]
mod resilience;
#[path = "../e2e/routing.rs"]
mod routing;
#[path = "../e2e/secrets.rs"]
mod secrets;
#[path = "../e2e/slow.rs"]
mod slow;
#[path = "../e2e/tick.rs"]
mod tick;
#[path = "../e2e/tls.rs"]
mod tls;
#[path = "../e2e/workers.rs"]
mod workers;

use support::suite::{self, Suite};

/// What gateways run on.
const SUITE: Suite = suite::IO_URING;
