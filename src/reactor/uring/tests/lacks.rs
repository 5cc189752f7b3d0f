//! What is missing is told, whatever it is.

use std::io;

use rustix::io::Errno;

use crate::reactor::uring::probe::{Kernel, Missing, probe_with};
use crate::reactor::uring::{Settings, probe};
use crate::reactor::worker::start_one;

/// A kernel that has everything but what is written here.
#[derive(Default)]
struct Lacking {
    ring: Option<Errno>,
    operation: Option<u8>,
    buffers: Option<Errno>,
    event: Option<Errno>,
    disabled: Option<u8>,
}

fn answer(error: Option<Errno>) -> io::Result<()> {
    error.map_or(Ok(()), |error| Err(error.into()))
}

impl Kernel for Lacking {
    fn set_up(&mut self, _: &Settings) -> io::Result<()> {
        answer(self.ring)
    }

    fn knows(&mut self, operation: u8) -> io::Result<bool> {
        Ok(self.operation != Some(operation))
    }

    fn buffers(&mut self, _: &Settings) -> io::Result<()> {
        answer(self.buffers)
    }

    fn event(&mut self) -> io::Result<()> {
        answer(self.event)
    }

    fn disabled(&self) -> Option<u8> {
        self.disabled
    }
}

#[test]
fn each_lack_has_its_name() {
    let ring = |errno| Lacking { ring: Some(errno), ..Lacking::default() };
    let cases = [
        (Lacking::default(), Ok(())),
        (ring(Errno::NOSYS), Err(Missing::Kernel)),
        (ring(Errno::PERM), Err(Missing::Forbidden)),
        (Lacking { disabled: Some(0), ..ring(Errno::PERM) }, Err(Missing::Forbidden)),
        (Lacking { disabled: Some(2), ..ring(Errno::PERM) }, Err(Missing::Disabled(2))),
        (ring(Errno::INVAL), Err(Missing::Old)),
        (ring(Errno::NOMEM), Err(Missing::Memory)),
        (ring(Errno::MFILE), Err(Missing::Descriptors)),
        (
            Lacking { operation: Some(io_uring::opcode::Recv::CODE), ..Lacking::default() },
            Err(Missing::Operation("RECV")),
        ),
        (Lacking { buffers: Some(Errno::NOMEM), ..Lacking::default() }, Err(Missing::Memory)),
        (Lacking { event: Some(Errno::MFILE), ..Lacking::default() }, Err(Missing::Descriptors)),
    ];
    for (mut kernel, expected) in cases {
        assert_eq!(probe_with(&mut kernel, &Settings::default()), expected);
    }
    let mut kernel = Lacking { buffers: Some(Errno::INVAL), ..Lacking::default() };
    assert!(matches!(probe_with(&mut kernel, &Settings::default()), Err(Missing::BufferRings(_))));
    let mut kernel = Lacking { event: Some(Errno::INVAL), ..Lacking::default() };
    assert!(matches!(probe_with(&mut kernel, &Settings::default()), Err(Missing::Event(_))));
}

#[test]
fn each_lack_has_words_of_its_own() {
    let lacks = [
        Missing::Kernel,
        Missing::Disabled(2),
        Missing::Forbidden,
        Missing::Old,
        Missing::Operation("RECV"),
        Missing::BufferRings("why".to_owned()),
        Missing::Event("why".to_owned()),
        Missing::Memory,
        Missing::Descriptors,
        Missing::Other("why".to_owned()),
    ];
    let mut words: Vec<String> = lacks.iter().map(ToString::to_string).collect();
    words.sort();
    words.dedup();
    assert_eq!(words.len(), lacks.len());
}

#[test]
fn this_kernel_answers_alike_every_time() {
    assert_eq!(probe(Settings::default()), probe(Settings::default()));
}

#[test]
fn a_ring_that_cannot_be_had_keeps_the_worker_from_starting() {
    let impossible = Settings { buffers: 3, ..Settings::default() };
    assert!(probe(impossible).is_err());
    assert!(start_one(0, None, Some(impossible)).is_err());
}
