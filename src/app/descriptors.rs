//! File descriptors: the most that the system gives, and how many of them client connections may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept apart for listeners, the admin connections, files and wake-ups.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one. Returns the limit in force; `None` is no limit.
pub(super) fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays where it is");
            limit.current
        }
    }
}

/// Connections over all workers: what is configured, but below half of the file limit, because a relayed
/// stream may need a second descriptor for its upstream.
pub(super) fn connections_max(configured: Option<usize>, limit: Option<u64>) -> usize {
    let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED) / 2).max(1);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    configured.map_or(most, |configured| configured.min(most))
}

/// Connections to all upstreams: what the file limit leaves. One client connection may carry many streams, so
/// nothing else keeps them from taking every descriptor.
pub(super) fn upstream_connections_max(connections_max: usize, limit: Option<u64>) -> usize {
    let most =
        limit.map_or(usize::MAX, |limit| usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX));
    most.saturating_sub(connections_max).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_connections_leave_room_for_upstream_ones() {
        assert_eq!(connections_max(None, Some(1024)), 480);
        assert_eq!(connections_max(Some(100), Some(1024)), 100);
        assert_eq!(connections_max(Some(100_000), Some(20_000)), 9_968);
        assert_eq!(connections_max(None, Some(10)), 1);
        assert_eq!(connections_max(Some(7), None), 7);
    }

    #[test]
    fn upstream_connections_leave_room_for_clients() {
        assert_eq!(upstream_connections_max(480, Some(1024)), 480);
        assert_eq!(upstream_connections_max(100, Some(1024)), 860);
        assert_eq!(upstream_connections_max(1, Some(10)), 1);
        assert_eq!(upstream_connections_max(7, None), usize::MAX - 7);
    }
}
