//! Who gets the next place of a gate: plain state, without wakers and without a clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::routing::gate::{Class, Full};
use crate::units::KeyId;

/// Whom fairness is between; `None` are the anonymous requests, together.
pub(super) type Tenant = Option<KeyId>;

/// While both classes wait, one of this many places goes to batch, so that it is never starved. Dear enough
/// that it costs interactive requests some 6 % of the places.
const BATCH_EVERY: u32 = 16;

/// Where one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) class: Class,
    pub(super) tenant: Tenant,
    /// Counts up with each ticket of the queue, so it also says who came first.
    pub(super) number: u64,
}

/// The places of a gate and those who wait for one.
///
/// After whatever may have made room ([`Queue::leave`], [`Queue::set_limit`]) the caller asks [`Queue::seat_next`]
/// until it has nobody; between two calls from outside, nobody waits for a place that is free.
#[derive(Debug)]
pub(super) struct Queue {
    limit: u32,
    batch_share_max: f64,
    /// Of `limit`, by `batch_share_max`.
    batch_max: u32,
    /// Of waiters in each class, as [`GatePolicy::queue_max`] says.
    ///
    /// [`GatePolicy::queue_max`]: crate::routing::gate::GatePolicy::queue_max
    line_max: usize,
    seated: ByClass<u32>,
    lines: ByClass<Line>,
    /// Interactive ones seated since batch was, while batch waited and had room.
    passed_over: u32,
    tickets: u64,
}

/// One of each class.
#[derive(Debug, Default)]
struct ByClass<T> {
    interactive: T,
    batch: T,
}

/// Those of one class: round robin between tenants, first come first served within one. Every operation costs
/// the logarithm of how many wait, also leaving from the midst.
#[derive(Debug, Default)]
struct Line {
    /// Those tenants that have somebody waiting, and no others: the map is no larger than the line.
    tenants: BTreeMap<Tenant, Waiting>,
    /// The same tenants by turn; the lowest is next. A tenant that was served takes a turn behind all others.
    turns: BTreeMap<u64, Tenant>,
    turns_given: u64,
    waiting: usize,
}

/// One tenant's.
#[derive(Debug)]
struct Waiting {
    turn: u64,
    /// Of the tickets, never empty.
    numbers: BTreeSet<u64>,
}

impl Queue {
    pub(super) fn new(limit: u32, batch_share_max: f64, queue_max: u32) -> Self {
        let mut queue = Self {
            limit: 0,
            batch_share_max,
            batch_max: 0,
            line_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            seated: ByClass::default(),
            lines: ByClass::default(),
            passed_over: 0,
            tickets: 0,
        };
        queue.set_limit(limit);
        queue
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Places taken; above the limit after that has fallen, until enough have left.
    pub(super) fn in_flight(&self) -> u32 {
        self.seated.interactive + self.seated.batch
    }

    pub(super) fn waiting(&self, class: Class) -> usize {
        self.lines.of(class).waiting
    }

    /// Takes a place, if one is free for this class and nobody who comes before has it to get.
    pub(super) fn try_enter(&mut self, class: Class) -> bool {
        let nobody_before = self.waiting(Class::Interactive) == 0
            && (class == Class::Interactive || self.waiting(Class::Batch) == 0);
        let enters = nobody_before && self.has_room(class);
        if enters {
            *self.seated.of_mut(class) += 1;
        }
        enters
    }

    /// Waits at the end of the tenant's line.
    pub(super) fn join(&mut self, class: Class, tenant: Tenant) -> Result<Ticket, Full> {
        let line = self.lines.of_mut(class);
        if !line.admits(tenant, self.line_max) {
            return Err(Full);
        }
        let number = self.tickets;
        self.tickets += 1;
        line.push(tenant, number);
        Ok(Ticket { class, tenant, number })
    }

    /// Waits no longer. Of one who was seated, or has left before, nothing is there to be taken away.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.lines.of_mut(ticket.class).remove(ticket.tenant, ticket.number);
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, class: Class) {
        let seated = self.seated.of_mut(class);
        debug_assert!(*seated > 0, "nobody leaves twice");
        *seated = seated.saturating_sub(1);
    }

