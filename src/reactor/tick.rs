//! How long a worker rests between two turns of its event loop. Plain arithmetic; time is an argument.
//!
//! Under load the chunks of many streams arrive within a fraction of a millisecond, and most of what a chunk
//! costs is the way to the kernel and back. A turn that begins a little later finds more of them at once. What
//! arrives meanwhile waits, so the rest has to be worth it: none while the core is lightly loaded, then rising
//! with the load. A rest is counted from the beginning of the last turn, so a turn that was long in itself, in
//! which enough has gathered, is followed by none.
//!
//! The load counts work alone, not rests. A rest makes work cheaper and so lowers the load, which makes the next
//! rest shorter: the feedback is negative, its one state is the smoothed load, and the delay of a rest is a
//! fiftieth of the smoothing. Such a loop settles without a hysteresis; the tests let it.

use std::time::Duration;

use crate::config;

/// Over which time the load is smoothed. Long against a rest and against the gaps between events, short against
/// what a person notices.
const WINDOW: Duration = Duration::from_millis(16);
/// The most that one turn counts as work: an eighth of the window, which moves the load by 12 points. A single
/// long turn (a large body, a handshake) on an idle core does not begin a rest.
const TURN_COUNTED_MAX: Duration = Duration::from_millis(2);
/// The load at which rests begin. Below it too little would gather to pay for them, and latency is all that counts.
const LOAD_LEAST: f64 = 0.35;
/// The same over io_uring, where a rest saves a call of every turn.
const LOAD_LEAST_OF_RING: f64 = 0.25;
/// By how much more load rests are longest. Early enough that their savings come before the core is full.
const LOAD_RISE: f64 = 0.2;
/// The longest rest from the beginning of a turn: the most that a chunk is late by under `auto`. A turn that works for
/// longer has served two dozen chunks, which share what beginning it costs; `benches/relay` compares it with the tick off.
const REST_MOST: Duration = Duration::from_micros(300);
/// No rest is shorter: falling asleep and waking up cost some of it, and nearly nothing would gather.
const REST_LEAST: Duration = Duration::from_micros(50);
/// A turn with less work than this has served nobody: a wake-up for nothing, a wheel of timers that moved.
const WORK_LEAST: Duration = Duration::from_micros(5);

/// One worker's tick.
#[derive(Debug)]
pub(super) struct Tick {
    setting: config::Tick,
    /// The load at which they begin.
    load_least: f64,
    /// Share of its time that the worker worked, smoothed, from 0 to 1.
    load: f64,
}

impl Tick {
    /// As configured, at rest.
    pub(super) fn new(setting: config::Tick) -> Self {
        Self { setting, load_least: LOAD_LEAST, load: 0.0 }
    }

    /// The same over io_uring.
    pub(super) fn of_ring(setting: config::Tick) -> Self {
        Self { load_least: LOAD_LEAST_OF_RING, ..Self::new(setting) }
    }

    /// Whether there is ever a rest; otherwise nobody needs to measure anything.
    pub(super) fn is_off(&self) -> bool {
        self.setting == config::Tick::Off
    }

    /// A turn is over, which took `worked` after `idle` (resting and waiting). How long to rest before the next.
    pub(super) fn rest_after(&mut self, idle: Duration, worked: Duration) -> Duration {
        self.smooth(idle, worked);
        if worked < WORK_LEAST {
            return Duration::ZERO;
        }
        let apart = match self.setting {
            config::Tick::Auto => REST_MOST.mul_f64(self.eagerness()),
            config::Tick::Off => Duration::ZERO,
            config::Tick::Fixed(apart) => apart,
        };
        let rest = apart.saturating_sub(worked);
        if rest < REST_LEAST { Duration::ZERO } else { rest }
    }

    fn smooth(&mut self, idle: Duration, worked: Duration) {
        let worked = worked.min(TURN_COUNTED_MAX).as_secs_f64();
        let span = worked + idle.as_secs_f64();
        if span > 0.0 {
            let kept = (-span / WINDOW.as_secs_f64()).exp();
            self.load = self.load * kept + worked / span * (1.0 - kept);
        }
    }

