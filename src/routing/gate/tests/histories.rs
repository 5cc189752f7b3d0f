//! Random histories, thousands of them: arrivals, departures, dropped waiters and changing limits, each checked
//! after every step. A failure prints its seed.

use super::*;
use crate::routing::gate::queue::{Queue, Tenant, Ticket};
use crate::units::KeyId;

const SEEDS: u64 = 4000;
const STEPS: usize = 150;
const TENANTS: usize = 4;

/// Runs `history` for each seed and prints the seed of the one that fails.
fn for_each_seed(history: impl Fn(&mut Random) + std::panic::RefUnwindSafe) {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| history(&mut Random(seed)));
        assert!(run.is_ok(), "the history of seed {seed} failed, see above");
    }
}

fn class(random: &mut Random) -> Class {
    if random.below(2) == 0 { Class::Interactive } else { Class::Batch }
}

fn tenant(random: &mut Random) -> Tenant {
    // None, and three keys.
    random.below(TENANTS).checked_sub(1).map(KeyId::new)
}

/// A gate, those who have a seat, and those who wait: their task, whether they were polled, their future.
struct History {
    gate: Arc<Gate>,
    seats: Vec<Seat>,
    waiting: Vec<(Arc<Task>, bool, Entering)>,
    now: Duration,
    in_flight: u32,
}

impl History {
    fn new(random: &mut Random) -> Self {
        let (min, span) = (1 + random.below(3), random.below(12));
        let [min, max] = [min, min + span].map(|places| u32::try_from(places).unwrap());
        let limit = if random.below(4) == 0 {
            Limit::Fixed(max)
        } else {
            Limit::Adaptive { initial: min.midpoint(max), min, max }
        };
        let queue_max = u32::try_from(random.below(30)).unwrap();
        let gate = Gate::new(GatePolicy { limit, batch_share_max: random.share(), queue_max });
        Self { gate, seats: Vec::new(), waiting: Vec::new(), now: Duration::ZERO, in_flight: 0 }
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(10) {
            0 | 1 => {
                if let Ok(entering) = self.gate.enter(class(random), tenant(random)) {
                    self.waiting.push((Arc::default(), false, entering));
                }
            }
            2 => self.seats.extend(self.gate.try_enter(class(random))),
            // Whoever waits is polled, woken or not.
            3 | 4 if !self.waiting.is_empty() => self.poll(random.below(self.waiting.len())),
            5 if !self.waiting.is_empty() => {
                drop(self.waiting.swap_remove(random.below(self.waiting.len())));
            }
            6 | 7 if !self.seats.is_empty() => {
                drop(self.seats.swap_remove(random.below(self.seats.len())));
            }
            8 => self.learn(random),
            _ => self.now += Duration::from_millis(random.next() % 2000),
        }
    }

    fn poll(&mut self, at: usize) {
        let (task, polled, entering) = &mut self.waiting[at];
        *polled = true;
        if let Some(seat) = task.poll(entering) {
            self.seats.push(seat);
            drop(self.waiting.swap_remove(at));
        }
    }

    fn learn(&mut self, random: &mut Random) {
        let took = Duration::from_millis(random.next() % 3000);
        for _ in 0..random.below(20) {
            let sample = match random.below(12) {
                0 => Sample::Throttled,
                1 => Sample::Late(took),
                2 => Sample::Failed,
                _ => Sample::FirstToken(took),
            };
            self.gate.learn(sample, self.now);
            self.check();
        }
    }

    fn check(&mut self) {
        let (gate, (batch, batch_max, tenants, waiters)) = (&self.gate, self.gate.inside());
        let (limit, in_flight) = (gate.limit(), gate.in_flight());
        let queued = [Class::Interactive, Class::Batch].map(|class| gate.waiting(class));

        assert!(in_flight <= limit.max(self.in_flight), "{in_flight} in flight of {limit}");
        self.in_flight = in_flight;
        assert!(queued[0] == 0 || in_flight >= limit, "an interactive one waits for a free place");
        assert!(queued[1] == 0 || in_flight >= limit || batch >= batch_max, "a batch one waits for a free place");
        assert!(tenants <= 2 * TENANTS && tenants <= queued[0] + queued[1]);

        // Every place is held by a seat or by a future that has it and was woken for it.
        let given = self.waiting.len() - queued[0] - queued[1];
        assert_eq!(usize::try_from(in_flight).unwrap(), self.seats.len() + given);
        assert!(waiters <= self.waiting.len() && waiters >= queued[0] + queued[1]);
        let woken = self.waiting.iter().filter(|(task, polled, _)| !polled || task.is_woken()).count();
        assert!(woken >= given, "a seat was given to one who was not woken");
    }

