//! Which memory a turn of a stream goes through, so that it can be asked for before the next one.
//!
//! A chunk goes through the same few values each time: the task, the answer that is written, the relay, the
//! connection that is read. With a thousand streams on a core none of them is in the processor's caches when its turn
//! comes, and each leads to the next, so that the processor waits for one after the other: most of the time that a chunk
//! took in user space, by samples. So whoever is polled says where it is ([`step`]), whoever waits for bytes
//! says for which socket ([`waits`]), and the event loop, which knows the sockets whose turn is about to come, asks for
//! it ahead (`reactor::warm`).
//!
//! Nothing here is ever followed: an address that is out of date costs a little time and nothing else.

use std::cell::Cell;

/// Values of one turn; what comes beyond them is not noted.
pub const STEPS_MAX: usize = 8;

/// Bytes that the processor fetches at once.
pub const LINE_BYTES: usize = 64;

/// Of so many turns one is noted.
const NOTED_IN: u64 = 4;

/// Lines of one value that are noted at most.
const LINES_MAX: usize = 16;

thread_local! {
    static TURN: Turn = const {
        Turn {
            steps: [const { Cell::new(Step(0)) }; STEPS_MAX],
            count: Cell::new(0),
            socket: Cell::new(None),
            is_noted: Cell::new(false),
            chance: Cell::new(0),
        }
    };
}

/// The turn that is on.
struct Turn {
    steps: [Cell<Step>; STEPS_MAX],
    count: Cell<usize>,
    socket: Cell<Option<u32>>,
    is_noted: Cell<bool>,
    /// A congruential generator's state (Knuth's MMIX).
    chance: Cell<u64>,
}

/// Where one value lies: the address of its first line, and in the bits that an address of a line has free, how many
/// more there are. Zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step(usize);

/// A turn's, in order.
pub type Steps = [Step; STEPS_MAX];

impl Step {
    fn new(address: usize, bytes: usize) -> Self {
        let first = address & !(LINE_BYTES - 1);
        let more = (address + bytes.max(1) - 1 - first) / LINE_BYTES;
        Self(first | more.min(LINES_MAX - 1))
    }

    /// The addresses of its lines.
    pub fn lines(self) -> impl Iterator<Item = usize> {
        let (first, more) = (self.0 & !(LINE_BYTES - 1), self.0 & (LINE_BYTES - 1));
        let count = if self.0 == 0 { 0 } else { more + 1 };
        (0..count).map(move |line| first + line * LINE_BYTES)
    }
}

/// A turn begins, and is noted.
fn begin() {
    TURN.with(|turn| {
        turn.count.set(0);
        turn.socket.set(None);
        turn.is_noted.set(true);
    });
}

/// A turn begins. One in four is noted: a stream's way hardly ever changes. Which ones is left to chance, because
/// streams may take turns in an order that a count would be in step with.
pub fn begin_now_and_then() {
    let is_noted = TURN.with(|turn| {
        let next =
            turn.chance.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        turn.chance.set(next);
        turn.is_noted.set(false);
        next < u64::MAX / NOTED_IN
    });
    if is_noted {
        begin();
    }
}

/// It goes through `value`.
#[inline]
pub fn step<T: ?Sized>(value: &T) {
    step_at(std::ptr::from_ref(value).cast::<()>().addr(), size_of_val(value));
}

/// It goes through what lies at `address`.
#[inline]
pub fn step_at(address: usize, bytes: usize) {
    if TURN.with(|turn| turn.is_noted.get()) {
        note(address, bytes);
    }
}

fn note(address: usize, bytes: usize) {
    TURN.with(|turn| {
        let (step, count) = (Step::new(address, bytes), turn.count.get());
        // What is polled until it has no more is polled twice.
        if count < STEPS_MAX && (count == 0 || turn.steps[count - 1].get() != step) {
            turn.steps[count].set(step);
            turn.count.set(count + 1);
        }
    });
}

/// It waits for bytes of this socket, a name that the event loop has given it. The last one counts.
#[inline]
pub fn waits(socket: u32) {
    TURN.with(|turn| {
        if turn.is_noted.get() {
            turn.socket.set(Some(socket));
        }
    });
}

/// It is over: whether it waits for a socket, and what it went through.
pub fn end() -> Option<(u32, Steps)> {
    TURN.with(|turn| {
        if !turn.is_noted.replace(false) {
            return None;
        }
        let socket = turn.socket.take()?;
        let mut steps = Steps::default();
        for (to, from) in steps.iter_mut().zip(&turn.steps).take(turn.count.get()) {
            *to = from.get();
        }
        Some((socket, steps))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(address: usize, bytes: usize) -> Vec<usize> {
        Step::new(address, bytes).lines().collect()
    }

    #[test]
    fn a_step_is_every_line_that_its_value_touches() {
        assert_eq!(Step::default().lines().count(), 0);
        assert_eq!(lines(640, 1), [640]);
        assert_eq!(lines(640, 64), [640]);
        assert_eq!(lines(650, 64), [640, 704]);
        assert_eq!(lines(703, 2), [640, 704]);
        assert_eq!(lines(640, 0), [640]);
        assert_eq!(lines(640, 10_000).len(), LINES_MAX, "no more than that");
    }

    #[test]
    fn a_turn_has_what_was_noted_since_it_began() {
        let values = [[0_u64; 8]; STEPS_MAX + 2];
        begin();
        step(&values[0]);
        begin();
        assert_eq!(end(), None, "it waits for nothing");
        begin();
        for value in &values {
            step(value);
        }
        waits(3);
        waits(7);
        let (socket, steps) = end().expect("it waits");
        assert_eq!(socket, 7);
        let expected: Vec<_> = values[..STEPS_MAX].iter().map(|value| std::ptr::from_ref(value).addr()).collect();
        let noted: Vec<_> = steps.iter().map(|step| step.lines().next().expect("a line")).collect();
        assert_eq!(noted, expected.iter().map(|address| address & !63).collect::<Vec<_>>());
        assert_eq!(end(), None, "told once");
    }
}