    /// Changes how many places there are. Who is seated stays, also above the limit.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        self.batch_max = batch_max(limit, self.batch_share_max);
    }

    /// Gives the next place to the next waiter, if there are both.
    pub(super) fn seat_next(&mut self) -> Option<Ticket> {
        let interactive = self.waiting(Class::Interactive) > 0 && self.has_room(Class::Interactive);
        let batch = self.waiting(Class::Batch) > 0 && self.has_room(Class::Batch);
        let class = match (interactive, batch) {
            (true, true) if self.passed_over + 1 < BATCH_EVERY => {
                self.passed_over += 1;
                Class::Interactive
            }
            (true, false) => Class::Interactive,
            (_, true) => {
                self.passed_over = 0;
                Class::Batch
            }
            (false, false) => return None,
        };
        let (tenant, number) = self.lines.of_mut(class).pop()?;
        *self.seated.of_mut(class) += 1;
        Some(Ticket { class, tenant, number })
    }

    fn has_room(&self, class: Class) -> bool {
        let below_own_bound = class == Class::Interactive || self.seated.batch < self.batch_max;
        below_own_bound && self.in_flight() < self.limit
    }
}

/// The places that batch may hold: at least one, for otherwise a small limit would shut it out for good.
fn batch_max(limit: u32, share: f64) -> u32 {
    // What a share such as 0.29 of 100 lacks in binary must not cost a place.
    let places = (f64::from(limit) * share + 1e-6).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is bounded next")]
    let places = places as u32;
    places.clamp(1, limit.max(1))
}

impl<T> ByClass<T> {
    fn of(&self, class: Class) -> &T {
        match class {
            Class::Interactive => &self.interactive,
            Class::Batch => &self.batch,
        }
    }

    fn of_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Interactive => &mut self.interactive,
            Class::Batch => &mut self.batch,
        }
    }
}

impl Line {
    /// Whether one more of `tenant` may wait, where `max` is what any tenant may fill.
    fn admits(&self, tenant: Tenant, max: usize) -> bool {
        if self.waiting < max {
            return true;
        }
        let own = self.tenants.get(&tenant).map_or(0, |waiting| waiting.numbers.len());
        let tenants = self.tenants.len() + usize::from(own == 0);
        self.waiting < max.saturating_mul(2) && own < max / tenants
    }

    fn push(&mut self, tenant: Tenant, number: u64) {
        let waiting = self.tenants.entry(tenant).or_insert_with(|| {
            let turn = self.turns_given;
            self.turns_given += 1;
            self.turns.insert(turn, tenant);
            Waiting { turn, numbers: BTreeSet::new() }
        });
        self.waiting += usize::from(waiting.numbers.insert(number));
    }

    /// The next one, who waits no longer.
    fn pop(&mut self) -> Option<(Tenant, u64)> {
        let (_, tenant) = self.turns.pop_first()?;
        let waiting = self.tenants.get_mut(&tenant)?;
        let number = waiting.numbers.pop_first()?;
        self.waiting -= 1;
        if waiting.numbers.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            waiting.turn = self.turns_given;
            self.turns_given += 1;
            self.turns.insert(waiting.turn, tenant);
        }
        Some((tenant, number))
    }

    fn remove(&mut self, tenant: Tenant, number: u64) {
        let Some(waiting) = self.tenants.get_mut(&tenant) else { return };
        self.waiting -= usize::from(waiting.numbers.remove(&number));
        if waiting.numbers.is_empty() {
            self.turns.remove(&waiting.turn);
            self.tenants.remove(&tenant);
        }
    }
}

#[cfg(test)]
impl Queue {
    /// Tenants that the queue remembers, in both classes.
    pub(super) fn tenants(&self) -> usize {
        let lines = [&self.lines.interactive, &self.lines.batch];
        for line in lines {
            assert_eq!(line.tenants.len(), line.turns.len(), "each tenant has one turn");
        }
        lines.iter().map(|line| line.tenants.len()).sum()
    }

