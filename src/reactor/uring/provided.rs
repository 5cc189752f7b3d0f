//! The buffers that the kernel receives into: one ring of them for all sockets of a worker.
//!
//! A buffer is the kernel's until a completion names it, then a socket's until it is read or copied away.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::memory::Block;

/// The one group of buffers.
pub(super) const GROUP: u16 = 0;

/// What the kernel wants the ring itself to be aligned to: a page, which is no larger on any architecture.
const RING_ALIGN: usize = 64 * 1024;

/// Nobody's buffer: the kernel has it.
const NOBODY: u32 = u32::MAX;

/// All buffers.
#[derive(Debug)]
pub(super) struct Provided {
    ring: Block,
    memory: Block,
    buffer_bytes: usize,
    /// Which socket holds each.
    owners: Vec<u32>,
    tail: u16,
    out: u16,
}

/// A buffer with bytes in it, of one socket. Goes back by [`Provided::give`] alone.
#[derive(Debug)]
pub(super) struct Held {
    id: u16,
    start: usize,
    end: usize,
}

impl Held {
    /// Bytes that nobody has read.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

impl Provided {
    /// `count` buffers, a power of two of at most 32,768.
    ///
    /// # Errors
    /// What the kernel says of the registration.
    ///
    /// # Safety
    /// What is returned must live as long as the ring behind `submitter`.
    pub(super) unsafe fn register(submitter: &Submitter<'_>, count: u16, buffer_bytes: u32) -> io::Result<Self> {
        let entries = usize::from(count);
        let buffer_bytes = usize::try_from(buffer_bytes).map_err(io::Error::other)?;
        let ring = Block::zeroed(entries * size_of::<BufRingEntry>(), RING_ALIGN);
        // SAFETY: the block is as long as `count` entries, and lives as long as the ring: the caller's promise.
        unsafe { submitter.register_buf_ring_with_flags(ring.as_ptr() as u64, count, GROUP, 0) }?;
        // Aligned to 16, so that the pages are the kernel's zero page until something is received into them.
        let memory = Block::zeroed(entries * buffer_bytes, 16);
        let owners = vec![NOBODY; entries];
        let mut provided = Self { ring, memory, buffer_bytes, owners, tail: 0, out: count };
        (0..count).for_each(|id| provided.publish(id));
        Ok(provided)
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Hands a buffer to the kernel.
    fn publish(&mut self, id: u16) {
        let slot = usize::from(self.tail) & (self.owners.len() - 1);
        self.owners[usize::from(id)] = NOBODY;
        #[expect(clippy::cast_ptr_alignment, reason = "allocated with the alignment of a page, at least")]
        let base = self.ring.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `slot` is below the number of entries that the block was made for.
        let entry = unsafe { base.add(slot) };
        // SAFETY: aligned and zeroed memory of ours is a valid entry, and the kernel only reads it, and not
        // before the tail below has moved past it.
        let entry = unsafe { &mut *entry };
        // SAFETY: `id` is below the number of buffers, so this is inside the block.
        let address = unsafe { self.memory.as_ptr().add(usize::from(id) * self.buffer_bytes) };
        entry.set_addr(address as u64);
        entry.set_len(u32::try_from(self.buffer_bytes).unwrap_or(u32::MAX));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` points to the first entry of the ring, which is initialised.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the address is aligned, lives as long as `self.ring`, and is only accessed atomically: by us
        // here (`set_*` leave this field alone) and by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
        self.out -= 1;
    }

    /// A completion says that buffer `id` now holds `len` bytes, for the socket `owner`.
    pub(super) fn received(&mut self, id: u16, len: usize, owner: u32) -> Held {
        self.out += 1;
        self.owners[usize::from(id)] = owner;
        Held { id, start: 0, end: len.min(self.buffer_bytes) }
    }

    /// Hands out at most `room` bytes. Returns how many.
    pub(super) fn take(&self, held: &mut Held, room: usize, to: impl FnOnce(&[u8])) -> usize {
        let len = held.len().min(room);
        let start = usize::from(held.id) * self.buffer_bytes + held.start;
        // SAFETY: a completion has named this buffer and it was not given back since, so the kernel does not
        // write to it.
        to(unsafe { self.memory.bytes(start..start + len) });
        held.start += len;
        len
    }

    /// Gives a buffer back to the kernel.
    #[expect(clippy::needless_pass_by_value, reason = "who gives a buffer back does not have it any more")]
    pub(super) fn give(&mut self, held: Held) {
        let Held { id, .. } = held;
        self.publish(id);
    }

    /// The sockets that hold buffers.
    pub(super) fn owners(&self) -> Vec<u32> {
        self.owners.iter().copied().filter(|owner| *owner != NOBODY).collect()
    }

    /// How many buffers sockets hold.
    pub(super) fn out(&self) -> usize {
        usize::from(self.out)
    }

    /// Forgets the memory without freeing it.
    pub(super) fn leak(&mut self) {
        for block in [&mut self.ring, &mut self.memory] {
            Box::leak(Box::new(std::mem::replace(block, Block::zeroed(1, 1))));
        }
    }
}
