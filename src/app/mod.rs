//! The composition root: a configuration becomes listeners, workers and a control thread, and all of them
//! end in order.

mod control;
mod descriptors;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::config::{Address, Config, Server, UpstreamKind, WantedReactor};
use crate::credentials::Keeper;
use crate::demo;
use crate::gateway::{Scraped, Snapshot};
use crate::reactor::choose::{BETTER, Choice, Missing, Reactor, choose, io_uring_available};
use crate::reactor::listener::{self, Bound, SocketFile};
use crate::reactor::load::Loads;
use crate::reactor::worker::StartError;
use crate::reactor::{affinity, worker as thread};
use crate::signal::Phase;
use crate::telemetry::health::{Health, Readiness};
use crate::telemetry::{Telemetry, log};

/// Accepted connections that may wait for another worker to take them. More than it can take in one turn is
/// served where it was accepted.
const INBOX_CONNECTIONS: usize = 1024;

/// What runs, for whoever tells the operator. Called once everything listens.
#[derive(Debug)]
pub struct Started {
    /// Client listeners, as URLs (or `unix:PATH`).
    pub listening: Vec<String>,
    /// The admin listener, as a URL.
    pub admin: Option<String>,
    /// Worker threads.
    pub workers: usize,
    /// What the operator should know, each a sentence.
    pub warnings: Vec<String>,
}

/// Runs the gateway until it is told to stop, and to the end of its drain.
///
/// # Errors
/// When it can't start: an address that can't be had, TLS material that can't be loaded, no threads.
pub fn run(mut config: Config, no_color: bool, report: impl FnOnce(&Started)) -> anyhow::Result<()> {
    let _flush = log::init(&config.log, no_color)?;
    let demo = start_demo(&mut config).context("the demo upstream can't start")?;
    let workers = config.server.workers.unwrap_or_else(affinity::default_workers);
    let descriptors = descriptors::raise_limit();
    let connections_max = descriptors::connections_max(config.server.connections_max, descriptors);
    let telemetry = Telemetry::new(&config, workers);
    let health = Health::new();
    let drain = config.drain;
    let snapshot = Snapshot::new(config, descriptors::upstream_connections_max(connections_max, descriptors))?;
    let config = Arc::clone(&snapshot.config);
    telemetry.set_targets(Arc::new(Scraped(snapshot.clone())));

    let mut warnings = warnings(&config);
    let cores = cores(&config.server, workers);
    let start = |reactor| thread::start(&cores, reactor);
    let wanted = config.server.reactor;
    let (choice, ready) = start_over(wanted, BETTER, io_uring_available, start, &mut warnings)?;
    telemetry.set_reactor(choice.reactor.as_str(), choice.ground.as_str());
    let (mut bound, listening, files) = bind(&config, workers)?;
    // Bound before any worker runs: a port that is taken is an error of the start, not of the life.
    let admin = config
        .admin
        .listen
        .map(|address| std::net::TcpListener::bind(address).with_context(|| format!("admin.listen: {address}")))
        .transpose()?;
    let admin_url =
        admin.as_ref().map(|admin| admin.local_addr().map(|bound| format!("http://{bound}"))).transpose()?;

    let (runtime, keeper) = start_keeper(&snapshot, &telemetry)?;

    let loads = Loads::new(workers);
    let (phase, phases) = watch::channel(Phase::Serve);
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(INBOX_CONNECTIONS)).unzip();
    let mut threads = Vec::with_capacity(workers);
    for (index, (inbox, ready)) in inboxes.into_iter().zip(ready).enumerate() {
        let parts = worker::Parts {
            index,
            snapshot: snapshot.clone(),
            telemetry: Arc::clone(&telemetry),
            loads: Arc::clone(&loads),
            connections_max,
            listeners: std::mem::take(&mut bound[index]),
            inbox,
            peers: senders.clone(),
            phases: phases.clone(),
        };
        threads.push(ready.run(move || Box::pin(worker::run(parts))));
    }
    drop((senders, phases));

    health.reached(Readiness::Ready);
    let started = Started { listening, admin: admin_url, workers, warnings };
    for warning in &started.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listening = ?started.listening,
        admin = started.admin,
        workers,
        connections_max,
        upstreams = config.upstreams.len(),
        routes = config.routes.len(),
        keys = config.keys.len(),
        reactor = choice.reactor.as_str(),
        reason = choice.reason,
        "started"
    );
    report(&started);
    let stop = control::Stop { phase, drain, telemetry: Arc::clone(&telemetry), health: Arc::clone(&health) };
    let watched = Watched { admin, telemetry, health };
    runtime.block_on(control(watched, keeper, stop, threads))?;
    drop((demo, files));
    Ok(())
}

