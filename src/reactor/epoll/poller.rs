//! One runtime's epoll instance: its sockets, and the turn that tells what has happened on them.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;
use tokio::runtime;

use super::PATIENCE;
use super::entry::{Entry, Ready, renew};
use super::outgoing::Outgoing;
use super::pump;
use crate::reactor::lookout::Watched;
use crate::reactor::warm;

/// Told once at each change, of everything: nothing is ever asked for again.
const WATCHED: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);
const READABLE: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::HUP).union(EventFlags::ERR);
const WRITABLE: EventFlags = EventFlags::OUT.union(EventFlags::HUP).union(EventFlags::ERR);
const CLOSED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// How many events one turn takes from the kernel at once. Those beyond them come with the next.
pub(super) const EVENTS_PER_TURN: usize = 512;

/// Waits in a row that woke somebody, from which on the worker is taken to be busy.
const MUTED_FROM: u8 = 8;

/// How often the thread goes to sleep in tokio's instance at once, after a wait in its own that was in vain. Where events are
/// a millisecond apart, every third such wait would be, and each costs a timer and a wake-up for nothing.
const SLEEPS_AFTER_VAIN: u8 = 8;

/// Room for bytes on their way to a reader whose buffer is not initialised: copying those that came costs less than
/// zeroing all that might.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// This thread's: one where it is a worker, one for each of its runtimes where it is a test.
    static HERE: RefCell<Vec<Rc<Poller>>> = const { RefCell::new(Vec::new()) };
}

/// See above.
#[derive(Debug)]
pub(in crate::reactor) struct Poller {
    epoll: OwnedFd,
    /// An instance around it, in which it can be muted. Shared with the pump, by which tokio's instance watches it.
    outer: Arc<OwnedFd>,
    is_muted: Cell<bool>,
    /// Waits in a row that woke somebody; not counted beyond [`MUTED_FROM`].
    streak: Cell<u8>,
    /// Those of [`SLEEPS_AFTER_VAIN`] that are left.
    sleeps: Cell<u8>,
    runtime: runtime::Id,
    /// Whether the pump is still there: it ends with its runtime.
    pump: Weak<()>,
    /// `park` is called. Otherwise the pump makes every turn.
    is_driven: Cell<bool>,
    /// The last wait woke nobody, and the thread may be asleep in tokio's instance.
    is_asleep: Cell<bool>,
    core: RefCell<Core>,
}

/// What a turn has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Sockets on which something has happened.
    pub(super) events: usize,
    /// Tasks that waited for that.
    pub(super) wakes: usize,
}

/// No waker is woken or dropped while this is borrowed: that may run anybody's code.
pub(super) struct Core {
    pub(super) entries: Slab<Entry>,
    pub(super) scratch: Box<[u8]>,
    pub(super) outgoing: Outgoing,
    /// Who waits for a hang-up that somebody else waits for too, by key.
    crowd: Vec<(u32, Waker)>,
    serials: u32,
    events: Vec<Event>,
    wake: Vec<Waker>,
    turns: u64,
    found: u64,
}

impl Poller {
    /// The instance of the runtime that runs.
    ///
    /// # Errors
    /// When it has to be made and can't be.
    ///
    /// # Panics
    /// Outside a runtime.
    pub(in crate::reactor) fn current() -> io::Result<Rc<Self>> {
        let runtime = runtime::Handle::current().id();
        if let Some(poller) = find(runtime) {
            return Ok(poller);
        }
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let outer = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        epoll::add(&outer, &epoll, EventData::new_u64(0), EventFlags::IN)?;
        let core = Core {
            entries: Slab::new(),
            scratch: vec![0; SCRATCH_BYTES].into(),
            outgoing: Outgoing::default(),
            crowd: Vec::new(),
            serials: 0,
            events: Vec::with_capacity(EVENTS_PER_TURN),
            wake: Vec::with_capacity(EVENTS_PER_TURN),
            turns: 0,
            found: 0,
        };
        let poller = Rc::new(Self {
            pump: pump::start(Arc::clone(&outer), runtime)?,
            epoll,
            outer,
            is_muted: Cell::new(false),
            streak: Cell::new(0),
            sleeps: Cell::new(0),
            runtime,
            is_driven: Cell::new(false),
            is_asleep: Cell::new(false),
            core: core.into(),
        });
        let gone = HERE.with_borrow_mut(|here| {
            let gone: Vec<_> = here.extract_if(.., |other| !other.is_alive()).collect();
            here.push(Rc::clone(&poller));
            gone
        });
        // With them, perhaps, the wakers of their sockets.
        drop(gone);
        Ok(poller)
    }

    /// Whether its runtime is there to turn it.
    pub(super) fn is_alive(&self) -> bool {
        self.pump.strong_count() > 0
    }

