//! From values to places: linear and logarithmic axes, their ticks, and what stands at them.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number of things.
    Count,
    /// A time, told in the unit that fits it.
    Microseconds,
}

impl Unit {
    /// A value as people write it.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Count if value >= 1000.0 => format!("{},{:03.0}", (value / 1000.0).floor(), value % 1000.0),
            Self::Count => plain(value),
            Self::Microseconds if value >= 1e6 => format!("{} s", plain(value / 1e6)),
            Self::Microseconds if value >= 1e3 => format!("{} ms", plain(value / 1e3)),
            Self::Microseconds => format!("{} µs", plain(value)),
        }
    }
}

/// Three digits at most, without zeros that say nothing.
pub(super) fn plain(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An axis over decades.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decades {
    /// Logarithms of its ends.
    low: f64,
    high: f64,
    /// Places of its ends.
    from: f64,
    to: f64,
}

/// What a decade is divided into.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

impl Decades {
    /// Holds all `values`, and ends at a tick on either side where that is near.
    pub(super) fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        let ticks: Vec<f64> = candidates().collect();
        let low = ticks.iter().copied().rfind(|tick| *tick <= least * 1.0001).unwrap_or(least);
        let high = ticks.iter().copied().find(|tick| *tick >= most * 0.9999).unwrap_or(most);
        let high = if high > low { high } else { low * 10.0 };
        Self { low: low.log10(), high: high.log10(), from, to }
    }

    /// Where `value` stands.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    /// The ticks, and whether there is room for a text at each.
    pub(super) fn ticks(&self) -> Vec<(f64, bool)> {
        let inside = |tick: &f64| (self.low - 1e-9..=self.high + 1e-9).contains(&tick.log10());
        let many = self.high - self.low > 2.5;
        let labelled = |tick: f64| !many || (tick.log10() - tick.log10().round()).abs() < 1e-9;
        candidates().filter(inside).map(|tick| (tick, labelled(tick))).collect()
    }
}

fn candidates() -> impl Iterator<Item = f64> {
    (-3..10).flat_map(|power| STEPS.map(|step| step * 10_f64.powi(power)))
}

/// Round steps from 0 to `most` or a little less, about five.
pub(super) fn linear_ticks(most: f64) -> Vec<f64> {
    let step = candidates().find(|step| most / step <= 7.0).unwrap_or(most);
    let mut ticks = vec![0.0];
    while let Some(last) = ticks.last().copied()
        && last + step <= most
    {
        ticks.push(step * ticks.len() as f64);
    }
    ticks
}