/// One for each worker: the core it is to stay on, if any.
fn cores(server: &Server, workers: usize) -> Vec<Option<usize>> {
    let allowed = if server.pin { affinity::allowed_cores() } else { Vec::new() };
    // More workers than cores is a choice; then nobody is pinned.
    (0..workers).map(|index| allowed.get(index).copied().filter(|_| workers <= allowed.len())).collect()
}

/// Starts everybody over the reactor that is wanted and to be had.
fn start_over<T>(
    wanted: WantedReactor,
    better: Reactor,
    probe: impl FnOnce() -> Result<(), Missing>,
    start: impl Fn(Reactor) -> Result<T, StartError>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<(Choice, T)> {
    let choice = choose(wanted, better, probe)?;
    match start(choice.reactor) {
        Err(StartError::Reactor(missing)) => {
            // It was there when it was looked for, but not for every worker: then for none, so that all are alike.
            let choice = choose(wanted, better, || Err(missing))?;
            warnings.push(format!("{} runs instead, on every worker: {}", choice.reactor.as_str(), choice.reason));
            let started = start(choice.reactor)?;
            Ok((choice, started))
        }
        started => Ok((choice, started?)),
    }
}

/// Fetches the first credentials, or tries to, on the runtime of this thread.
fn start_keeper(snapshot: &Snapshot, telemetry: &Arc<Telemetry>) -> anyhow::Result<(Runtime, Keeper)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut keeper = Keeper::new(&snapshot.config.upstreams, &snapshot.credentials, telemetry)?;
    runtime.block_on(keeper.start());
    Ok((runtime, keeper))
}

/// What the admin listener serves, where there is one.
struct Watched {
    admin: Option<std::net::TcpListener>,
    telemetry: Arc<Telemetry>,
    health: Arc<Health>,
}

/// Signals, credentials and the admin listener, on this thread, until the workers have ended.
async fn control(
    watched: Watched,
    keeper: Keeper,
    stop: control::Stop,
    threads: Vec<JoinHandle<()>>,
) -> anyhow::Result<()> {
    let Watched { admin, telemetry, health } = watched;
    let serve_admin = async {
        match admin {
            Some(admin) => {
                admin.set_nonblocking(true)?;
                crate::admin::serve(TcpListener::from_std(admin)?, telemetry, health).await;
                Ok(())
            }
            None => std::future::pending::<io::Result<()>>().await,
        }
    };
    tokio::select! {
        result = serve_admin => result.context("the admin listener failed"),
        result = stop.on_signal(threads) => result,
        never = keeper.keep() => match never {},
    }
}

/// Starts the demo upstream where the configuration has one, and tells the configuration where it is.
fn start_demo(config: &mut Config) -> io::Result<Option<demo::Handle>> {
    let mut handle = None;
    for upstream in config.upstreams.iter_mut().filter(|upstream| upstream.kind == UpstreamKind::Demo) {
        if handle.is_none() {
            handle = Some(demo::start(demo::Settings {
                tokens_per_second: config.demo.tokens_per_second,
                first_token: config.demo.first_token,
                seed: config.demo.seed,
            })?);
        }
        if let Some(demo) = &handle {
            upstream.base.host = demo.addr.ip().to_string();
            upstream.base.port = demo.addr.port();
            upstream.base.tls = false;
            "/v1".clone_into(&mut upstream.base.path);
        }
    }
    Ok(handle)
}

