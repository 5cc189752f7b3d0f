//! Whether this kernel lets this process have such a ring, and if not, why not.

use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;

use super::Settings;
use super::provided::Provided;
use super::queue::Queue;

/// What a ring needs and does not get. Its text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No system call.
    #[error("this kernel has no io_uring")]
    Kernel,
    /// Switched off for everybody, or for all but a group.
    #[error("io_uring is switched off here (sysctl kernel.io_uring_disabled = {0})")]
    Disabled(u8),
    /// Refused to this process: containers do that by default.
    #[error("io_uring is forbidden to this process; container runtimes forbid it by their seccomp profile")]
    Forbidden,
    /// The ring itself is refused, in the way that kernels refuse what they don't know.
    #[error("this kernel's io_uring is too old: Linux 6.1 or newer is needed (SINGLE_ISSUER, DEFER_TASKRUN)")]
    Old,
    /// One operation is unknown or switched off.
    #[error("io_uring lacks the operation {0}")]
    Operation(&'static str),
    /// Rings of provided buffers.
    #[error("io_uring lacks rings of provided buffers ({0}); Linux 5.19 has them")]
    BufferRings(String),
    /// No way to be told of completions.
    #[error("io_uring does not take an event descriptor ({0})")]
    Event(String),
    /// A limit on locked memory, or memory itself.
    #[error("not enough memory for a ring; older kernels count it as locked memory (ulimit -l, RLIMIT_MEMLOCK)")]
    Memory,
    /// A limit on descriptors.
    #[error("not enough descriptors for a ring (ulimit -n, RLIMIT_NOFILE)")]
    Descriptors,
    /// Something else.
    #[error("io_uring can't be had: {0}")]
    Other(String),
}

/// The operations that sockets need.
const OPERATIONS: [(&str, u8); 5] = [
    ("RECV", opcode::Recv::CODE),
    ("SEND", opcode::Send::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
];

/// The kernel, asked step by step. Tests answer in its place.
pub(super) trait Kernel {
    /// A ring with our flags.
    fn set_up(&mut self, settings: &Settings) -> io::Result<()>;
    /// The operations it knows.
    fn knows(&mut self, operation: u8) -> io::Result<bool>;
    /// A ring of provided buffers.
    fn buffers(&mut self, settings: &Settings) -> io::Result<()>;
    /// An event descriptor.
    fn event(&mut self) -> io::Result<()>;
    /// The sysctl `kernel.io_uring_disabled`, if there is one.
    fn disabled(&self) -> Option<u8>;
}

/// This machine's.
#[derive(Default)]
struct Real {
    ring: Option<(Queue, Option<Provided>)>,
    known: Option<Probe>,
}

/// Tries everything that a ring with `settings` needs.
pub(super) fn probe(settings: &Settings) -> Result<(), Missing> {
    probe_with(&mut Real::default(), settings)
}

pub(super) fn probe_with(kernel: &mut impl Kernel, settings: &Settings) -> Result<(), Missing> {
    kernel.set_up(settings).map_err(|error| refused(&error, kernel.disabled()))?;
    for (name, code) in OPERATIONS {
        if !kernel.knows(code).map_err(|error| refused(&error, None))? {
            return Err(Missing::Operation(name));
        }
    }
    kernel.buffers(settings).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOMEM) => Missing::Memory,
        _ => Missing::BufferRings(error.to_string()),
    })?;
    kernel.event().map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE) => Missing::Descriptors,
        _ => Missing::Event(error.to_string()),
    })
}

/// Why a ring, or a question to it, is refused.
pub(super) fn refused(error: &io::Error, disabled: Option<u8>) -> Missing {
    match Errno::from_io_error(error) {
        Some(Errno::NOSYS) => Missing::Kernel,
        Some(Errno::PERM | Errno::ACCESS) => match disabled {
            Some(how) if how > 0 => Missing::Disabled(how),
            _ => Missing::Forbidden,
        },
        Some(Errno::INVAL) => Missing::Old,
        Some(Errno::NOMEM) => Missing::Memory,
        Some(Errno::MFILE | Errno::NFILE) => Missing::Descriptors,
        _ => Missing::Other(error.to_string()),
    }
}

/// `kernel.io_uring_disabled` of this machine.
pub(super) fn disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

impl Real {
    fn ring(&self) -> io::Result<&IoUring> {
        self.ring.as_ref().map(|(queue, _)| queue.ring()).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Kernel for Real {
    fn set_up(&mut self, settings: &Settings) -> io::Result<()> {
        self.ring = Some((Queue::new(settings)?, None));
        Ok(())
    }

    fn knows(&mut self, operation: u8) -> io::Result<bool> {
        if self.known.is_none() {
            let mut probe = Probe::new();
            self.ring()?.submitter().register_probe(&mut probe)?;
            self.known = Some(probe);
        }
        Ok(self.known.as_ref().is_some_and(|known| known.is_supported(operation)))
    }

    fn buffers(&mut self, settings: &Settings) -> io::Result<()> {
        if let Some((queue, provided)) = &mut self.ring {
            // SAFETY: kept beside the ring, which is dropped first.
            let buffers =
                unsafe { Provided::register(&queue.ring().submitter(), settings.buffers, settings.buffer_bytes) }?;
            *provided = Some(buffers);
        }
        Ok(())
    }

    fn event(&mut self) -> io::Result<()> {
        self.ring.as_ref().map_or(Ok(()), |(queue, _)| queue.event().map(drop))
    }

    fn disabled(&self) -> Option<u8> {
        disabled()
    }
}
