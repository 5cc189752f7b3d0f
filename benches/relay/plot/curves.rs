//! Curves over decades, one for each peer, with a legend beside them.

use super::scale::{Decades, Unit};
use super::svg::{Anchor, Svg};

/// One value of a curve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// The true value lies above.
    pub(super) above: bool,
}

/// The curve of one peer.
pub(super) struct Line {
    pub(super) peer: String,
    pub(super) points: Vec<Point>,
}

/// A picture of curves.
pub(super) struct Curves {
    pub(super) title: String,
    pub(super) x_axis: String,
    pub(super) x_unit: Unit,
    pub(super) y_axis: String,
    pub(super) y_unit: Unit,
    /// A bound of what was measured, and its name.
    pub(super) limit: Option<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 90.0;
/// Room for the legend.
const RIGHT: f64 = 220.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 64.0;
/// From line to line of the legend.
const LEGEND: f64 = 22.0;
/// From curve to curve, so that ranges at one load do not lie on each other.
const ASIDE: f64 = 1.8;
/// From the first and last load to the edges.
const INSET: f64 = 14.0;
/// Less than this between two texts of the horizontal axis, and they touch.
const TEXT_GAP: f64 = 44.0;

impl Curves {
    /// `None` if there is no curve: one point is none.
    pub(super) fn draw(&self) -> Option<String> {
        if !self.lines.iter().any(|line| line.points.len() > 1) {
            return None;
        }
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (right, foot) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let x = Decades::over(points().map(|point| point.x), LEFT + INSET, right - INSET);
        let limits = self.limit.iter().map(|(limit, _)| *limit);
        let heights = points().flat_map(|point| [point.least, point.most]).chain(limits);
        let y = Decades::over(heights.collect::<Vec<_>>().into_iter(), foot, TOP);
        let mut svg = Svg::new(WIDTH, HEIGHT, &self.title);
        self.axes(&mut svg, &x, &y);
        if let Some((limit, name)) = &self.limit {
            svg.line((LEFT, y.at(*limit)), (right, y.at(*limit)), "limit");
            svg.text(LEFT + 8.0, y.at(*limit) + 16.0, Anchor::Start, "value", name);
        }
        // The first one on top of the others.
        for (at, line) in self.lines.iter().enumerate().rev() {
            let aside = (at as f64 - (self.lines.len() as f64 - 1.0) / 2.0) * ASIDE;
            let place = |point: &Point| (x.at(point.x) + aside, y.at(point.y));
            let places: Vec<(f64, f64)> = line.points.iter().map(place).collect();
            svg.path(&places, &line.peer);
            for (point, place) in line.points.iter().zip(&places) {
                svg.range(place.0, (y.at(point.most), y.at(point.least)), &line.peer);
                svg.point(*place, point.above, &line.peer);
            }
            let (left, middle) = (right + 22.0, TOP + 8.0 + at as f64 * LEGEND);
            svg.path(&[(left, middle), (left + 28.0, middle)], &line.peer);
            svg.point((left + 14.0, middle), false, &line.peer);
            svg.text(left + 36.0, middle + 4.0, Anchor::Start, "", &line.peer);
        }
        Some(svg.finish())
    }

    fn axes(&self, svg: &mut Svg, x: &Decades, y: &Decades) {
        let (right, foot) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut last = f64::NEG_INFINITY;
        for (tick, labelled) in x.ticks() {
            let at = x.at(tick);
            svg.line((at, TOP), (at, foot), if labelled { "grid" } else { "minor" });
            if labelled && at - last >= TEXT_GAP {
                svg.text(at, foot + 18.0, Anchor::Middle, "value", &self.x_unit.text(tick));
                last = at;
            }
        }
        for (tick, labelled) in y.ticks() {
            let at = y.at(tick);
            svg.line((LEFT, at), (right, at), if labelled { "grid" } else { "minor" });
            if labelled {
                svg.text(LEFT - 8.0, at + 4.0, Anchor::End, "value", &self.y_unit.text(tick));
            }
        }
        svg.line((LEFT, foot), (right, foot), "axis");
        svg.line((LEFT, TOP), (LEFT, foot), "axis");
        svg.text(f64::midpoint(LEFT, right), foot + 42.0, Anchor::Middle, "", &self.x_axis);
        svg.upright(24.0, f64::midpoint(TOP, foot), &self.y_axis);
    }
}
