//! The gate as a whole: random histories, a virtual clock, real threads.

mod clock;
mod histories;
mod threads;
mod upstreams;

use std::f64::consts::TAU;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::*;

/// `SplitMix64`: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// In (0, 1).
    fn share(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap();
        (f64::from(bits) + 0.5) / 4_294_967_296.0
    }

    /// Normally distributed around 0 with a deviation of 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (TAU * self.share()).cos()
    }
}

/// A task that counts how often it was woken.
#[derive(Default)]
struct Task {
    woken: AtomicU32,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed) > 0
    }

    fn poll(self: &Arc<Self>, entering: &mut Entering) -> Option<Seat> {
        let waker = Waker::from(Arc::clone(self));
        match Pin::new(entering).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(seat) => Some(seat),
            Poll::Pending => None,
        }
    }
}

fn fixed(places: u32, queue_max: u32) -> Arc<Gate> {
    Gate::new(GatePolicy { limit: Limit::Fixed(places), batch_share_max: 0.9, queue_max })
}

/// `count` interactive ones that wait, each polled by a task of its own.
fn waiters(gate: &Arc<Gate>, count: usize) -> Vec<(Arc<Task>, Entering)> {
    let wait = || {
        let (task, mut entering) = (Arc::<Task>::default(), gate.enter(Class::Interactive, None).unwrap());
        assert!(task.poll(&mut entering).is_none(), "there is no room");
        (task, entering)
    };
    std::iter::repeat_with(wait).take(count).collect()
}

#[test]
fn a_seat_that_is_dropped_wakes_the_next_and_only_him() {
    let gate = fixed(1, 10);
    let seat = gate.try_enter(Class::Interactive).unwrap();
    let mut waiting = waiters(&gate, 3);
    drop(seat);
    let woken: Vec<bool> = waiting.iter().map(|(task, _)| task.is_woken()).collect();
    assert_eq!(woken, [true, false, false]);
    assert_eq!((gate.in_flight(), gate.waiting(Class::Interactive)), (1, 2));
    let (task, entering) = &mut waiting[0];
    let seat = task.poll(entering).expect("who was woken has a seat");
    assert_eq!(seat.class(), Class::Interactive);
    assert_eq!(gate.in_flight(), 1, "the seat is the one that was given, not another");
}

#[test]
fn a_seat_whose_future_is_dropped_before_it_is_polled_passes_on() {
    let gate = fixed(1, 10);
    let seat = gate.try_enter(Class::Interactive).unwrap();
    let mut waiting = waiters(&gate, 2);
    drop(seat);
    assert!(waiting[0].0.is_woken());
    drop(waiting.remove(0));
    let (task, entering) = &mut waiting[0];
    assert!(task.is_woken());
    assert!(task.poll(entering).is_some());
    drop(waiting);
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn who_never_polled_is_seated_too_and_gives_the_place_back() {
    let gate = fixed(1, 10);
    let ready = gate.enter(Class::Batch, None).unwrap();
    let queued = gate.enter(Class::Batch, None).unwrap();
    assert_eq!((gate.in_flight(), gate.waiting(Class::Batch)), (1, 1));
    drop(ready);
    assert_eq!((gate.in_flight(), gate.waiting(Class::Batch)), (1, 0));
    drop(queued);
    assert_eq!(gate.inside(), (0, 1, 0, 0));
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    let gate = fixed(1, 10);
    let seat = gate.try_enter(Class::Interactive).unwrap();
    let (first, mut entering) = waiters(&gate, 1).remove(0);
    let second = Arc::<Task>::default();
    assert!(second.poll(&mut entering).is_none());
    assert_eq!(Arc::strong_count(&first), 1, "the first waker is not kept");
    drop(seat);
    assert!(second.is_woken() && !first.is_woken());
}

#[test]
fn a_thousand_waiters_dropped_at_once_free_their_places_at_once() {
    let gate = fixed(20, 1000);
    let seats: Vec<_> = std::iter::from_fn(|| gate.try_enter(Class::Interactive)).collect();
    let mut waiting = waiters(&gate, 1000);
    assert_eq!(gate.enter(Class::Interactive, None).unwrap_err(), Full);
    // One who stays, last in the line, is next as soon as those before him are gone.
    let (task, mut entering) = waiting.pop().unwrap();
    drop(waiting);
    assert_eq!((gate.waiting(Class::Interactive), gate.in_flight()), (1, 20));
    drop(seats);
    assert!(task.is_woken() && task.poll(&mut entering).is_some());
    assert_eq!((gate.in_flight(), gate.inside()), (0, (0, 18, 0, 0)));
}

#[test]
fn a_limit_that_grows_seats_a_waiter_at_once() {
    let limit = Limit::Adaptive { initial: 2, min: 1, max: 10 };
    let gate = Gate::new(GatePolicy { limit, batch_share_max: 0.9, queue_max: 10 });
    let _seats: Vec<_> = std::iter::from_fn(|| gate.try_enter(Class::Interactive)).collect();
    let waiting = waiters(&gate, 2);
    let sample = Sample::FirstToken(Duration::from_millis(100));
    gate.learn(sample, Duration::from_secs(1));
    assert!(!waiting[0].0.is_woken());
    gate.learn(sample, Duration::from_secs(1));
    assert_eq!((gate.limit(), gate.in_flight()), (3, 3));
    assert!(waiting[0].0.is_woken() && !waiting[1].0.is_woken());
}

#[test]
fn wakers_that_use_the_gate_find_it_unlocked() {
    /// Enters and leaves when it is woken, and again when it is dropped.
    struct Meddler(Arc<Gate>);
    impl Wake for Meddler {
        fn wake(self: Arc<Self>) {
            drop(self.0.enter(Class::Batch, None));
        }
    }
    impl Drop for Meddler {
        fn drop(&mut self) {
            drop(self.0.enter(Class::Interactive, None));
        }
    }
    let gate = fixed(1, 10);
    let poll = |entering: &mut Entering| {
        let waker = Waker::from(Arc::new(Meddler(Arc::clone(&gate))));
        Pin::new(entering).poll(&mut Context::from_waker(&waker)).is_ready()
    };
    let seat = gate.try_enter(Class::Interactive).unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| gate.enter(Class::Interactive, None).unwrap()).collect();
    assert!(waiting.iter_mut().all(|entering| !poll(entering)));
    assert!(!poll(&mut waiting[0]), "the waker of the first poll is dropped here");
    drop(waiting.pop());
    drop(seat);
    assert!(poll(&mut waiting[0]));
    drop(waiting);
    assert_eq!((gate.in_flight(), gate.inside()), (0, (0, 1, 0, 0)));
}

#[test]
fn a_poisoned_lock_is_taken_over() {
    let gate = fixed(1, 10);
    gate.poison();
    let seat = gate.try_enter(Class::Interactive).unwrap();
    let waiting = waiters(&gate, 1);
    drop(seat);
    assert!(waiting[0].0.is_woken());
}

#[test]
fn a_gate_of_no_places_has_one() {
    let gate = fixed(0, 0);
    let seat = gate.try_enter(Class::Batch);
    assert!(seat.is_some() && gate.try_enter(Class::Interactive).is_none());
    let adaptive = Limit::Adaptive { initial: 0, min: 0, max: 0 };
    assert_eq!(Gate::new(GatePolicy { limit: adaptive, batch_share_max: 0.9, queue_max: 0 }).limit(), 1);
}

#[test]
fn seats_and_futures_may_move_to_other_threads() {
    fn movable<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    movable::<Seat>();
    movable::<Entering>();
    shared::<Gate>();
}
