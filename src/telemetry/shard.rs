//! One worker's counters, gauges and histograms: a flat row of cells that only that worker writes.
//!
//! With a single writer, an increment is a relaxed load and a relaxed store: no lock, no locked instruction,
//! no cache line shared with another writer. A scrape reads the cells while they change. Each cell is whole;
//! two cells may be of slightly different moments, as with any scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::labels::Label;
use super::metrics::{Kind, Recorded};

/// Cells per [`Line`]: 128 bytes, because processors fetch cache lines in pairs.
const LINE_CELLS: usize = 16;

/// Where each series has its cells; the same in every shard.
#[derive(Debug)]
pub(super) struct Layout {
    /// First cell of each family, by its position in [`Recorded::ALL`].
    offsets: Vec<usize>,
    /// Number of upstreams.
    upstreams: usize,
    /// Cells of a shard.
    cells: usize,
}

/// The cells of one worker.
#[derive(Debug)]
pub(super) struct Shard {
    layout: Arc<Layout>,
    lines: Box<[Line]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE_CELLS]);

impl Layout {
    /// The layout for this number of upstreams.
    pub(super) fn new(upstreams: usize) -> Self {
        let mut layout = Self { offsets: Vec::new(), upstreams, cells: 0 };
        for &metric in Recorded::ALL {
            layout.offsets.push(layout.cells);
            layout.cells += layout.series(metric) * width(metric);
        }
        layout
    }

    /// Number of values of `label` within a shard.
    #[inline]
    pub(super) fn size(&self, label: Label) -> usize {
        match label {
            Label::Upstream => self.upstreams,
            // A worker is a whole shard.
            Label::Worker => 1,
            _ => label.words().map_or(1, <[_]>::len),
        }
    }

    /// Number of series of `metric` within a shard.
    pub(super) fn series(&self, metric: Recorded) -> usize {
        metric.family().labels.iter().map(|&label| self.size(label)).product()
    }

    /// First cell of the series with this number.
    #[inline]
    pub(super) fn first_cell(&self, metric: Recorded, series: usize) -> usize {
        self.offsets[metric as usize] + series * width(metric)
    }

    /// First cell of the series with these label positions; labels of one value stand last and are left out.
    /// `None` for a position that does not exist: an id of another configuration costs a sample, not the
    /// worker.
    ///
    /// Inline: with a metric that is known where it is compiled, this is a multiplication and an addition, three times
    /// a chunk.
    #[inline]
    fn cell(&self, metric: Recorded, positions: &[usize]) -> Option<usize> {
        let mut series = 0;
        for (&label, &position) in metric.family().labels.iter().zip(positions) {
            let size = self.size(label);
            if position >= size {
                return None;
            }
            series = series * size + position;
        }
        Some(self.first_cell(metric, series))
    }
}

/// Cells of one series: a value, or each bucket, the overflow bucket and the sum in nanoseconds.
pub(super) fn width(metric: Recorded) -> usize {
    match metric.family().kind {
        Kind::Counter | Kind::Gauge => 1,
        Kind::Histogram(bounds) => bounds.len() + 2,
    }
}

impl Shard {
    /// A shard at zero.
    pub(super) fn new(layout: Arc<Layout>) -> Self {
        let lines = layout.cells.div_ceil(LINE_CELLS);
        Self { layout, lines: (0..lines).map(|_| Line::default()).collect() }
    }

    /// Adds to a counter or gauge. Only the shard's worker may call this.
    #[inline]
    pub(super) fn add(&self, metric: Recorded, positions: &[usize], delta: i64) {
        if let Some(cell) = self.layout.cell(metric, positions) {
            // A gauge below zero wraps, and wraps back when the shards are summed.
            self.bump(cell, delta.cast_unsigned());
        }
    }

    /// Adds to a counter. Only the shard's worker may call this.
    #[inline]
    pub(super) fn count(&self, metric: Recorded, positions: &[usize], count: u64) {
        if let Some(cell) = self.layout.cell(metric, positions) {
            self.bump(cell, count);
        }
    }

    /// Adds a sample to a histogram. Only the shard's worker may call this.
    #[inline]
    pub(super) fn observe(&self, metric: Recorded, positions: &[usize], time: Duration) {
        let Kind::Histogram(bounds) = metric.family().kind else { return };
        let Some(first) = self.layout.cell(metric, positions) else { return };
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Bounds are inclusive ('le').
        let bucket = bounds.partition_point(|&bound| bound < nanoseconds);
        self.bump(first + bucket, 1);
        // Wraps after 584 years of samples.
        self.bump(first + bounds.len() + 1, nanoseconds);
    }

    /// The value of a cell, from any thread.
    pub(super) fn read(&self, cell: usize) -> u64 {
        self.at(cell).load(Ordering::Relaxed)
    }

    fn bump(&self, cell: usize, delta: u64) {
        let cell = self.at(cell);
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed);
    }

    fn at(&self, cell: usize) -> &AtomicU64 {
        &self.lines[cell / LINE_CELLS].0[cell % LINE_CELLS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_on_a_bound_belongs_to_its_bucket() {
        let layout = Arc::new(Layout::new(1));
        let Kind::Histogram(bounds) = Recorded::ChunkGap.family().kind else { panic!("a histogram") };
        for (nanoseconds, bucket) in [
            (0, 0),
            (bounds[0], 0),
            (bounds[0] + 1, 1),
            (bounds[bounds.len() - 1], bounds.len() - 1),
            (bounds[bounds.len() - 1] + 1, bounds.len()),
        ] {
            let shard = Shard::new(Arc::clone(&layout));
            shard.observe(Recorded::ChunkGap, &[0], Duration::from_nanos(nanoseconds));
            let first = layout.first_cell(Recorded::ChunkGap, 0);
            assert_eq!(shard.read(first + bucket), 1, "{nanoseconds} ns");
            assert_eq!(shard.read(first + bounds.len() + 1), nanoseconds);
        }
    }

    #[test]
    fn series_do_not_overlap() {
        let layout = Layout::new(3);
        let mut end = 0;
        for &metric in Recorded::ALL {
            assert_eq!(layout.first_cell(metric, 0), end, "{metric:?}");
            end = layout.first_cell(metric, layout.series(metric));
        }
        assert_eq!(end, layout.cells);
    }

    #[test]
    fn an_unknown_position_is_ignored() {
        let shard = Shard::new(Arc::new(Layout::new(1)));
        shard.count(Recorded::Chunks, &[1], 1);
        shard.observe(Recorded::ChunkGap, &[7], Duration::from_secs(1));
        assert!((0..shard.layout.cells).all(|cell| shard.read(cell) == 0));
    }
}
