//! System calls of a gateway, counted from outside: by `perf stat`, which hardly disturbs, or else by `strace`,
//! which stops the process at each call and so makes a busy gateway serve more in one turn than it would.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::Process;
use crate::wire::now;

/// The calls that are told by name where `perf` counts; the others are in the sum alone.
const NAMED: &[&str] = &[
    "read",
    "write",
    "readv",
    "writev",
    "recvfrom",
    "recvmsg",
    "sendto",
    "sendmsg",
    "splice",
    "epoll_wait",
    "epoll_pwait",
    "epoll_ctl",
    "io_uring_enter",
    "futex",
    "accept4",
    "socket",
    "connect",
    "close",
];

/// The sum of all calls.
pub(crate) const ALL: &str = "all";

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// `perf stat`
    Perf,
    /// `strace`
    Strace,
}

impl Tracer {
    /// The better one of those that are installed and allowed here.
    pub(crate) fn installed() -> Option<Self> {
        let works = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if works("perf", &["stat", "-e", &tracepoints(), "--", "true"]) {
            Some(Self::Perf)
        } else if works("strace", &["-c", "-f", "true"]) {
            Some(Self::Strace)
        } else {
            None
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Perf { "perf stat" } else { "strace, which slows the gateway down" }
    }
}

/// A tracer at work.
pub(crate) struct Counting {
    tracer: Tracer,
    child: Child,
    file: String,
    /// When it began, give or take the hundredth of a window that it takes to attach.
    since: u64,
}

impl Counting {
    /// Begins to count the calls of all processes of `gateway`.
    pub(crate) fn begin(tracer: Tracer, gateway: &Process, dir: &Path) -> Result<Self> {
        let pids: Vec<String> = gateway.members().map(|(pid, _)| pid.to_string()).collect();
        let file = dir.join("calls").to_string_lossy().into_owned();
        let mut command = match tracer {
            Tracer::Perf => {
                let mut command = Command::new("perf");
                command.args(["stat", "-x", ",", "-e", &tracepoints(), "-o", &file, "-p", &pids.join(",")]);
                command
            }
            Tracer::Strace => {
                let mut command = Command::new("strace");
                command.args(["-c", "-f", "-o", &file]);
                command.args(pids.iter().flat_map(|pid| ["-p", pid]));
                command
            }
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("start {}", tracer.name()))?;
        Ok(Self { tracer, child, file, since: now() })
    }

    /// Ends it; the calls in a second, by name.
    pub(crate) fn end(mut self) -> Result<BTreeMap<String, f64>> {
        let seconds = (now() - self.since) as f64 / 1e9;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no tracer")?;
        kill_process(pid, Signal::INT)?;
        self.child.wait()?;
        let text = fs::read_to_string(&self.file)?;
        let calls = if self.tracer == Tracer::Perf { perf_table(&text) } else { strace_table(&text) };
        ensure!(!calls.is_empty(), "{} counted nothing", self.tracer.name());
        Ok(calls.into_iter().map(|(name, count)| (name, count as f64 / seconds)).collect())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn tracepoints() -> String {
    let named = NAMED.iter().map(|name| format!("syscalls:sys_enter_{name}"));
    ["raw_syscalls:sys_enter".to_owned()].into_iter().chain(named).collect::<Vec<_>>().join(",")
}

/// `count,unit,event,...`
fn perf_table(text: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split(',').collect();
        let count = words.first()?.parse::<u64>().ok().filter(|count| *count > 0)?;
        let event = *words.get(2)?;
        let name = event.strip_prefix("syscalls:sys_enter_").unwrap_or(ALL);
        Some((name.to_owned(), count))
    };
    text.lines().filter_map(row).collect()
}

/// `% time  seconds  usecs/call  calls  [errors]  syscall`
fn strace_table(text: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [share, _, _, count, .., name] = words.as_slice()
            && share.parse::<f64>().is_ok()
            && let Ok(count) = count.parse::<u64>()
        {
            let name = if *name == "total" { ALL } else { name };
            *calls.entry(name.to_owned()).or_default() += count;
        }
    }
    calls
}