    /// Those who were polled and not woken wait rightly; everybody else has a seat once polled. Then all leave.
    fn end(mut self) {
        for at in (0..self.waiting.len()).rev() {
            if self.waiting[at].0.is_woken() {
                let before = self.seats.len();
                self.poll(at);
                assert_eq!(self.seats.len(), before + 1, "woken for nothing");
            } else if !self.waiting[at].1 {
                self.poll(at);
            }
        }
        let queued = self.gate.waiting(Class::Interactive) + self.gate.waiting(Class::Batch);
        assert_eq!(self.waiting.len(), queued, "one who has a seat was not woken");
        let Self { gate, seats, waiting, .. } = self;
        drop(seats);
        drop(waiting);
        let (batch, _, tenants, waiters) = gate.inside();
        assert_eq!((gate.in_flight(), batch, tenants, waiters), (0, 0, 0, 0));
        assert_eq!([Class::Interactive, Class::Batch].map(|class| gate.waiting(class)), [0, 0]);
    }
}

#[test]
fn no_history_loses_a_place_a_waiter_or_a_wake() {
    for_each_seed(|random| {
        let mut history = History::new(random);
        for _ in 0..STEPS {
            history.step(random);
            history.check();
        }
        history.end();
    });
}

/// The same rules, written the slow and plain way: lists that are searched.
#[derive(Default)]
struct Plain {
    limit: usize,
    batch_max: usize,
    seated: [usize; 2],
    /// By class; tenants in the order of their turns, each with its tickets in the order of arrival.
    lines: [Vec<(Tenant, Vec<Ticket>)>; 2],
    passed_over: u32,
}

impl Plain {
    fn has_room(&self, class: usize) -> bool {
        self.seated[0] + self.seated[1] < self.limit && (class == 0 || self.seated[1] < self.batch_max)
    }

    fn join(&mut self, ticket: Ticket) {
        let line = &mut self.lines[index(ticket.class)];
        match line.iter_mut().find(|(tenant, _)| *tenant == ticket.tenant) {
            Some((_, tickets)) => tickets.push(ticket),
            None => line.push((ticket.tenant, vec![ticket])),
        }
    }

    fn cancel(&mut self, ticket: Ticket) {
        let line = &mut self.lines[index(ticket.class)];
        for (_, tickets) in line.iter_mut() {
            tickets.retain(|known| *known != ticket);
        }
        line.retain(|(_, tickets)| !tickets.is_empty());
    }

    fn seat_next(&mut self) -> Option<Ticket> {
        let ready = [0, 1].map(|class| !self.lines[class].is_empty() && self.has_room(class));
        let class = match ready {
            [true, true] if self.passed_over == 15 => 1,
            [true, _] => 0,
            [false, true] => 1,
            [false, false] => return None,
        };
        self.passed_over = match (class, ready[1]) {
            (1, _) => 0,
            (_, true) => self.passed_over + 1,
            (_, false) => self.passed_over,
        };
        let (tenant, mut tickets) = self.lines[class].remove(0);
        let ticket = tickets.remove(0);
        if !tickets.is_empty() {
            self.lines[class].push((tenant, tickets));
        }
        self.seated[class] += 1;
        Some(ticket)
    }
}

fn index(class: Class) -> usize {
    usize::from(class == Class::Batch)
}

#[test]
fn the_queue_seats_in_the_order_of_the_plain_rules() {
    for_each_seed(|random| {
        let mut queue = Queue::new(0, 0.7, u32::MAX);
        let mut plain = Plain::default();
        let mut known = Vec::new();
        for _ in 0..STEPS {
            match random.below(7) {
                0..=2 => {
                    let ticket = queue.join(class(random), tenant(random)).unwrap();
                    plain.join(ticket);
                    known.push(ticket);
                }
                3 if !known.is_empty() => {
                    let ticket = known.swap_remove(random.below(known.len()));
                    queue.cancel(ticket);
                    plain.cancel(ticket);
                }
                4 => {
                    let limit = random.below(8);
                    queue.set_limit(u32::try_from(limit).unwrap());
                    plain.limit = limit;
                    plain.batch_max = usize::try_from(queue.batch_max()).unwrap();
                }
                _ => {
                    let class = class(random);
                    if plain.seated[index(class)] > 0 {
                        plain.seated[index(class)] -= 1;
                        queue.leave(class);
                    }
                }
            }
            loop {
                let seated = queue.seat_next();
                assert_eq!(seated, plain.seat_next());
                if seated.is_none() {
                    break;
                }
            }
        }
    });
}
