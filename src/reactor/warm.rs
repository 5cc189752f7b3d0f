//! Memory for the streams whose turn is about to come, asked for before it is needed.
//!
//! When the kernel has told which sockets have something, the tasks behind them run one after the other, and each would
//! wait for its memory piece by piece. What each went through the last time is known ([`trail`]), so the processor is
//! asked for it while those before it run, and fetches many pieces at the same time. Not for all of them at once: with
//! hundreds in a turn the first pieces would be pushed out again before they are used.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "one instruction that reads nothing and can't fault")
)]

use std::cell::RefCell;
use std::task::Context;

use super::turn::TRIMMED_FROM;
use crate::signal::trail::{self, LINE_BYTES, Steps};

/// By how many turns a stream's memory is asked for before its own. A turn takes much longer than memory does.
const AHEAD: usize = 2;

/// Bytes in which a task says what is to be done with it.
const TASK_BYTES: usize = LINE_BYTES;

/// What the last turn of whoever waits for a socket went through: one line of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
struct Last(Steps);

thread_local! {
    /// By socket, as the driver names them.
    static LAST: RefCell<Vec<Last>> = const { RefCell::new(Vec::new()) };
    /// The sockets whose turn comes.
    static NEXT: RefCell<Next> = const { RefCell::new(Next { sockets: Vec::new(), asked: 0 }) };
}

struct Next {
    sockets: Vec<u32>,
    /// For so many of them all memory has been asked for.
    asked: usize,
}

impl Next {
    /// Asks for what the wake-ups of these need, and for all that the first ones need.
    fn name(&mut self, sockets: impl Iterator<Item = u32>, last: &[Last]) {
        let named = self.sockets.len();
        self.sockets.extend(sockets);
        let known = || self.sockets[named..].iter().filter_map(|socket| last.get(*socket as usize));
        known().for_each(|steps| fetch(std::ptr::from_ref(steps).addr()));
        // All tasks are woken before the first of them runs.
        known().filter_map(|Last(steps)| steps[0].lines().next()).for_each(fetch);
        (self.asked..AHEAD).for_each(|_| self.ask(last));
    }

    /// Asks for one more.
    fn ask(&mut self, last: &[Last]) {
        if let Some(socket) = self.sockets.get(self.asked) {
            self.asked += 1;
            let Some(Last(steps)) = last.get(*socket as usize) else { return };
            for step in steps {
                step.lines().for_each(fetch);
            }
        }
    }
}

/// Polls a connection, and now and then keeps what that goes through for the next times.
pub fn walk<T>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    LAST.with_borrow(|last| NEXT.with_borrow_mut(|next| next.ask(last)));
    trail::begin_now_and_then();
    trail::step_at(cx.waker().data().addr(), TASK_BYTES);
    let result = poll(cx);
    if let Some((socket, steps)) = trail::end() {
        LAST.with_borrow_mut(|last| {
            let socket = socket as usize;
            if last.len() <= socket {
                last.resize(socket + 1, Last::default());
            }
            // The same as the last time, nearly always: then the line stays clean.
            if last[socket].0 != steps {
                last[socket] = Last(steps);
            }
        });
    }
    result
}

/// The driver asks the kernel anew: whose turns had come before is of no interest any more.
pub(super) fn anew() {
    NEXT.with_borrow_mut(|next| {
        next.asked = 0;
        next.sockets.clear();
    });
}

/// The turns of these sockets are about to come, in this order and behind those that were named since [`anew`].
pub(super) fn ahead(sockets: impl Iterator<Item = u32>) {
    // The error is that of a thread that ends, on which a ring may still reap what it has called off.
    LAST.try_with(|last| NEXT.try_with(|next| next.borrow_mut().name(sockets, &last.borrow())).ok()).ok();
}

/// Gives back what a peak of sockets has left. From `names` on no socket is named.
pub(super) fn trim(names: usize) {
    LAST.with_borrow_mut(|last| {
        if last.capacity() > TRIMMED_FROM && last.capacity() / 2 > names {
            last.truncate(names);
            last.shrink_to_fit();
        }
    });
}

/// Asks for the line at `address`.
#[cfg(target_arch = "x86_64")]
fn fetch(address: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 has it; it has no effect but on the caches, whatever the address is.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address)) };
}

/// Elsewhere the processor is left to itself.
#[cfg(not(target_arch = "x86_64"))]
fn fetch(_: usize) {}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_a_socket_is_waited_for_with_is_known_in_time_until_it_is_trimmed() {
        let value = [0_u64; 100];
        let mut cx = Context::from_waker(Waker::noop());
        walk(&mut cx, |_| trail::step(&value));
        LAST.with_borrow(|last| assert!(last.is_empty(), "it waits for nothing"));
        let last_name = u32::try_from(2 * TRIMMED_FROM).expect("few");
        for socket in [last_name, 1] {
            let is_known =
                || LAST.with_borrow(|last| last.get(socket as usize).is_some_and(|last| *last != Last::default()));
            for turn in 0.. {
                assert!(turn < 1000, "no turn is noted");
                if is_known() {
                    break;
                }
                walk(&mut cx, |_| {
                    trail::step(&value);
                    trail::waits(socket);
                });
            }
        }
        LAST.with_borrow(|last| {
            assert_eq!(last[1], last[2 * TRIMMED_FROM]);
            let lines: Vec<_> = last[1].0[1].lines().collect();
            assert!(lines.len() >= size_of_val(&value) / LINE_BYTES);
        });
        // Names that nobody has, and memory that is nobody's any more.
        ahead([1, last_name, u32::MAX].into_iter());
        trim(2);
        LAST.with_borrow(|last| assert_eq!(last.len(), 2));
        ahead([1, last_name].into_iter());
    }

    #[test]
    fn what_comes_in_several_rounds_is_one_turn() {
        let named = || NEXT.with_borrow(|next| (next.sockets.clone(), next.asked));
        ahead([1].into_iter());
        ahead([2, 3, 4].into_iter());
        assert_eq!(named(), (vec![1, 2, 3, 4], AHEAD));
        walk(&mut Context::from_waker(Waker::noop()), |_| ());
        assert_eq!(named().1, AHEAD + 1);
        anew();
        assert_eq!(named(), (Vec::new(), 0));
    }

    #[test]
    fn any_address_may_be_asked_for() {
        for address in [0, 1, 63, usize::MAX] {
            fetch(address);
        }
    }
}
