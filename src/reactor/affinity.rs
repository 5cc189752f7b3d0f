//! How many workers to run, and where.

use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may run on, in ascending order.
pub fn allowed_cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        // No mask to be had: count only, no pinning.
        Err(_) => Vec::new(),
    }
}

/// min(cores allowed, cgroup CPU quota rounded up), at least one.
pub fn default_workers() -> usize {
    let cores = match allowed_cores().len() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        allowed => allowed,
    };
    cgroup_quota().map_or(cores, |quota| cores.min(quota)).max(1)
}

/// Pins the calling thread.
///
/// # Errors
/// Where the kernel refuses, as in a container with another CPU set; running unpinned is fine then.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// The tightest quota between this process's cgroup (version 2) and the root, in whole cores, rounded up.
fn cgroup_quota() -> Option<usize> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut quota: Option<usize> = None;
    let mut folder = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
    while folder.starts_with("/sys/fs/cgroup") {
        if let Some(found) =
            fs::read_to_string(format!("{folder}/cpu.max")).ok().as_deref().and_then(parse_cpu_max)
        {
            quota = Some(quota.map_or(found, |least| least.min(found)));
        }
        let Some(parent) = folder.rfind('/') else { break };
        folder.truncate(parent);
    }
    quota
}

/// `"150000 100000"` is one and a half cores: two workers. `"max 100000"` is no quota.
fn parse_cpu_max(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|&period| period > 0)?;
    usize::try_from(quota.div_ceil(period).max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_up_to_whole_cores() {
        for (text, cores) in [
            ("max 100000\n", None),
            ("100000 100000\n", Some(1)),
            ("150000 100000\n", Some(2)),
            ("5000 100000\n", Some(1)),
            ("400000 100000", Some(4)),
            ("1000 0", None),
            ("", None),
        ] {
            assert_eq!(parse_cpu_max(text), cores, "{text:?}");
        }
    }
}
