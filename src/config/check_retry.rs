//! `[retry]` and `[stream]`, and what a route says instead of either; `[routes.hedge]`.

use super::raw::{Table, Value};
use super::{Clocks, Hedge, HedgeAfter, Retry, RetryBudget, Stream, check, defaults};

/// `[stream]`
pub(super) fn stream(table: &mut Table<'_>) -> Stream {
    let clocks = Clocks {
        early_head_after: defaults::EARLY_HEAD_AFTER.default,
        response_timeout: defaults::RESPONSE_TIMEOUT.default,
        first_token_timeout: defaults::FIRST_TOKEN_TIMEOUT.default,
        idle_timeout: defaults::STREAM_IDLE_TIMEOUT.default,
        total_timeout: defaults::TOTAL_TIMEOUT.default,
    };
    Stream {
        clocks: self::clocks(table, clocks),
        keep_alive: table.duration_or_off("keep_alive", &defaults::KEEP_ALIVE),
        slow_client_timeout: table.duration_or_off("slow_client_timeout", &defaults::SLOW_CLIENT_TIMEOUT),
        event_hold_bytes_max: table.size("event_hold", &defaults::EVENT_HOLD),
        commit_bytes_max: table.size("commit_bytes_max", &defaults::COMMIT_BYTES_MAX),
    }
}

/// The clocks of `[stream]` or of a route, which are those `above` where it is silent.
pub(super) fn clocks(table: &mut Table<'_>, above: Clocks) -> Clocks {
    Clocks {
        early_head_after: table
            .duration_or_off("early_head_after", &defaults::EARLY_HEAD_AFTER.or(above.early_head_after)),
        response_timeout: table
            .duration_or_off("response_timeout", &defaults::RESPONSE_TIMEOUT.or(above.response_timeout)),
        first_token_timeout: table
            .duration_or_off("first_token_timeout", &defaults::FIRST_TOKEN_TIMEOUT.or(above.first_token_timeout)),
        idle_timeout: table.duration_or_off("idle_timeout", &defaults::STREAM_IDLE_TIMEOUT.or(above.idle_timeout)),
        total_timeout: table.duration_or_off("total_timeout", &defaults::TOTAL_TIMEOUT.or(above.total_timeout)),
    }
}

/// `[retry]`: what all retries together may cost, and what routes do that say nothing else.
pub(super) fn retry(table: &mut Table<'_>) -> (RetryBudget, Retry) {
    let budget = RetryBudget {
        share: table.real("budget", &defaults::RETRY_BUDGET),
        floor_per_second: table.whole("budget_floor", &defaults::RETRY_BUDGET_FLOOR),
    };
    let retry = Retry {
        attempts_max: defaults::ATTEMPTS_MAX.default,
        same_target_max: defaults::SAME_TARGET_MAX.default,
        backoff: defaults::BACKOFF.default,
        backoff_max: defaults::BACKOFF_MAX.default,
        attempt_timeout: defaults::ATTEMPT_TIMEOUT.default,
        deadline: defaults::DEADLINE.default,
    };
    (budget, retry_of(table, retry))
}

/// What `[retry]` or `[routes.retry]` says, which is as `above` where it is silent.
pub(super) fn retry_of(table: &mut Table<'_>, above: Retry) -> Retry {
    let retry = Retry {
        attempts_max: table.whole("attempts_max", &defaults::ATTEMPTS_MAX.or(above.attempts_max)),
        same_target_max: table.whole("same_target_max", &defaults::SAME_TARGET_MAX.or(above.same_target_max)),
        backoff: table.duration("backoff", &defaults::BACKOFF.or(above.backoff)),
        backoff_max: table.duration("backoff_max", &defaults::BACKOFF_MAX.or(above.backoff_max)),
        attempt_timeout: table
            .duration_or_off("attempt_timeout", &defaults::ATTEMPT_TIMEOUT.or(above.attempt_timeout)),
        deadline: table.duration_or_off("deadline", &defaults::DEADLINE.or(above.deadline)),
    };
    check::ordered(table, [("backoff", retry.backoff), ("backoff_max", retry.backoff_max)]);
    retry
}

/// `[routes.hedge]`, where the route has it.
pub(super) fn hedge(table: &mut Table<'_>) -> Option<Hedge> {
    let after = table.take("after").and_then(|value| hedge_after(&value)).unwrap_or(defaults::HEDGE_AFTER);
    let share_max = table.real("share_max", &defaults::HEDGE_SHARE_MAX);
    table.is_present().then_some(Hedge { after, share_max })
}

/// `routes.hedge.after`: a percentile or a duration.
fn hedge_after(value: &Value<'_>) -> Option<HedgeAfter> {
    let bounds = &defaults::HEDGE_AFTER_FIXED;
    let text = if value.is_text() { value.text()? } else { String::new() };
    let Some(percent) = text.strip_prefix('p') else {
        return value.duration(bounds.least, bounds.most, ", or \"p50\" to \"p99\"").map(HedgeAfter::Fixed);
    };
    let percent = percent.parse().ok().filter(|percent| (50..=99).contains(percent) && text.len() == 3);
    if percent.is_none() {
        value.refuse("not a percentile in bounds".to_owned(), "write \"p50\" to \"p99\"".to_owned());
    }
    percent.map(HedgeAfter::Percentile)
}
