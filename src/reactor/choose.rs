//! Which reactor runs, and why.

use super::uring;
use crate::config::WantedReactor;

/// How sockets are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reactor {
    /// The kernel says what is ready, and is then asked to do it.
    Epoll,
    /// The kernel is told what to do, and says when it has.
    IoUring,
}

/// The one that `auto` takes where both are to be had. Measured with `cargo bench --bench relay` on Linux 6.18: at
/// 1,000 streams x 50/s io_uring makes a sixth of the system calls (`--syscalls`: 0.35 per chunk instead of 2.15), takes
/// as much CPU, and is forbidden in most containers. Where that comes out differently, this is the line to change.
pub const BETTER: Reactor = Reactor::Epoll;

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What runs.
    pub reactor: Reactor,
    /// Why, in a word.
    pub ground: Ground,
    /// Why, for the log.
    pub reason: String,
}

/// Why a reactor runs: the closed set of `millstream_reactor_info{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The configuration names it.
    Configured,
    /// It is the better one, and is to be had.
    Chosen,
    /// The better one is not to be had.
    Lacks(Lack),
}

/// What keeps io_uring from being had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// `kernel.io_uring_disabled`, or the seccomp profile of a container.
    NotPermitted,
    /// The kernel lacks it, or a part of it that is needed.
    OldKernel,
    /// The limit of locked memory is too low for its rings.
    Memlock,
    /// Anything else.
    Failed,
}

/// io_uring is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Missing {
    /// What is in the way.
    pub lack: Lack,
    /// The same for people, with what the kernel said.
    pub detail: String,
}

/// io_uring was asked for by name and is [`Missing`].
#[derive(Debug, thiserror::Error)]
#[error("server.reactor is \"io_uring\", but {0}; {remedy}, or write \"auto\" or \"epoll\"", remedy = .0.lack.remedy())]
pub struct Demanded(Missing);

/// Decides. `better` is [`BETTER`]. `probe` finds out whether io_uring is to be had, and is asked only where that
/// matters.
///
/// # Errors
/// When the one that is demanded is missing.
pub fn choose(
    wanted: WantedReactor,
    better: Reactor,
    probe: impl FnOnce() -> Result<(), Missing>,
) -> Result<Choice, Demanded> {
    let configured =
        |reactor| Choice { reactor, ground: Ground::Configured, reason: "server.reactor says so".to_owned() };
    match wanted {
        WantedReactor::Epoll => Ok(configured(Reactor::Epoll)),
        WantedReactor::IoUring => probe().map(|()| configured(Reactor::IoUring)).map_err(Demanded),
        WantedReactor::Auto if better == Reactor::Epoll => Ok(Choice {
            reactor: Reactor::Epoll,
            ground: Ground::Chosen,
            reason: "it costs less than io_uring where both were measured".to_owned(),
        }),
        WantedReactor::Auto => Ok(match probe() {
            Ok(()) => Choice {
                reactor: Reactor::IoUring,
                ground: Ground::Chosen,
                reason: "the kernel has it and permits it".to_owned(),
            },
            Err(Missing { lack, detail }) => Choice {
                reactor: Reactor::Epoll,
                ground: Ground::Lacks(lack),
                reason: format!("no io_uring: {detail}"),
            },
        }),
    }
}

/// Whether io_uring is to be had, and if not, why.
///
/// # Errors
/// What is in the way.
pub fn io_uring_available() -> Result<(), Missing> {
    uring::probe(uring::Settings::default()).map_err(Missing::from)
}

impl From<uring::Missing> for Missing {
    fn from(missing: uring::Missing) -> Self {
        use uring::Missing as M;
        let lack = match missing {
            M::Disabled(_) | M::Forbidden => Lack::NotPermitted,
            M::Kernel | M::Old | M::Operation(_) | M::BufferRings(_) => Lack::OldKernel,
            M::Memory => Lack::Memlock,
            M::Event(_) | M::Descriptors | M::Other(_) => Lack::Failed,
        };
        Self { lack, detail: missing.to_string() }
    }
}

impl Reactor {
    /// Its name in the configuration, in metrics and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        }
    }
}

impl Ground {
    /// Its word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Chosen => "chosen",
            Self::Lacks(Lack::NotPermitted) => "not_permitted",
            Self::Lacks(Lack::OldKernel) => "old_kernel",
            Self::Lacks(Lack::Memlock) => "memlock",
            Self::Lacks(Lack::Failed) => "failed",
        }
    }
}

impl Lack {
    /// What an operator can do about it.
    fn remedy(self) -> &'static str {
        match self {
            Self::NotPermitted => "permit it (sysctl kernel.io_uring_disabled=0, the container's seccomp profile)",
            Self::OldKernel => "run a newer kernel",
            Self::Memlock => "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)",
            Self::Failed => "find out what is in the way",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LACKS: [Lack; 4] = [Lack::NotPermitted, Lack::OldKernel, Lack::Memlock, Lack::Failed];

    fn missing(lack: Lack) -> Missing {
        Missing { lack, detail: "the kernel said EPERM".to_owned() }
    }

    #[test]
    fn epoll_by_name_asks_nobody() {
        let choice =
            choose(WantedReactor::Epoll, Reactor::IoUring, || panic!("it was asked")).expect("always there");
        assert_eq!((choice.reactor, choice.ground), (Reactor::Epoll, Ground::Configured));
    }

    #[test]
    fn auto_takes_the_better_one_and_asks_only_for_what_may_be_missing() {
        let choice = choose(WantedReactor::Auto, Reactor::Epoll, || panic!("it was asked")).expect("always there");
        assert_eq!((choice.reactor, choice.ground), (Reactor::Epoll, Ground::Chosen));
    }

    #[test]
    fn io_uring_runs_where_it_is_to_be_had() {
        let choice = choose(WantedReactor::IoUring, Reactor::Epoll, || Ok(())).expect("there");
        assert_eq!((choice.reactor, choice.ground), (Reactor::IoUring, Ground::Configured));
        let choice = choose(WantedReactor::Auto, Reactor::IoUring, || Ok(())).expect("there");
        assert_eq!((choice.reactor, choice.ground), (Reactor::IoUring, Ground::Chosen));
    }

    #[test]
    fn what_is_missing_is_fallen_back_from_unless_it_is_demanded() {
        for lack in LACKS {
            let choice =
                choose(WantedReactor::Auto, Reactor::IoUring, || Err(missing(lack))).expect("epoll is there");
            assert_eq!((choice.reactor, choice.ground), (Reactor::Epoll, Ground::Lacks(lack)));
            assert_eq!(choice.reason, "no io_uring: the kernel said EPERM");
            let refusal =
                choose(WantedReactor::IoUring, Reactor::Epoll, || Err(missing(lack))).expect_err("it is missing");
            let told = refusal.to_string();
            assert!(told.starts_with("server.reactor is \"io_uring\", but the kernel said EPERM; "), "{told}");
            assert!(told.contains(lack.remedy()) && told.ends_with("or write \"auto\" or \"epoll\""), "{told}");
        }
    }

    #[test]
    fn the_words_of_metrics_are_distinct() {
        let mut words = vec![Ground::Configured.as_str(), Ground::Chosen.as_str()];
        words.extend(LACKS.map(|lack| Ground::Lacks(lack).as_str()));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
