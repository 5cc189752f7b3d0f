//! The process's own figures, read from `/proc/self` at the scrape. What cannot be read is left out.

use std::fs;

/// Ticks per second in `/proc`: fixed by the kernel's interface on every system this program is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// User and system time.
    pub(super) cpu_seconds: Option<f64>,
    /// Open descriptors.
    pub(super) open_fds: Option<f64>,
    /// Limit on them.
    pub(super) max_fds: Option<f64>,
    /// Virtual memory.
    pub(super) virtual_bytes: Option<f64>,
    /// Resident memory.
    pub(super) resident_bytes: Option<f64>,
    /// Since the Unix epoch.
    pub(super) start_seconds: Option<f64>,
    /// Threads.
    pub(super) threads: Option<f64>,
}

impl Process {
    /// Reads the figures now.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let mut process = Self::parse(&stat, &status, &system);
        process.open_fds = open_fds().map(|count| count as f64);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        process.max_fds = Some(limit.map_or(f64::INFINITY, |limit| limit as f64));
        process
    }

    /// From the texts of `/proc/self/stat`, `/proc/self/status` and `/proc/stat`.
    fn parse(stat: &str, status: &str, system: &str) -> Self {
        // The second field is the program's name in parentheses and may hold anything, so count from its end.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // proc(5) numbers the fields from 1; the one behind the name is its third.
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let kibibytes = |name| Some(field(status, name)? * 1024.0);
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            start_seconds: field(system, "btime").zip(ticks(22)).map(|(boot, t)| boot + t / TICKS_PER_SECOND),
            virtual_bytes: kibibytes("VmSize:"),
            resident_bytes: kibibytes("VmRSS:"),
            threads: field(status, "Threads:"),
            ..Self::default()
        }
    }
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Since Linux 6.2 the size of the directory is the number of descriptors; before, it is 0 and they are
/// counted, less the one that counting itself opens.
fn open_fds() -> Option<u64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size);
    }
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u64::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 1000 4096 10";
        let process =
            Process::parse(stat, "VmSize:\t  2048 kB\nVmRSS:\t 16 kB\nThreads:\t3\n", "cpu 1 2\nbtime 500\n");
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.start_seconds, Some(510.0));
        assert_eq!(process.virtual_bytes, Some(2048.0 * 1024.0));
        assert_eq!(process.resident_bytes, Some(16.0 * 1024.0));
        assert_eq!(process.threads, Some(3.0));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(Process::parse("", "", ""), Process::default());
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.open_fds.is_some_and(|count| count >= 3.0));
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 0.0));
        assert!(process.start_seconds.is_some_and(|seconds| seconds > 1.6e9));
    }
}
