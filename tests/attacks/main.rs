//! Attacks on the real binary, over raw sockets. What each has to show is in `docs/faults.md`. The same tests run over
//! io_uring in `tests/attacks_io_uring`.
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

mod frames;
mod http1;
mod recorder;
mod setup;

mod bodies;
mod empties;
mod floods;
mod heads;
mod http2;
mod json;
mod logs;
mod paths;
mod slow;
mod smuggling;
mod table;
mod windows;

use setup::{KEY, gateway, resident_kib};
use support::suite::{self, Suite};

/// What gateways run on.
const SUITE: Suite = suite::EPOLL;
