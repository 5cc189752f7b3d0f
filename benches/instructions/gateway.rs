//! The gateway under valgrind.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a thread that serves nobody waits for a foreign process in real time"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

/// What a process under valgrind may take to start, to answer, to end: it is fifty times slower than alone.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway whose instructions are counted.
pub(crate) struct Gateway {
    child: Child,
    /// Where clients connect.
    pub(crate) addr: SocketAddr,
    /// Where it finds its upstream.
    pub(crate) upstream: TcpListener,
    dir: TempDir,
}

impl Gateway {
    /// Starts it and waits until it accepts.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let dir = TempDir::new()?;
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let file = dir.path().join("millstream.toml");
        fs::write(&file, config(program, addr, upstream.local_addr()?, dir.path())?)?;
        let log = format!("--log-file={}", dir.path().join("log").display());
        let counts = format!("--callgrind-out-file={}", dir.path().join("counts").display());
        let child = Command::new("valgrind")
            .args(["--tool=callgrind", &log, &counts])
            .arg(program)
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start valgrind (apt-get install valgrind)")?;
        let mut gateway = Self { child, addr, upstream, dir };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = gateway.child.try_wait()? {
                bail!("the gateway ended early: {status}; {}", gateway.log());
            }
            if Instant::now() > deadline {
                bail!("the gateway does not accept connections; {}", gateway.log());
            }
            pause(Duration::from_millis(50))?;
        }
        Ok(gateway)
    }

    /// Ends it; the instructions that it took.
    pub(crate) fn end(mut self) -> Result<u64> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process")?;
        let ended = pidfd_open(pid, PidfdFlags::empty())?;
        kill_process(pid, Signal::TERM)?;
        let ready = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&PATIENCE.try_into()?))?;
        ensure!(ready > 0, "the gateway does not end; {}", self.log());
        self.child.wait()?;
        let log = self.log();
        let line = log.lines().find_map(|line| line.split_once("Collected :"));
        let count = line.and_then(|(_, count)| count.trim().parse().ok());
        count.with_context(|| format!("valgrind tells no instructions: {log}"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits for what nothing tells of.
fn pause(time: Duration) -> Result<()> {
    poll(&mut [], Some(&time.try_into()?)).context("wait")?;
    Ok(())
}

fn config(program: &Path, addr: SocketAddr, upstream: SocketAddr, dir: &Path) -> Result<String> {
    let text = |extra: &str| {
        format!(
            r#"[server]
listen = "{addr}"
workers = 1
pin = false
{extra}
[[upstreams]]
name = "lockstep"
base_url = "http://{upstream}/v1"

[[upstreams]]
name = "claude"
kind = "anthropic"
base_url = "http://{upstream}/v1"

[[routes]]
model = "claude"
targets = ["claude"]

[[routes]]
model = "*"
targets = ["lockstep"]

[admin]
listen = "off"

[drain]
delay = "0s"

[log]
access = false
"#
        )
    };
    // What valgrind knows of io_uring, and what a tick leaves to chance, stays out. Binaries that have no such
    // choice are measured as they are.
    let mut settings = String::new();
    for setting in ["reactor = \"epoll\"\n", "tick = \"off\"\n"] {
        let file = dir.join("check.toml");
        fs::write(&file, text(setting))?;
        let mut check = Command::new(program);
        check.args(["check", "--config"]).arg(&file);
        let status = check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() {
            settings.push_str(setting);
        }
    }
    Ok(text(&settings))
}
