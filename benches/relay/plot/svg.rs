//! An SVG as text: a few shapes, the colours of the peers, light and dark.

use std::fmt::Write;

const GROWS: &str = "a string takes every write";

/// The colour of each peer, legible on white and on black. Variants share the colour of what they vary.
const COLOURS: &[(&str, &str)] = &[
    ("millstream-epoll", "#12a57a"),
    ("millstream-uring", "#9162e4"),
    ("millstream", "#2f80ed"),
    ("nginx", "#7a828d"),
    ("haproxy", "#cf8a00"),
    ("envoy-h2", "#e08ec4"),
    ("envoy", "#b03a8c"),
    ("threads-25", "#d64550"),
    ("direct", "#a9aeb5"),
];

/// The colour of `peer`.
pub(super) fn colour(peer: &str) -> &'static str {
    COLOURS.iter().find(|(name, _)| peer.starts_with(name)).map_or("#777777", |(_, colour)| colour)
}

/// Whether `peer` is a variant, which is drawn fainter or dashed.
pub(super) fn is_variant(peer: &str) -> bool {
    peer.ends_with("-notick")
}

/// Where a text's place is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture that grows.
pub(super) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self { body: String::new(), width, height };
        svg.text(20.0, 30.0, Anchor::Start, "title", title);
        svg
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        )
        .expect(GROWS);
    }

    /// A text that reads upwards, its middle at this place.
    pub(super) fn upright(&mut self, x: f64, y: f64, text: &str) {
        writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x:.1} {y:.1})\">{text}</text>"
        )
        .expect(GROWS);
    }

    /// A line of a class of the style: `grid`, `minor`, `axis`, `limit`, `whisker`.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
        writeln!(self.body, "<line {ends} class=\"{class}\"/>").expect(GROWS);
    }

    pub(super) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), peer: &str) {
        let opacity = if is_variant(peer) { 0.5 } else { 1.0 };
        writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\" fill=\"{}\" \
             fill-opacity=\"{opacity}\"/>",
            colour(peer)
        )
        .expect(GROWS);
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], peer: &str) {
        let mut d = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            write!(d, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { " L" }).expect(GROWS);
        }
        let dash = match peer {
            "direct" => " stroke-dasharray=\"2 3\"",
            peer if is_variant(peer) => " stroke-dasharray=\"6 4\"",
            _ => "",
        };
        let stroke = colour(peer);
        writeln!(self.body, "<path d=\"{d}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2.2\"{dash}/>")
            .expect(GROWS);
    }

    /// The range of a point over rounds, in its peer's colour.
    pub(super) fn range(&mut self, x: f64, (top, bottom): (f64, f64), peer: &str) {
        let ends = format!("x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"");
        let stroke = colour(peer);
        writeln!(self.body, "<line {ends} stroke=\"{stroke}\" stroke-width=\"1.2\" stroke-opacity=\"0.6\"/>")
            .expect(GROWS);
    }

    /// A point; with its tip up where the value lies above.
    pub(super) fn point(&mut self, (x, y): (f64, f64), above: bool, peer: &str) {
        let fill = colour(peer);
        if above {
            let (left, right, foot, tip) = (x - 5.5, x + 5.5, y + 4.0, y - 6.5);
            writeln!(
                self.body,
                "<path d=\"M{left:.1} {foot:.1} L{right:.1} {foot:.1} L{x:.1} {tip:.1} Z\" fill=\"{fill}\"/>"
            )
            .expect(GROWS);
        } else {
            writeln!(self.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\" fill=\"{fill}\"/>").expect(GROWS);
        }
    }

    /// The whole document.
    pub(super) fn finish(self) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\">\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// The paper is part of the picture: who shows it may be light while the reader's system is dark.
const STYLE: &str = "
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #33383f; }
.title { font-size: 16px; font-weight: 600; fill: #16191d; }
.group { font-size: 13px; font-weight: 600; fill: #16191d; }
.value { fill: #5b626b; }
.paper { fill: #ffffff; }
.grid { stroke: #dfe3e8; stroke-width: 1; }
.minor { stroke: #eff1f4; stroke-width: 1; }
.axis { stroke: #8b929b; stroke-width: 1; }
.limit { stroke: #8b929b; stroke-width: 1.2; stroke-dasharray: 3 4; }
.whisker { stroke: #16191d; stroke-width: 1.2; stroke-opacity: 0.7; }
@media (prefers-color-scheme: dark) {
text { fill: #c3c9d1; }
.title, .group { fill: #f0f3f6; }
.value { fill: #98a1ab; }
.paper { fill: #0d1117; }
.grid { stroke: #2a3038; }
.minor { stroke: #1a1f26; }
.axis, .limit { stroke: #6d7681; }
.whisker { stroke: #f0f3f6; }
}
";
