//! Becoming a peer: pin, raise the file limit, die with the orchestrator, exec.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Replaces this process by `command`, on `cores` cores from `cpu` on and with at least `nofile` file descriptors.
/// Comes back only with an error.
pub(crate) fn become_program(cpu: usize, cores: usize, nofile: u64, command: &[String]) -> Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    if hard.is_some_and(|hard| hard < nofile) {
        bail!("this scenario needs {nofile} open files, the hard limit is {hard:?}: raise it (ulimit -Hn)");
    }
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).context("raise the file limit")?;
    let mut set = CpuSet::new();
    (cpu..cpu + cores).for_each(|core| set.set(core));
    sched_setaffinity(None, &set).with_context(|| format!("pin to {cores} cores from {cpu} on"))?;
    // Survives exec; so nothing is left running when the orchestrator is killed.
    set_parent_process_death_signal(Some(Signal::TERM)).context("ask to die with the parent")?;
    let Some((program, arguments)) = command.split_first() else {
        bail!("no command given");
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("start {program}"))
}
