//! `[health]`

use super::raw::Table;
use super::{Health, check, defaults};

/// `[health]`
pub(super) fn health(table: &mut Table<'_>) -> Health {
    let health = Health {
        breaker_failures: table.whole("breaker_failures", &defaults::BREAKER_FAILURES),
        breaker_ratio: table.real("breaker_ratio", &defaults::BREAKER_RATIO),
        breaker_open: table.duration("breaker_open", &defaults::BREAKER_OPEN),
        breaker_open_max: table.duration("breaker_open_max", &defaults::BREAKER_OPEN_MAX),
        throttle: table.duration("throttle", &defaults::THROTTLE),
        throttle_max: table.duration("throttle_max", &defaults::THROTTLE_MAX),
        ejection: table.duration("ejection", &defaults::EJECTION),
        ejected_share_max: table.real("ejected_share_max", &defaults::EJECTED_SHARE_MAX),
        panic_share: table.real("panic_share", &defaults::PANIC_SHARE),
        slow_start: table.duration("slow_start", &defaults::SLOW_START),
    };
    check::ordered(table, [("breaker_open", health.breaker_open), ("breaker_open_max", health.breaker_open_max)]);
    check::ordered(table, [("throttle", health.throttle), ("throttle_max", health.throttle_max)]);
    health
}
