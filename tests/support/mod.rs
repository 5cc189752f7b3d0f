//! Starts the real binary for the end-to-end tests, and stops it.
#![expect(dead_code, reason = "each test binary uses a part of it")]

pub mod client;
pub mod crowd;
pub mod driver;
pub mod load;
pub mod setup;
pub mod suite;
pub mod upstream;
pub mod wire;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running gateway. Killed when dropped.
pub struct Gateway {
    child: Child,
    /// What it said on standard output before `ready`.
    pub said: Vec<String>,
    /// Where `config.toml` and the log are.
    pub folder: TempDir,
}

impl Gateway {
    /// Starts with this configuration. `listen` and `admin.listen` should have port 0.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts with this configuration and these environment variables.
    pub fn start_with(config: &str, env: &[(&str, &str)]) -> Self {
        Self::start_limited(config, env, None)
    }

    /// Starts with a limit of open files.
    pub fn start_limited(config: &str, env: &[(&str, &str)], files: Option<u32>) -> Self {
        Self::try_start(config, env, files).unwrap_or_else(|told| panic!("not ready; {told}"))
    }

    /// Starts, or says what it said instead of `ready`. What the configuration leaves open of its reactor is the
    /// suite's.
    pub fn try_start(config: &str, env: &[(&str, &str)], files: Option<u32>) -> Result<Self, String> {
        let config = crate::SUITE.configure(config);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).expect("written");
        let log = folder.path().join("log");
        let stderr = std::fs::File::create(&log).expect("a log");
        let limit = files.map_or_else(String::new, |files| format!("ulimit -n {files}; "));
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_millstream"), "-c"])
            .arg(&path)
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut said = Vec::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line == "ready" => break,
                Some(Ok(line)) => said.push(line),
                _ => {
                    child.wait().expect("waited for");
                    let log = std::fs::read_to_string(log).unwrap_or_default();
                    return Err(format!("it said {said:?} and logged\n{log}"));
                }
            }
        }
        Ok(Self { child, said, folder })
    }

    /// The bound address of its `n`th TCP listener.
    pub fn address(&self, n: usize) -> SocketAddr {
        let mut urls = self.said.iter().filter_map(|line| line.strip_prefix("listening http"));
        let url = urls.nth(n).expect("a listener");
        url.trim_start_matches('s').trim_start_matches("://").parse().expect("an address")
    }

    /// The bound address of the admin listener.
    pub fn admin(&self) -> SocketAddr {
        let url = self.said.iter().find_map(|line| line.strip_prefix("admin http://")).expect("an admin listener");
        url.parse().expect("an address")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The whole text of a GET on the admin listener, head included.
    pub fn admin_get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin()).expect("the admin listener accepts");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    /// The value of one sample, named as in the exposition with its labels; 0 where there is none.
    pub fn metric(&self, sample: &str) -> f64 {
        let text = self.admin_get("/metrics");
        text.lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or_default()
    }

    /// The sum of a family's samples that have all of these labels, such as `class="batch"`.
    pub fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let text = self.admin_get("/metrics");
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(family)?;
            let (own, value) = rest.rsplit_once(' ')?;
            let is_own = own.is_empty() || own.starts_with('{');
            (is_own && labels.iter().all(|label| own.contains(label))).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// Waits until nothing of any request is left, neither open nor waiting.
    pub fn until_idle(&self) {
        assert!(self.admin_get("/metrics").contains("\nmillstream_target_streams{"));
        for family in [
            "millstream_streams_active",
            "millstream_streams",
            "millstream_target_streams",
            "millstream_target_waiting",
        ] {
            self.until(&format!("{family} is 0"), |gateway| gateway.sum(family, &[]) == 0.0);
        }
    }

    /// Asks `met` again and again until it is true: for what has no other sign. Bounded.
    pub fn until(&self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !met(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("waited for")
    }

    /// Bytes of memory in use.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A path of this checkout.
pub fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}
