//! When credentials are fetched, and what requests find meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method};
use tokio::time::{Instant, timeout};

use super::token;
use crate::config::{Env, Upstream, parse};
use crate::credentials::http::FetchError;
use crate::credentials::keeper::Keeper;
use crate::credentials::source::{Script, Source};
use crate::credentials::store::{Current, NotReady, Store, Unsigned};
use crate::telemetry::Telemetry;
use crate::units::UpstreamId;

fn up() -> UpstreamId {
    UpstreamId::new(0)
}

fn upstreams() -> Vec<Upstream> {
    let text = "[[upstreams]]\nname = \"up\"\nkind = \"vertex\"\nproject = \"p\"\nlocation = \"global\"\n\
        [[upstreams]]\nname = \"plain\"\nbase_url = \"http://127.0.0.1:1\"";
    parse(text, "config.toml", &Env::of([])).expect("fine").upstreams
}

fn shown(store: &Store, now: SystemTime) -> Result<String, NotReady> {
    let unsigned =
        Unsigned { method: &Method::POST, host: "h", path_and_query: "/", headers: &[], body: b"", now };
    let signed = store.authorize(up(), &unsigned)?;
    let shown = |(name, value): &(HeaderName, HeaderValue)| format!("{name}: {}", value.to_str().expect("ASCII"));
    Ok(signed.iter().map(shown).collect::<Vec<_>>().join("; "))
}

/// When each fetch was, in seconds from the start; each gives what `script` says of its number.
fn scripted(script: fn(usize, SystemTime) -> Result<Current, FetchError>) -> (Source, Rc<RefCell<Vec<u64>>>) {
    let began = Instant::now();
    let times: Rc<RefCell<Vec<u64>>> = Rc::default();
    let told = Rc::clone(&times);
    let fetch = move |now| {
        let number = told.borrow().len();
        told.borrow_mut().push(began.elapsed().as_secs());
        script(number, now)
    };
    (Source::Script(Script(Box::new(fetch))), times)
}

#[test]
fn without_credentials_nothing_is_sent_and_expired_ones_are_none() {
    let store = Store::new(&upstreams());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    assert!(store.is_for(up()) && !store.is_for(UpstreamId::new(1)));
    assert_eq!(shown(&store, now), Err(NotReady::Pending));
    let slot = store.slot(up()).expect("a slot");
    slot.put(token("Bearer canary", Some(now + Duration::from_secs(1))));
    assert_eq!(shown(&store, now).as_deref(), Ok("authorization: Bearer canary"));
    assert_eq!(shown(&store, now + Duration::from_secs(1)), Err(NotReady::Expired));
    assert!(!format!("{store:?}").contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn fresh_ones_come_well_before_the_end() {
    let (store, telemetry) = (Store::new(&upstreams()), Telemetry::for_tests(1));
    let (source, times) = scripted(|_, now| Ok(token("Bearer a", Some(now + Duration::from_hours(1)))));
    let mut keeper = Keeper::of(source, &store, &telemetry);
    keeper.start().await;
    assert_eq!(*times.borrow(), [0]);
    timeout(Duration::from_mins(145), keeper.keep()).await.expect_err("it never ends");
    let times = times.borrow();
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 3 && gaps.iter().all(|gap| (2690..=2881).contains(gap)), "{gaps:?}");
    let scrape = telemetry.encode();
    let refreshed =
        format!("millstream_credentials_refreshes_total{{outcome=\"refreshed\",upstream=\"up\"}} {}", times.len());
    let swapped =
        format!("millstream_credentials_refreshes_total{{upstream=\"up\",outcome=\"refreshed\"}} {}", times.len());
    assert!(scrape.contains(&refreshed) || scrape.contains(&swapped), "{scrape}");
    assert!(scrape.contains("millstream_credentials_expiry_timestamp_seconds{upstream=\"up\"}"), "{scrape}");
}

#[tokio::test(start_paused = true)]
async fn after_failures_the_old_ones_stay_and_pauses_grow() {
    let (store, telemetry) = (Store::new(&upstreams()), Telemetry::for_tests(1));
    let (source, times) = scripted(|number, now| match number {
        0 => Ok(token("Bearer old", Some(now + Duration::from_hours(1)))),
        1..=5 => Err(FetchError::Malformed("no token in it")),
        _ => Ok(token("Bearer new", Some(now + Duration::from_hours(1)))),
    });
    let mut keeper = Keeper::of(source, &store, &telemetry);
    keeper.start().await;
    let now = SystemTime::UNIX_EPOCH;
    let mut keeping = Box::pin(keeper.keep());
    while times.borrow().len() < 3 {
        timeout(Duration::from_millis(500), &mut keeping).await.expect_err("it never ends");
    }
    assert_eq!(shown(&store, now).as_deref(), Ok("authorization: Bearer old"));
    timeout(Duration::from_mins(1), keeping).await.expect_err("it never ends");
    assert_eq!(shown(&store, now).as_deref(), Ok("authorization: Bearer new"));
    let times = times.borrow();
    assert_eq!(times.len(), 7, "{times:?}");
    let pauses = times[6] - times[1];
    assert!((15..=32).contains(&pauses), "{times:?}");
    assert!(telemetry.encode().contains("outcome=\"failed\""));
}

#[tokio::test(start_paused = true)]
async fn a_start_without_an_answer_goes_on() {
    let (store, telemetry) = (Store::new(&upstreams()), Telemetry::for_tests(1));
    let (source, times) = scripted(|_, _| Err(FetchError::Malformed("no token in it")));
    let mut keeper = Keeper::of(source, &store, &telemetry);
    keeper.start().await;
    assert_eq!((times.borrow().len(), shown(&store, SystemTime::UNIX_EPOCH)), (1, Err(NotReady::Pending)));
}