    /// Places taken by `class`.
    pub(super) fn seated(&self, class: Class) -> u32 {
        *self.seated.of(class)
    }

    /// Places that batch may hold now.
    pub(super) fn batch_max(&self) -> u32 {
        self.batch_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: f64 = 0.9;

    fn join(queue: &mut Queue, class: Class, who: usize) -> Result<Ticket, Full> {
        queue.join(class, Some(KeyId::new(who)))
    }

    fn seat_all(queue: &mut Queue) -> Vec<Ticket> {
        std::iter::from_fn(|| queue.seat_next()).collect()
    }

    /// A queue whose one place is taken by an interactive one.
    fn full(queue_max: u32) -> Queue {
        let mut queue = Queue::new(1, SHARE, queue_max);
        assert!(queue.try_enter(Class::Interactive));
        queue
    }

    /// Those seated by `places` departures one after the other.
    fn departures(queue: &mut Queue, last: Class, places: usize) -> Vec<Ticket> {
        let mut last = last;
        let mut seated = Vec::new();
        for _ in 0..places {
            queue.leave(last);
            let Some(ticket) = queue.seat_next() else { break };
            assert_eq!(queue.seat_next(), None, "one place, one waiter");
            last = ticket.class;
            seated.push(ticket);
        }
        seated
    }

    #[test]
    fn batch_holds_its_share_and_at_least_one_place() {
        let places = |limit| batch_max(limit, 0.9);
        assert_eq!([1, 2, 3, 9, 10, 11, 20, 100].map(places), [1, 1, 2, 8, 9, 9, 18, 90]);
        assert_eq!(batch_max(100, 0.29), 29);
        assert_eq!(batch_max(10, 1.0), 10);
        assert_eq!(batch_max(10, 7.0), 10);
        assert_eq!([0.0, -1.0, f64::NAN].map(|share| batch_max(10, share)), [1, 1, 1]);
    }

    #[test]
    fn interactive_finds_room_that_batch_may_not_take() {
        let mut queue = Queue::new(10, SHARE, 10);
        let batch = (0..20).filter(|_| queue.try_enter(Class::Batch)).count();
        assert_eq!(batch, 9);
        queue.join(Class::Batch, None).unwrap();
        assert_eq!(queue.seat_next(), None);
        assert!(queue.try_enter(Class::Interactive), "batch that waits at its own bound is in nobody's way");
        assert!(!queue.try_enter(Class::Interactive));
        queue.leave(Class::Interactive);
        assert_eq!(queue.seat_next(), None, "the place stays for interactive ones");
    }

    #[test]
    fn interactive_goes_first_and_every_sixteenth_contested_place_is_batch() {
        let mut queue = full(1000);
        for _ in 0..320 {
            queue.join(Class::Batch, None).unwrap();
            queue.join(Class::Interactive, None).unwrap();
        }
        let seated = departures(&mut queue, Class::Interactive, 320);
        let batch: Vec<usize> = (1..=320).filter(|place| seated[place - 1].class == Class::Batch).collect();
        assert_eq!(batch, (1..=20).map(|nth| nth * 16).collect::<Vec<_>>());
    }

    #[test]
    fn within_a_tenant_the_first_comes_first_and_tenants_take_turns() {
        let mut queue = full(100);
        for (who, count) in [(0, 5), (1, 2), (2, 3)] {
            for _ in 0..count {
                join(&mut queue, Class::Interactive, who).unwrap();
            }
        }
        let seated = departures(&mut queue, Class::Interactive, 10);
        let order: Vec<_> =
            seated.iter().map(|ticket| (ticket.tenant.map_or(9, KeyId::index), ticket.number)).collect();
        assert_eq!(order, [(0, 0), (1, 5), (2, 7), (0, 1), (1, 6), (2, 8), (0, 2), (2, 9), (0, 3), (0, 4)]);
    }

    #[test]
    fn one_who_leaves_from_the_midst_is_not_seated_and_leaves_no_gap() {
        let mut queue = full(100);
        let tickets: Vec<_> = (0..4).map(|_| join(&mut queue, Class::Interactive, 0).unwrap()).collect();
        let other = join(&mut queue, Class::Interactive, 1).unwrap();
        queue.cancel(tickets[0]);
        queue.cancel(tickets[2]);
        queue.cancel(tickets[2]);
        assert_eq!(queue.waiting(Class::Interactive), 3);
        assert_eq!(departures(&mut queue, Class::Interactive, 4), [tickets[1], other, tickets[3]]);
        assert_eq!((queue.tenants(), queue.waiting(Class::Interactive)), (0, 0));
    }

    #[test]
    fn tenants_are_forgotten_with_their_last_waiter() {
        let mut queue = full(u32::MAX);
        let tickets: Vec<_> = (0..60_000).map(|who| join(&mut queue, Class::Batch, who).unwrap()).collect();
        assert_eq!(queue.tenants(), 60_000);
        for ticket in tickets {
            queue.cancel(ticket);
        }
        assert_eq!(queue.tenants(), 0);
    }

    #[test]
    fn a_fallen_limit_seats_nobody_until_it_has_drained() {
        let mut queue = Queue::new(10, SHARE, 10);
        for _ in 0..10 {
            assert!(queue.try_enter(Class::Interactive));
        }
        queue.join(Class::Interactive, None).unwrap();
        queue.set_limit(7);
        for _ in 0..3 {
            queue.leave(Class::Interactive);
            assert_eq!(queue.seat_next(), None);
            assert!(!queue.try_enter(Class::Interactive));
        }
        queue.leave(Class::Interactive);
        assert!(queue.seat_next().is_some());
        assert_eq!(queue.in_flight(), 7);
    }

    #[test]
    fn a_grown_limit_seats_as_many_as_it_grew_by() {
        let mut queue = full(10);
        for _ in 0..5 {
            queue.join(Class::Interactive, None).unwrap();
        }
        queue.set_limit(4);
        assert_eq!(seat_all(&mut queue).len(), 3);
        assert_eq!((queue.in_flight(), queue.waiting(Class::Interactive)), (4, 2));
    }

    #[test]
    fn a_full_batch_queue_turns_no_interactive_request_away() {
        let mut queue = full(5);
        let joined = (0..10).filter(|_| queue.join(Class::Batch, None).is_ok()).count();
        assert_eq!(joined, 5);
        assert!(queue.join(Class::Interactive, None).is_ok());
    }

    #[test]
    fn a_tenant_that_fills_the_queue_leaves_others_their_share_up_to_twice_the_bound() {
        let mut queue = full(100);
        let mut joined = |who| (0..1000).filter(|_| join(&mut queue, Class::Interactive, who).is_ok()).count();
        assert_eq!([0, 1, 2, 3, 4].map(&mut joined), [100, 50, 33, 17, 0]);
        let mut none = full(0);
        assert_eq!(none.join(Class::Interactive, None), Err(Full));
    }

    #[test]
    fn tenants_with_unequal_backlogs_get_equal_shares_within_two_percent() {
        // Backlogs of 1 to 50; each seat is followed by a new request of the same tenant.
        let mut queue = full(1000);
        let backlogs = [1, 5, 10, 50];
        for (who, backlog) in backlogs.into_iter().enumerate() {
            for _ in 0..backlog {
                join(&mut queue, Class::Interactive, who).unwrap();
            }
        }
        let mut shares = [0_u32; 4];
        for _ in 0..10_000 {
            queue.leave(Class::Interactive);
            let ticket = queue.seat_next().unwrap();
            shares[ticket.tenant.unwrap().index()] += 1;
            queue.join(Class::Interactive, ticket.tenant).unwrap();
        }
        assert!(shares.iter().all(|share| (2450..=2550).contains(share)), "{shares:?}");
    }
}
