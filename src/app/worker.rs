//! The life of one worker: its listeners, its inbox, its pool, and its part in the drain.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::control::FLUSH_TIMEOUT;
use crate::gateway::{Snapshot, Stack, Worker, probe, stack};
use crate::reactor::listener::{AcceptError, Accepted, Bound, Listener, OUT_OF_DESCRIPTORS_PAUSE};
use crate::reactor::load::{Load, Loads, Newcomer};
use crate::reactor::{Conn, Moving, spawn, turn};
use crate::server::{Peer, Server, Settings};
use crate::signal::{Phase, Signal};
use crate::telemetry::{Recorder, Telemetry};
use crate::units::UpstreamId;
use crate::upstream::Pool;

/// A connection on its way to another worker.
pub(super) type Arriving = (Moving, Peer);

/// How often unused upstream connections are looked at, and the event loop's turn is measured.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What a worker is made of; everything here can cross threads, what it builds of it can't.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) snapshot: Snapshot,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) loads: Arc<Loads>,
    pub(super) connections_max: usize,
    pub(super) listeners: Vec<Bound>,
    pub(super) inbox: mpsc::Receiver<Arriving>,
    pub(super) peers: Vec<mpsc::Sender<Arriving>>,
    pub(super) phases: watch::Receiver<Phase>,
}

/// What serves this worker's connections. Cheap to clone.
#[derive(Clone)]
struct Host {
    server: Server<Stack>,
    load: Load,
    recorder: Rc<Recorder>,
    phase: Signal<Phase>,
    connections_max: usize,
    /// Told whenever a connection has ended.
    ended: Signal<()>,
}

/// Runs until the drain is over.
pub(super) async fn run(parts: Parts) {
    let Parts { index, snapshot, telemetry, loads, connections_max, listeners, inbox, peers, mut phases } = parts;
    let recorder = telemetry.recorder(index);
    let phase = Signal::new(Phase::Serve);
    let config = Arc::clone(&snapshot.config);
    turn::begin(config.server.tick, Rc::clone(&recorder));
    let pool = Pool::new(&config.upstreams, &snapshot.caps, &snapshot.connectors, &recorder);
    let load = Load::new(loads, index);
    let acceptor = snapshot.acceptor.clone();
    let worker = Rc::new(Worker::new(snapshot, Rc::clone(&pool), Rc::clone(&recorder), phase.clone()));
    let settings = Settings {
        header_timeout: config.server.header_timeout,
        idle_timeout: config.server.idle_timeout,
        slow_client_timeout: config.stream.slow_client_timeout,
        header_bytes_max: config.server.header_bytes_max,
        headers_max: config.server.headers_max,
        h2_streams_max: config.server.h2_streams_max,
    };
    let server = Server::new(
        stack(Rc::clone(&worker)),
        settings,
        acceptor,
        load.clone(),
        Rc::clone(&recorder),
        phase.clone(),
    );
    let ended = Signal::new(());
    let host = Host { server, load, recorder: Rc::clone(&recorder), phase: phase.clone(), connections_max, ended };
    for bound in listeners {
        match Listener::new(bound) {
            Ok(listener) => drop(spawn(accept(listener, host.clone(), peers.clone()))),
            Err(error) => tracing::error!(%error, "a listener can't be watched"),
        }
    }
    drop(peers);
    drop(spawn(take_over(inbox, host.clone())));
    // What concerns all workers is done by one.
    if index == 0 {
        for (position, upstream) in config.upstreams.iter().enumerate() {
            if let Some(probe) = upstream.probe.clone() {
                drop(spawn(probe::run(Rc::clone(&worker), UpstreamId::new(position), probe)));
            }
        }
    }
    drop(spawn(keep_house(worker, index == 0)));

    let mut reached = Phase::Serve;
    while reached < Phase::Finish {
        reached = next_phase(&mut phases).await;
    }
    phase.set(Phase::Finish);
    pool.close_idle();
    let all_closed = host.all_closed();
    let mut all_closed = pin!(all_closed);
    loop {
        tokio::select! {
            () = &mut all_closed => return,
            next = next_phase(&mut phases) => if next == Phase::End { break },
        }
    }
    phase.set(Phase::End);
    // The control thread has the same bound; past it the process ends anyway.
    drop(timeout(FLUSH_TIMEOUT, all_closed).await);
}

