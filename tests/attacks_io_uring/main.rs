//! The tests of `tests/attacks` once more, over io_uring.
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

#[path = "../attacks/frames.rs"]
mod frames;
#[path = "../attacks/http1.rs"]
mod http1;
#[path = "../attacks/recorder.rs"]
mod recorder;
#[path = "../attacks/setup.rs"]
mod setup;

#[path = "../attacks/bodies.rs"]
mod bodies;
#[path = "../attacks/empties.rs"]
mod empties;
#[path = "../attacks/floods.rs"]
mod floods;
#[path = "../attacks/heads.rs"]
mod heads;
#[path = "../attacks/http2.rs"]
mod http2;
#[path = "../attacks/json.rs"]
mod json;
#[path = "../attacks/logs.rs"]
mod logs;
#[path = "../attacks/paths.rs"]
mod paths;
#[path = "../attacks/slow.rs"]
mod slow;
#[path = "../attacks/smuggling.rs"]
mod smuggling;
#[path = "../attacks/table.rs"]
mod table;
#[path = "../attacks/windows.rs"]
mod windows;

use setup::{KEY, gateway, resident_kib};
use support::suite::{self, Suite};

/// What gateways run on.
const SUITE: Suite = suite::IO_URING;
