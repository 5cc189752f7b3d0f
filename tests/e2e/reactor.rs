//! Which reactor runs, and what is said of it.

use crate::support::Gateway;
use crate::support::setup::Setup;
use crate::support::suite::has_io_uring;
use crate::support::upstream::{Http, Upstream};

/// What a gateway with this line in `[server]` says of its reactor: the labels of the metric, and the log, whose
/// writer is a thread of its own.
fn told(gateway: &Gateway) -> (String, String) {
    let metrics = gateway.admin_get("/metrics");
    let info = metrics.lines().find_map(|line| line.strip_prefix("millstream_reactor_info{")).expect("a sample");
    let mut started = None;
    gateway.until("it has logged that it has started", |gateway| {
        // Whole lines only.
        let log = gateway.log();
        started = log
            .split_inclusive('\n')
            .find(|line| line.contains("started") && line.ends_with('\n'))
            .map(str::to_owned);
        started.is_some()
    });
    (info.strip_suffix("} 1").expect("a constant").to_owned(), started.expect("waited for"))
}

fn start(reactor: &str) -> Result<Gateway, String> {
    let upstream = Upstream::start(Http::One);
    let setup = Setup::new().server(&format!("workers = 2\npin = false\nreactor = \"{reactor}\"")).upstream(
        "up",
        upstream.address(),
        "",
    );
    Gateway::try_start(&setup.text(), &setup.variables(), None)
}

#[test]
fn epoll_by_name_is_epoll() {
    let (info, log) = told(&start("epoll").expect("it is always there"));
    assert_eq!(info, "reactor=\"epoll\",reason=\"configured\"");
    assert!(log.contains("reactor=\"epoll\" reason=\"server.reactor says so\""), "{log}");
}

#[test]
fn io_uring_by_name_runs_or_the_start_fails_with_a_remedy() {
    match start("io_uring") {
        Ok(gateway) => {
            assert!(has_io_uring());
            let (info, log) = told(&gateway);
            assert_eq!(info, "reactor=\"io_uring\",reason=\"configured\"");
            assert!(log.contains("reactor=\"io_uring\""), "{log}");
        }
        Err(refusal) => {
            assert!(!has_io_uring());
            assert!(refusal.contains("millstream: server.reactor is \"io_uring\", but "), "{refusal}");
            assert!(refusal.contains("or write \"auto\" or \"epoll\""), "{refusal}");
        }
    }
}

#[test]
fn auto_always_starts_and_says_why() {
    let (info, log) = told(&start("auto").expect("there is always one"));
    assert_eq!(info, "reactor=\"epoll\",reason=\"chosen\"");
    assert!(
        log.contains("reactor=\"epoll\" reason=\"it costs less than io_uring where both were measured\""),
        "{log}"
    );
}
