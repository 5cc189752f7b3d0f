//! What the simulation has found, each by itself.

use std::time::Duration;

use tokio::time::sleep;

use super::act::Habit;
use super::client::Wish;
use super::simulation::{CALM, on_stage};
use crate::error::Kind;
use crate::reactor::spawn;
use crate::routing::gate::Class;
use crate::routing::health::{Admission, Fault, Standing};
use crate::telemetry::EndReason;
use crate::units::{TargetId, UpstreamId};

/// So many upstreams, each a tier of the route `m`, and what else the file says of upstreams and of the route.
fn config(upstreams: usize, of_upstreams: &str, of_route: &str) -> String {
    let name =
        |position| format!("[[upstreams]]\nname = \"u{position}\"\nbase_url = \"http://h\"\n{of_upstreams}\n");
    let all: String = (0..upstreams).map(name).collect();
    let targets: Vec<String> = (0..upstreams).map(|position| format!("\"u{position}\"")).collect();
    format!("{all}[[routes]]\nmodel = \"m\"\ntargets = [{}]\n{of_route}\n", targets.join(", "))
}

const HEDGE: &str = "[routes.hedge]\nafter = \"1ms\"\nshare_max = 1.0";

#[test]
fn who_answers_is_named_also_where_another_was_asked_beside_it() {
    on_stage(&config(2, "", HEDGE), &[&[Habit::Good], &[Habit::Silent]], async |stage| {
        let mut hedged = 0;
        for number in 0..20 {
            let outcome = stage.ask(Wish::plain(number, "m")).await;
            assert_eq!(
                (outcome.upstream, outcome.reason()),
                (Some(UpstreamId::new(0)), Some(EndReason::Completed))
            );
            hedged += usize::from(outcome.attempts == 2);
        }
        assert!(hedged > 2, "{hedged}");
    });
}

#[test]
fn an_early_head_is_not_idle_while_targets_are_asked() {
    let route = "early_head_after = \"100ms\"\nidle_timeout = \"200ms\"\nfirst_token_timeout = \"1s\"";
    on_stage(&config(2, "", route), &[&[Habit::Silent], &[Habit::Good]], async |stage| {
        let outcome = stage.ask(Wish::plain(0, "m")).await;
        assert_eq!((outcome.is_early, outcome.reason()), (true, Some(EndReason::Completed)));
    });
}

#[test]
fn who_had_no_room_for_a_hedge_is_asked_when_the_first_has_failed() {
    let route = format!("first_token_timeout = \"500ms\"\n{HEDGE}");
    on_stage(&config(2, "streams_limit = 1", &route), &[&[Habit::Silent], &[Habit::Good]], async |stage| {
        let gate = stage.worker.snapshot.gates[1].clone().expect("a gate");
        let seat = gate.try_enter(Class::Interactive).expect("room");
        drop(spawn(async move {
            sleep(Duration::from_millis(200)).await;
            drop(seat);
        }));
        let outcome = stage.ask(Wish::plain(0, "m")).await;
        assert_eq!((outcome.upstream, outcome.reason()), (Some(UpstreamId::new(1)), Some(EndReason::Completed)));
    });
}

#[test]
fn nobody_is_asked_when_the_time_of_a_request_has_passed_in_a_queue() {
    for clock in ["total_timeout = \"500ms\"", "[routes.retry]\ndeadline = \"500ms\""] {
        on_stage(&config(2, "streams_limit = 1", clock), &[&[Habit::Good], &[Habit::Good]], async |stage| {
            let gate = stage.worker.snapshot.gates[0].clone().expect("a gate");
            let _seat = gate.try_enter(Class::Interactive).expect("room");
            let outcome = stage.ask(Wish::plain(0, "m")).await;
            assert_eq!(outcome.refused.map(|error| error.kind()), Some(Kind::Overloaded), "{clock}");
            assert_eq!(outcome.over.as_millis(), 500, "{clock}");
            assert!(stage.world.asks.borrow().is_empty(), "{clock}");
        });
    }
}

#[test]
fn nobody_is_asked_again_after_the_deadline_that_a_backoff_would_pass() {
    for clock in ["total_timeout = \"300ms\"\n[routes.retry]", "[routes.retry]\ndeadline = \"300ms\""] {
        let route = format!("{clock}\nsame_target_max = 3\nbackoff = \"1s\"");
        on_stage(&config(1, "", &route), &[&[Habit::Status(500)]], async |stage| {
            let outcome = stage.ask(Wish::plain(0, "m")).await;
            assert_eq!(outcome.status, Some(500), "{outcome:?}");
            assert_eq!(stage.world.asks.borrow().len(), 1);
        });
    }
}

#[test]
fn without_a_budget_who_is_well_is_asked_in_the_place_of_who_is_doubtful() {
    let budget = "[retry]\nbudget = 0.0\nbudget_floor = 0";
    let text = format!("{}\n{budget}", config(3, "", ""));
    on_stage(&text, &[&[Habit::Refused], &[Habit::Good], &[Habit::Good]], async |stage| {
        let (board, doubtful) = (&stage.worker.snapshot.board, TargetId::new(1));
        let Admission::Free(pass) = board.admit(doubtful, 0, stage.worker.now()) else { panic!("it is well") };
        board.failed(pass, Fault::Broken, stage.worker.now());
        assert_eq!(board.peek(doubtful, 0, stage.worker.now()), Standing::Doubtful);
        let outcome = stage.ask(Wish::plain(0, "m")).await;
        assert_eq!((outcome.upstream, outcome.reason()), (Some(UpstreamId::new(2)), Some(EndReason::Completed)));
    });
}

#[test]
fn two_failures_side_by_side_are_two_attempts() {
    let route = format!("[routes.retry]\nattempts_max = 1\n{HEDGE}");
    on_stage(&config(3, "", &route), &[&[Habit::Broken], &[Habit::Refused], &[Habit::Good]], async |stage| {
        let mut hedged = 0;
        for number in 0..30 {
            sleep(CALM).await;
            stage.world.forget();
            let outcome = stage.ask(Wish::plain(number, "m")).await;
            assert!(outcome.refused.is_some() && outcome.attempts <= 2, "{outcome:?}");
            hedged += usize::from(outcome.attempts == 2);
        }
        assert!(hedged > 2, "{hedged}");
    });
}

#[test]
fn of_two_failures_the_one_that_is_the_requests_own_counts() {
    let upstreams: [&[Habit]; 3] = [&[Habit::Status(413)], &[Habit::Status(500)], &[Habit::Good]];
    on_stage(&config(3, "", HEDGE), &upstreams, async |stage| {
        let mut hedged = 0;
        for number in 0..30 {
            sleep(CALM).await;
            stage.world.forget();
            let outcome = stage.ask(Wish::plain(number, "m")).await;
            assert_eq!((outcome.status, outcome.upstream), (Some(413), Some(UpstreamId::new(0))), "{outcome:?}");
            hedged += usize::from(outcome.attempts == 2);
        }
        assert!(hedged > 2, "{hedged}");
    });
}
