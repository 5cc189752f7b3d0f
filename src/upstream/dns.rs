//! One upstream's addresses: looked up off the reactor, kept a while, and kept longer when lookups fail.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::error::Cause;
use super::flight::{Flight, Turn};

/// How long an answer is used without asking again. `getaddrinfo` tells no TTL, so this is short; an
/// established connection moves on by its own maximum age.
const FRESH: Duration = Duration::from_secs(30);

/// How old an answer may be that stands in for a failed lookup.
const STALE_MAX: Duration = Duration::from_mins(5);

/// How long a stand-in is used before the next lookup, so that a dead resolver does not slow each connect.
const RETRY: Duration = Duration::from_secs(5);

/// The addresses of one name, cached on one core.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RefCell<Option<Known>>,
    flight: Flight<Cause>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Rc<[SocketAddr]>,
    resolved: Instant,
    fresh_until: Instant,
}

impl Names {
    /// The addresses, families interleaved; `lookup` is only polled when they must be asked for.
    ///
    /// # Errors
    /// When there is no answer within `limit`, and none younger than five minutes to stand in.
    ///
    /// # Cancel safety
    /// Dropping the future passes the lookup on to the next one who waits for it.
    pub(super) async fn resolve<F>(&self, limit: Duration, lookup: F) -> Result<Rc<[SocketAddr]>, Cause>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        if let Some(addresses) = self.known(|known| known.fresh_until > Instant::now()) {
            return Ok(addresses);
        }
        match self.flight.join().await {
            Turn::Landed(Err(cause)) => return Err(cause),
            Turn::Landed(Ok(())) => {}
            Turn::Lead(leader) => {
                let outcome = match timeout(limit, lookup).await {
                    Ok(Ok(found)) if found.is_empty() => self.stand_in(Cause::NoAddress),
                    Ok(Ok(found)) => {
                        self.learn(found);
                        Ok(())
                    }
                    Ok(Err(error)) => self.stand_in(error.into()),
                    Err(_) => self.stand_in(Cause::Timeout(limit)),
                };
                leader.landed(outcome.clone());
                outcome?;
            }
        }
        self.known(|_| true).ok_or(Cause::NoAddress)
    }

    fn known(&self, usable: impl FnOnce(&Known) -> bool) -> Option<Rc<[SocketAddr]>> {
        let known = self.known.borrow();
        known.as_ref().filter(|known| usable(known)).map(|known| known.addresses.clone())
    }

    fn learn(&self, found: Vec<SocketAddr>) {
        let now = Instant::now();
        let addresses = interleave(found).into();
        *self.known.borrow_mut() = Some(Known { addresses, resolved: now, fresh_until: now + FRESH });
    }

    fn stand_in(&self, cause: Cause) -> Result<(), Cause> {
        let mut known = self.known.borrow_mut();
        match known.as_mut().filter(|known| known.resolved.elapsed() < STALE_MAX) {
            Some(known) => {
                tracing::debug!(%cause, "lookup failed, using the addresses known before");
                known.fresh_until = Instant::now() + RETRY;
                Ok(())
            }
            None => Err(cause),
        }
    }
}

/// Alternates the families, starting with the resolver's first choice (RFC 8305, section 4).
fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use tokio::time::{advance, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    #[test]
    fn families_alternate() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]);
        assert_eq!(interleave(found), addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]));
        assert_eq!(interleave(addresses(&["10.0.0.1:1", "[::1]:1"])), addresses(&["10.0.0.1:1", "[::1]:1"]));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_kept_and_outlive_a_dead_resolver() {
        let names = Names::default();
        let asked = Cell::new(0);
        let ask = |answer: io::Result<Vec<SocketAddr>>| {
            let asked = &asked;
            async move {
                asked.set(asked.get() + 1);
                answer
            }
        };
        let one = addresses(&["10.0.0.1:1"]);
        assert_eq!(&*names.resolve(LIMIT, ask(Ok(one.clone()))).await.expect("answered"), one);
        assert_eq!(&*names.resolve(LIMIT, ask(Ok(vec![]))).await.expect("kept"), one);
        assert_eq!(asked.get(), 1);
        advance(FRESH).await;
        assert_eq!(&*names.resolve(LIMIT, pending()).await.expect("stands in"), one);
        advance(STALE_MAX).await;
        names.resolve(LIMIT, ask(Err(io::ErrorKind::Other.into()))).await.expect_err("too old");
        let two = addresses(&["10.0.0.2:1"]);
        assert_eq!(&*names.resolve(LIMIT, ready(Ok(two.clone()))).await.expect("learns again"), two);
    }

    #[tokio::test(start_paused = true)]
    async fn one_lookup_serves_all_who_ask_meanwhile() {
        let names = Names::default();
        let slow = async {
            sleep(LIMIT / 2).await;
            Ok(addresses(&["10.0.0.1:1"]))
        };
        let (first, second) = tokio::join!(names.resolve(LIMIT, slow), names.resolve(LIMIT, pending()));
        assert_eq!(first.expect("looked up"), second.expect("shared"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_lookup_is_passed_on() {
        let names = Names::default();
        let given_up = timeout(LIMIT / 4, names.resolve(LIMIT, pending()));
        let found = addresses(&["10.0.0.1:1"]);
        let (first, second) = tokio::join!(given_up, names.resolve(LIMIT, ready(Ok(found.clone()))));
        first.expect_err("given up");
        assert_eq!(&*second.expect("led in turn"), found);
    }
}
