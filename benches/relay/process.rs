//! Children: started on their core, listened to with a deadline, measured through /proc, ended for certain.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads of the parent, which serve nobody, wait for a foreign process in real time"
)]

use std::env::current_exe;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a child may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(3);

/// A running child and its process group.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts `command` on `place` (the first core, and how many), able to open `nofile` files, in a process group
    /// of its own.
    pub(crate) fn start(name: &str, place: (usize, usize), nofile: u64, command: &[String]) -> Result<Self> {
        let (cpu, cores) = (place.0.to_string(), place.1.to_string());
        let mut child = Command::new(current_exe()?)
            .args(["launch", "--cpu", &cpu, "--cores", &cores, "--nofile", &nofile.to_string(), "--"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("RUST_BACKTRACE", "0")
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let output = child.stdout.take().context("a child without output")?;
        let (sender, lines) = mpsc::channel();
        // Ends with the child's output, that is with the child.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// Starts this executable in another role.
    pub(crate) fn role(name: &str, cpu: usize, nofile: u64, arguments: &[&str]) -> Result<Self> {
        let own = current_exe()?.to_string_lossy().into_owned();
        let command: Vec<String> = [own.as_str()].iter().chain(arguments).map(|part| (*part).to_owned()).collect();
        Self::start(name, (cpu, 1), nofile, &command)
    }

    /// The next line of its output.
    pub(crate) fn line(&self, within: Duration) -> Result<String> {
        self.lines.recv_timeout(within).map_err(|_| anyhow!("{} said nothing for {within:?} or ended", self.name))
    }

    /// Writes a line to it.
    pub(crate) fn tell(&mut self) -> Result<()> {
        if let Some(input) = self.child.stdin.as_mut() {
            input.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Whether it still runs; an error with its exit status if not.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early: {status}", self.name),
        }
    }

    /// CPU time and memory of its whole process group.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (_, member) in self.members() {
            usage.cpu_us += member.cpu_us;
            usage.rss_kib += member.rss_kib;
        }
        usage
    }

    /// The processes of its group.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u32, Usage)> + use<> {
        let group = self.child.id();
        let entries = fs::read_dir("/proc").into_iter().flatten();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(move |pid| Some((pid, Usage::of(pid, group)?)))
    }

    /// Files that its process group has open.
    pub(crate) fn files(&self) -> usize {
        let count = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.members().map(|(pid, _)| count(pid)).sum()
    }

    /// Lets it end by itself, for at most `within`.
    pub(crate) fn join(mut self, within: Duration) -> Result<()> {
        self.child.stdin.take();
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("{} does not end", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let signal = |signal| group.map(|group| kill_process_group(group, signal));
        signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                // Whatever is left of the group has lost its master.
                signal(Signal::KILL);
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        signal(Signal::KILL);
        self.child.wait().ok();
    }
}

/// CPU time so far, and memory now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time, in microseconds.
    pub(crate) cpu_us: u64,
    /// Resident memory.
    pub(crate) rss_kib: u64,
}

impl Usage {
    /// Of process `pid`, if it belongs to `group`.
    fn of(pid: u32, group: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name may contain anything; fields are counted after its closing bracket.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        if number(2)? != u64::from(group) {
            return None;
        }
        let ticks = number(11)? + number(12)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Some(Self { cpu_us: ticks * 1_000_000 / clock_ticks_per_second(), rss_kib: rss.unwrap_or(0) })
    }
}

/// Time that `cores` cores from `cpu` on have spent in any process, in microseconds. What exceeds the gateway's
/// share is somebody else's.
pub(crate) fn cores_us((cpu, cores): (usize, usize)) -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let names: Vec<String> = (cpu..cpu + cores).map(|core| format!("cpu{core} ")).collect();
    let lines = stat.lines().filter_map(|line| names.iter().find_map(|name| line.strip_prefix(name.as_str())));
    // user, nice, system
    let fields = lines.flat_map(|line| line.split_whitespace().take(3));
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 1_000_000 / clock_ticks_per_second()
}

/// Waits where nothing tells when it is over.
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