/// Sockets per worker, their names, and the files of those that have one.
type Listening = (Vec<Vec<Bound>>, Vec<String>, Vec<SocketFile>);

/// Binds every client listener, once per worker (Unix sockets: once).
fn bind(config: &Config, workers: usize) -> anyhow::Result<Listening> {
    let server = &config.server;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let mut per_worker: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
    let (mut names, mut files) = (Vec::new(), Vec::new());
    for address in &server.listen {
        match address {
            Address::Tcp(address) => {
                let (listeners, bound) = listener::bind_tcp(*address, workers, server.send_buffer_bytes)
                    .with_context(|| format!("server.listen: {address}"))?;
                for (own, listener) in per_worker.iter_mut().zip(listeners) {
                    own.push(listener);
                }
                names.push(format!("{scheme}://{bound}"));
            }
            Address::Unix(path) => {
                let (listener, file) = listener::bind_unix(path, server.send_buffer_bytes)
                    .with_context(|| format!("server.listen: unix:{}", path.display()))?;
                per_worker[0].push(listener);
                files.push(file);
                names.push(format!("unix:{}", path.display()));
            }
        }
    }
    Ok((per_worker, names, files))
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.keys.is_empty() {
        warnings.push("no [[keys]] are configured: anybody who can connect can use every upstream".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::reactor::choose::{Ground, Lack};

    fn missing() -> Missing {
        Missing { lack: Lack::Memlock, detail: "no more memory may be locked".to_owned() }
    }

    /// What is chosen where the probe finds io_uring and the second worker does not, after which attempts, and
    /// with how many warnings.
    fn second_worker_fails(wanted: WantedReactor) -> (anyhow::Result<Choice>, Vec<Reactor>, Vec<String>) {
        let (attempts, mut warnings) = (RefCell::default(), Vec::new());
        let start = |reactor| {
            RefCell::<Vec<_>>::borrow_mut(&attempts).push(reactor);
            if reactor == Reactor::IoUring { Err(missing().into()) } else { Ok(()) }
        };
        let result = start_over(wanted, Reactor::IoUring, || Ok(()), start, &mut warnings);
        (result.map(|(choice, ())| choice), attempts.into_inner(), warnings)
    }

    #[test]
    fn all_workers_fall_back_when_one_cannot_have_what_was_found() {
        let (choice, attempts, warnings) = second_worker_fails(WantedReactor::Auto);
        let choice = choice.expect("epoll is there");
        assert_eq!((choice.reactor, choice.ground), (Reactor::Epoll, Ground::Lacks(Lack::Memlock)));
        assert_eq!(attempts, [Reactor::IoUring, Reactor::Epoll]);
        assert_eq!(warnings, ["epoll runs instead, on every worker: no io_uring: no more memory may be locked"]);
    }

    #[test]
    fn what_is_demanded_is_not_fallen_back_from() {
        let (choice, attempts, warnings) = second_worker_fails(WantedReactor::IoUring);
        let told = choice.expect_err("it was demanded").to_string();
        assert!(told.contains("no more memory may be locked; raise the limit"), "{told}");
        assert_eq!((attempts, warnings), (vec![Reactor::IoUring], vec![]));
    }

    #[test]
    fn a_thread_that_cannot_be_made_is_no_matter_of_the_reactor() {
        let start = |_| Err::<(), _>(StartError::Thread(io::ErrorKind::OutOfMemory.into()));
        let mut warnings = Vec::new();
        start_over(WantedReactor::Auto, Reactor::IoUring, || Ok(()), start, &mut warnings)
            .expect_err("no threads");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}
