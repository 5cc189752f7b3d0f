//! Groups of lying bars, each with its name at its foot and its value at its head.

use super::scale::{linear_ticks, plain};
use super::svg::{Anchor, Svg};

/// One peer under one load.
pub(super) struct Bar {
    pub(super) peer: String,
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// One load.
pub(super) struct Group {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// A picture of groups over one axis.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) axis: String,
    pub(super) groups: Vec<Group>,
}

const WIDTH: f64 = 860.0;
/// Room for the names.
const LEFT: f64 = 190.0;
/// Room for the value of the longest bar.
const RIGHT: f64 = 70.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;
const BAR: f64 = 15.0;
/// From bar to bar.
const PITCH: f64 = 20.0;
/// Height of a group's title, with what is above it.
const HEAD: f64 = 34.0;

impl Bars {
    pub(super) fn draw(&self) -> String {
        let bars = || self.groups.iter().flat_map(|group| &group.bars);
        let end = bars().map(|bar| bar.most).fold(f64::MIN_POSITIVE, f64::max);
        let ticks = linear_ticks(end);
        let rows = bars().count() as f64 * PITCH + self.groups.len() as f64 * HEAD;
        let height = TOP + rows + BOTTOM;
        let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
        let mut svg = Svg::new(WIDTH, height, &self.title);
        let foot = height - BOTTOM + 8.0;
        for tick in ticks {
            svg.line((x(tick), TOP), (x(tick), foot), if tick == 0.0 { "axis" } else { "grid" });
            svg.text(x(tick), foot + 16.0, Anchor::Middle, "value", &plain(tick));
        }
        svg.text((LEFT + WIDTH - RIGHT) / 2.0, foot + 36.0, Anchor::Middle, "", &self.axis);
        let mut y = TOP;
        for group in &self.groups {
            y += HEAD;
            svg.text(LEFT - 8.0, y - 9.0, Anchor::End, "group", &group.title);
            for bar in &group.bars {
                let middle = y + BAR / 2.0;
                svg.text(LEFT - 8.0, middle + 4.0, Anchor::End, "", &bar.peer);
                svg.bar((LEFT, y), (x(bar.value) - LEFT, BAR), &bar.peer);
                svg.line((x(bar.least), middle), (x(bar.most), middle), "whisker");
                for end in [bar.least, bar.most] {
                    svg.line((x(end), middle - 3.0), (x(end), middle + 3.0), "whisker");
                }
                svg.text(x(bar.most) + 7.0, middle + 4.0, Anchor::Start, "value", &plain(bar.value));
                y += PITCH;
            }
        }
        svg.finish()
    }
}
