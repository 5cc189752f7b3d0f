//! Real threads: nobody is forgotten, and no place is taken twice.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;

use super::*;
use crate::units::KeyId;

/// Longer than anything here takes on a machine that does other things too.
const LOST: Duration = Duration::from_secs(30);

/// Wakes a thread that waits at the other end.
struct Unpark(SyncSender<()>);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        // Full: it has been woken already.
        assert!(!matches!(self.0.try_send(()), Err(TrySendError::Disconnected(()))));
    }
}

/// Waits for the seat, on this thread.
fn block_on(mut entering: Entering) -> Seat {
    let (unpark, parked) = sync_channel(1);
    let waker = Waker::from(Arc::new(Unpark(unpark)));
    loop {
        match Pin::new(&mut entering).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(seat) => return seat,
            Poll::Pending => match parked.recv_timeout(LOST) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => panic!("a wake was lost"),
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a waker"),
            },
        }
    }
}

/// What one thread does: enters in one of several ways, holds some of the seats for a while.
fn visit(gate: &Arc<Gate>, inside: &AtomicU32, random: &mut Random) {
    let class = if random.below(3) == 0 { Class::Batch } else { Class::Interactive };
    let entering = gate.enter(class, Some(KeyId::new(random.below(5))));
    let Ok(mut entering) = entering else { return };
    let task = Arc::<Task>::default();
    let seat = match random.below(5) {
        // The client leaves before its first poll, or after it.
        0 => return,
        1 => match task.poll(&mut entering) {
            Some(seat) => seat,
            None => return,
        },
        _ => block_on(entering),
    };
    let others = inside.fetch_add(1, Ordering::SeqCst);
    assert!(others < gate.limit().max(4), "{others} others are inside");
    for _ in 0..random.below(50) {
        thread::yield_now();
    }
    inside.fetch_sub(1, Ordering::SeqCst);
    drop(seat);
}

fn stress(gate: &Arc<Gate>, threads: u64, visits: usize, learn: bool) {
    let inside = Arc::new(AtomicU32::new(0));
    let run = |seed: u64| {
        let (gate, inside) = (Arc::clone(gate), Arc::clone(&inside));
        thread::spawn(move || {
            let mut random = Random(seed);
            for visit_number in 0..visits {
                visit(&gate, &inside, &mut random);
                if learn {
                    let sample = match random.below(40) {
                        0 => Sample::Throttled,
                        _ => Sample::FirstToken(Duration::from_millis(100)),
                    };
                    gate.learn(sample, Duration::from_millis(u64::try_from(visit_number).unwrap()));
                }
            }
        })
    };
    let running: Vec<_> = (0..threads).map(run).collect();
    for thread in running {
        thread.join().unwrap();
    }
    let (batch, _, tenants, waiters) = gate.inside();
    assert_eq!((gate.in_flight(), batch, tenants, waiters), (0, 0, 0, 0));
}

#[test]
fn many_threads_before_few_places_lose_no_wake_and_no_place() {
    stress(&fixed(4, 1000), 16, 3000, false);
    stress(&fixed(1, 3), 8, 3000, false);
}

#[test]
fn many_threads_before_a_limit_that_changes_lose_no_wake_and_no_place() {
    let limit = Limit::Adaptive { initial: 2, min: 1, max: 4 };
    let gate = Gate::new(GatePolicy { limit, batch_share_max: 0.9, queue_max: 1000 });
    stress(&gate, 16, 3000, true);
}