    /// From 0 at the least load to 1.
    fn eagerness(&self) -> f64 {
        ((self.load - self.load_least) / LOAD_RISE).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// Events that arrive on average `gap` apart, at times that look random; a turn costs 15 us, and each event
    /// that it finds 12 us more. Returns each rest and the load behind it, after a quarter of a second.
    fn simulate(setting: config::Tick, gap: Duration) -> Vec<(Duration, f64)> {
        let (mut tick, mut rests) = (Tick::new(setting), Vec::new());
        let (mut now, mut next, mut state) = (Duration::ZERO, Duration::ZERO, 1_u64);
        let mut idle = Duration::ZERO;
        while now < Duration::from_secs(1) {
            let mut worked = us(15);
            while next <= now {
                worked += us(12);
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                next += gap.mul_f64((state >> 33) as f64 / f64::from(1_u32 << 30));
            }
            let rest = tick.rest_after(idle, worked);
            if now > Duration::from_millis(250) {
                rests.push((rest, tick.load));
            }
            let parked = now + worked;
            now = next.max(parked + rest);
            idle = now.saturating_sub(parked);
        }
        rests
    }

    /// How long it rests on average, at which load, and how far the load goes from that (a standard deviation).
    fn mean(setting: config::Tick, events_per_second: u32) -> (Duration, f64, f64) {
        let turns = simulate(setting, Duration::from_secs(1) / events_per_second);
        let count = u32::try_from(turns.len()).expect("few");
        let rest = turns.iter().map(|(rest, _)| *rest).sum::<Duration>() / count;
        let load = turns.iter().map(|(_, load)| load).sum::<f64>() / f64::from(count);
        let variance = turns.iter().map(|(_, other)| (other - load).powi(2)).sum::<f64>() / f64::from(count);
        (rest, load, variance.sqrt())
    }

    #[test]
    fn a_lightly_loaded_core_never_rests() {
        for rate in [500, 5_000, 12_000] {
            let (rest, load, _) = mean(config::Tick::Auto, rate);
            assert!(rest.is_zero() && load < LOAD_LEAST, "{rate}: {rest:?} at {load}");
        }
    }

    #[test]
    fn rests_rise_with_the_load_and_give_way_to_work() {
        let rests = [10_000, 12_000, 15_000, 20_000, 30_000, 40_000].map(|rate| mean(config::Tick::Auto, rate).0);
        assert!(rests.is_sorted() && rests[3] > us(25), "{rests:?}");
        // A fuller core has less to rest: what a turn works is taken off.
        let full = mean(config::Tick::Auto, 80_000).0;
        assert!(full < us(20), "{full:?}");
        for rate in [10_000, 20_000, 40_000, 60_000] {
            let turns = simulate(config::Tick::Auto, Duration::from_secs(1) / rate);
            assert!(turns.iter().all(|(rest, _)| *rest <= REST_MOST), "{rate}");
        }
    }

    #[test]
    fn rests_make_work_cheaper() {
        let (without, with) = (mean(config::Tick::Off, 30_000).1, mean(config::Tick::Auto, 30_000).1);
        assert!(with < without * 0.65, "{with} instead of {without}");
    }

    #[test]
    fn it_settles_instead_of_swinging() {
        for rate in [10_000, 12_000, 20_000, 30_000, 45_000, 60_000, 80_000] {
            let (rest, load, deviation) = mean(config::Tick::Auto, rate);
            // What chance in the arrivals does without any rest; a swing would be several times that.
            assert!(deviation < 0.015, "{rate}: {rest:?} at {load} +- {deviation}");
        }
    }

    #[test]
    fn an_idle_core_answers_at_once_after_a_busy_time() {
        let mut tick = Tick::new(config::Tick::Auto);
        for _ in 0..1_000 {
            tick.rest_after(us(50), us(100));
        }
        assert!(tick.rest_after(us(50), us(100)) >= us(100), "{tick:?}");
        assert_eq!(tick.rest_after(Duration::from_millis(25), us(40)), Duration::ZERO, "{tick:?}");
    }

    #[test]
    fn one_long_turn_on_an_idle_core_begins_no_rest() {
        let mut tick = Tick::new(config::Tick::Auto);
        tick.rest_after(Duration::from_secs(1), Duration::from_millis(80));
        for _ in 0..100 {
            assert_eq!(tick.rest_after(us(300), us(20)), Duration::ZERO, "{tick:?}");
        }
    }

    #[test]
    fn a_turn_without_work_is_followed_by_none() {
        for setting in [config::Tick::Auto, config::Tick::Fixed(us(500))] {
            let mut tick = Tick::new(setting);
            for _ in 0..1_000 {
                tick.rest_after(us(50), us(100));
            }
            assert_eq!(tick.rest_after(us(50), us(4)), Duration::ZERO);
            assert_ne!(tick.rest_after(us(50), us(20)), Duration::ZERO);
        }
    }

    #[test]
    fn a_ring_rests_from_less_load_on() {
        let (mut socket, mut ring) = (Tick::new(config::Tick::Auto), Tick::of_ring(config::Tick::Auto));
        for _ in 0..1_000 {
            assert_eq!(socket.rest_after(us(66), us(34)), Duration::ZERO);
            ring.rest_after(us(66), us(34));
        }
        let rest = ring.rest_after(us(66), us(34));
        assert!(rest >= REST_LEAST && rest + us(34) < REST_MOST, "{rest:?} at {}", ring.load);
        for _ in 0..1_000 {
            ring.rest_after(us(30), us(100));
        }
        assert_eq!(ring.rest_after(us(30), us(100)) + us(100), REST_MOST, "{ring:?}");
    }

    #[test]
    fn a_setting_is_the_time_from_turn_to_turn_under_any_load() {
        let mut tick = Tick::new(config::Tick::Fixed(us(500)));
        for (worked, rest) in [(20, 480), (300, 200), (450, 50), (451, 0), (500, 0), (90_000, 0)] {
            assert_eq!(tick.rest_after(Duration::from_secs(1), us(worked)), us(rest), "{worked}");
        }
        let mut off = Tick::new(config::Tick::Off);
        assert!(off.is_off() && !tick.is_off());
        assert_eq!(off.rest_after(Duration::ZERO, us(20)), Duration::ZERO);
    }
}
