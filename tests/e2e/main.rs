//! The real binary over real sockets, between clients and upstreams that do exactly what each test says.
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

mod chat;
mod disconnect;
mod drain;
mod faults;
mod limits;
mod pool;
mod routing;
mod secrets;
mod slow;
mod tls;
mod workers;