/// The next phase; `End` when the control thread is gone.
async fn next_phase(phases: &mut watch::Receiver<Phase>) -> Phase {
    match phases.changed().await {
        Ok(()) => *phases.borrow_and_update(),
        Err(_) => Phase::End,
    }
}

/// Accepts until the drain begins, then what is still in the queue.
async fn accept(listener: Listener, host: Host, peers: Vec<mpsc::Sender<Arriving>>) {
    let watch = host.phase.watch();
    loop {
        let accepted = poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending if watch.poll(cx) >= Phase::Finish => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match accepted {
            None => return,
            Some(Ok(accepted)) => host.place(accepted, &peers),
            Some(Err(AcceptError::Connection)) => host.recorder.accept_failed(false),
            Some(Err(AcceptError::OutOfDescriptors)) => {
                host.recorder.accept_failed(true);
                // The connection waits in the queue; whoever ends next gives it a descriptor.
                sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
            }
            Some(Err(AcceptError::Listener(error))) => {
                host.recorder.accept_failed(false);
                tracing::error!(%error, "accept failed");
                sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
            }
        }
    }
}

/// Serves what other workers have accepted for this one.
async fn take_over(mut inbox: mpsc::Receiver<Arriving>, host: Host) {
    while let Some((moving, peer)) = inbox.recv().await {
        let (counted, newcomer) = Counted::new(host.clone());
        match Conn::arrive(moving) {
            Ok(conn) => counted.serve(newcomer, conn, peer),
            Err(error) => tracing::debug!(%peer, %error, "a connection was lost between workers"),
        }
    }
}

async fn keep_house(worker: Rc<Worker>, judges: bool) {
    let mut ticks = interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.pool.sweep();
        if judges {
            worker.judge_targets();
        }
        turn::trim();
        worker.phase.trim();
        // To the back of the queue and round once: what a task that is ready has to wait.
        let began = Instant::now();
        tokio::task::yield_now().await;
        worker.recorder.loop_turn(began.elapsed());
    }
}

impl Host {
    /// Serves an accepted connection here, or hands it to a worker that carries less.
    fn place(&self, Accepted { conn, peer }: Accepted, peers: &[mpsc::Sender<Arriving>]) {
        let loads = self.load.all();
        if loads.total_connections() >= self.connections_max {
            self.recorder.connection_refused();
            return;
        }
        let peer = peer.map_or(Peer::Unix, Peer::Tcp);
        let target = loads.place(self.load.worker());
        let permit = if target == self.load.worker() { None } else { peers[target].try_reserve().ok() };
        let Some(permit) = permit else {
            // Ours, or the other's inbox is full: then it has enough to do.
            self.load.connection_opened();
            let (counted, newcomer) = Counted::new(self.clone());
            return counted.serve(newcomer, conn, peer);
        };
        match conn.leave() {
            Ok(moving) => {
                loads.connection_sent(target);
                self.recorder.connection_handed_over();
                permit.send((moving, peer));
            }
            Err(error) => tracing::debug!(%peer, %error, "a connection could not be handed over"),
        }
    }

    /// Ends when no connection is left.
    fn all_closed(&self) -> impl Future<Output = ()> + use<> {
        let watch = self.ended.watch();
        let load = self.load.clone();
        poll_fn(move |cx| {
            watch.poll(cx);
            if load.connections() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

/// A connection in the gauges, until it is gone.
struct Counted(Host);

impl Counted {
    /// For one that the load counts already, as a newcomer.
    fn new(host: Host) -> (Self, Newcomer) {
        host.recorder.connection_opened();
        let newcomer = host.load.newcomer();
        (Self(host), newcomer)
    }

    /// Runs the connection.
    fn serve(self, newcomer: Newcomer, conn: Conn, peer: Peer) {
        let server = self.0.server.clone();
        drop(spawn(async move {
            let _counted = self;
            if let Err(error) = server.serve(conn, peer, newcomer).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        }));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.recorder.connection_closed();
        self.0.load.connection_closed();
        self.0.ended.set(());
    }
}