    /// For whoever is about to wait.
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.is_alive() { Ok(()) } else { Err(io::Error::other("this socket's event loop has ended")) }
    }

    pub(super) fn core(&self) -> RefMut<'_, Core> {
        self.core.borrow_mut()
    }

    // ------------------------------------------------------------------------------------------- sockets

    /// Adds a socket, which is assumed to be ready for what `ready` says, and returns its key. It has one handle.
    pub(super) fn insert(&self, fd: OwnedFd, watched: Watched, ready: Ready) -> io::Result<u32> {
        self.alive()?;
        let mut core = self.core();
        core.serials = core.serials.wrapping_add(1);
        let serial = core.serials;
        let place = core.entries.vacant_entry();
        let key = u32::try_from(place.key()).expect("fewer sockets than descriptors");
        epoll::add(&self.epoll, &fd, name(key, serial), WATCHED)?;
        place.insert(Entry {
            fd,
            watched,
            serial,
            handles: 1,
            watchers: 0,
            ready,
            reader: None,
            writer: None,
            hangup: None,
        });
        Ok(key)
    }

    /// Takes a socket out that has no other handle, and stays open.
    pub(super) fn take(&self, key: u32) -> io::Result<(OwnedFd, Watched)> {
        let mut core = self.core();
        if core.entry(key).handles > 1 {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let (entry, crowd) = core.remove(key);
        drop(core);
        drop((entry.reader, entry.writer, entry.hangup, crowd));
        epoll::delete(&self.epoll, &entry.fd)?;
        Ok((entry.fd, entry.watched))
    }

    /// A handle is gone, and with the last one the socket: the kernel forgets it when it is closed. Where
    /// something else still holds it open, what is told of it then has a serial that nobody has any more.
    pub(super) fn release(&self, key: u32) {
        let mut core = self.core();
        let entry = core.entry(key);
        entry.handles -= 1;
        if entry.handles == 0 {
            let removed = core.remove(key);
            drop(core);
            drop(removed);
        }
    }

    // -------------------------------------------------------------------------------------------- hang-up

    pub(super) fn poll_hangup(&self, key: u32, cx: &Context<'_>) -> Poll<()> {
        let mut core = self.core();
        let Core { entries, crowd, .. } = &mut *core;
        let entry = &mut entries[key as usize];
        if entry.ready.is(Ready::CLOSED) || !self.is_alive() {
            return Poll::Ready(());
        }
        let is_other = |waker: &Waker| !waker.will_wake(cx.waker());
        if entry.hangup.as_ref().is_some_and(is_other) && entry.watchers > 1 {
            if crowd.iter().all(|(of, waker)| *of != key || is_other(waker)) {
                entry.ready.add(Ready::CROWDED);
                crowd.push((key, cx.waker().clone()));
            }
            return Poll::Pending;
        }
        let replaced = renew(&mut entry.hangup, cx);
        drop(core);
        drop(replaced);
        Poll::Pending
    }

    /// One that waited is gone; with the last, what was kept for them.
    pub(super) fn unwatch(&self, key: u32) {
        let mut core = self.core();
        let entry = core.entry(key);
        if entry.watchers < u8::MAX {
            entry.watchers -= 1;
        }
        if entry.watchers == 0 {
            let spent = (entry.hangup.take(), core.disperse(key));
            drop(core);
            drop(spent);
        }
    }

    // ---------------------------------------------------------------------------------------------- turn

    /// No task is ready.
    pub(super) fn park(&self) {
        self.is_driven.set(true);
        if self.sleeps.get() > 0 && !self.is_muted() {
            self.sleeps.set(self.sleeps.get() - 1);
            self.is_asleep.set(true);
            return;
        }
        self.is_asleep.set(false);
        let mut found = self.turn(PATIENCE);
        if found.events > 0 && found.wakes == 0 {
            // Of sockets that nobody waits for: once more, instead of the way through tokio's instance.
            found = self.turn(PATIENCE);
        }
        // With nobody woken the thread sleeps in tokio's instance, and has to be told of what comes here.
        let sleeps = found.wakes == 0;
        self.is_asleep.set(sleeps);
        if sleeps {
            self.streak.set(0);
            self.sleeps.set(SLEEPS_AFTER_VAIN);
            self.mute(false);
        } else if self.streak.get() < MUTED_FROM {
            self.streak.set(self.streak.get() + 1);
        } else {
            self.mute(true);
        }
    }

    /// Whether tokio's instance is told nothing of this one.
    pub(super) fn is_muted(&self) -> bool {
        self.is_muted.get()
    }

    /// Muted, it costs tokio's instance no event in each turn, and the pump no poll. What is ready when that is taken back
    /// is told then.
    pub(super) fn mute(&self, muted: bool) {
        if self.is_muted.get() == muted {
            return;
        }
        let events = if muted { EventFlags::empty() } else { EventFlags::IN };
        if let Err(error) = epoll::modify(&self.outer, &self.epoll, EventData::new_u64(0), events) {
            // Tried again at the end of the next turn.
            tracing::debug!(%error, "the event loop can't be muted or told");
            return;
        }
        self.is_muted.set(muted);
        let pump = self.core().outgoing.pump().filter(|_| muted);
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    /// Whether another turn can be relied on before the thread waits in tokio's instance.
    pub(super) fn is_driven(&self) -> bool {
        self.is_driven.get() && !self.is_asleep.get()
    }

    /// All tasks that were ready have had their turn. That of `cx` is woken for the next time.
    pub(super) fn end_lap(&self, cx: &Context<'_>) {
        let mut core = self.core();
        core.outgoing.pumped_by(cx.waker());
        core.flush();
    }

    pub(super) fn turns(&self) -> u64 {
        self.core().turns
    }

    /// Asks what has happened, for at most so long, and wakes whoever waits for it.
    pub(super) fn turn(&self, wait: Duration) -> Found {
        let mut core = self.core();
        core.turns += 1;
        let Core { events, entries, outgoing, crowd, wake, found, .. } = &mut *core;
        events.clear();
        let timeout = Timespec::try_from(wait).unwrap_or_default();
        // It fails when a signal comes: then nothing has happened.
        let count = epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)).unwrap_or(0);
        if count == 0 {
            return Found::default();
        }
        *found += count as u64;
        outgoing.turn(count);
        warm::anew();
        warm::ahead(events.iter().map(|event| parse(event.data).0));
        for event in &*events {
            note(*event, entries, outgoing, crowd, wake);
        }
        let mut woken = std::mem::take(wake);
        drop(core);
        let found = Found { events: count, wakes: woken.len() };
        woken.drain(..).for_each(Waker::wake);
        // Its memory is used again.
        self.core().wake = woken;
        self.is_asleep.set(false);
        found
    }

    #[cfg(test)]
    pub(super) fn stats(&self) -> super::Stats {
        let core = self.core();
        super::Stats {
            sockets: core.entries.len(),
            turns: core.turns,
            events: core.found,
            is_muted: self.is_muted.get(),
            is_crowded: core.outgoing.is_crowded(),
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("entries", &self.entries).field("turns", &self.turns).finish_non_exhaustive()
    }
}

