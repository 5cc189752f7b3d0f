//! Memory whose address the kernel knows: it stays where it is, and nothing borrows it for longer than a call.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

/// A block of bytes, zeroed at first. Owned by one operation or by nobody, never by two.
#[derive(Debug)]
pub(super) struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

/// Send buffers by size: what most chunks and heads fit in, what the relay merges up to, and the most that one
/// write is given.
const CLASSES: [usize; 3] = [4 * 1024, 16 * 1024, SEND_BYTES_MAX];

/// Bytes of one write that are taken at once. Copied, so more would only cost cache.
pub(super) const SEND_BYTES_MAX: usize = 64 * 1024;

/// Free blocks kept of each class. A send ends within the turn that submits it, unless its peer does not
/// read: as many as are written in one turn are enough. At most 1.25 MiB together.
const KEPT: [usize; 3] = [128, 32, 4];

/// Unused send buffers, to be used again.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    free: [Vec<Block>; 3],
    out: usize,
}

impl Block {
    /// Pages are touched when they are used, for alignments up to 16: this is `calloc` then.
    pub(super) fn zeroed(bytes: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), align).expect("sizes are bounded by the settings");
        // SAFETY: the layout's size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(at) else { handle_alloc_error(layout) };
        Self { at, layout }
    }

    pub(super) fn len(&self) -> usize {
        self.layout.size()
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    /// Writes `bytes` at `start`.
    ///
    /// # Panics
    /// When they don't fit.
    pub(super) fn write(&mut self, start: usize, bytes: &[u8]) {
        assert!(start <= self.len() && bytes.len() <= self.len() - start, "a write outside its block");
        // SAFETY: `start` is inside the allocation, as was just asserted.
        let target = unsafe { self.at.add(start) };
        // SAFETY: the range lies inside the allocation, and `bytes` is borrowed, so it can't overlap memory
        // that only this block knows.
        unsafe { target.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// # Safety
    /// The kernel must not be writing to that range while the slice lives.
    ///
    /// # Panics
    /// When the range lies outside.
    pub(super) unsafe fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len(), "a read outside its block");
        // SAFETY: `start` is inside the allocation, as was just asserted.
        let start = unsafe { self.at.add(range.start) };
        // SAFETY: inside the allocation, which was zeroed, and not written to as long as the slice lives: by us
        // because `self` is borrowed, by the kernel as the caller promised.
        unsafe { slice::from_raw_parts(start.as_ptr(), range.len()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout, and freed nowhere else.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

impl Blocks {
    /// A block of at least `bytes`, or of the largest class.
    pub(super) fn take(&mut self, bytes: usize) -> Block {
        let class = CLASSES.iter().position(|size| bytes <= *size).unwrap_or(CLASSES.len() - 1);
        self.out += 1;
        self.free[class].pop().unwrap_or_else(|| Block::zeroed(CLASSES[class], 1))
    }

    pub(super) fn give(&mut self, block: Block) {
        self.out -= 1;
        if let Some(class) = CLASSES.iter().position(|size| *size == block.len())
            && self.free[class].len() < KEPT[class]
        {
            self.free[class].push(block);
        }
    }

    /// How many are in use.
    pub(super) fn out(&self) -> usize {
        self.out
    }
}
