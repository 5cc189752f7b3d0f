//! Waits on a virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::routing::gate::queue::{Queue, Tenant};
use crate::units::KeyId;

const STREAM: Duration = Duration::from_millis(200);

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends { batch: bool },
    Arrives { key: usize },
}

/// A target of `limit` places and streams of 200 ms. Batch fills queue and share all the time; interactive
/// requests of two keys come at random, `per_second` of them, for `seconds`. The waits of these, sorted.
fn interactive_waits(limit: u32, per_second: f64, seconds: u64, seed: u64) -> Vec<Duration> {
    let mut random = Random(seed);
    let mut queue = Queue::new(limit, 0.9, 1000);
    let mut events = BinaryHeap::new();
    let (mut now, end) = (Duration::ZERO, Duration::from_secs(seconds));
    let mut arrived = std::collections::HashMap::new();
    let mut waits = Vec::new();
    events.push(Reverse((now, Event::Arrives { key: 0 })));
    while queue.waiting(Class::Batch) < 500 {
        queue.join(Class::Batch, None).unwrap();
    }
    // Streams of batch do not all begin and end together.
    let stream = |random: &mut Random| STREAM.mul_f64(0.9 + 0.2 * random.share());
    loop {
        while let Some(ticket) = queue.seat_next() {
            let batch = ticket.class == Class::Batch;
            events.push(Reverse((now + stream(&mut random), Event::Ends { batch })));
            if batch {
                queue.join(Class::Batch, None).unwrap();
            } else {
                waits.push(now.saturating_sub(arrived.remove(&ticket.number).unwrap()));
            }
        }
        let Some(Reverse((at, event))) = events.pop() else { break };
        now = at;
        if now > end {
            break;
        }
        match event {
            Event::Ends { batch } => queue.leave(if batch { Class::Batch } else { Class::Interactive }),
            Event::Arrives { key } => {
                let tenant: Tenant = Some(KeyId::new(key));
                let ticket = queue.join(Class::Interactive, tenant).unwrap();
                arrived.insert(ticket.number, now);
                let gap = Duration::from_secs_f64(-random.share().ln() / per_second);
                events.push(Reverse((now + gap, Event::Arrives { key: random.below(2) })));
            }
        }
    }
    waits.sort();
    waits
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[test]
fn interactive_p99_waits_less_than_100_ms_while_batch_saturates_the_limit() {
    // A limit of 20 and streams of 200 ms serve 100 requests a second; half of them are interactive here.
    for seed in 0..20 {
        let waits = interactive_waits(20, 50.0, 100, seed);
        let p99 = percentile(&waits, 99);
        assert!(waits.len() > 4500, "{} waits", waits.len());
        assert!(p99 < Duration::from_millis(100), "seed {seed}: p99 is {p99:?}");
    }
}

#[test]
fn batch_gets_its_sixteenth_under_a_flood_of_interactive_requests() {
    let mut queue = Queue::new(20, 0.9, 1000);
    let mut seated = [0_u32; 2];
    for _ in 0..100 {
        queue.join(Class::Batch, None).unwrap();
        queue.join(Class::Interactive, None).unwrap();
    }
    let mut running = std::collections::VecDeque::new();
    for _ in 0..16_000 {
        while let Some(ticket) = queue.seat_next() {
            running.push_back(ticket.class);
            queue.join(ticket.class, None).unwrap();
        }
        let class = running.pop_front().unwrap();
        seated[usize::from(class == Class::Batch)] += 1;
        queue.leave(class);
    }
    assert!((980..=1020).contains(&seated[1]), "{seated:?}");
}