impl Core {
    /// The entry under `key`, which the caller's handle keeps.
    pub(super) fn entry(&mut self, key: u32) -> &mut Entry {
        &mut self.entries[key as usize]
    }

    /// Takes an entry out, with those that waited for its hang-up. What was written has gone to the kernel then, as far as
    /// that took it.
    fn remove(&mut self, key: u32) -> (Entry, Vec<Waker>) {
        if self.entry(key).ready.is(Ready::QUEUED) {
            self.flush();
        }
        if self.entry(key).ready.is(Ready::LEFT) {
            self.outgoing.forget(key);
        }
        let crowd = self.disperse(key);
        (self.entries.remove(key as usize), crowd)
    }

    /// Takes those out of the list aside that wait for this socket's hang-up.
    fn disperse(&mut self, key: u32) -> Vec<Waker> {
        if !self.entries[key as usize].ready.is(Ready::CROWDED) {
            return Vec::new();
        }
        self.entries[key as usize].ready.remove(Ready::CROWDED);
        self.crowd.extract_if(.., |(of, _)| *of == key).map(|(_, waker)| waker).collect()
    }
}

/// Marks what an event says, and finds whom it concerns.
fn note(
    event: Event,
    entries: &mut Slab<Entry>,
    outgoing: &mut Outgoing,
    crowd: &mut Vec<(u32, Waker)>,
    wake: &mut Vec<Waker>,
) {
    let (key, serial) = parse(event.data);
    // Of a socket that something holds open after its end here.
    let Some(entry) = entries.get_mut(key as usize).filter(|entry| entry.serial == serial) else { return };
    let flags = event.flags;
    if flags.intersects(READABLE) {
        entry.ready.add(Ready::READABLE);
        wake.extend(entry.reader.take());
    }
    if flags.intersects(WRITABLE) {
        entry.ready.add(Ready::WRITABLE);
        if !entry.ready.is(Ready::LEFT) || outgoing.go_on(key, entry) {
            wake.extend(entry.writer.take());
        }
    }
    if flags.intersects(CLOSED) {
        entry.ready.add(Ready::CLOSED);
        wake.extend(entry.hangup.take());
        if entry.ready.is(Ready::CROWDED) {
            entry.ready.remove(Ready::CROWDED);
            wake.extend(crowd.extract_if(.., |(of, _)| *of == key).map(|(_, waker)| waker));
        }
    }
}

fn name(key: u32, serial: u32) -> EventData {
    EventData::new_u64(u64::from(serial) << 32 | u64::from(key))
}

fn parse(name: EventData) -> (u32, u32) {
    let name = name.u64();
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let halves = (name as u32, (name >> 32) as u32);
    halves
}

/// The one of `runtime`, if it is there.
pub(super) fn find(runtime: runtime::Id) -> Option<Rc<Poller>> {
    let is_it = |poller: &&Rc<Poller>| poller.runtime == runtime && poller.is_alive();
    HERE.try_with(|here| here.borrow().iter().find(is_it).cloned()).ok().flatten()
}

/// This thread's, where it has exactly one, as workers do.
pub(super) fn only() -> Option<Rc<Poller>> {
    HERE.with_borrow(|here| match &here[..] {
        [poller] => Some(Rc::clone(poller)),
        _ => None,
    })
}

/// Lets go of all of this thread's.
pub(super) fn forget() {
    drop(HERE.take());
}
